/* kernels_amx.c - products of quantised weights with many tokens, for AMX: a tile product
 * multiplies 16 tokens with 16 rows over the columns that have one scale, 32 or 16, and
 * vectors add its sums as kernels_avx512_blocks.c does.
 *
 * The products themselves cost 16 cycles; what bounds all is that sums pass through memory
 * for every scale, and that vectors have one unit, not two, while tiles are in use and for
 * some 2,000 cycles after.  So what is in use at a time stays in the first-level cache:
 * SPAN subs of two tiles, decoded for GROUPS groups of tokens, the activations in those
 * columns, in panels, and the sums.  Products and additions take turns: beside each other
 * they were no faster. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu/target.h"
#include "cpu/tiles.h"
#include "tensor/matrix.h"

CPU_TARGET_BEGIN(CPU_TARGET_AMX)

#include "tensor/blocks_avx512.h"

enum { SPAN = 4, GROUPS = 4 };

/* Sums of a product of 16 tokens and 16 rows. */
struct sums {
    int32_t of[ACT_GROUP][TILE_ROWS];
};

/* For two tiles, s[0] and s[1], the sums of all products of n subs with a group's
 * activations x: of a sub one after the other if it has two scales.  The sums of one are
 * stored when the next but one starts. */
CPU_INLINE void multiply(struct sums sums[2][2 * SPAN], const int n_scale,
                         struct sub (*s)[SPAN], const int n, const struct act_panel *x)
{
    const int n_product = n * n_scale;
#pragma GCC unroll 8
    for (int k = 0; k < n_product + 2; k++) {
        const int i = k / n_scale, half = k % n_scale;
        if (k >= 2 && k % 2) {
            CPU_TILE_STORE(&sums[0][k - 2], 2);
            CPU_TILE_STORE(&sums[1][k - 2], 3);
        } else if (k >= 2) {
            CPU_TILE_STORE(&sums[0][k - 2], 0);
            CPU_TILE_STORE(&sums[1][k - 2], 1);
        }
        if (k >= n_product)
            continue;
        CPU_TILE_LOAD(6, &s[0][i].w[4 * half]);
        CPU_TILE_LOAD(7, &s[1][i].w[4 * half]);
        if (k % 2) {
            CPU_TILE_LOAD_ROWS(5, x[i].q[0] + 16 * half, sizeof x->q[0]);
            CPU_TILE_ZERO(2);
            CPU_TILE_MULTIPLY(2, 5, 6);
            CPU_TILE_ZERO(3);
            CPU_TILE_MULTIPLY(3, 5, 7);
        } else {
            CPU_TILE_LOAD_ROWS(4, x[i].q[0] + 16 * half, sizeof x->q[0]);
            CPU_TILE_ZERO(0);
            CPU_TILE_MULTIPLY(0, 4, 6);
            CPU_TILE_ZERO(1);
            CPU_TILE_MULTIPLY(1, 4, 7);
        }
    }
}

/* What a tile and a group have so far. */
struct partial {
    __m512 of[ACT_GROUP];
};

/* A group's activations in some columns. */
struct columns {
    const struct act_panel *panel;
    const struct act_block *block;
};

/* to += the sums of n subs of a tile, as kernels_avx512_blocks.c adds them. */
CPU_INLINE void add(struct partial *to, const struct format f, const struct sub *s,
                    const int n, struct columns x, const struct sums *sums)
{
    __m512 acc[ACT_GROUP];
#pragma GCC unroll 16
    for (int t = 0; t < ACT_GROUP; t++)
        acc[t] = to->of[t];
    for (int i = 0; i < n; i++, s++, x.panel++, x.block += ACT_GROUP, sums += f.n_scale)
#pragma GCC unroll 16
        for (int t = 0; t < ACT_GROUP; t++) {
            const __m512i lo = _mm512_load_si512(sums[0].of[t]);
            const __m512i hi = f.n_scale == 2 ? _mm512_load_si512(sums[1].of[t]) : lo;
            acc[t] = add_sub(acc[t], lo, hi, f, s, &x.panel->scale[t], &x.panel->mass[t],
                             x.block[t].sum);
        }
#pragma GCC unroll 16
    for (int t = 0; t < ACT_GROUP; t++)
        to->of[t] = acc[t];
}

/* Bytes that are read next, a portion for each group. */
struct coming {
    const uint8_t *at[2];
    size_t portion;
};

/* n subs of two tiles times the same columns of groups, whose blocks are n_block apart.
 */
CPU_INLINE void multiply_span(struct partial to[2][GROUPS], const struct format f,
                              struct sub (*s)[SPAN], const int n, struct columns x,
                              size_t n_block, int n_group, struct coming next)
{
    struct sums sums[2][2 * SPAN] __attribute__((aligned(64)));
    for (int g = 0; g < n_group; g++) {
        for (size_t at = 0; at < next.portion; at += 64) {
            _mm_prefetch((const char *)next.at[0] + at, _MM_HINT_T0);
            _mm_prefetch((const char *)next.at[1] + at, _MM_HINT_T0);
        }
        multiply(sums, f.n_scale, s, n, x.panel);
        add(&to[0][g], f, s[0], n, x, sums[0]);
        add(&to[1][g], f, s[1], n, x, sums[1]);
        x.panel += n_block;
        x.block += n_block * ACT_GROUP;
        next.at[0] += next.portion;
        next.at[1] += next.portion;
    }
}

/* Subs b .. b + n - 1 of a tile; codes become signed. */
CPU_INLINE void decode_span(struct sub *s, const struct format f, const uint8_t *tile,
                            int b, int n)
{
    for (int i = 0; i < n; i++) {
        f.decode(&s[i], tile + (size_t)((b + i) / f.n_sub) * f.tile_block_bytes,
                 (b + i) % f.n_sub);
        if (f.offset_log2 < 0)
            continue;
        const __m512i offset = _mm512_set1_epi8((char)(1 << f.offset_log2));
#pragma GCC unroll 8
        for (int v = 0; v < 8; v++)
            s[i].w[v] = f.offset_log2 == 7 ? _mm512_xor_si512(s[i].w[v], offset)
                                           : _mm512_sub_epi8(s[i].w[v], offset);
    }
}

/* Two tiles, or of one twice the same, times up to GROUPS groups. */
CPU_INLINE void multiply_pair(const struct format f, float *dst, size_t ld, int n_row,
                              const uint8_t *const tile[2], const struct act *a, int tok,
                              int n_group)
{
    const int n_block = a->n_in / 32;
    const size_t sub_bytes = f.tile_block_bytes / (size_t)f.n_sub;
    const size_t portion = sub_bytes * SPAN / (size_t)n_group;
    struct partial to[2][GROUPS];
    struct sub s[2][SPAN];
    for (int i = 0; i < 2; i++)
        for (int t = 0; t < n_group * ACT_GROUP; t++)
            to[i][t / ACT_GROUP].of[t % ACT_GROUP] = _mm512_setzero_ps();
    for (int b = 0, n; b < n_block; b += n) {
        const struct columns x = {act_panel_at(a, tok, b), act_at(a, tok, b)};
        n = n_block - b < SPAN ? n_block - b : SPAN;
        decode_span(s[0], f, tile[0], b, n);
        decode_span(s[1], f, tile[1], b, n);
        const size_t next = sub_bytes * (size_t)(b + n);
        const struct coming coming = {{tile[0] + next, tile[1] + next},
                                      b + n < n_block ? portion : 0};
        if (n == SPAN)
            multiply_span(to, f, s, SPAN, x, (size_t)n_block, n_group, coming);
        else
            multiply_span(to, f, s, n, x, (size_t)n_block, n_group, coming);
    }
    const uint32_t rows = n_row < 32 ? (1u << n_row) - 1 : ~0u;
    for (int t = 0; t < n_group * ACT_GROUP; t++, dst += ld)
        for (int i = 0; i < 2; i++)
            _mm512_mask_storeu_ps(dst + i * TILE_ROWS, (__mmask16)(rows >> i * TILE_ROWS),
                                  to[i][t / ACT_GROUP].of[t % ACT_GROUP]);
}

CPU_INLINE void gemm_any(const struct format f, float *dst, size_t ld, int n_row,
                         const uint8_t *tiles, const struct act *a, int tok, int n_tok)
{
    const size_t tile_bytes = (size_t)(a->n_in / 32 / f.n_sub) * f.tile_block_bytes;
    const int n_group = n_tok / ACT_GROUP;
    cpu_tiles_open(32 / f.n_scale);
    for (int g = 0; g < n_group; g += GROUPS)
        for (int row = 0; row < n_row; row += 2 * TILE_ROWS) {
            const uint8_t *tile = tiles + (size_t)(row / TILE_ROWS) * tile_bytes;
            const int rest = n_row - row, t = g * ACT_GROUP;
            multiply_pair(f, dst + (size_t)t * ld + row, ld, rest,
                          (const uint8_t *const[2]){
                              tile, tile + (rest > TILE_ROWS ? tile_bytes : 0)},
                          a, tok + t, n_group - g < GROUPS ? n_group - g : GROUPS);
        }
    cpu_tiles_close();
}

#define GEMM(name, bytes, n_sub, n_scale, offset_log2, n_min)              \
    static void gemm_##name##_amx DOT_ARGS                                 \
    {                                                                      \
        const struct format f = {n_sub, n_scale,           offset_log2,    \
                                 n_min, TILE_ROWS * bytes, decode_##name}; \
        gemm_any(f, dst, ld, n_row, tile, a, tok, n_tok);                  \
    }
BLOCK_TYPES(GEMM)
#undef GEMM

CPU_TARGET_END

void tensor_kernels_init_amx(struct tensor_kernels *k)
{
#define GEMM(name, ...) k->gemm_##name = gemm_##name##_amx;
    BLOCK_TYPES(GEMM)
#undef GEMM
}

#else

void tensor_kernels_init_amx(struct tensor_kernels *k)
{
    (void)k;
}

#endif
