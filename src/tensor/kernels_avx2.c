/* kernels_avx2.c - lanes are eight rows, half of a tile; a register of weights holds four
 * columns of each row.  vpmaddubsw adds pairs of products to 16 bits: sums of a few stay
 * in range (n_add of struct format) before they widen to 32. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "cpu/target.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

#define INLINE static inline __attribute__((always_inline))

/* 32 columns of rows 8h .. 8h + 7: code of column 4v + c in byte 4r + c of w[v]. */
struct sub {
    __m256i w[8];
    __m256 scale[2], min;
};

/* As struct format of kernels_c.c; a constant wherever it is used.
 *
 *   n_add   most pair sums that fit 16 bits: 2 * 127 * (largest code) * n_add < 32768
 *   signs   codes are signed bytes: the sign moves to the activation */
struct format {
    int n_sub, n_scale, offset, has_min, n_add, signs;
    size_t tile_block_bytes;
    void (*decode)(struct sub *s, const uint8_t *block, int j, int h);
};

INLINE __m256 halves(const uint8_t *p, int h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * h)));
}

INLINE __m256i word(const uint8_t *p, int h)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * h));
}

INLINE void nibbles(struct sub *s, const uint8_t *qs, int h)
{
    const __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        const __m256i x = word(qs + TILE_WORD * v, h);
        s->w[v] = _mm256_and_si256(x, low);
        s->w[v + 4] = _mm256_and_si256(_mm256_srli_epi16(x, 4), low);
    }
}

/* Bit 4v + c of a row's dword goes to bit 4 of byte c of w[v]: copy its byte v / 2 four
 * times and test one bit in each. */
INLINE void fifth_bits(struct sub *s, const uint8_t *qh, int h)
{
    const __m256i x = word(qh, h), bit4 = _mm256_set1_epi8(16);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m256i spread =
            _mm256_add_epi8(_mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0,
                                             0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                            _mm256_set1_epi8((char)(v / 2)));
        const __m256i bit = _mm256_set1_epi32(v % 2 ? (int)0x80402010 : 0x08040201);
        const __m256i four = _mm256_shuffle_epi8(x, spread);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(four, bit), bit);
        s->w[v] = _mm256_or_si256(s->w[v], _mm256_and_si256(set, bit4));
    }
}

INLINE void decode_q4_0(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    nibbles(s, block + TILE_HALF, h);
}

INLINE void decode_q4_1(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    s->min = halves(block + TILE_HALF, h);
    nibbles(s, block + 2 * TILE_HALF, h);
}

INLINE void decode_q5_0(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    nibbles(s, block + TILE_HALF + TILE_WORD, h);
    fifth_bits(s, block + TILE_HALF, h);
}

INLINE void decode_q5_1(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    s->min = halves(block + TILE_HALF, h);
    nibbles(s, block + 2 * TILE_HALF + TILE_WORD, h);
    fifth_bits(s, block + 2 * TILE_HALF, h);
}

INLINE void decode_q8_0(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = word(block + TILE_HALF + TILE_WORD * v, h);
}

/* (x >> shift) & mask in each row's dword */
INLINE __m256i field(__m256i x, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srlv_epi32(x, _mm256_set1_epi32(shift)),
                            _mm256_set1_epi32(mask));
}

INLINE void scales_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const __m256i low = word(words, h), mid = word(words + TILE_WORD, h);
    const int shift = 8 * (j & 3);
    __m256i scale, min;
    if (j < 4) {
        scale = field(low, shift, 63);
        min = field(mid, shift, 63);
    } else {
        const __m256i both = word(words + 2 * TILE_WORD, h);
        scale = _mm256_or_si256(field(both, shift, 15), field(low, shift + 2, 48));
        min = _mm256_or_si256(field(both, shift + 4, 15), field(mid, shift + 2, 48));
    }
    s->scale[0] = _mm256_mul_ps(halves(block, h), _mm256_cvtepi32_ps(scale));
    s->min =
        _mm256_mul_ps(halves(block + TILE_HALF, h),
                      _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_setzero_si256(), min)));
}

INLINE void nibbles_k(struct sub *s, const uint8_t *qs, int j, int h)
{
    const __m256i low = _mm256_set1_epi8(15), shift = _mm256_set1_epi32(4 * (j & 1));
    qs += 8 * TILE_WORD * (j >> 1);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] =
            _mm256_and_si256(_mm256_srlv_epi32(word(qs + TILE_WORD * v, h), shift), low);
}

INLINE void decode_q4_k(struct sub *s, const uint8_t *block, int j, int h)
{
    scales_k(s, block, j, h);
    nibbles_k(s, block + 2 * TILE_HALF + 3 * TILE_WORD, j, h);
}

INLINE void decode_q5_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *qh = block + 2 * TILE_HALF + 3 * TILE_WORD;
    const __m256i shift = _mm256_set1_epi32(j), one = _mm256_set1_epi8(1);
    scales_k(s, block, j, h);
    nibbles_k(s, qh + 8 * TILE_WORD, j, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m256i bit =
            _mm256_and_si256(_mm256_srlv_epi32(word(qh + TILE_WORD * v, h), shift), one);
        s->w[v] = _mm256_or_si256(s->w[v], _mm256_slli_epi16(bit, 4));
    }
}

INLINE void decode_q6_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const int n = j >> 2, k = j & 3;
    const uint8_t *ql = block + TILE_WORD * (16 * n + 8 * (k & 1));
    const uint8_t *qh = block + TILE_WORD * (32 + 8 * n);
    const __m256i low = _mm256_set1_epi8(15), two = _mm256_set1_epi8(3);
    const __m256i nibble = _mm256_set1_epi32(4 * (k >> 1));
    const __m256i pair = _mm256_set1_epi32(2 * k);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m256i lo = _mm256_srlv_epi32(word(ql + TILE_WORD * v, h), nibble);
        const __m256i hi = _mm256_srlv_epi32(word(qh + TILE_WORD * v, h), pair);
        s->w[v] = _mm256_or_si256(_mm256_and_si256(lo, low),
                                  _mm256_slli_epi16(_mm256_and_si256(hi, two), 4));
    }
    const __m256 d = halves(block + TILE_WORD * 52, h);
    const __m256i scales = word(block + TILE_WORD * (48 + (j >> 1)), h);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { // byte 2j + i, sign extended
        const __m256i up = _mm256_set1_epi32(24 - 8 * ((2 * j + i) & 3));
        const __m256i scale = _mm256_srai_epi32(_mm256_sllv_epi32(scales, up), 24);
        s->scale[i] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale));
    }
}

/* Products of 4 columns added in pairs to 16 bits. */
INLINE __m256i pairs(const struct format f, __m256i w, const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    const __m256i x = _mm256_set1_epi32(four);
    if (f.signs)
        return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_maddubs_epi16(w, x);
}

/* Sum over columns 16i .. 16i + 15, without the offset. */
INLINE __m256i dot16(const struct format f, const struct sub *s, const int8_t *q, int i)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int v = 0; v < 4; v += f.n_add) {
        __m256i part = pairs(f, s->w[4 * i + v], q + 16 * i + 4 * v);
#pragma GCC unroll 4
        for (int u = v + 1; u < v + f.n_add; u++)
            part = _mm256_add_epi16(part, pairs(f, s->w[4 * i + u], q + 16 * i + 4 * u));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, one));
    }
    return sum;
}

/* scale * (code - offset) times 32 activations. */
INLINE __m256 dot_sub(const struct format f, const struct sub *s,
                      const struct act_block *x)
{
    __m256i lo = dot16(f, s, x->q, 0), hi = dot16(f, s, x->q, 1);
    if (f.n_scale == 2) {
        lo = _mm256_sub_epi32(lo, _mm256_set1_epi32(f.offset * x->sum[0]));
        hi = _mm256_sub_epi32(hi, _mm256_set1_epi32(f.offset * x->sum[1]));
        return _mm256_fmadd_ps(_mm256_cvtepi32_ps(hi), s->scale[1],
                               _mm256_mul_ps(_mm256_cvtepi32_ps(lo), s->scale[0]));
    }
    hi = _mm256_add_epi32(hi, lo);
    if (f.offset)
        hi = _mm256_sub_epi32(hi, _mm256_set1_epi32(f.offset * x->sum32));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(hi), s->scale[0]);
}

/* The first n_row of 16 lanes. */
INLINE void store_rows(float *dst, __m256 lo, __m256 hi, int n_row)
{
    float all[TILE_ROWS];
    _mm256_storeu_ps(all, lo);
    _mm256_storeu_ps(all + 8, hi);
    memcpy(dst, all, (size_t)n_row * sizeof *dst);
}

/* Weights come from memory, far ahead of what the hardware fetches by itself when blocks
 * take many instructions; reading ahead of the matrix is harmless. */
INLINE void prefetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)p + 4096 + i, _MM_HINT_T0);
}

INLINE void dot_tokens(const int n_tok, const struct format f, float *dst, size_t ld,
                       int n_row, const uint8_t *tile, const struct act *a, int tok)
{
    const int n_block = a->n_in / 32;
    const size_t step = (size_t)act_group(a, tok);
    const size_t sub_bytes = f.tile_block_bytes / (size_t)f.n_sub;
    const struct act_block *x = act_at(a, tok, 0);
    __m256 acc[4][2];
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++)
        acc[t][0] = acc[t][1] = _mm256_setzero_ps();
    for (int b = 0; b < n_block; b += f.n_sub, tile += f.tile_block_bytes)
        for (int j = 0; j < f.n_sub; j++, x += step) {
            prefetch(tile + (size_t)j * sub_bytes, sub_bytes);
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                struct sub s;
                f.decode(&s, tile, j, h);
#pragma GCC unroll 4
                for (int t = 0; t < n_tok; t++) {
                    acc[t][h] = _mm256_fmadd_ps(dot_sub(f, &s, x + t),
                                                _mm256_set1_ps(x[t].scale), acc[t][h]);
                    if (f.has_min)
                        acc[t][h] =
                            _mm256_fmadd_ps(s.min, _mm256_set1_ps(x[t].mass), acc[t][h]);
                }
            }
        }
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++)
        store_rows(dst + (size_t)t * ld, acc[t][0], acc[t][1], n_row);
}

INLINE void dot_any(const struct format f, float *dst, size_t ld, int n_row,
                    const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    for (; n_tok >= 4; n_tok -= 4, tok += 4, dst += 4 * ld)
        dot_tokens(4, f, dst, ld, n_row, tile, a, tok);
    if (n_tok & 2) {
        dot_tokens(2, f, dst, ld, n_row, tile, a, tok);
        dst += 2 * ld;
        tok += 2;
    }
    if (n_tok & 1)
        dot_tokens(1, f, dst, ld, n_row, tile, a, tok);
}

/* DOT(name, bytes of a file block, n_sub, n_scale, offset, has_min, n_add, signs) */
#define DOT(name, bytes, n_sub, n_scale, offset, has_min, n_add, signs)                  \
    static void dot_##name##_avx2(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                                  const struct act *a, int tok, int n_tok)               \
    {                                                                                    \
        const struct format f = {n_sub, n_scale,           offset,       has_min, n_add, \
                                 signs, TILE_ROWS * bytes, decode_##name};               \
        dot_any(f, dst, ld, n_row, tile, a, tok, n_tok);                                 \
    }
DOT(q4_0, 18, 1, 1, 8, 0, 4, 0)
DOT(q4_1, 20, 1, 1, 0, 1, 4, 0)
DOT(q5_0, 22, 1, 1, 16, 0, 4, 0)
DOT(q5_1, 24, 1, 1, 0, 1, 4, 0)
DOT(q8_0, 34, 1, 1, 0, 0, 1, 1)
DOT(q4_k, 144, 8, 1, 0, 1, 4, 0)
DOT(q5_k, 176, 8, 1, 0, 1, 4, 0)
DOT(q6_k, 210, 8, 2, 32, 0, 2, 0)
#undef DOT

INLINE __m256 column_f32(const uint8_t *tile, size_t i, int h)
{
    return _mm256_castsi256_ps(word(tile + TILE_WORD * i, h));
}

INLINE __m256 column_f16(const uint8_t *tile, size_t i, int h)
{
    return halves(tile + TILE_HALF * i, h);
}

INLINE __m256 column_bf16(const uint8_t *tile, size_t i, int h)
{
    const __m128i x =
        _mm_loadu_si128((const __m128i *)(const void *)(tile + TILE_HALF * i + 16 * h));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

typedef __m256 column_fn(const uint8_t *tile, size_t i, int h);

/* Four partial sums, by column modulo 4. */
INLINE void dot_columns(column_fn *column, float *dst, size_t ld, int n_row,
                        const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    const size_t n_in = (size_t)a->n_in;
    for (int t = 0; t < n_tok; t++) {
        const float *x = a->x + (size_t)(tok + t) * n_in;
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
        store_rows(dst + (size_t)t * ld,
                   _mm256_add_ps(_mm256_add_ps(acc[0][0], acc[1][0]),
                                 _mm256_add_ps(acc[2][0], acc[3][0])),
                   _mm256_add_ps(_mm256_add_ps(acc[0][1], acc[1][1]),
                                 _mm256_add_ps(acc[2][1], acc[3][1])),
                   n_row);
    }
}

#define DOT(name)                                                                        \
    static void dot_##name##_avx2(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                                  const struct act *a, int tok, int n_tok)               \
    {                                                                                    \
        dot_columns(column_##name, dst, ld, n_row, tile, a, tok, n_tok);                 \
    }
DOT(f32)
DOT(f16)
DOT(bf16)
#undef DOT

static void rms_norm_avx2(float *dst, const float *x, const float *w, int n, float eps)
{
    __m256d sum4[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    double sum = 0, part[4];
    int i = 0;
    for (; i + 8 <= n; i += 8)
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            const __m256d v = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4 * h));
            sum4[h] = _mm256_fmadd_pd(v, v, sum4[h]);
        }
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    _mm256_storeu_pd(part, _mm256_add_pd(sum4[0], sum4[1]));
    sum += (part[0] + part[1]) + (part[2] + part[3]);
    const float scale = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (i = 0; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i),
                                                              _mm256_set1_ps(scale)),
                                                _mm256_loadu_ps(w + i)));
    for (; i < n; i++)
        dst[i] = x[i] * scale * w[i];
}

/* See kernels.h.  min and max return their second operand for NaN. */
INLINE __m256 exp_held8(__m256 x)
{
    x = _mm256_max_ps(_mm256_set1_ps(-KERNEL_EXP_MAX), x);
    x = _mm256_min_ps(_mm256_set1_ps(KERNEL_EXP_MAX), x);
    const __m256 round = _mm256_set1_ps(KERNEL_ROUND);
    const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(KERNEL_LOG2E), round);
    const __m256 n = _mm256_sub_ps(shifted, round);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(KERNEL_LN2_HI), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(KERNEL_LN2_LO), r);
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
    const __m256i exponent =
        _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

INLINE __m256 swiglu8(__m256 g, __m256 u)
{
    const __m256 e = exp_held8(_mm256_sub_ps(_mm256_setzero_ps(), g));
    return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0f), e)), u);
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

INLINE __m256i magnitudes(const float *x)
{
    return _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x)),
                            _mm256_set1_epi32(0x7fffffff));
}

INLINE uint32_t reduce_max(__m256i x)
{
    __m128i y = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    y = _mm_max_epu32(y, _mm_shuffle_epi32(y, 0x4e));
    y = _mm_max_epu32(y, _mm_shuffle_epi32(y, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(y);
}

/* 16 codes, and their sum. */
INLINE int32_t quantize16(int8_t *q, const float *x, float inverse)
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
    *k = (struct tensor_kernels){
#define K(name, ret, args) .name = name##_avx2,
#include "tensor/kernels.def"
#undef K
    };
}

#else

void tensor_kernels_init_avx2(struct tensor_kernels *k)
{
    (void)k;
}

#endif
