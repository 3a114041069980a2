/* kernels_avx2_encode.c - the encoder for AVX2: 32 rows as two vectors of 16-bit lanes
 * or one of bytes.  Packing two vectors of words puts their 128-bit lanes side by side
 * (rows 0-7, 16-23, 8-15, 24-31), and unpacking bytes undoes it. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <float.h>

#include "codec/avx2.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

enum { ROW = TQ_PAGE_TOKENS };
/* As in kernels_c_encode.c. */
enum { BRANCH_MAX = 9362, HANDICAP = 3 * BRANCH_MAX + 1 };

CPU_INLINE __m256 load_half(const uint16_t *x)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)x));
}

CPU_INLINE __m256 usable_lanes(__m256 energy)
{
    return _mm256_and_ps(_mm256_cmp_ps(energy, _mm256_setzero_ps(), _CMP_GT_OQ),
                         _mm256_cmp_ps(energy, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ));
}

/* x * factor within +-most, rounded; 0 in lanes that are not ok. */
CPU_INLINE __m256i scaled(__m256 x, __m256 factor, __m256 ok, float most)
{
    __m256 v = _mm256_and_ps(_mm256_mul_ps(x, factor), ok);
    v = _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(most)), _mm256_set1_ps(-most));
    return _mm256_cvtps_epi32(v);
}

/* 16 lanes of 32 bits to words, in order. */
CPU_INLINE __m256i to_words(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
}

void tq_energies_avx2(float *energy, const uint16_t *x, int d)
{
    __m256 sum[4];
    TQ_UNROLL
    for (int k = 0; k < 4; k++)
        sum[k] = _mm256_setzero_ps();
    for (int i = 0; i < d; i++) {
        TQ_UNROLL
        for (int k = 0; k < 4; k++) {
            const __m256 v = load_half(x + i * ROW + 8 * k);
            sum[k] = _mm256_add_ps(sum[k], _mm256_mul_ps(v, v));
        }
    }
    TQ_UNROLL
    for (int k = 0; k < 4; k++)
        _mm256_storeu_ps(energy + 8 * k, sum[k]);
}

void tq_normalise_avx2(int16_t *out, const uint16_t *x, const float *energy, int d,
                       float gain)
{
    __m256 ok[4], factor[4];
    TQ_UNROLL
    for (int k = 0; k < 4; k++) {
        const __m256 sum = _mm256_loadu_ps(energy + 8 * k);
        ok[k] = usable_lanes(sum);
        const __m256 mean = _mm256_div_ps(sum, _mm256_set1_ps((float)d));
        factor[k] = _mm256_div_ps(_mm256_set1_ps(gain), _mm256_sqrt_ps(mean));
    }
    for (int i = 0; i < d; i++) {
        __m256i v[4];
        TQ_UNROLL
        for (int k = 0; k < 4; k++)
            v[k] = scaled(load_half(x + i * ROW + 8 * k), factor[k], ok[k], 32767.0f);
        int16_t *to = out + i * TQ_LANES;
        _mm256_storeu_si256((void *)to, to_words(v[0], v[1]));
        _mm256_storeu_si256((void *)(to + 16), to_words(v[2], v[3]));
    }
}

/* ---- Viterbi ---- */

/* 16 bytes in both halves of a vector. */
CPU_INLINE __m256i table_of(const void *bytes)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes));
}

/* tq_nearest of one subset: w of the first of four neighbouring cells, and the cell among
 * them where w rises by one, or 127.  Thresholds of a subset are at least three cells
 * apart, so it rises once at most. */
struct subset_table {
    __m256i first, rise;        // by cell >> 2 & 15
    __m256i level_lo, level_hi; // tq_level_fixed by w
};

static void init_subset(struct subset_table *s, int bits, int z)
{
    uint8_t first[16], rise[16], lo[16] = {0}, hi[16] = {0};
    const uint8_t *nearest = tq_nearest[bits - 2][z];
    for (int i = 0; i < 16; i++) {
        first[i] = nearest[4 * i];
        rise[i] = 127;
        for (int k = 3; k; k--) {
            const int cell = 4 * i + k;
            if (nearest[cell] != first[i])
                rise[i] = (uint8_t)(cell < 32 ? cell : cell - 64);
        }
    }
    for (int w = 0; w < 1 << (bits - 1); w++) {
        const uint16_t level = (uint16_t)tq_level_fixed[bits - 2][4 * w + z];
        lo[w] = (uint8_t)level;
        hi[w] = (uint8_t)(level >> 8);
    }
    s->first = table_of(first);
    s->rise = table_of(rise);
    s->level_lo = table_of(lo);
    s->level_hi = table_of(hi);
}

/* Cells x >> 10 of 32 rows as bytes, and cell >> 2 & 15. */
CPU_INLINE __m256i cells_of(const int16_t *x)
{
    const __m256i a = _mm256_loadu_si256((const void *)x),
                  b = _mm256_loadu_si256((const void *)(x + 16));
    return _mm256_packs_epi16(_mm256_srai_epi16(a, 10), _mm256_srai_epi16(b, 10));
}

CPU_INLINE __m256i quarter_of(__m256i cell)
{
    return _mm256_and_si256(_mm256_srli_epi16(cell, 2), _mm256_set1_epi8(15));
}

CPU_INLINE __m256i nearest_w(const struct subset_table *s, __m256i cell, __m256i quarter)
{
    const __m256i first = _mm256_shuffle_epi8(s->first, quarter);
    const __m256i below = _mm256_cmpgt_epi8(_mm256_shuffle_epi8(s->rise, quarter), cell);
    return _mm256_add_epi8(_mm256_add_epi8(first, _mm256_set1_epi8(1)), below);
}

/* A nearest level has the sign of x or is small, so the difference fits 16 bits; where
 * doubling saturates, the cost is above BRANCH_MAX anyway. */
CPU_INLINE __m256i branch_cost(__m256i x, __m256i level, int bits)
{
    const __m256i e = _mm256_sub_epi16(x, level);
    const __m256i other = bits == 4 ? _mm256_adds_epi16(e, e) : e;
    return _mm256_min_epi16(_mm256_mulhrs_epi16(e, other), _mm256_set1_epi16(BRANCH_MAX));
}

CPU_INLINE int subset_of(int to, int high)
{
    const int reg = to | high << 3;
    return ((reg ^ reg >> 1 ^ reg >> 3) & 1) << 1 | (reg >> 2 & 1);
}

/* One step of 16 lanes; returns the decisions inverted, bit s of a lane for state s. */
CPU_INLINE __m256i step(__m256i metric[8], const __m256i cost[4])
{
    __m256i next[8], first = _mm256_setzero_si256();
    TQ_UNROLL
    for (int s = 0; s < 8; s++) {
        const __m256i a = _mm256_add_epi16(metric[s >> 1], cost[subset_of(s, 0)]);
        const __m256i b = _mm256_add_epi16(metric[s >> 1 | 4], cost[subset_of(s, 1)]);
        next[s] = _mm256_min_epu16(a, b);
        first =
            _mm256_or_si256(first, _mm256_and_si256(_mm256_cmpeq_epi16(next[s], a),
                                                    _mm256_set1_epi16((short)(1 << s))));
    }
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[s] = next[s];
    return first;
}

/* The least metrics go to total: [2] the low and the high halves of 128-bit lanes. */
CPU_INLINE void subtract_least(__m256i metric[8], __m256i total[2])
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i least = metric[0];
    TQ_UNROLL
    for (int s = 1; s < 8; s++)
        least = _mm256_min_epu16(least, metric[s]);
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[s] = _mm256_sub_epi16(metric[s], least);
    total[0] = _mm256_add_epi32(total[0], _mm256_unpacklo_epi16(least, zero));
    total[1] = _mm256_add_epi32(total[1], _mm256_unpackhi_epi16(least, zero));
}

/* Costs of the four subsets for 32 rows: [half][subset]. */
CPU_INLINE void all_costs(__m256i cost[2][4], const struct subset_table table[4],
                          const int16_t *x, int bits)
{
    const __m256i cell = cells_of(x), quarter = quarter_of(cell);
    const __m256i a = _mm256_loadu_si256((const void *)x),
                  b = _mm256_loadu_si256((const void *)(x + 16));
    TQ_UNROLL
    for (int z = 0; z < 4; z++) {
        const __m256i w = nearest_w(&table[z], cell, quarter);
        const __m256i lo = _mm256_shuffle_epi8(table[z].level_lo, w),
                      hi = _mm256_shuffle_epi8(table[z].level_hi, w);
        cost[0][z] = branch_cost(a, _mm256_unpacklo_epi8(lo, hi), bits);
        cost[1][z] = branch_cost(b, _mm256_unpackhi_epi8(lo, hi), bits);
    }
}

/* Bytes of path that a step takes. */
enum { STEP_BYTES = TQ_LANES };

/* Steps 0 .. n - 1, n a multiple of 4, over times t0 + i modulo d.  The costs of four
 * steps wait in memory while each half of the rows takes them: eight metrics and four
 * costs fill the registers. */
CPU_INLINE void run(__m256i metric[2][8], __m256i total[2][2], uint8_t *path,
                    const struct subset_table table[4], const int16_t *x,
                    const uint16_t *order, int bits, int d, int t0, int n)
{
    for (int i = 0; i < n; i += 4) {
        __m256i cost[4][2][4], first[4][2];
        for (int k = 0; k < 4; k++) {
            const int t = t0 + i + k;
            all_costs(cost[k], table, x + order[t >= d ? t - d : t] * TQ_LANES, bits);
        }
        for (int half = 0; half < 2; half++) {
            __m256i m[8];
            TQ_UNROLL
            for (int s = 0; s < 8; s++)
                m[s] = metric[half][s];
            TQ_UNROLL
            for (int k = 0; k < 4; k++)
                first[k][half] = step(m, cost[k][half]);
            subtract_least(m, total[half]);
            TQ_UNROLL
            for (int s = 0; s < 8; s++)
                metric[half][s] = m[s];
        }
        for (int k = 0; k < 4; k++)
            _mm256_storeu_si256((void *)(path + (i + k) * STEP_BYTES),
                                _mm256_packus_epi16(first[k][0], first[k][1]));
    }
}

/* ---- the way back, in bytes ---- */

/* The state and, in bit 3, the bit that leaves it on the way back: predecessor and subset
 * are functions of these. */
CPU_INLINE __m256i with_bit(const uint8_t *path, __m256i state)
{
    const __m256i bits =
        _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8,
                         16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i first = _mm256_and_si256(_mm256_loadu_si256((const void *)path),
                                           _mm256_shuffle_epi8(bits, state));
    const __m256i second = _mm256_cmpeq_epi8(first, _mm256_setzero_si256());
    return _mm256_or_si256(state, _mm256_and_si256(second, _mm256_set1_epi8(8)));
}

CPU_INLINE __m256i came_from(__m256i reg)
{
    return _mm256_and_si256(_mm256_srli_epi16(reg, 1), _mm256_set1_epi8(7));
}

/* The state at time 0 of the best path through the last 32 and the first 32 samples. */
CPU_INLINE __m256i find_start(uint8_t *path, const struct subset_table table[4],
                              const int16_t *x, const uint16_t *order, int bits, int d)
{
    __m256i metric[2][8], best[2], total[2][2];
    total[0][0] = total[0][1] = total[1][0] = total[1][1] = _mm256_setzero_si256();
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[0][s] = metric[1][s] = _mm256_setzero_si256();
    run(metric, total, path, table, x, order, bits, d, d - TQ_WARMUP / 2, TQ_WARMUP);
    for (int half = 0; half < 2; half++) {
        __m256i least = metric[half][7];
        best[half] = _mm256_set1_epi16(7);
        for (int s = 6; s >= 0; s--) { /* the lowest state that attains the minimum */
            least = _mm256_min_epu16(least, metric[half][s]);
            best[half] = _mm256_blendv_epi8(best[half], _mm256_set1_epi16((short)s),
                                            _mm256_cmpeq_epi16(least, metric[half][s]));
        }
    }
    __m256i state = _mm256_packus_epi16(best[0], best[1]);
    for (int i = TQ_WARMUP - 1; i >= TQ_WARMUP / 2; i--)
        state = came_from(with_bit(path + i * STEP_BYTES, state));
    return state;
}

/* Tables of the way back. */
struct trace_table {
    __m256i subset;               // by state | bit << 3
    __m256i magnitude[2];         // |level|, by index and index - 16
    const struct subset_table *z; // [4]
};

static struct trace_table trace_tables(const struct subset_table table[4], int bits)
{
    uint8_t subset[16], magnitude[32];
    for (int i = 0; i < 16; i++)
        subset[i] = (uint8_t)subset_of(i & 7, i >> 3);
    for (int i = 0; i < 32; i++) {
        const int level = tq_level[bits - 2][i];
        magnitude[i] = (uint8_t)(level < 0 ? -level : level);
    }
    return (struct trace_table){
        table_of(subset), {table_of(magnitude), table_of(magnitude + 16)}, table};
}

/* w of each row in its subset z. */
CPU_INLINE __m256i chosen_w(const struct subset_table table[4], const int16_t *x,
                            __m256i z)
{
    const __m256i cell = cells_of(x), quarter = quarter_of(cell);
    const __m256i odd = _mm256_slli_epi16(z, 7), upper = _mm256_slli_epi16(z, 6);
    const __m256i a = _mm256_blendv_epi8(nearest_w(&table[0], cell, quarter),
                                         nearest_w(&table[1], cell, quarter), odd);
    const __m256i b = _mm256_blendv_epi8(nearest_w(&table[2], cell, quarter),
                                         nearest_w(&table[3], cell, quarter), odd);
    return _mm256_blendv_epi8(a, b, upper);
}

/* Writes the codes of a time; returns the magnitudes of the levels and steps back. */
CPU_INLINE __m256i trace_step(uint8_t *code, __m256i *state, const uint8_t *path,
                              const int16_t *x, const struct trace_table *table)
{
    const __m256i reg = with_bit(path, *state);
    const __m256i z = _mm256_shuffle_epi8(table->subset, reg);
    const __m256i w = chosen_w(table->z, x, z);
    const __m256i out =
        _mm256_or_si256(_mm256_add_epi8(w, w), _mm256_and_si256(z, _mm256_set1_epi8(1)));
    _mm256_storeu_si256((void *)code, _mm256_permute4x64_epi64(out, 0xD8));
    const __m256i index = _mm256_or_si256(_mm256_slli_epi16(w, 2), z);
    const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
    *state = came_from(reg);
    return _mm256_blendv_epi8(_mm256_shuffle_epi8(table->magnitude[0], low),
                              _mm256_shuffle_epi8(table->magnitude[1], low),
                              _mm256_slli_epi16(index, 3));
}

/* sum[0] and sum[1] get the even and odd words of x. */
CPU_INLINE void add_words(__m256i sum[2], __m256i x)
{
    sum[0] = _mm256_add_epi32(sum[0], _mm256_and_si256(x, _mm256_set1_epi32(0xffff)));
    sum[1] = _mm256_add_epi32(sum[1], _mm256_srli_epi32(x, 16));
}

static void trace_path(uint8_t *code, int32_t *energy, const uint8_t *path,
                       const int16_t *x, const uint16_t *order, int d, __m256i state,
                       const struct trace_table *table)
{
    __m256i sum[2][2];
    sum[0][0] = sum[0][1] = sum[1][0] = sum[1][1] = _mm256_setzero_si256();
    for (int t = d - 2; t >= 0; t -= 2) {
        const __m256i b =
            trace_step(code + (t + 1) * TQ_LANES, &state, path + (t + 1) * STEP_BYTES,
                       x + order[t + 1] * TQ_LANES, table);
        const __m256i a = trace_step(code + t * TQ_LANES, &state, path + t * STEP_BYTES,
                                     x + order[t] * TQ_LANES, table);
        const __m256i lo = _mm256_unpacklo_epi8(a, b), hi = _mm256_unpackhi_epi8(a, b);
        add_words(sum[0], _mm256_maddubs_epi16(lo, lo));
        add_words(sum[1], _mm256_maddubs_epi16(hi, hi));
    }
    for (int half = 0; half < 2; half++) {
        const __m256i lo = _mm256_unpacklo_epi32(sum[half][0], sum[half][1]),
                      hi = _mm256_unpackhi_epi32(sum[half][0], sum[half][1]);
        int32_t *to = energy + 16 * half;
        _mm256_storeu_si256((void *)to, _mm256_permute2x128_si256(lo, hi, 0x20));
        _mm256_storeu_si256((void *)(to + 8), _mm256_permute2x128_si256(lo, hi, 0x31));
    }
}

/* Bytes of 32 rows, as packing leaves them, to the words of a half. */
CPU_INLINE __m256i half_words(__m256i bytes, int half)
{
    return half ? _mm256_unpackhi_epi8(bytes, bytes) : _mm256_unpacklo_epi8(bytes, bytes);
}

/* cost [32] <- total + the metric of the start state, where the path ends. */
CPU_INLINE void store_cost(int32_t *cost, __m256i metric[2][8], __m256i total[2][2],
                           __m256i start)
{
    const __m256i zero = _mm256_setzero_si256();
    for (int half = 0; half < 2; half++) {
        __m256i end = zero;
        for (int s = 0; s < 8; s++) {
            const __m256i same = _mm256_cmpeq_epi8(start, _mm256_set1_epi8((char)s));
            end = _mm256_or_si256(
                end, _mm256_and_si256(half_words(same, half), metric[half][s]));
        }
        const __m256i a =
            _mm256_add_epi32(total[half][0], _mm256_unpacklo_epi16(end, zero));
        const __m256i b =
            _mm256_add_epi32(total[half][1], _mm256_unpackhi_epi16(end, zero));
        int32_t *to = cost + 16 * half;
        _mm256_storeu_si256((void *)to, _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256((void *)(to + 8), _mm256_permute2x128_si256(a, b, 0x31));
    }
}

CPU_INLINE void viterbi(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                        const uint16_t *order, int bits, int d, uint8_t *path)
{
    struct subset_table table[4];
    for (int z = 0; z < 4; z++)
        init_subset(&table[z], bits, z);
    const struct trace_table trace = trace_tables(table, bits);
    const __m256i start = find_start(path, table, x, order, bits, d);
    __m256i metric[2][8], total[2][2];
    total[0][0] = total[0][1] = total[1][0] = total[1][1] = _mm256_setzero_si256();
    for (int s = 0; s < 8; s++) {
        const __m256i same = _mm256_cmpeq_epi8(start, _mm256_set1_epi8((char)s));
        const __m256i handicap = _mm256_set1_epi16(HANDICAP);
        for (int half = 0; half < 2; half++)
            metric[half][s] = _mm256_andnot_si256(half_words(same, half), handicap);
    }
    run(metric, total, path, table, x, order, bits, d, 0, d);
    store_cost(cost, metric, total, start);
    trace_path(code, energy, path, x, order, d, start, &trace);
}

void tq_viterbi_avx2(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                     const uint16_t *order, int bits, int d, uint16_t *path)
{
    if (bits == 4)
        viterbi(code, energy, cost, x, order, 4, d, (uint8_t *)path);
    else
        viterbi(code, energy, cost, x, order, bits, d, (uint8_t *)path);
}

/* ---- turbo8 ---- */

void tq_quantise8_avx2(int8_t *code, uint16_t *scale, float *energy, const uint16_t *x,
                       int d)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX));
    for (int j = 0; j < ROW; j += 16) {
        __m256 sum[2], top[2], factor[2], any[2];
        sum[0] = sum[1] = top[0] = top[1] = _mm256_setzero_ps();
        for (int i = 0; i < d; i++) {
            TQ_UNROLL
            for (int k = 0; k < 2; k++) {
                const __m256 v = load_half(x + i * ROW + j + 8 * k);
                sum[k] = _mm256_add_ps(sum[k], _mm256_mul_ps(v, v));
                top[k] = _mm256_max_ps(_mm256_and_ps(v, magnitude), top[k]);
            }
        }
        TQ_UNROLL
        for (int k = 0; k < 2; k++) {
            _mm256_storeu_ps(energy + j + 8 * k, sum[k]);
            const __m256 unit = _mm256_and_ps(
                usable_lanes(sum[k]), _mm256_div_ps(top[k], _mm256_set1_ps(127.0f)));
            const __m128i half = _mm256_cvtps_ph(unit, _MM_FROUND_TO_NEAREST_INT);
            _mm_storeu_si128((void *)(scale + j + 8 * k), half);
            const __m256 stored = _mm256_cvtph_ps(half);
            any[k] = _mm256_cmp_ps(stored, _mm256_setzero_ps(), _CMP_GT_OQ);
            factor[k] = _mm256_div_ps(_mm256_set1_ps(1.0f), stored);
        }
        for (int i = 0; i < d; i++) {
            __m256i v[2];
            TQ_UNROLL
            for (int k = 0; k < 2; k++)
                v[k] =
                    scaled(load_half(x + i * ROW + j + 8 * k), factor[k], any[k], 127.0f);
            const __m256i words = to_words(v[0], v[1]);
            _mm_storeu_si128((void *)(code + i * ROW + j),
                             _mm_packs_epi16(_mm256_castsi256_si128(words),
                                             _mm256_extracti128_si256(words, 1)));
        }
    }
}

CPU_TARGET_END

#endif
