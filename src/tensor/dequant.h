/* dequant.h - blocks of GGUF files to f32, one function a type (see struct dtype_traits).
 * Formulas: docs of the GGUF block formats; every product of a scale and a code is exact
 * in f32, so a value is rounded once (but for mins: twice more). */
#ifndef TENSOR_DEQUANT_H
#define TENSOR_DEQUANT_H

#include <stdint.h>

typedef void dequant_fn(float *dst, const uint8_t *src, int64_t n_block);

dequant_fn dequant_f32, dequant_f16, dequant_bf16;
dequant_fn dequant_q4_0, dequant_q4_1, dequant_q5_0, dequant_q5_1, dequant_q8_0;
dequant_fn dequant_q2_k, dequant_q3_k, dequant_q4_k, dequant_q5_k, dequant_q6_k;
dequant_fn dequant_iq4_nl, dequant_iq4_xs, dequant_mxfp4, dequant_nvfp4;
dequant_fn dequant_tq3_1s, dequant_tq4_1s; // in dequant_rotated.c
dequant_fn dequant_tq1_0, dequant_tq2_0, dequant_q1_0, dequant_q2_0;

#endif
