/* kernels_avx2.c - rotation, conversion and packing for AVX2. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>
#include <string.h>

#include "codec/avx2.h"
#include "codec/layout.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

/* ---- rotation ---- */

/* x with the sign flipped in lanes whose mask is the sign bit. */
CPU_INLINE __m256 flip_lanes(__m256 x, __m256i mask)
{
    return _mm256_xor_ps(x, _mm256_castsi256_ps(mask));
}

/* Butterfly between lanes i and i ^ half; y is x with these lanes exchanged, mask the
 * sign bit in lanes that have bit `half`: y - x = -x + y there. */
CPU_INLINE __m256 butterfly(__m256 x, __m256 y, __m256i mask)
{
    return _mm256_add_ps(flip_lanes(x, mask), y);
}

CPU_INLINE __m256 butterflies_in_lanes(__m256 x, int inner)
{
    const int s = INT32_MIN;
    x = butterfly(x, _mm256_permute_ps(x, 0xB1),
                  _mm256_setr_epi32(0, s, 0, s, 0, s, 0, s));
    x = butterfly(x, _mm256_permute_ps(x, 0x4E),
                  _mm256_setr_epi32(0, 0, s, s, 0, 0, s, s));
    if (inner >= 8)
        x = butterfly(x, _mm256_permute2f128_ps(x, x, 1),
                      _mm256_setr_epi32(0, 0, 0, 0, s, s, s, s));
    return x;
}

/* The signs of vector i of a row: lane l flips if bit 8 i + l is set. */
CPU_INLINE __m256 flip(__m256 x, int i)
{
    const int word = (int)(tq_sign[i / 8] >> (8 * (i % 8)) & 0xff);
    const __m256i bits = _mm256_sllv_epi32(
        _mm256_set1_epi32(word), _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24));
    return flip_lanes(x, _mm256_and_si256(bits, _mm256_set1_epi32(INT32_MIN)));
}

/* Butterflies over distances 1 .. inner / 2, inner a power of two, at least 4, of a row
 * of d floats, from x to y. */
CPU_INLINE void butterflies(float *y, const float *x, int d, int inner, bool back)
{
    for (int i = 0; i < d / 8; i++) {
        const __m256 v = _mm256_loadu_ps(x + 8 * i);
        _mm256_storeu_ps(y + 8 * i, butterflies_in_lanes(back ? v : flip(v, i), inner));
    }
    int half = 8;
    for (; 4 * half <= inner; half *= 4) /* two distances in one pass */
        for (int i = 0; i < d; i += 4 * half)
            for (int j = i; j < i + half; j += 8) {
                const __m256 a = _mm256_loadu_ps(y + j),
                             b = _mm256_loadu_ps(y + j + half),
                             c = _mm256_loadu_ps(y + j + 2 * half),
                             e = _mm256_loadu_ps(y + j + 3 * half);
                const __m256 ab = _mm256_add_ps(a, b), ba = _mm256_sub_ps(a, b);
                const __m256 ce = _mm256_add_ps(c, e), ec = _mm256_sub_ps(c, e);
                _mm256_storeu_ps(y + j, _mm256_add_ps(ab, ce));
                _mm256_storeu_ps(y + j + half, _mm256_add_ps(ba, ec));
                _mm256_storeu_ps(y + j + 2 * half, _mm256_sub_ps(ab, ce));
                _mm256_storeu_ps(y + j + 3 * half, _mm256_sub_ps(ba, ec));
            }
    for (; half < inner; half *= 2)
        for (int i = 0; i < d; i += 2 * half)
            for (int j = i; j < i + half; j += 8) {
                const __m256 a = _mm256_loadu_ps(y + j),
                             b = _mm256_loadu_ps(y + j + half);
                _mm256_storeu_ps(y + j, _mm256_add_ps(a, b));
                _mm256_storeu_ps(y + j + half, _mm256_sub_ps(a, b));
            }
}

CPU_INLINE void rotate_pow2(float *x, int d, bool back)
{
    butterflies(x, x, d, d, back);
    const __m256 norm = _mm256_set1_ps(1.0f / sqrtf((float)d));
    for (int i = 0; i < d / 8; i++) {
        const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), norm);
        _mm256_storeu_ps(x + 8 * i, back ? flip(v, i) : v);
    }
}

/* d = order * inner, inner 4, 8 or 16: a vector is two rows of the base matrix, one, or
 * half of one.  Column j of the sign bits is shifted to bit 31. */
CPU_INLINE void rotate_base(float *x, int d, int order, int inner, const uint32_t *matrix,
                            bool back)
{
    float t[192];
    butterflies(t, x, d, inner, back);
    const __m256 norm = _mm256_set1_ps(1.0f / sqrtf((float)d));
    const __m256i sign = _mm256_set1_epi32(INT32_MIN);
    for (int i = 0; i < d / 8; i++) {
        const int row = 8 * i / inner, next = (8 * i + 4) / inner;
        const __m256i bits = _mm256_set_m128i(_mm_set1_epi32((int)matrix[next]),
                                              _mm_set1_epi32((int)matrix[row]));
        const float *from = t + 8 * i % inner;
        __m256 sum = _mm256_setzero_ps();
        for (int j = 0; j < order; j++, from += inner) {
            const __m256i negate =
                _mm256_and_si256(_mm256_sll_epi32(bits, _mm_cvtsi32_si128(31 - j)), sign);
            const __m256 v = inner == 4 ? _mm256_broadcast_ps((const void *)from)
                                        : _mm256_loadu_ps(from);
            sum = _mm256_add_ps(sum, flip_lanes(v, negate));
        }
        sum = _mm256_mul_ps(sum, norm);
        _mm256_storeu_ps(x + 8 * i, back ? flip(sum, i) : sum);
    }
}

CPU_INLINE void rotate_rows(float *x, int d, int n, bool back)
{
    for (int i = 0; i < n; i++, x += d)
        switch (d) {
        case 128:
            rotate_pow2(x, 128, back);
            break;
        case 64:
        case 256:
        case 512:
            rotate_pow2(x, d, back);
            break;
        case 80:
            rotate_base(x, 80, 20, 4, tq_hadamard20, back);
            break;
        case 96:
            rotate_base(x, 96, 12, 8, tq_hadamard12, back);
            break;
        case 112:
            rotate_base(x, 112, 28, 4, tq_hadamard28, back);
            break;
        default:
            rotate_base(x, 192, 12, 16, tq_hadamard12, back);
        }
}

void tq_rotate_avx2(float *x, int d, int n)
{
    rotate_rows(x, d, n, false);
}

void tq_unrotate_avx2(float *x, int d, int n)
{
    rotate_rows(x, d, n, true);
}

/* ---- conversion ---- */

CPU_INLINE __m128i to_halves(__m256 v)
{
    const __m256 most = _mm256_set1_ps(65504.0f), least = _mm256_set1_ps(-65504.0f);
    const __m256i magnitude =
        _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(INT32_MAX));
    const __m256i special =
        _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f7fffff)); // NaN and infinity
    const __m256 finite = _mm256_max_ps(_mm256_min_ps(v, most), least);
    return _mm256_cvtps_ph(_mm256_blendv_ps(finite, v, _mm256_castsi256_ps(special)),
                           _MM_FROUND_TO_NEAREST_INT);
}

void tq_to_f16_avx2(uint16_t *out, const float *x, int n)
{
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(out + i), to_halves(_mm256_loadu_ps(x + i)));
    if (i < n) {
        uint16_t rest[8];
        _mm_storeu_si128((void *)rest,
                         to_halves(_mm256_maskload_ps(x + i, tq_first_lanes(n - i))));
        memcpy(out + i, rest, (size_t)(n - i) * 2);
    }
}

/* Rows of eight halves to columns. */
CPU_INLINE void transpose8(__m128i x[8])
{
    __m128i y[8];
    TQ_UNROLL
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm_unpacklo_epi16(x[i], x[i + 1]);
        y[i + 1] = _mm_unpackhi_epi16(x[i], x[i + 1]);
    }
    TQ_UNROLL
    for (int i = 0; i < 8; i += 4) {
        x[i] = _mm_unpacklo_epi32(y[i], y[i + 2]);
        x[i + 1] = _mm_unpackhi_epi32(y[i], y[i + 2]);
        x[i + 2] = _mm_unpacklo_epi32(y[i + 1], y[i + 3]);
        x[i + 3] = _mm_unpackhi_epi32(y[i + 1], y[i + 3]);
    }
    TQ_UNROLL
    for (int i = 0; i < 4; i++) {
        y[2 * i] = _mm_unpacklo_epi64(x[i], x[i + 4]);
        y[2 * i + 1] = _mm_unpackhi_epi64(x[i], x[i + 4]);
    }
    TQ_UNROLL
    for (int i = 0; i < 8; i++)
        x[i] = y[i];
}

void tq_transpose_avx2(uint16_t *out, const uint16_t *rows, int d)
{
    for (int j = 0; j < TQ_PAGE_TOKENS; j += 8)
        for (int i = 0; i < d; i += 8) {
            __m128i x[8];
            TQ_UNROLL
            for (int k = 0; k < 8; k++)
                x[k] = _mm_loadu_si128((const void *)(rows + (j + k) * d + i));
            transpose8(x);
            TQ_UNROLL
            for (int k = 0; k < 8; k++)
                _mm_storeu_si128((void *)(out + (i + k) * TQ_PAGE_TOKENS + j), x[k]);
        }
}

/* ---- codes to pages ---- */

/* Bytes y[c] of 32 tokens become dwords of y[0..3]; a 128-bit lane is a tile. */
CPU_INLINE void store_dwords(uint8_t *out, int tile_bytes, const __m256i y[4])
{
    const __m256i a = _mm256_unpacklo_epi8(y[0], y[1]),
                  b = _mm256_unpackhi_epi8(y[0], y[1]);
    const __m256i c = _mm256_unpacklo_epi8(y[2], y[3]),
                  e = _mm256_unpackhi_epi8(y[2], y[3]);
    const __m256i r[4] = {_mm256_unpacklo_epi16(a, c), _mm256_unpackhi_epi16(a, c),
                          _mm256_unpacklo_epi16(b, e), _mm256_unpackhi_epi16(b, e)};
    TQ_UNROLL
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((void *)(out + 16 * i), _mm256_castsi256_si128(r[i]));
        _mm_storeu_si128((void *)(out + tile_bytes + 16 * i),
                         _mm256_extracti128_si256(r[i], 1));
    }
}

CPU_INLINE void store_words(uint8_t *out, int tile_bytes, __m256i y0, __m256i y1)
{
    const __m256i r[2] = {_mm256_unpacklo_epi8(y0, y1), _mm256_unpackhi_epi8(y0, y1)};
    TQ_UNROLL
    for (int i = 0; i < 2; i++) {
        _mm_storeu_si128((void *)(out + 16 * i), _mm256_castsi256_si128(r[i]));
        _mm_storeu_si128((void *)(out + tile_bytes + 16 * i),
                         _mm256_extracti128_si256(r[i], 1));
    }
}

/* One array of two tiles: fields of b bits, code >> shift, in words. */
CPU_INLINE void pack_array(uint8_t *out, int tile_bytes, const uint8_t *code, int word,
                           int b, int shift, int d)
{
    const int rows = d * b / word, per_byte = 8 / b;
    const __m256i mask = _mm256_set1_epi8((char)((1 << b) - 1));
    for (int n = 0; n < rows; n++) {
        __m256i y[4];
        TQ_UNROLL
        for (int c = 0; c < word / 8; c++) {
            y[c] = _mm256_setzero_si256();
            TQ_UNROLL
            for (int f = 0; f < per_byte; f++) {
                const int t = rows * (per_byte * c + f) + n;
                __m256i x = _mm256_loadu_si256((const void *)(code + t * TQ_PAGE_TOKENS));
                x = _mm256_and_si256(_mm256_srli_epi16(x, shift), mask);
                y[c] = _mm256_or_si256(y[c], _mm256_slli_epi16(x, b * f));
            }
        }
        if (word == 32)
            store_dwords(out + 64 * n, tile_bytes, y);
        else
            store_words(out + 32 * n, tile_bytes, y[0], y[1]);
    }
}

CPU_INLINE void pack_bytes(uint8_t *out, const uint8_t *code, int d)
{
    for (int n = 0; n < d / 4; n++) {
        __m256i y[4];
        TQ_UNROLL
        for (int c = 0; c < 4; c++)
            y[c] =
                _mm256_loadu_si256((const void *)(code + (4 * n + c) * TQ_PAGE_TOKENS));
        store_dwords(out + 64 * n, 16 * d, y);
    }
}

void tq_pack_k_avx2(uint8_t *out, const uint8_t *code, int bits, int d)
{
    const int tile = 2 * bits * d;
    for (int pair = 0; pair < 2; pair++, out += 2 * tile, code += 32) {
        if (bits == 8)
            pack_bytes(out, code, d);
        else if (bits == 4)
            pack_array(out, tile, code, 32, 4, 0, d);
        else if (bits == 2)
            pack_array(out, tile, code, 32, 2, 0, d);
        else {
            pack_array(out, tile, code, 32, 2, 1, d);
            if (tq_v_word_bits(d) == 32)
                pack_array(out + 4 * d, tile, code, 32, 1, 0, d);
            else
                pack_array(out + 4 * d, tile, code, 16, 1, 0, d);
        }
    }
}

/* The fields of eight tokens in each qword x, one byte a token, as a dword: two b-bit
 * fields in a byte. */
CPU_INLINE __m256i eight_tokens(__m256i x, int b, int shift)
{
    if (b < 4)
        x = _mm256_and_si256(_mm256_srli_epi16(x, shift),
                             _mm256_set1_epi8((char)((1 << b) - 1)));
    return _mm256_or_si256(x, _mm256_srli_epi64(x, 32 - b));
}

/* q[k] lane l <- tokens 8 k .. 8 k + 7 of the row l * step rows after code. */
CPU_INLINE void eight_lanes(__m256i q[4], const uint8_t *code, int step, int b, int shift)
{
    __m256i z[4], t[4];
    TQ_UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *row = code + 2 * i * step * TQ_PAGE_TOKENS;
        const __m256i even = _mm256_loadu_si256((const void *)row),
                      odd =
                          _mm256_loadu_si256((const void *)(row + step * TQ_PAGE_TOKENS));
        z[i] =
            _mm256_blend_epi32(eight_tokens(even, b, shift),
                               _mm256_slli_epi64(eight_tokens(odd, b, shift), 32), 0xAA);
    }
    TQ_UNROLL
    for (int i = 0; i < 4; i += 2) {
        t[i] = _mm256_unpacklo_epi64(z[i], z[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi64(z[i], z[i + 1]);
    }
    TQ_UNROLL
    for (int i = 0; i < 2; i++) {
        q[i] = _mm256_permute2x128_si256(t[i], t[i + 2], 0x20);
        q[i + 2] = _mm256_permute2x128_si256(t[i], t[i + 2], 0x31);
    }
}

/* The blocks of 32 / b tokens of 32 tokens. */
CPU_INLINE void pack_value_array(uint8_t *out, const uint8_t *code, int b, int shift,
                                 int d)
{
    const int rows = d / 16;
    for (int i = 0; i < 2 * rows; i++) {
        __m256i q[4];
        eight_lanes(q, code + (i / 2 + i % 2 * 8 * rows) * TQ_PAGE_TOKENS, rows, b,
                    shift);
        if (b < 4)
            for (int k = 0; k < 4; k += 2)
                q[k] = _mm256_or_si256(q[k], _mm256_slli_epi64(q[k + 1], 2 * b));
        if (b < 2)
            q[0] = _mm256_or_si256(q[0], _mm256_slli_epi64(q[2], 4 * b));
        for (int k = 0; k < b; k++)
            _mm256_storeu_si256((void *)(out + 4 * d * k + 32 * i), q[4 / b * k]);
    }
}

/* Rows of eight dwords to columns. */
CPU_INLINE void transpose_dwords(__m256i x[8])
{
    __m256i y[8], z[8];
    TQ_UNROLL
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
    }
    TQ_UNROLL
    for (int i = 0; i < 8; i += 4) {
        z[i] = _mm256_unpacklo_epi64(y[i], y[i + 2]);
        z[i + 1] = _mm256_unpackhi_epi64(y[i], y[i + 2]);
        z[i + 2] = _mm256_unpacklo_epi64(y[i + 1], y[i + 3]);
        z[i + 3] = _mm256_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    TQ_UNROLL
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2x128_si256(z[i], z[i + 4], 0x20);
        x[i + 4] = _mm256_permute2x128_si256(z[i], z[i + 4], 0x31);
    }
}

/* turbo8: groups of four tokens, of 32 tokens. */
CPU_INLINE void pack_value_bytes(uint8_t *out, const uint8_t *code, int d)
{
    for (int i = 0; i < d; i += 8) {
        __m256i x[8];
        TQ_UNROLL
        for (int k = 0; k < 8; k++)
            x[k] = _mm256_loadu_si256((const void *)(code + (i + k) * TQ_PAGE_TOKENS));
        transpose_dwords(x);
        TQ_UNROLL
        for (int k = 0; k < 8; k++)
            _mm256_storeu_si256((void *)(out + 4 * (k * d + i)), x[k]);
    }
}

void tq_pack_v_avx2(uint8_t *out, const uint8_t *code, int bits, int d)
{
    for (int half = 0; half < 2; half++, code += 32, out += 4 * bits * d) {
        if (bits == 8)
            pack_value_bytes(out, code, d);
        else if (bits == 4)
            pack_value_array(out, code, 4, 0, d);
        else if (bits == 2)
            pack_value_array(out, code, 2, 0, d);
        else {
            pack_value_array(out, code, 2, 1, d);
            pack_value_array(out + 8 * d, code, 1, 0, d);
        }
    }
}

CPU_TARGET_END

#endif
