#include <string.h>

#include "tensor/kernels.h"
#include "tensor/matrix.h"

/* Values in a row that are worth handing to another thread. */
enum { ACT_ITEM_MIN = 32768 };

_Static_assert(sizeof(struct act_block) == 64, "a block is a cache line");

size_t act_row_bytes(int n_in)
{
    return ((size_t)n_in + 31) / 32 * sizeof(struct act_block);
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
        job->k->quantize(job->a, t);
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

void act_gather(struct act *dst, float *x, const struct act *src, const int32_t *tok,
                int n)
{
    const size_t n_in = (size_t)src->n_in;
    dst->x = x;
    dst->n_tok = n;
    dst->n_in = src->n_in;
    for (int i = 0; i < n; i++) {
        memcpy(x + (size_t)i * n_in, src->x + (size_t)tok[i] * n_in, n_in * sizeof *x);
        for (int b = 0; src->n_in % 32 == 0 && b < src->n_in / 32; b++)
            *act_at(dst, i, b) = *act_at(src, tok[i], b);
    }
}
