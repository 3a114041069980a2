#include "dialect/embedding.h"

#include <math.h>

/* 1 / the length of x [n], 1 for the zero vector. */
static double inverse_length(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum > 0 ? 1 / sqrt(sum) : 1;
}

struct embedding embedding_at(const struct api_embeddings *e, const struct api_request *r,
                              int i)
{
    const bool cut = r->dimensions > 0 && r->dimensions < e->n_embd;
    struct embedding v = {.x = e->vectors + (size_t)i * (size_t)e->n_embd,
                          .n = cut ? r->dimensions : e->n_embd,
                          .scale = 1};
    if (cut)
        v.scale = inverse_length(v.x, v.n);
    return v;
}
