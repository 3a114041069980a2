/* partial.c - partial results of attention, and their merging. */
#include "turboquant.h"

#include <math.h>
#include <string.h>

#include "codec/exp.h"

void tq_partial_reset(struct tq_partial *p, int n, int d)
{
    for (int i = 0; i < n; i++) {
        p->m[i] = -INFINITY;
        p->l[i] = 0.0f;
    }
    memset(p->o, 0, (size_t)n * (size_t)d * sizeof(float));
}

void tq_merge(struct tq_partial *into, const struct tq_partial *from, int n, int d)
{
    for (int i = 0; i < n; i++) {
        float *to = into->o + (size_t)i * (size_t)d;
        const float *add = from->o + (size_t)i * (size_t)d;
        if (from->l[i] == 0.0f)
            continue;
        if (into->l[i] == 0.0f) {
            into->m[i] = from->m[i];
            into->l[i] = from->l[i];
            memcpy(to, add, (size_t)d * sizeof *to);
            continue;
        }
        const float m = into->m[i] > from->m[i] ? into->m[i] : from->m[i];
        const float a = into->m[i] == m ? 1.0f : tq_exp(into->m[i] - m);
        const float b = from->m[i] == m ? 1.0f : tq_exp(from->m[i] - m);
        into->m[i] = m;
        into->l[i] = into->l[i] * a + from->l[i] * b;
        for (int k = 0; k < d; k++)
            to[k] = to[k] * a + add[k] * b;
    }
}

void tq_finish(const struct tq_partial *p, float *out, size_t stride, int n, int d)
{
    for (int i = 0; i < n; i++) {
        const float inverse = p->l[i] == 0.0f ? 0.0f : 1.0f / p->l[i];
        for (int k = 0; k < d; k++)
            out[(size_t)i * stride + (size_t)k] =
                p->o[(size_t)i * (size_t)d + (size_t)k] * inverse;
    }
}
