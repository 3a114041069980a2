/* kernels_neon_expand.c - codes to int8 levels for NEON.
 *
 * As in kernels_avx512_expand.c: neighbours in trellis time are neighbouring rows, and
 * the row after the last is the first one moved by one field (keys: a rotate of the
 * words; values: of the lanes).  A row of 64 bytes is taken in four quarters of 4 words.
 */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include "codec/layout.h"
#include "codec/neon.h"
#include "codec/tables.h"

CPU_INLINE uint8x16_t xor3(uint8x16_t a, uint8x16_t b, uint8x16_t c)
{
    return veorq_u8(veorq_u8(a, b), c);
}

/* Bits of a where mask is set, else of b. */
CPU_INLINE uint8x16_t choose(int mask, uint8x16_t a, uint8x16_t b)
{
    return vbslq_u8(vdupq_n_u8((uint8_t)mask), a, b);
}

CPU_INLINE uint8x16_t low_nibble(uint8x16_t x)
{
    return vandq_u8(x, vdupq_n_u8(0x0F));
}

/* Levels + bias over the index that the kernels below form: for 4 bits v, w (3), z1 from
 * bit 0 up; for 3 bits v, z1, w (2); for 2 bits v, w, z1 and a bit that does not matter.
 */
static uint8x16x2_t level_table(int bits, int bias)
{
    uint8_t level[32];
    for (int i = 0; i < 32; i++) {
        int index = i & 15; // 4 w + 2 z1 + v
        if (bits == 4)
            index = (i >> 1 & 7) << 2 | (i >> 4) << 1 | (i & 1);
        else if (bits == 2)
            index = (i >> 1 & 1) << 2 | (i >> 2 & 1) << 1 | (i & 1);
        level[i] = (uint8_t)(tq_level[bits - 2][index] + bias);
    }
    uint8x16x2_t t;
    t.val[0] = vld1q_u8(level);
    t.val[1] = vld1q_u8(level + 16);
    return t;
}

/* Two outputs from 4-bit fields x and their z1 in bit 0 of each field. */
CPU_INLINE void levels4(uint8_t *out, int stride, uint8x16_t x, uint8x16_t z1,
                        uint8x16x2_t table)
{
    z1 = vandq_u8(z1, vdupq_n_u8(0x11));
    vst1q_u8(out, vqtbl2q_u8(table, vsliq_n_u8(x, z1, 4)));
    vst1q_u8(out + stride, vqtbl2q_u8(table, vsriq_n_u8(z1, x, 4)));
}

/* Four outputs: fields 0 and 2 of each byte select by the nibbles of `even`, 1 and 3 by
 * those of `odd`. */
CPU_INLINE void store_levels(uint8_t *out, int stride, uint8x16_t even, uint8x16_t odd,
                             uint8x16_t table)
{
    vst1q_u8(out, vqtbl1q_u8(table, low_nibble(even)));
    vst1q_u8(out + stride, vqtbl1q_u8(table, low_nibble(odd)));
    vst1q_u8(out + 2 * stride, vqtbl1q_u8(table, vshrq_n_u8(even, 4)));
    vst1q_u8(out + 3 * stride, vqtbl1q_u8(table, vshrq_n_u8(odd, 4)));
}

/* Four outputs from 2-bit fields x and their z1 in bit 0 of each field. */
CPU_INLINE void levels2(uint8_t *out, int stride, uint8x16_t x, uint8x16_t z1,
                        uint8x16_t table)
{
    store_levels(out, stride, choose(0x33, x, vshlq_n_u8(z1, 2)),
                 choose(0x33, vshrq_n_u8(x, 2), z1), table);
}

/* Four outputs of turbo3 from 2-bit fields w and, for the same fields, pairs v | z1 << 1.
 */
CPU_INLINE void levels3(uint8_t *out, int stride, uint8x16_t w, uint8x16_t pairs,
                        uint8x16_t table)
{
    store_levels(out, stride, choose(0x33, pairs, vshlq_n_u8(w, 2)),
                 choose(0x33, vshrq_n_u8(pairs, 2), w), table);
}

/* ---- a walk over the rows of one quarter ---- */

/* Rows n - 1 .. n + 2 of one quarter, around the end. */
struct walk {
    const uint8_t *at; // row 0
    int rows;
    uint8x16_t before, x, next, wrapped[2];
};

CPU_INLINE void walk_start(struct walk *w, const uint8_t *quarter, int rows,
                           uint8x16_t before, uint8x16_t wrapped0, uint8x16_t wrapped1)
{
    *w = (struct walk){.at = quarter,
                       .rows = rows,
                       .before = before,
                       .x = vld1q_u8(quarter),
                       .next = vld1q_u8(quarter + 64)};
    w->wrapped[0] = wrapped0;
    w->wrapped[1] = wrapped1;
}

/* z1 of row n, whose codes go to *x; advances. */
CPU_INLINE uint8x16_t walk_row(struct walk *w, int n, uint8x16_t *x)
{
    uint8x16_t after;
    if (n + 2 < w->rows)
        after = vld1q_u8(w->at + 64 * (n + 2));
    else
        after = n + 2 == w->rows ? w->wrapped[0] : w->wrapped[1];
    const uint8x16_t z1 = xor3(after, w->next, w->before);
    *x = w->before = w->x;
    w->x = w->next;
    w->next = after;
    return z1;
}

/* ---- keys ---- */

CPU_INLINE uint8x16_t words_left(uint8x16_t x, int b)
{
    const uint32x4_t v = vreinterpretq_u32_u8(x);
    const uint32x4_t up = vshlq_u32(v, vdupq_n_s32(b));
    return vreinterpretq_u8_u32(vorrq_u32(up, vshlq_u32(v, vdupq_n_s32(b - 32))));
}

CPU_INLINE void walk_keys(struct walk *w, const uint8_t *quarter, int rows, int b)
{
    walk_start(w, quarter, rows, words_left(vld1q_u8(quarter + 64 * (rows - 1)), b),
               words_left(vld1q_u8(quarter), 32 - b),
               words_left(vld1q_u8(quarter + 64), 32 - b));
}

/* A quarter of a tile whose only array has fields of b = 2 or 4 bits. */
CPU_INLINE void expand_keys(uint8_t *out, const uint8_t *tile, int b, int d,
                            uint8x16x2_t table)
{
    const int rows = d * b / 32;
    struct walk w;
    walk_keys(&w, tile, rows, b);
    for (int n = 0; n < rows; n++) {
        uint8x16_t x;
        const uint8x16_t z1 = walk_row(&w, n, &x);
        if (b == 4)
            levels4(out + 128 * n, 64, x, z1, table);
        else
            levels2(out + 256 * n, 64, x, z1, table.val[0]);
    }
}

/* turbo3 with v in dwords: bit 2g + e of v row n goes with field g of w row n + e * rows.
 */
CPU_INLINE void expand_keys3(uint8_t *out, const uint8_t *tile, int d, uint8x16_t table)
{
    const int rows = d / 32;
    struct walk w;
    walk_keys(&w, tile + 4 * d, rows, 1);
    for (int n = 0; n < rows; n++) {
        uint8x16_t x;
        const uint8x16_t z1 = walk_row(&w, n, &x);
        levels3(out + 256 * n, 64, vld1q_u8(tile + 64 * n),
                choose(0x55, x, vshlq_n_u8(z1, 1)), table);
        levels3(out + 256 * (n + rows), 64, vld1q_u8(tile + 64 * (n + rows)),
                choose(0x55, vshrq_n_u8(x, 1), z1), table);
    }
}

/* Byte c of dword j <- bits 4c .. 4c + 3 of 16-bit word 4 * quarter + j of v, each at the
 * low end of a 2-bit field. */
CPU_INLINE uint8x16_t spread(const uint16x8_t v[2], int quarter)
{
    static const uint8_t twice[16] = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7};
    static const int8_t down[16] = {0, -4, 0, -4, 0, -4, 0, -4,
                                    0, -4, 0, -4, 0, -4, 0, -4};
    static const uint8_t apart[16] = {0x00, 0x01, 0x04, 0x05, 0x10, 0x11, 0x14, 0x15,
                                      0x40, 0x41, 0x44, 0x45, 0x50, 0x51, 0x54, 0x55};
    const uint8x16_t at =
        vaddq_u8(vld1q_u8(twice), vdupq_n_u8((uint8_t)(quarter % 2 * 8)));
    const uint8x16_t bytes = vqtbl1q_u8(vreinterpretq_u8_u16(v[quarter / 2]), at);
    return vqtbl1q_u8(vld1q_u8(apart), low_nibble(vshlq_u8(bytes, vld1q_s8(down))));
}

CPU_INLINE uint16x8_t load_words(const uint8_t *p)
{
    return vreinterpretq_u16_u8(vld1q_u8(p));
}

CPU_INLINE uint16x8_t words_right(uint16x8_t x)
{
    return vsliq_n_u16(vshrq_n_u16(x, 1), x, 15);
}

/* turbo3 with v in 16-bit words, d = 80 and 112: bit g goes with field g of the same row.
 */
static void expand_key_tile3_words(uint8_t *out, const uint8_t *tile, int d,
                                   uint8x16_t table)
{
    const int rows = d / 16;
    uint16x8_t v[TQ_DIM_MAX / 16 + 3][2]; // one row before the first, two after the last
    for (int k = 0; k < 2; k++) {
        for (int n = 0; n < rows; n++)
            v[n + 1][k] = load_words(tile + 4 * d + 32 * n + 16 * k);
        v[0][k] = vsriq_n_u16(vshlq_n_u16(v[rows][k], 1), v[rows][k], 15);
        v[rows + 1][k] = words_right(v[1][k]);
        v[rows + 2][k] = words_right(v[2][k]);
    }
    for (int n = 0; n < rows; n++) {
        uint16x8_t z[2];
        TQ_UNROLL
        for (int k = 0; k < 2; k++)
            z[k] = veorq_u16(veorq_u16(v[n + 3][k], v[n + 2][k]), v[n][k]);
        TQ_UNROLL
        for (int quarter = 0; quarter < 4; quarter++) {
            const uint8x16_t z1 = spread(z, quarter);
            const uint8x16_t pairs =
                vorrq_u8(spread(v[n + 1], quarter), vshlq_n_u8(z1, 1));
            levels3(out + 256 * n + 16 * quarter, 64,
                    vld1q_u8(tile + 64 * n + 16 * quarter), pairs, table);
        }
    }
}

static void expand_bytes(uint8_t *out, const uint8_t *code, int bytes)
{
    for (int i = 0; i < bytes; i += 16)
        vst1q_u8(out + i, veorq_u8(vld1q_u8(code + i), vdupq_n_u8(0x80)));
}

void tq_expand_k_neon(uint8_t *out, const uint8_t *code, int bits, int d, int tile0,
                      int tile1)
{
    if (bits == 8) {
        expand_bytes(out + 16 * d * tile0, code + 16 * d * tile0,
                     16 * d * (tile1 - tile0));
        return;
    }
    const uint8x16x2_t table = level_table(bits, 128);
    for (int i = tile0; i < tile1; i++) {
        const uint8_t *tile = code + i * 2 * bits * d;
        uint8_t *to = out + i * 16 * d;
        if (bits == 3 && tq_v_word_bits(d) == 16) {
            expand_key_tile3_words(to, tile, d, table.val[0]);
            continue;
        }
        for (int at = 0; at < 64; at += 16)
            if (bits == 4)
                expand_keys(to + at, tile + at, 4, d, table);
            else if (bits == 2)
                expand_keys(to + at, tile + at, 2, d, table);
            else
                expand_keys3(to + at, tile + at, d, table.val[0]);
    }
}

/* ---- values ---- */

/* Lane i of a row of 16 dwords is lane i + 1 or i - 1 of another; at is a quarter. */
CPU_INLINE uint8x16_t lanes_down(const uint8_t *row, int at)
{
    return vextq_u8(vld1q_u8(row + at), vld1q_u8(row + (at + 16) % 64), 4);
}

CPU_INLINE uint8x16_t lanes_up(const uint8_t *row, int at)
{
    return vextq_u8(vld1q_u8(row + (at + 48) % 64), vld1q_u8(row + at), 12);
}

CPU_INLINE void walk_values(struct walk *w, const uint8_t *block, int rows, int at)
{
    walk_start(w, block + at, rows, lanes_up(block + 64 * (rows - 1), at),
               lanes_down(block, at), lanes_down(block + 64, at));
}

/* A quarter of a block of 8 (b = 4) or 16 (b = 2) tokens; groups of four go to out,
 * d * 4 bytes each. */
CPU_INLINE void expand_values(uint8_t *out, const uint8_t *block, int at, int b, int d,
                              uint8x16x2_t table)
{
    struct walk w;
    walk_values(&w, block, d / 16, at);
    for (int r = 0; r < d / 16; r++) {
        uint8x16_t x;
        const uint8x16_t z1 = walk_row(&w, r, &x);
        if (b == 4)
            levels4(out + at + 64 * r, 4 * d, x, z1, table);
        else
            levels2(out + at + 64 * r, 4 * d, x, z1, table.val[0]);
    }
}

/* 16 tokens of turbo3: bit 4 * half + f of a byte of v goes with field f of w. */
CPU_INLINE void expand_values3(uint8_t *out, const uint8_t *wrow, const uint8_t *vrow,
                               int at, int half, int d, uint8x16_t table)
{
    const int8x16_t shift = vdupq_n_s8((int8_t)(-4 * half));
    struct walk walk;
    walk_values(&walk, vrow, d / 16, at);
    for (int r = 0; r < d / 16; r++) {
        uint8x16_t x;
        const uint8x16_t z1 = vshlq_u8(walk_row(&walk, r, &x), shift);
        const uint8x16_t z0 = vshlq_u8(x, shift), w = vld1q_u8(wrow + at + 64 * r);
        const uint8x16_t even = choose(0x55, z0, vshlq_n_u8(z1, 1));
        const uint8x16_t odd = choose(0x55, vshrq_n_u8(z0, 1), z1);
        const uint8x16_t index[4] = {
            choose(3, even, vshlq_n_u8(w, 2)),
            choose(3, odd, w),
            choose(3, vshrq_n_u8(even, 2), vshrq_n_u8(w, 2)),
            choose(3, vshrq_n_u8(odd, 2), vshrq_n_u8(w, 4)),
        };
        TQ_UNROLL
        for (int f = 0; f < 4; f++)
            vst1q_u8(out + at + 64 * r + 4 * d * f,
                     vqtbl1q_u8(table, low_nibble(index[f])));
    }
}

void tq_expand_v_neon(int8_t *out, const uint8_t *code, int bits, int d, int tile0,
                      int tile1)
{
    if (bits == 8) {
        memcpy(out + 16 * d * tile0, code + 16 * d * tile0,
               (size_t)(16 * d * (tile1 - tile0)));
        return;
    }
    const uint8x16x2_t table = level_table(bits, 0);
    for (int i = tile0; i < tile1; i++) {
        uint8_t *to = (uint8_t *)out + i * 16 * d;
        const uint8_t *group = code + i / 2 * 12 * d; // of turbo3
        for (int at = 0; at < 64; at += 16)
            if (bits == 4) {
                expand_values(to, code + 8 * d * i, at, 4, d, table);
                expand_values(to + 8 * d, code + 8 * d * i + 4 * d, at, 4, d, table);
            } else if (bits == 2) {
                expand_values(to, code + 4 * d * i, at, 2, d, table);
            } else {
                expand_values3(to, group + i % 2 * 4 * d, group + 8 * d, at, i % 2, d,
                               table.val[0]);
            }
    }
}

void tq_turn_levels_neon(int8_t *out, const uint8_t *in, int d, int tile0, int tile1)
{
    static const uint8_t by_dim[16] = {0, 4, 8,  12, 1, 5, 9,  13,
                                       2, 6, 10, 14, 3, 7, 11, 15};
    const uint8x16_t order = vld1q_u8(by_dim), sign = vdupq_n_u8(128);
    for (int tile = tile0; tile < tile1; tile++)
        for (int i = 0; i < d; i += 4)
            for (int j = 0; j < 16; j += 4) { // 4 keys x 4 dims
                const uint8x16_t keys = vld1q_u8(in + (tile * d + i) * 16 + 4 * j);
                vst1q_u8((uint8_t *)out + (16 * tile + j) * d + 4 * i,
                         vqtbl1q_u8(veorq_u8(keys, sign), order));
            }
}

#endif
