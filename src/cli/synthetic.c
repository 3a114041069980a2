#include "cli/synthetic.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gguf/writer.h"
#include "tensor/matrix.h"
#include "tensor/random.h"

/* Sources: the config.json of each model. */
static const struct shape {
    const char *name;
    int n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab, n_ctx;
    float rope_theta;
    bool tied;
} shapes[] = {
    {"smollm2-135m", 30, 576, 9, 3, 64, 1536, 49152, 8192, 1e5f, true},
    {"qwen3-0.6b", 28, 1024, 16, 8, 128, 3072, 151936, 40960, 1e6f, true},
    {"llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5f, true},
    {"llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, 131072, 5e5f, false},
};
enum { N_SHAPE = sizeof shapes / sizeof *shapes };

enum { TYPE_ID_MAX = 64, FILL_BYTES = 1 << 19, FILL_ITEMS = 16, MIXED = -1 };

struct plan {
    const struct shape *shape;
    int type; // enum dtype, or MIXED for Q4_K_M
    struct gguf_writer *w;
    struct pool *pool;
    uint8_t *fill; // [FILL_ITEMS][FILL_BYTES]
};

struct spec_tensor {
    char name[64];
    enum dtype type;
    int n_out, n_in; // n_out 0: a vector of ones
};

static enum status parse_spec(struct plan *p, const char *spec, struct error *err)
{
    const size_t n = strcspn(spec, ":");
    for (int i = 0; i < N_SHAPE; i++)
        if (strlen(shapes[i].name) == n && !strncasecmp(shapes[i].name, spec, n))
            p->shape = &shapes[i];
    if (!p->shape) {
        char list[120] = "";
        for (int i = 0; i < N_SHAPE; i++)
            snprintf(list + strlen(list), sizeof list - strlen(list), " %s",
                     shapes[i].name);
        return fail(err, STATUS_BAD_ARG, "unknown shape '%.24s'; known are%s", spec,
                    list);
    }
    const char *type = spec[n] ? spec + n + 1 : "";
    if (!strcasecmp(type, "Q4_K_M")) {
        p->type = MIXED;
        return STATUS_OK;
    }
    for (int id = 0; id < TYPE_ID_MAX; id++) {
        const struct dtype_traits *t = dtype_find((uint32_t)id);
        if (t && !strcasecmp(t->name, type) && matrix_supported((enum dtype)id, 256)) {
            p->type = id;
            return STATUS_OK;
        }
    }
    return fail(err, STATUS_BAD_ARG,
                "'%.24s' is not a type to compute with: give SHAPE:TYPE, for example "
                "%s:Q4_K_M",
                type, p->shape->name);
}

/* Blocks that do not divide a row become blocks of 32.
 * Source: llama.cpp, tensor_type_fallback. */
static enum dtype fallback(enum dtype t, int n_in)
{
    if (n_in % dtype_find(t)->block_elems == 0)
        return t;
    switch (t) {
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
    case DTYPE_IQ4_XS:
        return DTYPE_IQ4_NL;
    case DTYPE_TQ1_0:
    case DTYPE_TQ2_0:
        return DTYPE_Q4_0;
    case DTYPE_Q4_K:
        return DTYPE_Q5_0;
    case DTYPE_Q5_K:
        return DTYPE_Q5_1;
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

/* Q4_K_M, as a type of one tensor: `fine` ones have 6 bits. */
static enum dtype type_of(const struct plan *p, bool fine, int n_in)
{
    const enum dtype t = p->type != MIXED ? (enum dtype)p->type
                         : fine           ? DTYPE_Q6_K
                                          : DTYPE_Q4_K;
    return fallback(t, n_in);
}

typedef void tensor_fn(struct plan *p, const struct spec_tensor *t, int index);

struct walk {
    struct plan *p;
    tensor_fn *fn;
    int n; // tensors so far
};

static void visit(struct walk *w, const char *prefix, const char *name, int n_out,
                  int n_in, bool fine)
{
    struct spec_tensor t = {.n_out = n_out, .n_in = n_in};
    snprintf(t.name, sizeof t.name, "%s%s.weight", prefix, name);
    t.type = n_out ? type_of(w->p, fine, n_in) : DTYPE_F32;
    w->fn(w->p, &t, w->n++);
}

/* Call fn for every tensor, always in the same order. */
static void walk_tensors(struct plan *p, tensor_fn *fn)
{
    const struct shape *s = p->shape;
    struct walk w = {p, fn, 0};
    const int n_q = s->n_head * s->head_dim, n_kv = s->n_head_kv * s->head_dim;
    visit(&w, "", "token_embd", s->n_vocab, s->n_embd, s->tied);
    visit(&w, "", "output_norm", 0, s->n_embd, false);
    if (!s->tied)
        visit(&w, "", "output", s->n_vocab, s->n_embd, true);
    for (int i = 0; i < s->n_layer; i++) {
        const bool more = more_bits(i, s->n_layer);
        char blk[24];
        snprintf(blk, sizeof blk, "blk.%d.", i);
        visit(&w, blk, "attn_norm", 0, s->n_embd, false);
        visit(&w, blk, "attn_q", n_q, s->n_embd, false);
        visit(&w, blk, "attn_k", n_kv, s->n_embd, false);
        visit(&w, blk, "attn_v", n_kv, s->n_embd, more);
        visit(&w, blk, "attn_output", s->n_embd, n_q, false);
        visit(&w, blk, "ffn_norm", 0, s->n_embd, false);
        visit(&w, blk, "ffn_gate", s->n_ff, s->n_embd, false);
        visit(&w, blk, "ffn_up", s->n_ff, s->n_embd, false);
        visit(&w, blk, "ffn_down", s->n_embd, s->n_ff, more);
    }
}

static void declare_tensor(struct plan *p, const struct spec_tensor *t, int index)
{
    (void)index;
    const int64_t ne[2] = {t->n_in, t->n_out};
    gguf_put_tensor(p->w, t->name, t->type, t->n_out ? 2 : 1, ne);
}

/* ---- data ---- */

struct fill_job {
    const struct plan *p;
    enum dtype type;
    int64_t from, n, each; // blocks: of this piece, in all, an item
    uint64_t seed;
    float sigma;
};

static void fill_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct fill_job *j = ctx;
    const int64_t at = item * j->each, left = j->n - at;
    dtype_random(j->type, j->p->fill + (size_t)item * FILL_BYTES,
                 left < j->each ? left : j->each,
                 rng_at(j->seed, (uint64_t)((j->from + at) / j->each)), j->sigma);
}

static void write_ones(struct plan *p, int n)
{
    const float one = 1;
    for (int i = 0; i < n; i++)
        gguf_write_data(p->w, &one, sizeof one);
}

static void write_tensor(struct plan *p, const struct spec_tensor *t, int index)
{
    if (!t->n_out) {
        write_ones(p, t->n_in);
        return;
    }
    const struct dtype_traits *tr = dtype_find(t->type);
    const int64_t n_block = (int64_t)t->n_out * (t->n_in / tr->block_elems);
    struct fill_job j = {.p = p,
                         .type = t->type,
                         .each = FILL_BYTES / tr->block_bytes,
                         .seed = (uint64_t)index,
                         .sigma = (float)(1 / sqrt((double)t->n_in))};
    for (; j.from < n_block; j.from += j.n) {
        const int64_t most = j.each * FILL_ITEMS, left = n_block - j.from;
        j.n = left < most ? left : most;
        const int n_item = (int)((j.n + j.each - 1) / j.each);
        pool_run(p->pool, n_item, fill_item, &j);
        for (int i = 0; i < n_item; i++) {
            const int64_t here = j.n - i * j.each < j.each ? j.n - i * j.each : j.each;
            gguf_write_data(p->w, p->fill + (size_t)i * FILL_BYTES,
                            (size_t)here * (size_t)tr->block_bytes);
        }
    }
}

/* ---- metadata ---- */

/* The character that stands for a byte in a GPT-2 vocabulary: itself if it is printable,
 * else the next of U+0100, U+0101 ... */
static unsigned byte_char(unsigned b)
{
    unsigned next = 256;
    for (unsigned i = 0; i < 256; i++) {
        const bool plain =
            (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        if (i == b)
            return plain ? b : next;
        next += !plain;
    }
    return 0;
}

/* 256 bytes, an end token, and fillers "[i]" that no text gives. */
static enum status put_vocabulary(struct plan *p, struct error *err)
{
    enum { NORMAL = 1, CONTROL = 3, END = 256 };
    const size_t n = (size_t)p->shape->n_vocab;
    struct arena a;
    arena_init(&a, n * 64 + (1 << 16));
    const char **text = arena_array(&a, n, sizeof *text);
    int32_t *type = arena_array(&a, n, sizeof *type);
    bool good = text && type;
    for (size_t i = 0; good && i < n; i++) {
        char s[24];
        const unsigned c = byte_char((unsigned)i & 255);
        if (i >= END)
            snprintf(s, sizeof s, i == END ? "<|end|>" : "[%zu]", i);
        else if (c < 0x80)
            snprintf(s, sizeof s, "%c", (char)c);
        else
            snprintf(s, sizeof s, "%c%c", (char)(0xc0 | c >> 6), (char)(0x80 | (c & 63)));
        text[i] = arena_strndup(&a, s, strlen(s));
        type[i] = i == END ? CONTROL : NORMAL;
        good = text[i];
    }
    if (good) {
        gguf_put_str(p->w, "tokenizer.ggml.model", "gpt2");
        gguf_put_str(p->w, "tokenizer.ggml.pre", "gpt-2");
        gguf_put_str_array(p->w, "tokenizer.ggml.tokens", text, n);
        gguf_put_i32_array(p->w, "tokenizer.ggml.token_type", type, n);
        gguf_put_str_array(p->w, "tokenizer.ggml.merges", NULL, 0);
        gguf_put_u32(p->w, "tokenizer.ggml.bos_token_id", END);
        gguf_put_u32(p->w, "tokenizer.ggml.eos_token_id", END);
        gguf_put_bool(p->w, "tokenizer.ggml.add_bos_token", false);
    }
    arena_release(&a);
    return good ? STATUS_OK
                : fail(err, STATUS_NO_MEMORY, "no memory for a vocabulary of %zu", n);
}

static void put_hparams(const struct plan *p, const char *spec)
{
    const struct shape *s = p->shape;
    struct gguf_writer *w = p->w;
    const struct {
        const char *key;
        int value;
    } ints[] = {
        {"llama.block_count", s->n_layer},
        {"llama.context_length", s->n_ctx},
        {"llama.embedding_length", s->n_embd},
        {"llama.feed_forward_length", s->n_ff},
        {"llama.attention.head_count", s->n_head},
        {"llama.attention.head_count_kv", s->n_head_kv},
        {"llama.attention.key_length", s->head_dim},
        {"llama.attention.value_length", s->head_dim},
        {"llama.rope.dimension_count", s->head_dim},
        {"llama.vocab_size", s->n_vocab},
    };
    gguf_put_str(w, "general.architecture", "llama");
    gguf_put_str(w, "general.name", spec);
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        gguf_put_u32(w, ints[i].key, (uint32_t)ints[i].value);
    gguf_put_f32(w, "llama.rope.freq_base", s->rope_theta);
    gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
}

enum status synthetic_write(const char *spec, const char *path, struct pool *pool,
                            struct error *err)
{
    struct plan p = {.pool = pool};
    enum status s = parse_spec(&p, spec, err);
    if (s)
        return s;
    p.fill = mem_array(FILL_ITEMS, FILL_BYTES);
    if (!p.fill)
        return fail(err, STATUS_NO_MEMORY, "no memory to make %s", spec);
    if ((s = gguf_writer_open(&p.w, path, err)))
        goto out;
    put_hparams(&p, spec);
    s = put_vocabulary(&p, err);
    walk_tensors(&p, declare_tensor);
    if (!s)
        walk_tensors(&p, write_tensor);
    const enum status closed = gguf_writer_close(p.w, s ? NULL : err);
    s = s ? s : closed;
out:
    mem_free(p.fill);
    return s;
}
