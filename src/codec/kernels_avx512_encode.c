/* kernels_avx512_encode.c - the encoder for AVX-512: 32 rows in 16-bit lanes. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <float.h>

#include "codec/avx512.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

enum { ROW = TQ_PAGE_TOKENS };
/* As in kernels_c_encode.c. */
enum { BRANCH_MAX = 9362, HANDICAP = 3 * BRANCH_MAX + 1 };

CPU_INLINE __m512 load_half(const uint16_t *x)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)x));
}

CPU_INLINE __mmask16 usable_lanes(__m512 energy)
{
    return _mm512_cmp_ps_mask(energy, _mm512_setzero_ps(), _CMP_GT_OQ) &
           _mm512_cmp_ps_mask(energy, _mm512_set1_ps(FLT_MAX), _CMP_LE_OQ);
}

void tq_energies_avx512(float *energy, const uint16_t *x, int d)
{
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int i = 0; i < d; i++) {
        TQ_UNROLL
        for (int k = 0; k < 2; k++) {
            const __m512 v = load_half(x + i * ROW + 16 * k);
            sum[k] = _mm512_add_ps(sum[k], _mm512_mul_ps(v, v));
        }
    }
    _mm512_storeu_ps(energy, sum[0]);
    _mm512_storeu_ps(energy + 16, sum[1]);
}

void tq_normalise_avx512(int16_t *out, const uint16_t *x, const float *energy, int d,
                         float gain)
{
    const __m512 most = _mm512_set1_ps(32767.0f), least = _mm512_set1_ps(-32767.0f);
    for (int j = 0; j < TQ_LANES; j += 16) {
        const __m512 sum = _mm512_loadu_ps(energy + j);
        const __mmask16 ok = usable_lanes(sum);
        const __m512 mean = _mm512_div_ps(sum, _mm512_set1_ps((float)d));
        const __m512 factor =
            _mm512_maskz_div_ps(ok, _mm512_set1_ps(gain), _mm512_sqrt_ps(mean));
        for (int i = 0; i < d; i++) {
            __m512 v = _mm512_maskz_mul_ps(ok, load_half(x + i * ROW + j), factor);
            v = _mm512_max_ps(_mm512_min_ps(v, most), least);
            _mm256_storeu_si256((void *)(out + i * TQ_LANES + j),
                                _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v)));
        }
    }
}

/* ---- Viterbi ---- */

struct subset_table {
    __m512i lo, hi; // nearest level of the subset for cells 0..31 and 32..63
};

static struct subset_table subset_levels(int bits, int z)
{
    _Alignas(64) int16_t level[64];
    for (int i = 0; i < 64; i++)
        level[i] = tq_level_fixed[bits - 2][4 * tq_nearest[bits - 2][z][i] + z];
    return (struct subset_table){_mm512_load_si512(level), _mm512_load_si512(level + 32)};
}

CPU_INLINE __m512i look_up(const struct subset_table *t, __m512i cell)
{
    return _mm512_permutex2var_epi16(t->lo, cell, t->hi);
}

/* Saturation at +-32767 keeps squares below 2^15. */
CPU_INLINE __m512i branch_cost(__m512i x, __m512i cell, const struct subset_table *t,
                               int bits)
{
    const __m512i level = look_up(t, cell);
    const __m512i e =
        _mm512_max_epi16(_mm512_subs_epi16(x, level), _mm512_set1_epi16(-32767));
    __m512i other = e;
    if (bits == 4)
        other = _mm512_max_epi16(_mm512_adds_epi16(e, e), _mm512_set1_epi16(-32767));
    return _mm512_min_epi16(_mm512_mulhrs_epi16(e, other), _mm512_set1_epi16(BRANCH_MAX));
}

CPU_INLINE int subset_of(int to, int high)
{
    const int reg = to | high << 3;
    return ((reg ^ reg >> 1 ^ reg >> 3) & 1) << 1 | (reg >> 2 & 1);
}

/* One step of 32 lanes; returns the decisions, bit s of a lane for state s. */
CPU_INLINE __m512i step(__m512i metric[8], const __m512i cost[4])
{
    __m512i next[8], decision = _mm512_setzero_si512();
    TQ_UNROLL
    for (int s = 0; s < 8; s++) {
        const __m512i a = _mm512_add_epi16(metric[s >> 1], cost[subset_of(s, 0)]);
        const __m512i b = _mm512_add_epi16(metric[s >> 1 | 4], cost[subset_of(s, 1)]);
        const __mmask32 second = _mm512_cmplt_epu16_mask(b, a);
        next[s] = _mm512_min_epu16(a, b);
        decision = _mm512_mask_add_epi16(decision, second, decision,
                                         _mm512_set1_epi16((short)(1 << s)));
    }
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[s] = next[s];
    return decision;
}

/* 16 words of 32. */
CPU_INLINE __m512i half_of(__m512i words, int half)
{
    return _mm512_cvtepu16_epi32(half ? _mm512_extracti64x4_epi64(words, 1)
                                      : _mm512_castsi512_si256(words));
}

/* The least metrics go to total. */
CPU_INLINE void subtract_least(__m512i metric[8], __m512i total[2])
{
    __m512i least = metric[0];
    TQ_UNROLL
    for (int s = 1; s < 8; s++)
        least = _mm512_min_epu16(least, metric[s]);
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[s] = _mm512_sub_epi16(metric[s], least);
    TQ_UNROLL
    for (int half = 0; half < 2; half++)
        total[half] = _mm512_add_epi32(total[half], half_of(least, half));
}

/* Steps i0 .. i0 + n - 1, n a multiple of 4, over times t0 + i modulo d. */
CPU_INLINE void run(__m512i metric[8], __m512i total[2], uint16_t *path,
                    const struct subset_table table[4], const int16_t *x,
                    const uint16_t *order, int bits, int d, int t0, int n)
{
    for (int i = 0; i < n; i += 4) {
        TQ_UNROLL
        for (int k = 0; k < 4; k++) {
            int t = t0 + i + k;
            t = t >= d ? t - d : t;
            const __m512i v = _mm512_loadu_si512(x + order[t] * TQ_LANES);
            const __m512i cell = _mm512_srli_epi16(v, 10);
            __m512i cost[4];
            TQ_UNROLL
            for (int z = 0; z < 4; z++)
                cost[z] = branch_cost(v, cell, &table[z], bits);
            _mm512_storeu_si512(path + (i + k) * TQ_LANES, step(metric, cost));
        }
        subtract_least(metric, total);
    }
}

CPU_INLINE __m512i bit_of(__m512i decision, __m512i state)
{
    return _mm512_and_si512(_mm512_srlv_epi16(decision, state), _mm512_set1_epi16(1));
}

CPU_INLINE __m512i came_from(__m512i state, __m512i high)
{
    return _mm512_or_si512(_mm512_srli_epi16(state, 1), _mm512_slli_epi16(high, 2));
}

/* The state at time 0 of the best path through the last 32 and the first 32 samples. */
CPU_INLINE __m512i find_start(uint16_t *path, const struct subset_table table[4],
                              const int16_t *x, const uint16_t *order, int bits, int d)
{
    __m512i metric[8], total[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[s] = _mm512_setzero_si512();
    run(metric, total, path, table, x, order, bits, d, d - TQ_WARMUP / 2, TQ_WARMUP);
    __m512i state = _mm512_setzero_si512(), least = metric[0];
    TQ_UNROLL
    for (int s = 1; s < 8; s++) {
        const __mmask32 less = _mm512_cmplt_epu16_mask(metric[s], least);
        state = _mm512_mask_mov_epi16(state, less, _mm512_set1_epi16((short)s));
        least = _mm512_min_epu16(metric[s], least);
    }
    for (int i = TQ_WARMUP - 1; i >= TQ_WARMUP / 2; i--)
        state = came_from(state, bit_of(_mm512_loadu_si512(path + i * TQ_LANES), state));
    return state;
}

/* tq_nearest of one subset as words, for cells 0..31 and 32..63. */
static struct subset_table subset_nearest(int bits, int z)
{
    _Alignas(64) int16_t w[64];
    for (int i = 0; i < 64; i++)
        w[i] = tq_nearest[bits - 2][z][i];
    return (struct subset_table){_mm512_load_si512(w), _mm512_load_si512(w + 32)};
}

/* w of each row in its subset 2 z1 + z0. */
CPU_INLINE __m512i nearest_w(const struct subset_table table[4], __m512i cell,
                             __mmask32 z0, __mmask32 z1)
{
    const __m512i a =
        _mm512_mask_mov_epi16(look_up(&table[0], cell), z0, look_up(&table[1], cell));
    const __m512i b =
        _mm512_mask_mov_epi16(look_up(&table[2], cell), z0, look_up(&table[3], cell));
    return _mm512_mask_mov_epi16(a, z1, b);
}

static void trace_back(uint8_t *code, int32_t *energy, const uint16_t *path,
                       const int16_t *x, const uint16_t *order, int bits, int d,
                       __m512i state)
{
    _Alignas(64) int16_t level[32];
    for (int i = 0; i < 32; i++)
        level[i] = tq_level[bits - 2][i];
    const __m512i levels = _mm512_load_si512(level), one = _mm512_set1_epi16(1);
    struct subset_table table[4];
    for (int z = 0; z < 4; z++)
        table[z] = subset_nearest(bits, z);
    __m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int t = d - 1; t >= 0; t--) {
        const __m512i high = bit_of(_mm512_loadu_si512(path + t * TQ_LANES), state);
        const __m512i z0 = _mm512_and_si512(_mm512_srli_epi16(state, 2), one);
        const __m512i z1 = _mm512_and_si512(
            _mm512_ternarylogic_epi64(state, _mm512_srli_epi16(state, 1), high, TQ_XOR3),
            one);
        const __m512i v = _mm512_loadu_si512(x + order[t] * TQ_LANES);
        const __m512i w =
            nearest_w(table, _mm512_srli_epi16(v, 10), _mm512_test_epi16_mask(z0, one),
                      _mm512_test_epi16_mask(z1, one));
        const __m512i chosen = _mm512_or_si512(_mm512_slli_epi16(w, 1), z0);
        _mm256_storeu_si256((void *)(code + t * TQ_LANES), _mm512_cvtepi16_epi8(chosen));
        const __m512i index = _mm512_or_si512(
            _mm512_slli_epi16(w, 2), _mm512_or_si512(_mm512_slli_epi16(z1, 1), z0));
        const __m512i l = _mm512_permutexvar_epi16(index, levels);
        const __m512i square = _mm512_mullo_epi16(l, l);
        sum[0] = _mm512_add_epi32(sum[0], half_of(square, 0));
        sum[1] = _mm512_add_epi32(sum[1], half_of(square, 1));
        state = came_from(state, high);
    }
    _mm512_storeu_si512(energy, sum[0]);
    _mm512_storeu_si512(energy + 16, sum[1]);
}

CPU_INLINE void viterbi(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                        const uint16_t *order, int bits, int d, uint16_t *path)
{
    struct subset_table table[4];
    for (int z = 0; z < 4; z++)
        table[z] = subset_levels(bits, z);
    const __m512i start = find_start(path, table, x, order, bits, d);
    __m512i metric[8], total[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    TQ_UNROLL
    for (int s = 0; s < 8; s++) {
        const __mmask32 other =
            _mm512_cmpneq_epi16_mask(start, _mm512_set1_epi16((short)s));
        metric[s] = _mm512_maskz_mov_epi16(other, _mm512_set1_epi16(HANDICAP));
    }
    run(metric, total, path, table, x, order, bits, d, 0, d);
    __m512i end = _mm512_setzero_si512();
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        end = _mm512_mask_mov_epi16(
            end, _mm512_cmpeq_epi16_mask(start, _mm512_set1_epi16((short)s)), metric[s]);
    for (int half = 0; half < 2; half++)
        _mm512_storeu_si512(cost + 16 * half,
                            _mm512_add_epi32(total[half], half_of(end, half)));
    trace_back(code, energy, path, x, order, bits, d, start);
}

void tq_viterbi_avx512(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                       const uint16_t *order, int bits, int d, uint16_t *path)
{
    if (bits == 4)
        viterbi(code, energy, cost, x, order, 4, d, path);
    else
        viterbi(code, energy, cost, x, order, bits, d, path);
}

/* ---- turbo8 ---- */

void tq_quantise8_avx512(int8_t *code, uint16_t *scale, float *energy, const uint16_t *x,
                         int d)
{
    const __m512 most = _mm512_set1_ps(127.0f), least = _mm512_set1_ps(-127.0f);
    for (int j = 0; j < ROW; j += 16) {
        __m512 sum = _mm512_setzero_ps(), top = sum;
        for (int i = 0; i < d; i++) {
            const __m512 v = load_half(x + i * ROW + j);
            sum = _mm512_add_ps(sum, _mm512_mul_ps(v, v));
            top = _mm512_max_ps(_mm512_abs_ps(v), top);
        }
        _mm512_storeu_ps(energy + j, sum);
        const __m512 unit = _mm512_maskz_div_ps(usable_lanes(sum), top, most);
        const __m256i half = _mm512_cvtps_ph(unit, _MM_FROUND_TO_NEAREST_INT);
        _mm256_storeu_si256((void *)(scale + j), half);
        const __mmask16 any = _mm256_test_epi16_mask(half, half);
        const __m512 factor =
            _mm512_maskz_div_ps(any, _mm512_set1_ps(1.0f), _mm512_cvtph_ps(half));
        for (int i = 0; i < d; i++) {
            __m512 v = _mm512_maskz_mul_ps(any, load_half(x + i * ROW + j), factor);
            v = _mm512_max_ps(_mm512_min_ps(v, most), least);
            _mm_storeu_si128((void *)(code + i * ROW + j),
                             _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
        }
    }
}

CPU_TARGET_END

#endif
