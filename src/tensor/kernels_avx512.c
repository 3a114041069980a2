/* kernels_avx512.c - products with float weights, norms and activations for AVX-512. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "cpu/target.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

#include "tensor/floats_avx512.h"
#include "tensor/prefetch.h"

CPU_INLINE __m512 column_f32(const uint8_t *tile, size_t i)
{
    return _mm512_loadu_ps(tile + TILE_WORD * i);
}

CPU_INLINE __m512 column_f16(const uint8_t *tile, size_t i)
{
    const __m256i x =
        _mm256_loadu_si256((const __m256i *)(const void *)(tile + TILE_HALF * i));
    return _mm512_cvtph_ps(x);
}

CPU_INLINE __m512 column_bf16(const uint8_t *tile, size_t i)
{
    const __m256i x =
        _mm256_loadu_si256((const __m256i *)(const void *)(tile + TILE_HALF * i));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

typedef __m512 column_fn(const uint8_t *tile, size_t i);

/* Four partial sums for each token, by column modulo 4. */
CPU_INLINE void dot_columns(const int n_tok, column_fn *column, size_t column_bytes,
                            float *dst, size_t ld, int n_row, const uint8_t *tile,
                            const struct act *a, int tok)
{
    const size_t n_in = (size_t)a->n_in;
    const float *x = a->x + (size_t)tok * n_in;
    __m512 acc[4][4];
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++)
#pragma GCC unroll 4
        for (size_t c = 0; c < 4; c++)
            acc[t][c] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 4 <= n_in; i += 4) {
        prefetch(tile + column_bytes * i, 4 * column_bytes);
#pragma GCC unroll 4
        for (size_t c = 0; c < 4; c++) {
            const __m512 w = column(tile, i + c);
#pragma GCC unroll 4
            for (size_t t = 0; t < (size_t)n_tok; t++)
                acc[t][c] =
                    _mm512_fmadd_ps(w, _mm512_set1_ps(x[t * n_in + i + c]), acc[t][c]);
        }
    }
#pragma GCC unroll 3
    for (size_t c = 0; c < 3; c++)
        if (i + c < n_in) {
            const __m512 w = column(tile, i + c);
#pragma GCC unroll 4
            for (size_t t = 0; t < (size_t)n_tok; t++)
                acc[t][c] =
                    _mm512_fmadd_ps(w, _mm512_set1_ps(x[t * n_in + i + c]), acc[t][c]);
        }
    const __mmask16 rows = (__mmask16)((1u << n_row) - 1);
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++)
        _mm512_mask_storeu_ps(dst + (size_t)t * ld, rows,
                              _mm512_add_ps(_mm512_add_ps(acc[t][0], acc[t][1]),
                                            _mm512_add_ps(acc[t][2], acc[t][3])));
}

CPU_INLINE void dot_columns_any(column_fn *column, size_t column_bytes, float *dst,
                                size_t ld, int n_row, const uint8_t *tile,
                                const struct act *a, int tok, int n_tok)
{
    for (; n_tok >= 4; n_tok -= 4, tok += 4, dst += 4 * ld)
        dot_columns(4, column, column_bytes, dst, ld, n_row, tile, a, tok);
    if (n_tok & 2) {
        dot_columns(2, column, column_bytes, dst, ld, n_row, tile, a, tok);
        dst += 2 * ld;
        tok += 2;
    }
    if (n_tok & 1)
        dot_columns(1, column, column_bytes, dst, ld, n_row, tile, a, tok);
}

#define DOT(name, column_bytes)                                                        \
    static void dot_##name##_avx512(float *dst, size_t ld, int n_row,                  \
                                    const uint8_t *tile, const struct act *a, int tok, \
                                    int n_tok)                                         \
    {                                                                                  \
        dot_columns_any(column_##name, column_bytes, dst, ld, n_row, tile, a, tok,     \
                        n_tok);                                                        \
    }
DOT(f32, TILE_WORD)
DOT(f16, TILE_HALF)
DOT(bf16, TILE_HALF)
#undef DOT

static void quantize_avx512(const struct act *a, int tok)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const float *x = a->x + (size_t)tok * (size_t)a->n_in, *end = x + a->n_in;
    const size_t step = (size_t)act_group(a, tok);
    for (struct act_block *dst = act_at(a, tok, 0); x < end; x += 32, dst += step) {
        const __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        const uint32_t max_bits = _mm512_reduce_max_epu32(
            _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x0), magnitude),
                             _mm512_and_si512(_mm512_castps_si512(x1), magnitude)));
        float max, scale = 0, inverse = 0;
        memcpy(&max, &max_bits, sizeof max);
        const int finite = max_bits < 0x7f800000;
        if (!finite)
            scale = NAN;
        else if (max >= 0x1p-120f) {
            scale = max / 127.0f;
            inverse = 127.0f / max;
        }
        const __m512 by = _mm512_set1_ps(inverse);
        const __mmask16 keep = finite ? 0xffff : 0;
        const __m512i q0 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x0, by));
        const __m512i q1 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x1, by));
        _mm_storeu_si128((__m128i *)(void *)dst->q, _mm512_cvtepi32_epi8(q0));
        _mm_storeu_si128((__m128i *)(void *)(dst->q + 16), _mm512_cvtepi32_epi8(q1));
        dst->sum[0] = _mm512_reduce_add_epi32(q0);
        dst->sum[1] = _mm512_reduce_add_epi32(q1);
        dst->sum32 = dst->sum[0] + dst->sum[1];
        dst->scale = scale;
        dst->mass = scale * (float)dst->sum32;
    }
}

static void rms_norm_avx512(float *dst, const float *x, const float *w, int n, float eps)
{
    const double sum = squares(x, n);
    const __m512 scale = _mm512_set1_ps((float)(1.0 / sqrt(sum / n + (double)eps)));
    for (int i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below((size_t)(n - i));
        const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
        _mm512_mask_storeu_ps(dst + i, m,
                              _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)));
    }
}

static void swiglu_avx512(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        const __m512 u = _mm512_maskz_loadu_ps(m, up + i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_mul_ps(silu16(g), u));
    }
}

CPU_TARGET_END

void tensor_kernels_init_avx512(struct tensor_kernels *k)
{
    k->dot_f32 = dot_f32_avx512;
    k->dot_f16 = dot_f16_avx512;
    k->dot_bf16 = dot_bf16_avx512;
    k->quantize = quantize_avx512;
    k->rms_norm = rms_norm_avx512;
    k->swiglu = swiglu_avx512;
#define K(name, ret, args)
#define LINEAR(name, ret, args) k->name = name##_avx512;
#include "tensor/kernels.def"
#undef K
}

#else

void tensor_kernels_init_avx512(struct tensor_kernels *k)
{
    (void)k;
}

#endif
