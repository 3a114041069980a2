/* kernels_c_linear.c - portable kernels of linear.h: the definition that every other
 * level is checked against. */
#include <math.h>

#include "tensor/kernels.h"

void delta_step_c(float *state, float *out, const float *q, const float *k,
                  const float *v, const float *decay, int n_decay, float beta, int d_k,
                  int d_v)
{
    for (int r = 0; r < d_v; r++, state += d_k) {
        float dot = 0, sum = 0;
        for (int c = 0; c < d_k; c++) {
            state[c] *= decay[n_decay == 1 ? 0 : c];
            dot += state[c] * k[c];
        }
        const float delta = beta * (v[r] - dot);
        for (int c = 0; c < d_k; c++) {
            state[c] += delta * k[c];
            sum += state[c] * q[c];
        }
        out[r] = sum;
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

void conv_silu_c(float *dst, const float *window, size_t stride, const float *weight,
                 int n_tap, int n)
{
    for (int c = 0; c < n; c++) {
        float sum = 0;
        for (int t = 0; t < n_tap; t++)
            sum += weight[(size_t)t * (size_t)n + (size_t)c] *
                   window[(size_t)t * stride + (size_t)c];
        dst[c] = (float)(sum * sigmoid((double)sum));
    }
}

void l2_norm_c(float *dst, const float *x, int n, float eps, float scale)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    const float by = (float)((double)scale / sqrt(sum + (double)eps));
    for (int i = 0; i < n; i++)
        dst[i] = x[i] * by;
}

void sigmoid_mul_c(float *dst, const float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = (float)((double)x[i] * sigmoid((double)gate[i]));
}

void gelu_mul_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double x = (double)gate[i];
        const double twice_u = KERNEL_GELU * (x + KERNEL_GELU_CUBE * x * x * x);
        dst[i] = (float)(x * sigmoid(twice_u) * (double)up[i]);
    }
}
