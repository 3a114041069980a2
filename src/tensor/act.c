#include <string.h>

#include "tensor/kernels.h"
#include "tensor/matrix.h"

/* Values in a row that are worth handing to another thread. */
enum { ACT_ITEM_MIN = 32768 };

_Static_assert(sizeof(struct act_block) == 64, "a block is a cache line");

_Static_assert(sizeof(struct act_panel) % 64 == 0, "panels begin at a cache line");

/* A multiple of 64, so that rows can be cut off anywhere. */
size_t act_row_bytes(int n_in)
{
    const size_t n_block = ((size_t)n_in + 31) / 32;
    const size_t panels = n_block * sizeof(struct act_panel) / ACT_GROUP;
    return n_block * sizeof(struct act_block) + (panels + 63) / 64 * 64;
}

size_t act_bytes(int n_tok, int n_in)
{
    return 63 + (size_t)n_tok * act_row_bytes(n_in);
}

void act_init(struct act *a, void *mem, int n_tok_cap, int n_in_cap)
{
    uint8_t *p = mem;
    (void)n_tok_cap;
    (void)n_in_cap;
    p += -(uintptr_t)p & 63;
    *a = (struct act){.blocks = (struct act_block *)(void *)p};
}

bool act_has_panels(const struct act *a, const struct tensor_kernels *k)
{
    return k->gemm_q8_0 && a->n_tok >= GEMM_GROUPS * ACT_GROUP;
}

static void copy_to_panels(const struct act *a, int tok)
{
    const int n_block = a->n_in / 32, t = tok % ACT_GROUP;
    if (act_group(a, tok) < ACT_GROUP)
        return;
    const struct act_block *from = act_at(a, tok, 0);
    struct act_panel *to = act_panel_at(a, tok, 0);
    for (int b = 0; b < n_block; b++, from += ACT_GROUP, to++) {
        memcpy(to->q[t], from->q, sizeof from->q);
        to->scale[t] = from->scale;
        to->mass[t] = from->mass;
    }
}

void act_load_token(const struct act *a, const struct tensor_kernels *k, int tok)
{
    k->quantize(a, tok);
    if (act_has_panels(a, k))
        copy_to_panels(a, tok);
}

struct act_job {
    const struct act *a;
    const struct tensor_kernels *k;
    int n_item;
};

static void act_item(void *ctx, int item, int thread)
{
    const struct act_job *job = ctx;
    const int64_t n_tok = job->a->n_tok;
    (void)thread;
    for (int t = (int)(n_tok * item / job->n_item);
         t < (int)(n_tok * (item + 1) / job->n_item); t++)
        act_load_token(job->a, job->k, t);
}

void act_load(struct act *a, const struct tensor_kernels *k, struct pool *pool,
              const float *x, int n_tok, int n_in)
{
    a->x = x;
    a->n_tok = n_tok;
    a->n_in = n_in;
    if (n_in % 32)
        return;
    const int64_t most = (int64_t)n_tok * n_in / ACT_ITEM_MIN;
    int n_item = 4 * pool_threads(pool);
    if (n_item > most)
        n_item = most > 1 ? (int)most : 1;
    struct act_job job = {a, k, n_item};
    pool_run(pool, n_item, act_item, &job);
}

void act_gather(struct act *dst, const struct tensor_kernels *k, float *x,
                const struct act *src, const int32_t *tok, int n)
{
    const size_t n_in = (size_t)src->n_in;
    dst->x = x;
    dst->n_tok = n;
    dst->n_in = src->n_in;
    for (int i = 0; i < n; i++) {
        memcpy(x + (size_t)i * n_in, src->x + (size_t)tok[i] * n_in, n_in * sizeof *x);
        for (int b = 0; src->n_in % 32 == 0 && b < src->n_in / 32; b++)
            *act_at(dst, i, b) = *act_at(src, tok[i], b);
        if (src->n_in % 32 == 0 && act_has_panels(dst, k))
            copy_to_panels(dst, i);
    }
}
