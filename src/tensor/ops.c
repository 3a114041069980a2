#include "tensor/ops.h"

#include <math.h>

#include "tensor/kernels.h"

void op_rms_norm(const struct tensor_kernels *k, float *dst, const float *x,
                 const float *w, int n, float eps)
{
    k->rms_norm(dst, x, w, n, eps);
}

void op_rope_table(float *cs, const double *freq, int n_pair, int position, float mscale)
{
    for (int i = 0; i < n_pair; i++) {
        const double angle = position * freq[i];
        cs[2 * i] = (float)(cos(angle) * (double)mscale);
        cs[2 * i + 1] = (float)(sin(angle) * (double)mscale);
    }
}

/* Steps of a number of pairs that is known, which a compiler turns into vectors. */
enum { ROPE_STEP = 8 };

static inline void turn_neighbours(float *restrict x, const float *restrict cs, int n)
{
    for (int i = 0; i < n; i++) {
        const float c = cs[2 * i], s = cs[2 * i + 1];
        const float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * c - b * s;
        x[2 * i + 1] = a * s + b * c;
    }
}

static inline void turn_halves(float *restrict x, float *restrict y,
                               const float *restrict cs, int n)
{
    for (int i = 0; i < n; i++) {
        const float c = cs[2 * i], s = cs[2 * i + 1];
        const float a = x[i], b = y[i];
        x[i] = a * c - b * s;
        y[i] = a * s + b * c;
    }
}

void op_rope_norm(float *x, const float *cs, int n_pair)
{
    int i = 0;
    for (; i + ROPE_STEP <= n_pair; i += ROPE_STEP)
        turn_neighbours(x + 2 * i, cs + 2 * i, ROPE_STEP);
    turn_neighbours(x + 2 * i, cs + 2 * i, n_pair - i);
}

void op_rope_neox(float *x, const float *cs, int n_pair)
{
    int i = 0;
    for (; i + ROPE_STEP <= n_pair; i += ROPE_STEP)
        turn_halves(x + i, x + n_pair + i, cs + 2 * i, ROPE_STEP);
    turn_halves(x + i, x + n_pair + i, cs + 2 * i, n_pair - i);
}

void op_swiglu(const struct tensor_kernels *k, float *dst, const float *gate,
               const float *up, size_t n)
{
    k->swiglu(dst, gate, up, n);
}

/* In steps of 16, which a compiler turns into vectors without knowing n. */
void op_add(float *restrict x, const float *restrict y, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t j = i; j < i + 16; j++)
            x[j] += y[j];
    for (; i < n; i++)
        x[i] += y[i];
}
