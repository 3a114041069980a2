/* kernels.h - the codec's inner loops, one table for each instruction set.
 *
 * The C versions are the definition.  Other versions give the same bytes, except for
 * score_f16, score_f32, sum_f16 and sum_f32, where they may use fused multiply-adds.
 * No kernel allocates or fails.  Pages, codes and scales may lie at any even address
 * (f32 pages too); other arrays are aligned to their element.  Pointers do not alias.
 * "Compressed d" is that of a part (parts.h) of a tq_dim_supported() d; "time" is trellis
 * time (docs/format.md). */
#ifndef CODEC_KERNELS_H
#define CODEC_KERNELS_H

#include <stdint.h>

#include "turboquant.h"

enum { TQ_LANES = 32, TQ_WARMUP = 64 };

/* Scores are clamped to this, so that no difference of two overflows. */
#define TQ_SCORE_MAX 1e30f

/* NaN stays, so that a broken query shows in its output. */
static inline float tq_clamp_score(float s)
{
    s = s > TQ_SCORE_MAX ? TQ_SCORE_MAX : s;
    return s < -TQ_SCORE_MAX ? -TQ_SCORE_MAX : s;
}

/* Page weights below this are dropped: 127 * 64 times it is far below an ulp of a value
 * that matters, and 65535 / it is finite. */
#define TQ_WEIGHT_MIN 0x1p-100f

/* Queries as integers: x = step * (hi + lo / 128), rows of d bytes. */
struct tq_code_queries {
    const int8_t *hi, *lo; // lo is NULL for one limb
    const float *step;
    const int32_t *sum_hi, *sum_lo;
    const float *bias; // added to scores, or NULL
    int most;          // no |hi| is larger
};

/* What packed kernels ask for from memory while they read: of each place a line of 64
 * bytes for two that they read. */
struct tq_places {
    const uint8_t *at[2];
};

/* rotate, unrotate  x [n][d] in place, compressed d.
 *
 * to_f16     out[i] <- x[i] as f16, finite values saturate.
 *
 * transpose  out [d][64] <- rows [64][d]; d % 16 == 0.
 *
 * energies   energy[32] <- sums of squares of the first 32 columns of x [d][64], in row
 *            order.
 *
 * normalise  out [d][32] <- x [d][64], the first 32 columns only, each column divided by
 *            its root mean square, of energy[32], and multiplied by gain; rounded,
 *            saturated to +-32767.  A column whose energy is not positive and finite
 *            gives zeros.
 *
 * viterbi    code [d][32] <- trellis codes w << 1 | v of the
 *            columns of x [d][32]: code row t belongs to x row order[t].
 *            energy[32] <- sum of squares of the chosen levels, cost[32] <- the sum of
 *            branch costs (kernels_c_encode.c) of the path.  path [d + 64][32] is
 *            scratch.
 *
 * quantise8  code [d][64] <- the 64 columns of x [d][64], over scale[64], which is a
 *            127th of the column's largest magnitude.  energy[64] as in energies.
 *
 * pack_k     out, the codes of a key page, <- code [d][64], rows in time order
 * pack_v     (turbo8, bits 8: in dimension order); all compressed d.
 *
 * weighted_mean  mean[d] <- sums of the rows of x [d][64], finite, times weight[64].
 * subtract   x [d][64] <- x - mean of the row, saturated; x is finite.
 *
 * expand_k   out [4][d/4][16 keys][4 dims] <- level + 128, tiles tile0 <= i < tile1.
 * expand_v   out [16][d][4 keys] <- level, groups of four keys of the same tiles.
 *            bits is 2, 3, 4 or 8.  Only these tiles of code are read, except that
 *            3-bit values read the 32-key group that a tile is in.
 *
 * turn_levels  out of expand_v <- in of expand_k: the same levels as values; compressed
 * d, the same tiles.
 *
 * load_query x[d] <- in * scale, its limbs and their sums; any d.  The largest |hi| is
 *            most, up to 127.  A row with NaN or infinity gives NaN for x and step.
 *
 * key_means  scale[64] <- the scales of a key page without the bits of its mean;
 *            bias[n] <- clamped scores of the queries, which have no lo, against the
 * mean. d of a page that has one.
 *
 * score_codes  s [n][64], tiles tile0..tile1-1, <- clamped scores of n queries against
 *              k of expand_k; q->bias is added for keys whose scale is not zero.
 * score_packed expand_k and score_codes in one, for few queries; q has the low limb if
 *              and only if bits is 8.  next is what will be read then.
 * score_f16, score_f32  the same against a page [4][d][16] and q [n][d]; any d.
 *
 * softmax    s [n][64] scores -> weights, zero outside [lo, hi[i]); updates m and l,
 * gives the factor c[n] for what was summed before.  hi[i] > lo.
 *
 * weigh      w [n][limbs][64] <- p [n][64] * vscale[64] over the page maximum, the high
 *            limb first; g[n] <- the value of one unit of the last limb.  The maximum
 *            becomes most, up to 255, in one limb and 65535 in two.
 *
 * sum_codes  o [n][d] <- o * c + g * sum of w * v over the tiles; v of expand_v.  In one
 *            limb no w is above weight_most.
 * sum_packed expand_v and sum_codes in one, for few queries, of two limbs if and only if
 *            bits is 8; next as in score_packed.
 *
 * sum_f16, sum_f32  o [n][d] <- o * c + sum of p [n][64] * v [64][d] over lo <= j <
 * hi in that order; any d. */
struct tq_kernels {
    /* Largest magnitudes of a limb hi and of a weight in one limb.  127 and 255 are what
     * the bytes hold; where pairs of products are added in 16 bits it is half of that. */
    int query_most, weight_most;
#define K(name, ret, args) ret(*name) args;
#include "codec/kernels.def"
#undef K
};

#define K(name, ret, args)       \
    ret tq_##name##_c args;      \
    ret tq_##name##_avx2 args;   \
    ret tq_##name##_avx512 args; \
    ret tq_##name##_neon args;
#define LUT(name, ret, args)         \
    ret tq_##name##_c args;          \
    ret tq_##name##_avx2 args;       \
    ret tq_##name##_avx512vnni args; \
    ret tq_##name##_neon args;
#define DOT(name, ret, args)      \
    LUT(name, ret, args)          \
    ret tq_##name##_avxvnni args; \
    ret tq_##name##_dotprod args;
#define PACKED(name, ret, args) \
    ret tq_##name##_c args;     \
    ret tq_##name##_avx512vnni args;
#include "codec/kernels.def"
#undef K

/* The table of the best instruction set at or below limit that this CPU has. */
const struct tq_kernels *tq_kernels_for(enum tq_isa limit);

#endif
