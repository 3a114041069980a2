/* ops.h - the operators of a transformer besides the matrix product.
 *
 * Rows are independent; all arrays are f32 and may have any alignment.  The order of
 * additions is fixed for a kernel table. */
#ifndef TENSOR_OPS_H
#define TENSOR_OPS_H

#include <stddef.h>

struct tensor_kernels; // tensor/kernels.h

/* dst [n] <- x / sqrt(mean(x^2) + eps) * w; dst may be x.  The mean is accumulated in
 * double. */
void op_rms_norm(const struct tensor_kernels *k, float *dst, const float *x,
                 const float *w, int n, float eps);

/* Cosines and sines of p * freq[i] in cs [n_pair][2], computed in double. */
void op_rope_table(float *cs, const double *freq, int n_pair, int position, float mscale);

/* Rotate pairs of a head x [d], in place: NORM pairs (2i, 2i+1), NEOX pairs
 * (i, i + n_pair).  Values beyond 2 * n_pair pass unchanged. */
void op_rope_norm(float *x, const float *cs, int n_pair);
void op_rope_neox(float *x, const float *cs, int n_pair);

/* dst [n] <- silu(gate) * up; dst may be either.  Within 1e-6 relative for gates above
 * -87, within 1e-30 absolute below. */
void op_swiglu(const struct tensor_kernels *k, float *dst, const float *gate,
               const float *up, size_t n);

/* x += y */
void op_add(float *x, const float *y, size_t n);

#endif
