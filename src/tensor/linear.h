/* linear.h - what linear attention (gated delta net, KDA) and gated blocks need besides
 * ops.h.
 *
 * All arrays are f32 and may have any alignment.  A result is a function of its own
 * inputs and the kernel table: the order of additions is fixed, and rows, channels and
 * tokens do not enter each other's.  Values that are not finite reach every result that
 * they are part of. */
#ifndef TENSOR_LINEAR_H
#define TENSOR_LINEAR_H

#include <stddef.h>

struct tensor_kernels; // tensor/kernels.h

/* One token of one head of the delta rule.
 *
 *   state  [d_v][d_k]  read and written: a row for each value channel
 *   out    [d_v]       written; overlaps nothing
 *   q, k   [d_k]       normalised and scaled already
 *   v      [d_v]
 *   decay  [n_decay]   factors, not logarithms; n_decay is 1 or d_k
 *
 * For each row S of the state, which decays first and gives the output last:
 *
 *   S[c] *= decay[c];  delta = beta * (v - S . k);  S[c] += delta * k[c];  out = S . q
 *
 * d_k, d_v >= 1.  Rows are independent: calls for parts of them (state, out and v moved
 * on, a smaller d_v) give the same bits, so that a head may be cut over threads, and a
 * few rows may take many tokens while they are in the first-level cache.
 *
 * Source: Gated Delta Networks, arXiv 2412.06464, equation 10; decay by channel: Kimi
 * Linear, arXiv 2510.26692. */
void op_delta_step(const struct tensor_kernels *kernels, float *state, float *out,
                   const float *q, const float *k, const float *v, const float *decay,
                   int n_decay, float beta, int d_k, int d_v);

/* One token of a causal convolution of each channel, and silu:
 *
 *   dst [n] <- silu(sum over t of weight[t][c] * window[t][c])
 *
 *   window  [n_tap][n], a row every stride floats, the oldest token first
 *   weight  [n_tap][n]
 *
 * n_tap >= 1.  Sums start at t = 0.  dst may be a row of window, and overlaps nothing
 * else. */
void op_conv_silu(const struct tensor_kernels *k, float *dst, const float *window,
                  size_t stride, const float *weight, int n_tap, int n);

/* dst [n] <- x * scale / sqrt(sum x^2 + eps); dst may be x.  The sum is accumulated in
 * double; eps > 0, or x is not zero. */
void op_l2_norm(const struct tensor_kernels *k, float *dst, const float *x, int n,
                float eps, float scale);

/* dst [n] <- x * sigmoid(gate); dst may be either.  Within 1e-6 relative for gates above
 * -87, within |x| 2^-125 absolute below. */
void op_sigmoid_mul(const struct tensor_kernels *k, float *dst, const float *x,
                    const float *gate, size_t n);

/* dst [n] <- gelu(gate) * up; dst may be either.
 *
 *   gelu(x) = .5 x (1 + tanh(u)) = x sigmoid(2 u),  u = sqrt(2 / pi) (x + .044715 x^3)
 *
 * Within 1e-6 relative where |gelu(gate)| > 1e-30, within |gate up| 2^-125 absolute
 * elsewhere.  Source: arXiv 1606.08415; with a factor: GLU variants, arXiv 2002.05202. */
void op_gelu_mul(const struct tensor_kernels *k, float *dst, const float *gate,
                 const float *up, size_t n);

/* log(1 + exp(x)), within half an ulp or two; -inf gives 0, NaN and +inf stay. */
float op_softplus(float x);

#endif
