#include "tensor/linear.h"

#include <math.h>

#include "tensor/kernels.h"

void op_delta_step(const struct tensor_kernels *kernels, float *state, float *out,
                   const float *q, const float *k, const float *v, const float *decay,
                   int n_decay, float beta, int d_k, int d_v)
{
    kernels->delta_step(state, out, q, k, v, decay, n_decay, beta, d_k, d_v);
}

void op_conv_silu(const struct tensor_kernels *k, float *dst, const float *window,
                  size_t stride, const float *weight, int n_tap, int n)
{
    k->conv_silu(dst, window, stride, weight, n_tap, n);
}

void op_l2_norm(const struct tensor_kernels *k, float *dst, const float *x, int n,
                float eps, float scale)
{
    k->l2_norm(dst, x, n, eps, scale);
}

void op_sigmoid_mul(const struct tensor_kernels *k, float *dst, const float *x,
                    const float *gate, size_t n)
{
    k->sigmoid_mul(dst, x, gate, n);
}

void op_gelu_mul(const struct tensor_kernels *k, float *dst, const float *gate,
                 const float *up, size_t n)
{
    k->gelu_mul(dst, gate, up, n);
}

/* exp of what is not positive cannot overflow, and log1p keeps its small results. */
float op_softplus(float x)
{
    const double y = (double)x;
    return (float)(y > 0 ? y + log1p(exp(-y)) : log1p(exp(y)));
}
