/* dot_avx2.h - products of quantised weights for AVX2 and, if DOT_VNNI is defined, for
 * AVX-VNNI.  Included inside a target; the types are in blocks_avx2.h.
 *
 * Lanes are eight rows, half of a tile; a register of weights holds four columns of each
 * row.  Without VNNI, vpmaddubsw adds pairs of products to 16 bits: sums of a few stay in
 * range (n_add of struct format) before they widen to 32. */
#ifndef TENSOR_DOT_AVX2_H
#define TENSOR_DOT_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "tensor/matrix.h"
#include "tensor/tile.h"

#include "tensor/prefetch.h"

/* 32 columns of rows 8h .. 8h + 7: code of column 4v + c in byte 4r + c of w[v].  Where
 * the format has levels, codes are looked up in `level` first, twice 16 bytes. */
struct sub {
    __m256i w[8], level;
    __m256 scale[2], min[2];
    __m256i factor, min_factor;
};

/* As struct format of kernels_c_blocks.c; a constant wherever it is used.
 *
 *   n_add   most pair sums that fit 16 bits: 2 * 127 * (largest code) * n_add < 32768
 *   signs   codes are signed bytes: the sign moves to the activation
 *   factors with two scales or mins, these are scale[0] and min[0] times integers of 16
 *           bits, the first in the low half of a dword of (min_)factor */
struct format {
    int n_sub, n_scale, offset, n_min, n_add, signs, levels, factors;
    size_t tile_block_bytes;
    void (*decode)(struct sub *s, const uint8_t *block, int j, int h);
};

CPU_INLINE __m256 halves(const uint8_t *p, int h)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 16 * h)));
}

CPU_INLINE __m256i word(const uint8_t *p, int h)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(p + 32 * h));
}

/* Looking codes up where they are used keeps few registers busy: GCC does not move a
 * shuffle, as it moves shifts and masks. */
CPU_INLINE __m256i code(const struct format f, const struct sub *s, int v)
{
    return f.levels ? _mm256_shuffle_epi8(s->level, s->w[v]) : s->w[v];
}

/* The order of words, for the same reason: w[v] and w[v + 4] are nibbles of the same
 * bytes in blocks of 32. */
CPU_INLINE int word_at(const struct format f, int i)
{
    return f.levels && f.n_scale == 1 ? i / 2 + i % 2 * 4 : i;
}

CPU_INLINE __m256i four_columns(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}

#if defined(DOT_VNNI)

/* Products of 4 columns, added. */
CPU_INLINE __m256i add_products(const struct format f, __m256i sum, __m256i w, __m256i x)
{
    if (f.signs) {
        x = _mm256_sign_epi8(x, w);
        w = _mm256_abs_epi8(w);
    }
    return cpu_dpbusd_256(sum, w, x);
}

/* sum [token][half] += sums over columns 4 v0 .. 4 v1 - 1, without the offset. */
CPU_INLINE void dot_words(const int n_tok, const struct format f, __m256i sum[4][2],
                          const struct sub s[2], const struct act_block *x, int v0,
                          int v1)
{
#pragma GCC unroll 8
    for (int v = v0; v < v1; v++)
#pragma GCC unroll 4
        for (int t = 0; t < n_tok; t++) {
            const __m256i four = four_columns(x[t].q + 4 * v);
            sum[t][0] = add_products(f, sum[t][0], code(f, &s[0], v), four);
            sum[t][1] = add_products(f, sum[t][1], code(f, &s[1], v), four);
        }
}

#else

/* part [half] <- or += products of 4 columns, added in pairs to 16 bits.  Written out
 * because GCC 12 adds in trees and moves loads about, for which 16 registers are too few:
 * a third of the instructions were spills. */
CPU_INLINE void first_pairs(__m256i part[2], __m256i w0, __m256i w1, const int8_t *q)
{
    __asm__("vpbroadcastd %[q], %[p1]\n\t"
            "vpmaddubsw %[p1], %[w0], %[p0]\n\t"
            "vpmaddubsw %[p1], %[w1], %[p1]"
            : [p0] "=&x"(part[0]), [p1] "=&x"(part[1])
            : [w0] "x"(w0), [w1] "x"(w1), [q] "m"(*(const int8_t(*)[4])q));
}

CPU_INLINE void add_pairs(__m256i part[2], __m256i w0, __m256i w1, const int8_t *q)
{
    __m256i t0, t1;
    __asm__("vpbroadcastd %[q], %[t1]\n\t"
            "vpmaddubsw %[t1], %[w0], %[t0]\n\t"
            "vpmaddubsw %[t1], %[w1], %[t1]\n\t"
            "vpaddw %[t0], %[p0], %[p0]\n\t"
            "vpaddw %[t1], %[p1], %[p1]"
            : [p0] "+x"(part[0]), [p1] "+x"(part[1]), [t0] "=&x"(t0), [t1] "=&x"(t1)
            : [w0] "x"(w0), [w1] "x"(w1), [q] "m"(*(const int8_t(*)[4])q));
}

/* For signed codes w of magnitude m: the sign moves to the activation. */
CPU_INLINE void signed_pairs(__m256i part[2], const __m256i w[2], const __m256i m[2],
                             const int8_t *q)
{
    __asm__("vpbroadcastd %[q], %[p1]\n\t"
            "vpsignb %[w0], %[p1], %[p0]\n\t"
            "vpsignb %[w1], %[p1], %[p1]\n\t"
            "vpmaddubsw %[p0], %[m0], %[p0]\n\t"
            "vpmaddubsw %[p1], %[m1], %[p1]"
            : [p0] "=&x"(part[0]), [p1] "=&x"(part[1])
            : [w0] "x"(w[0]), [w1] "x"(w[1]), [m0] "x"(m[0]), [m1] "x"(m[1]),
              [q] "m"(*(const int8_t(*)[4])q));
}

/* sum [token][half] += sums over columns 4 v0 .. 4 v1 - 1, without the offset. */
CPU_INLINE void dot_words(const int n_tok, const struct format f, __m256i sum[4][2],
                          const struct sub s[2], const struct act_block *x, int v0,
                          int v1)
{
    const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int v = v0; v < v1; v += f.n_add) {
        __m256i part[4][2];
#pragma GCC unroll 8
        for (int i = v; i < v + f.n_add; i++) {
            const int u = word_at(f, i);
            const __m256i w[2] = {code(f, &s[0], u), code(f, &s[1], u)};
            const __m256i m[2] = {_mm256_abs_epi8(w[0]), _mm256_abs_epi8(w[1])};
#pragma GCC unroll 4
            for (int t = 0; t < n_tok; t++)
                if (f.signs)
                    signed_pairs(part[t], w, m, x[t].q + 4 * u);
                else if (i == v)
                    first_pairs(part[t], w[0], w[1], x[t].q + 4 * u);
                else
                    add_pairs(part[t], w[0], w[1], x[t].q + 4 * u);
        }
#pragma GCC unroll 4
        for (int t = 0; t < n_tok; t++)
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++)
                sum[t][h] =
                    _mm256_add_epi32(sum[t][h], _mm256_madd_epi16(part[t][h], one));
    }
}

#endif

CPU_INLINE void clear_sums(const int n_tok, __m256i sum[4][2])
{
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++)
        sum[t][0] = sum[t][1] = _mm256_setzero_si256();
}

CPU_INLINE __m256i join16(__m256i low, __m256i high)
{
    return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa);
}

CPU_INLINE __m256i join16_scalars(int32_t low, int32_t high)
{
    return _mm256_set1_epi32((int32_t)((uint32_t)low & 0xffff) |
                             (int32_t)((uint32_t)high << 16));
}

/* scale * (code - offset) of 32 columns times activations, and two mins if there are.
 * Sums of 16 columns fit 16 bits: below 128 * 16 * (largest code, 7). */
CPU_INLINE __m256 factor_sums(const struct format f, __m256i lo, __m256i hi,
                              const struct sub *s, const struct act_block *x)
{
    __m256i both = join16(lo, hi);
    if (f.offset)
        both = _mm256_sub_epi16(
            both, join16_scalars(f.offset * x->sum[0], f.offset * x->sum[1]));
    const __m256i sum = _mm256_madd_epi16(both, s->factor);
    __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), s->scale[0]);
    if (f.n_min == 2) {
        const __m256i mins =
            _mm256_madd_epi16(join16_scalars(x->sum[0], x->sum[1]), s->min_factor);
        y = _mm256_fmadd_ps(s->min[0], _mm256_cvtepi32_ps(mins), y);
    }
    return y;
}

CPU_INLINE __m256 scale_sums(const struct format f, __m256i lo, __m256i hi,
                             const struct sub *s, const struct act_block *x)
{
    const int first = f.n_scale == 2 ? x->sum[0] : x->sum32;
    if (f.offset)
        lo = _mm256_sub_epi32(lo, _mm256_set1_epi32(f.offset * first));
    __m256 y = _mm256_mul_ps(_mm256_cvtepi32_ps(lo), s->scale[0]);
    if (f.n_scale == 2) {
        if (f.offset)
            hi = _mm256_sub_epi32(hi, _mm256_set1_epi32(f.offset * x->sum[1]));
        y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(hi), s->scale[1], y);
    }
    return y;
}

/* acc [token][half] += products of 32 columns. */
CPU_INLINE void dot_sub(const int n_tok, const struct format f, __m256 (*acc)[2],
                        const struct sub s[2], const struct act_block *x)
{
    __m256i lo[4][2], hi[4][2];
    clear_sums(n_tok, lo);
    clear_sums(n_tok, hi);
    if (f.n_scale == 2) {
        dot_words(n_tok, f, lo, s, x, 0, 4);
        dot_words(n_tok, f, hi, s, x, 4, 8);
    } else {
        dot_words(n_tok, f, lo, s, x, 0, 8);
    }
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++) {
        const __m256 scale = _mm256_set1_ps(x[t].scale), mass = _mm256_set1_ps(x[t].mass);
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            __m256 y = f.factors ? factor_sums(f, lo[t][h], hi[t][h], &s[h], x + t)
                                 : scale_sums(f, lo[t][h], hi[t][h], &s[h], x + t);
            y = _mm256_fmadd_ps(y, scale, acc[t][h]);
            acc[t][h] = f.n_min == 1 ? _mm256_fmadd_ps(s[h].min[0], mass, y) : y;
        }
    }
}

/* The first n_row of 16 lanes. */
CPU_INLINE void store_rows(float *dst, __m256 lo, __m256 hi, int n_row)
{
    float all[TILE_ROWS];
    if (n_row == TILE_ROWS) {
        _mm256_storeu_ps(dst, lo);
        _mm256_storeu_ps(dst + 8, hi);
        return;
    }
    _mm256_storeu_ps(all, lo);
    _mm256_storeu_ps(all + 8, hi);
    memcpy(dst, all, (size_t)n_row * sizeof *dst);
}

CPU_INLINE void dot_tokens(const int n_tok, const struct format f, float *dst, size_t ld,
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
            struct sub s[2];
            f.decode(&s[0], tile, j, 0);
            f.decode(&s[1], tile, j, 1);
            dot_sub(n_tok, f, acc, s, x);
        }
#pragma GCC unroll 4
    for (int t = 0; t < n_tok; t++)
        store_rows(dst + (size_t)t * ld, acc[t][0], acc[t][1], n_row);
}

/* dot_sub with s in memory: no load of it goes to other tokens' code. */
CPU_INLINE void dot_decoded(const int n_tok, const struct format f, __m256 (*acc)[2],
                            struct sub s[2], const struct act_block *x)
{
    __asm__ volatile("" : "+m"(*(struct sub(*)[2])s));
    dot_sub(n_tok, f, acc, s, x);
}

/* Many tokens: a sub is decoded once for all of them.  It goes through memory, as do the
 * sums, because 16 registers hold neither. */
CPU_INLINE void dot_group(const struct format f, float *dst, size_t ld, int n_row,
                          const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    const int n_block = a->n_in / 32;
    const size_t step = (size_t)act_group(a, tok);
    const size_t sub_bytes = f.tile_block_bytes / (size_t)f.n_sub;
    const struct act_block *x = act_at(a, tok, 0);
    struct format decoded = f;
    decoded.levels = 0;
    __m256 acc[ACT_GROUP][2];
    for (int t = 0; t < n_tok; t++)
        acc[t][0] = acc[t][1] = _mm256_setzero_ps();
    for (int b = 0; b < n_block; b += f.n_sub, tile += f.tile_block_bytes)
        for (int j = 0; j < f.n_sub; j++, x += step) {
            struct sub s[2];
            prefetch(tile + (size_t)j * sub_bytes, sub_bytes);
            f.decode(&s[0], tile, j, 0);
            f.decode(&s[1], tile, j, 1);
#pragma GCC unroll 8
            for (int v = 0; v < 8; v++) {
                s[0].w[v] = code(f, &s[0], v);
                s[1].w[v] = code(f, &s[1], v);
            }
            int t = 0;
            for (; t + 4 <= n_tok; t += 4)
                dot_decoded(4, decoded, acc + t, s, x + t);
            if (n_tok & 2) {
                dot_decoded(2, decoded, acc + t, s, x + t);
                t += 2;
            }
            if (n_tok & 1)
                dot_decoded(1, decoded, acc + t, s, x + t);
        }
    for (int t = 0; t < n_tok; t++)
        store_rows(dst + (size_t)t * ld, acc[t][0], acc[t][1], n_row);
}

CPU_INLINE void dot_any(const struct format f, float *dst, size_t ld, int n_row,
                        const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    if (n_tok == 1)
        dot_tokens(1, f, dst, ld, n_row, tile, a, tok);
    else if (n_tok == 2)
        dot_tokens(2, f, dst, ld, n_row, tile, a, tok);
    else
        dot_group(f, dst, ld, n_row, tile, a, tok, n_tok);
}

#endif
