#include "cli/weight_types.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tensor/matrix.h"

enum { TYPE_ID_MAX = 64 };

enum status weight_types_parse(int *type, const char *text, struct error *err)
{
    if (!strcasecmp(text, "Q4_K_M")) {
        *type = WEIGHTS_Q4_K_M;
        return STATUS_OK;
    }
    for (int id = 0; id < TYPE_ID_MAX; id++) {
        const struct dtype_traits *t = dtype_find((uint32_t)id);
        if (t && !strcasecmp(t->name, text) && matrix_supported((enum dtype)id, 256)) {
            *type = id;
            return STATUS_OK;
        }
    }
    return fail(err, STATUS_BAD_ARG,
                "'%.24s' is not a type to compute with: give SHAPE:TYPE, for example "
                "llama-3.2-1b:Q4_K_M",
                text);
}

/* Source: llama.cpp, the fallback of llama_tensor_get_type. */
static enum dtype fallback(enum dtype t, int n_in)
{
    if (n_in % dtype_find(t)->block_elems == 0)
        return t;
    switch (t) {
    case DTYPE_Q4_K:
        return DTYPE_Q5_0;
    case DTYPE_Q5_K:
        return DTYPE_Q5_1;
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
    case DTYPE_IQ4_XS:
        return DTYPE_IQ4_NL;
    case DTYPE_TQ1_0:
    case DTYPE_TQ2_0:
        return DTYPE_Q4_0;
    default:
        return DTYPE_Q8_0;
    }
}

/* Layers whose value and down projections get 6 bits in Q4_K_M: the first and the last
 * eighth and every third between.  Source: llama.cpp, use_more_bits. */
static bool more_bits(int layer, int n_layer)
{
    const int eighth = n_layer / 8;
    return layer < eighth || layer >= 7 * n_layer / 8 || (layer - eighth) % 3 == 2;
}

static bool is(const char *part, const char *name)
{
    return !strcmp(part, name);
}

/* Q4_K_M.  In a hybrid the layers count that have no values, too: a few small matrices
 * differ from those of llama.cpp's converter. */
static enum dtype mixed_type(const struct weight_types *w, const char *part, int layer)
{
    enum { FEW_EXPERTS = 8, LAYERS_70B = 80 };
    const bool few = w->n_expert == FEW_EXPERTS;
    const bool more = more_bits(layer, w->n_layer);
    if (is(part, "output.weight") || (w->tied && is(part, "token_embd.weight")))
        return DTYPE_Q6_K;
    if (is(part, "attn_v.weight"))
        return few                        ? DTYPE_Q8_0
               : more                     ? DTYPE_Q6_K
               : w->n_layer == LAYERS_70B ? DTYPE_Q5_K
                                          : DTYPE_Q4_K;
    if (is(part, "attn_k.weight") && few)
        return DTYPE_Q8_0;
    if (is(part, "attn_output.weight") && few)
        return DTYPE_Q5_K;
    if (is(part, "attn_qkv.weight"))
        return DTYPE_Q5_K;
    if (!strncmp(part, "ffn_down", 8) && more)
        return DTYPE_Q6_K;
    return DTYPE_Q4_K;
}

enum dtype weight_type_of(const struct weight_types *w, const char *name, int n_in)
{
    int layer = -1, n = 0;
    const char *part = sscanf(name, "blk.%d.%n", &layer, &n) == 1 && n ? name + n : name;
    const bool expert = strstr(part, "_exps.");
    if (!strncmp(part, "ffn_gate_inp", 12)) // the router
        return DTYPE_F32;
    if (expert && w->experts != DTYPE_F32)
        return w->experts;
    if (w->type == WEIGHTS_Q4_K_M)
        return fallback(mixed_type(w, part, layer), n_in);
    if (w->type == DTYPE_MXFP4 && w->n_expert && !expert) // a type for experts
        return DTYPE_Q8_0;
    return fallback((enum dtype)w->type, n_in);
}
