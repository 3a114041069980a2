/* kernels_avx2.c - products (blocks_avx2.h), norms and activations for AVX2. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "cpu/target.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

#include "tensor/blocks_avx2.h"
#include "tensor/floats_avx2.h"

#define DOT(name, bytes, n_sub, n_scale, offset, n_min, n_add, signs, levels, factors)   \
    static void dot_##name##_avx2(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                                  const struct act *a, int tok, int n_tok)               \
    {                                                                                    \
        const struct format f = {                                                        \
            n_sub,   n_scale,           offset,       n_min, n_add, signs, levels,       \
            factors, TILE_ROWS * bytes, decode_##name};                                  \
        dot_any(f, dst, ld, n_row, tile, a, tok, n_tok);                                 \
    }
DOT_FORMATS(DOT)
#undef DOT

CPU_INLINE __m256 column_f32(const uint8_t *tile, size_t i, int h)
{
    return _mm256_castsi256_ps(word(tile + TILE_WORD * i, h));
}

CPU_INLINE __m256 column_f16(const uint8_t *tile, size_t i, int h)
{
    return halves(tile + TILE_HALF * i, h);
}

CPU_INLINE __m256 column_bf16(const uint8_t *tile, size_t i, int h)
{
    const __m128i x =
        _mm_loadu_si128((const __m128i *)(const void *)(tile + TILE_HALF * i + 16 * h));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

typedef __m256 column_fn(const uint8_t *tile, size_t i, int h);

/* Four partial sums, by column modulo 4. */
CPU_INLINE void dot_columns(column_fn *column, float *dst, int n_row, const uint8_t *tile,
                            const float *x, size_t n_in)
{
    __m256 acc[4][2];
    size_t i = 0;
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++)
        acc[c][0] = acc[c][1] = _mm256_setzero_ps();
    for (; i + 4 <= n_in; i += 4)
#pragma GCC unroll 4
        for (size_t c = 0; c < 4; c++) {
            const __m256 by = _mm256_set1_ps(x[i + c]);
            acc[c][0] = _mm256_fmadd_ps(column(tile, i + c, 0), by, acc[c][0]);
            acc[c][1] = _mm256_fmadd_ps(column(tile, i + c, 1), by, acc[c][1]);
        }
#pragma GCC unroll 3
    for (size_t c = 0; c < 3; c++)
        if (i + c < n_in) {
            const __m256 by = _mm256_set1_ps(x[i + c]);
            acc[c][0] = _mm256_fmadd_ps(column(tile, i + c, 0), by, acc[c][0]);
            acc[c][1] = _mm256_fmadd_ps(column(tile, i + c, 1), by, acc[c][1]);
        }
    store_rows(dst,
               _mm256_add_ps(_mm256_add_ps(acc[0][0], acc[1][0]),
                             _mm256_add_ps(acc[2][0], acc[3][0])),
               _mm256_add_ps(_mm256_add_ps(acc[0][1], acc[1][1]),
                             _mm256_add_ps(acc[2][1], acc[3][1])),
               n_row);
}

/* The same sums for four tokens, one after the other: there are registers for one. */
CPU_INLINE void dot_columns4(column_fn *column, float *dst, size_t ld, int n_row,
                             const uint8_t *tile, const float *x, size_t n_in)
{
    __m256 sum[4][4][2]; // [column modulo 4][token][half]
    for (size_t c = 0; c < 4; c++) {
        __m256 acc[4][2];
#pragma GCC unroll 4
        for (int t = 0; t < 4; t++)
            acc[t][0] = acc[t][1] = _mm256_setzero_ps();
        for (size_t i = c; i < n_in; i += 4) {
            const __m256 lo = column(tile, i, 0), hi = column(tile, i, 1);
#pragma GCC unroll 4
            for (size_t t = 0; t < 4; t++) {
                const __m256 by = _mm256_set1_ps(x[t * n_in + i]);
                acc[t][0] = _mm256_fmadd_ps(lo, by, acc[t][0]);
                acc[t][1] = _mm256_fmadd_ps(hi, by, acc[t][1]);
            }
        }
        memcpy(sum[c], acc, sizeof acc);
    }
    for (size_t t = 0; t < 4; t++) {
        __m256 all[2];
        for (int h = 0; h < 2; h++)
            all[h] = _mm256_add_ps(_mm256_add_ps(sum[0][t][h], sum[1][t][h]),
                                   _mm256_add_ps(sum[2][t][h], sum[3][t][h]));
        store_rows(dst + t * ld, all[0], all[1], n_row);
    }
}

CPU_INLINE void dot_columns_any(column_fn *column, float *dst, size_t ld, int n_row,
                                const uint8_t *tile, const struct act *a, int tok,
                                int n_tok)
{
    const size_t n_in = (size_t)a->n_in;
    const float *x = a->x + (size_t)tok * n_in;
    for (; n_tok >= 4; n_tok -= 4, x += 4 * n_in, dst += 4 * ld)
        dot_columns4(column, dst, ld, n_row, tile, x, n_in);
    for (; n_tok > 0; n_tok--, x += n_in, dst += ld)
        dot_columns(column, dst, n_row, tile, x, n_in);
}

#define DOT(name)                                                                        \
    static void dot_##name##_avx2(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                                  const struct act *a, int tok, int n_tok)               \
    {                                                                                    \
        dot_columns_any(column_##name, dst, ld, n_row, tile, a, tok, n_tok);             \
    }
DOT(f32)
DOT(f16)
DOT(bf16)
#undef DOT

static void rms_norm_avx2(float *dst, const float *x, const float *w, int n, float eps)
{
    const float scale = (float)(1.0 / sqrt(squares(x, n) / n + (double)eps));
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i),
                                                              _mm256_set1_ps(scale)),
                                                _mm256_loadu_ps(w + i)));
    for (; i < n; i++)
        dst[i] = x[i] * scale * w[i];
}

CPU_INLINE __m256 swiglu8(__m256 g, __m256 u)
{
    return _mm256_mul_ps(silu8(g), u);
}

static void swiglu_avx2(float *dst, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i,
                         swiglu8(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i < n) {
        float g[8] = {0}, u[8] = {0};
        memcpy(g, gate + i, (n - i) * sizeof *g);
        memcpy(u, up + i, (n - i) * sizeof *u);
        _mm256_storeu_ps(g, swiglu8(_mm256_loadu_ps(g), _mm256_loadu_ps(u)));
        memcpy(dst + i, g, (n - i) * sizeof *g);
    }
}

CPU_INLINE __m256i magnitudes(const float *x)
{
    return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)),
                            _mm256_set1_epi32(0x7fffffff));
}

CPU_INLINE uint32_t reduce_max(__m256i x)
{
    __m128i y = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    y = _mm_max_epu32(y, _mm_shuffle_epi32(y, 0x4e));
    y = _mm_max_epu32(y, _mm_shuffle_epi32(y, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(y);
}

/* 16 codes, and their sum. */
CPU_INLINE int32_t quantize16(int8_t *q, const float *x, float inverse)
{
    const __m256 by = _mm256_set1_ps(inverse);
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), by));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8), by));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words),
                                          _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(void *)q, bytes);
    const __m256i two = _mm256_add_epi32(a, b);
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
}

static void quantize_avx2(const struct act *a, int tok)
{
    const float *x = a->x + (size_t)tok * (size_t)a->n_in, *end = x + a->n_in;
    const size_t step = (size_t)act_group(a, tok);
    for (struct act_block *dst = act_at(a, tok, 0); x < end; x += 32, dst += step) {
        const uint32_t max_bits = reduce_max(
            _mm256_max_epu32(_mm256_max_epu32(magnitudes(x), magnitudes(x + 8)),
                             _mm256_max_epu32(magnitudes(x + 16), magnitudes(x + 24))));
        float max;
        memcpy(&max, &max_bits, sizeof max);
        if (max_bits < 0x7f800000 && max >= 0x1p-120f) {
            dst->scale = max / 127.0f;
            dst->sum[0] = quantize16(dst->q, x, 127.0f / max);
            dst->sum[1] = quantize16(dst->q + 16, x + 16, 127.0f / max);
            dst->sum32 = dst->sum[0] + dst->sum[1];
            dst->mass = dst->scale * (float)dst->sum32;
        } else {
            *dst = (struct act_block){.scale = max_bits < 0x7f800000 ? 0.0f : NAN};
            dst->mass = dst->scale;
        }
    }
}

CPU_TARGET_END

void tensor_kernels_init_avx2(struct tensor_kernels *k)
{
    k->dot_f32 = dot_f32_avx2;
    k->dot_f16 = dot_f16_avx2;
    k->dot_bf16 = dot_bf16_avx2;
#define DOT(name, ...) k->dot_##name = dot_##name##_avx2;
    DOT_FORMATS(DOT)
#undef DOT
    k->quantize = quantize_avx2;
    k->rms_norm = rms_norm_avx2;
    k->swiglu = swiglu_avx2;
#define K(name, ret, args)
#define LINEAR(name, ret, args) k->name = name##_avx2;
#include "tensor/kernels.def"
#undef K
}

#else

void tensor_kernels_init_avx2(struct tensor_kernels *k)
{
    (void)k;
}

#endif
