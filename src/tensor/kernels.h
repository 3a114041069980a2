/* kernels.h - inner loops of the tensor layer, one table for each instruction set.
 *
 * kernels.def lists them: table field, check and benchmark come from that list.
 * kernels_c*.c are the definition; other levels give the same integers, and floats that
 * differ by the rounding of fused multiply-adds and the order of sums only. */
#ifndef TENSOR_KERNELS_H
#define TENSOR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"

struct act; // tensor/matrix.h

#define DOT_ARGS                                                                 \
    (float *dst, size_t ld, int n_row, const uint8_t *tile, const struct act *a, \
     int tok, int n_tok)
typedef void dot_fn DOT_ARGS;

/* Groups of tokens from which on gemm is faster than dot, and tiles that it takes at a
 * time: a rest costs as much. */
enum { GEMM_GROUPS = 3, GEMM_TILES = 2 };

struct tensor_kernels {
#define K(name, ret, args) ret(*name) args;
#include "tensor/kernels.def"
#undef K
};

/* Kernels that are not in the file of their level's table. */
#define K(name, ret, args)
#define LINEAR(name, ret, args) \
    ret name##_c args;          \
    ret name##_avx2 args;       \
    ret name##_avx512 args;     \
    ret name##_neon args;
#include "tensor/kernels.def"
#undef K

/* The table of the best level at or below limit that this CPU has. */
const struct tensor_kernels *tensor_kernels_for(enum cpu_isa limit);

/* Set the entries that a level has; the others stay.  Products of quantised weights
 * (_blocks) are files of their own where the others fill one. */
void tensor_kernels_init_c(struct tensor_kernels *k);
void tensor_kernels_init_c_blocks(struct tensor_kernels *k);
void tensor_kernels_init_c_rotated(struct tensor_kernels *k);
void tensor_kernels_init_avx2(struct tensor_kernels *k);
void tensor_kernels_init_avxvnni(struct tensor_kernels *k);
void tensor_kernels_init_avx512(struct tensor_kernels *k);
void tensor_kernels_init_avx512_blocks(struct tensor_kernels *k);
void tensor_kernels_init_amx(struct tensor_kernels *k);
void tensor_kernels_init_neon(struct tensor_kernels *k);
void tensor_kernels_init_dotprod(struct tensor_kernels *k);

/* exp(x) for |x| <= 87 as 2^n p(r), r = x - n ln 2, |r| <= ln 2 / 2: the Taylor series to
 * r^7, whose rest is below 6e-9.  ln 2 is split so that n * KERNEL_LN2_HI is exact. */
#define KERNEL_EXP_MAX 87.0f
#define KERNEL_LOG2E 0x1.715476p+0f
#define KERNEL_LN2_HI 0x1.62e4p-1f
#define KERNEL_LN2_LO 0x1.7f7d1cp-20f
/* 1.5 * 2^23: adding it rounds |x| < 2^22 to an integer, which is then in the low bits.
 */
#define KERNEL_ROUND 12582912.0f
#define KERNEL_LOG2E_DOUBLE 1.4426950408889634
#define KERNEL_LN2_DOUBLE .6931471805599453

/* gelu(x) = x sigmoid(KERNEL_GELU (x + KERNEL_GELU_CUBE x^3)): 2 sqrt(2 / pi). */
#define KERNEL_GELU 1.5957691216057308
#define KERNEL_GELU_CUBE .044715

#endif
