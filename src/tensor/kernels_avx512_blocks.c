/* kernels_avx512_blocks.c - products of quantised weights for AVX-512 with VNNI: lanes
 * are the 16 rows of a tile; a register of weights holds four columns of each row, which
 * one vpdpbusd multiplies with four broadcast activations.  A block of 32 columns is
 * decoded once for up to 16 tokens. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu/byte_products.h"
#include "cpu/target.h"
#include "tensor/matrix.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

#include "tensor/blocks_avx512.h"
#include "tensor/prefetch.h"

/* Tokens whose products take turns: as many as there are registers for. */
enum { TURN = 4 };

/* - 2^up * sum for each row: the sum fits the lower half of its dword, whose upper half
 * is multiplied by zero. */
CPU_INLINE __m512i minus_offset(int up, const int32_t *sum)
{
    __m512i acc = _mm512_setzero_si512();
    __asm__("vpdpwssd %2%{1to16%}, %1, %0"
            : "+v"(acc)
            : "v"(_mm512_set1_epi32(0xffff & -(1 << up))), "m"(*sum));
    return acc;
}

/* Sums of (code - offset) times activations over 32 columns of n tokens: of all in lo,
 * or of the halves in lo and hi; in turn, so that few instructions wait for others. */
CPU_INLINE void sums(__m512i *lo, __m512i *hi, const int n, const struct format f,
                     const struct sub *s, const struct act_block *x)
{
    const int two_scales = f.n_scale == 2, two_chains = two_scales || n < TURN;
#pragma GCC unroll 4
    for (int t = 0; t < n; t++) {
        lo[t] = hi[t] = _mm512_setzero_si512();
        if (f.offset_log2 >= 0)
            lo[t] = minus_offset(f.offset_log2, two_scales ? &x[t].sum[0] : &x[t].sum32);
        if (f.offset_log2 >= 0 && two_scales)
            hi[t] = minus_offset(f.offset_log2, &x[t].sum[1]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++)
#pragma GCC unroll 4
        for (int t = 0; t < n; t++) {
            lo[t] = cpu_dpbusd_512_four(lo[t], s->w[v], x[t].q + 4 * v);
            if (two_chains)
                hi[t] = cpu_dpbusd_512_four(hi[t], s->w[v + 4], x[t].q + 4 * (v + 4));
        }
    if (two_scales)
        return;
#pragma GCC unroll 4
    for (int v = 4; v < 8; v++)
#pragma GCC unroll 4
        for (int t = 0; t < n; t++)
            if (!two_chains)
                lo[t] = cpu_dpbusd_512_four(lo[t], s->w[v], x[t].q + 4 * v);
#pragma GCC unroll 4
    for (int t = 0; t < n; t++)
        if (two_chains)
            lo[t] = _mm512_add_epi32(lo[t], hi[t]);
}

CPU_INLINE void dot_tokens(const int n_tok, const struct format f, float *dst, size_t ld,
                           int n_row, const uint8_t *tile, const struct act *a, int tok)
{
    const int n_block = a->n_in / 32;
    const size_t step = n_tok == ACT_GROUP ? ACT_GROUP : (size_t)act_group(a, tok);
    const size_t sub_bytes = f.tile_block_bytes / (size_t)f.n_sub;
    const struct act_block *x = act_at(a, tok, 0);
    const int n_turn = n_tok < TURN ? n_tok : f.n_scale == 2 ? 2 : TURN;
    __m512 acc[ACT_GROUP];
#pragma GCC unroll 16
    for (int t = 0; t < n_tok; t++)
        acc[t] = _mm512_setzero_ps();
    for (int b = 0; b < n_block; b += f.n_sub, tile += f.tile_block_bytes)
        for (int j = 0; j < f.n_sub; j++, x += step) {
            struct sub s;
            f.decode(&s, tile, j);
            prefetch(tile + (size_t)j * sub_bytes, sub_bytes);
#pragma GCC unroll 16
            for (int t = 0; t < n_tok; t += n_turn) {
                __m512i lo[TURN], hi[TURN];
                sums(lo, hi, n_turn, f, &s, x + t);
#pragma GCC unroll 4
                for (int i = 0; i < n_turn; i++) {
                    const struct act_block *of = x + t + i;
                    acc[t + i] = add_sub(acc[t + i], lo[i], hi[i], f, &s, &of->scale,
                                         &of->mass, of->sum);
                }
            }
        }
    const __mmask16 rows = (__mmask16)((1u << n_row) - 1);
#pragma GCC unroll 16
    for (int t = 0; t < n_tok; t++)
        _mm512_mask_storeu_ps(dst + (size_t)t * ld, rows, acc[t]);
}

/* n_tok as a sum of 16, 8, 4, 3, 2 and 1, largest first. */
CPU_INLINE void dot_any(const struct format f, float *dst, size_t ld, int n_row,
                        const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    if (n_tok & 16) {
        dot_tokens(16, f, dst, ld, n_row, tile, a, tok);
        return;
    }
    if (n_tok & 8) {
        dot_tokens(8, f, dst, ld, n_row, tile, a, tok);
        dst += 8 * ld;
        tok += 8;
    }
    if (n_tok & 4) {
        dot_tokens(4, f, dst, ld, n_row, tile, a, tok);
        dst += 4 * ld;
        tok += 4;
    }
    if ((n_tok & 3) == 3) {
        dot_tokens(3, f, dst, ld, n_row, tile, a, tok);
        return;
    }
    if (n_tok & 2) {
        dot_tokens(2, f, dst, ld, n_row, tile, a, tok);
        dst += 2 * ld;
        tok += 2;
    }
    if (n_tok & 1)
        dot_tokens(1, f, dst, ld, n_row, tile, a, tok);
}

#define DOT(name, bytes, n_sub, n_scale, offset_log2, n_min)                           \
    static void dot_##name##_avx512(float *dst, size_t ld, int n_row,                  \
                                    const uint8_t *tile, const struct act *a, int tok, \
                                    int n_tok)                                         \
    {                                                                                  \
        const struct format f = {n_sub, n_scale,           offset_log2,                \
                                 n_min, TILE_ROWS * bytes, decode_##name};             \
        dot_any(f, dst, ld, n_row, tile, a, tok, n_tok);                               \
    }
BLOCK_TYPES(DOT)
#undef DOT

CPU_TARGET_END

void tensor_kernels_init_avx512_blocks(struct tensor_kernels *k)
{
#define DOT(name, ...) k->dot_##name = dot_##name##_avx512;
    BLOCK_TYPES(DOT)
#undef DOT
}

#else

void tensor_kernels_init_avx512_blocks(struct tensor_kernels *k)
{
    (void)k;
}

#endif
