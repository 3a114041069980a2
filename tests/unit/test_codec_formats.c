/* test_codec_formats.c - quality of the scalar, residual and block types against theory,
 * and of the trellis encoder against an exhaustive search. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/formats.h"
#include "codec/polar.h"
#include "codec/tables.h"
#include "codec/tables_scalar.h"
#include "turboquant.h"
#include "draws.h"

enum { TOKENS = TQ_PAGE_TOKENS };

#define PI 3.14159265358979324

static _Alignas(64) uint8_t page[TOKENS * TQ_DIM_MAX * 4], exact[TOKENS * TQ_DIM_MAX * 2];
static _Alignas(64) uint8_t scratch[1 << 19];
static float rows[TOKENS * TQ_DIM_MAX], decoded[TOKENS * TQ_DIM_MAX];

static struct tq_codec codec(enum tq_type t, enum tq_role role, int d)
{
    struct tq_codec c;
    assert_true(tq_codec_init(&c, t, role, d, TQ_ISA_BEST));
    return c;
}

static void fill_rows(int d)
{
    for (int i = 0; i < TOKENS * d; i++)
        rows[i] = gaussian();
}

/* Encode `rows`, which are in the rotated basis, and decode them. */
static void round_trip(const struct tq_codec *c)
{
    const struct tq_codec x = codec(TQ_F16, c->role, c->d);
    for (int j = 0; j < TOKENS; j++)
        tq_put(&x, exact, j, rows + j * c->d);
    assert_true(tq_encode_scratch_bytes(c->d) <= sizeof scratch);
    assert_int_equal(tq_encode(c, page, exact, scratch), 0);
    tq_decode(c, decoded, page);
}

/* Mean of |x - decoded|^2 / |x|^2 over the rows. */
static double nmse(int d)
{
    double sum = 0;
    for (int j = 0; j < TOKENS; j++) {
        double e = 0, x2 = 0;
        for (int i = j * d; i < (j + 1) * d; i++) {
            const double x = (double)rows[i];
            e += (x - (double)decoded[i]) * (x - (double)decoded[i]);
            x2 += x * x;
        }
        sum += e / x2 / TOKENS;
    }
    return sum;
}

static double distortion(enum tq_type t, int d, int pages)
{
    const struct tq_codec c[2] = {codec(t, TQ_KEY, d),
                                  codec(t, tq_type_prod(t) ? TQ_KEY : TQ_VALUE, d)};
    double sum = 0;
    for (int i = 0; i < pages; i++) {
        fill_rows(d);
        round_trip(&c[i % 2]);
        sum += nmse(d) / pages;
    }
    return sum;
}

static void assert_near(double got, double want, double relative)
{
    if (fabs(got / want - 1) > relative)
        print_error("%g is not within %g of %g\n", got, relative, want);
    assert_true(fabs(got / want - 1) <= relative);
}

/* ---- codebooks ---- */

/* Moments 0, 1, 2 of a law over [a, b]: composite Simpson rule. */
struct moments {
    double m[3];
};

static struct moments integrate(double (*law)(double, double), double p, double a,
                                double b)
{
    enum { N = 400 };
    struct moments sum = {{0}};
    for (int i = 0; i <= N; i++) {
        const double t = a + (b - a) * i / N;
        const double w = (i == 0 || i == N ? 1 : i % 2 ? 4 : 2) * (b - a) / N / 3;
        const double f = w * law(t, p);
        for (int k = 0; k < 3; k++)
            sum.m[k] += f * pow(t, k);
    }
    return sum;
}

/* A coordinate of a uniform point of the sphere of radius sqrt(d), not normalised. */
static double sphere_law(double t, double d)
{
    const double z = 1 - t * t / d;
    return z > 0 ? pow(z, (d - 3) / 2) : 0;
}

static double angle_law(double a, double power)
{
    return pow(sin(2 * a), power);
}

/* Every level is the centroid of its cell, and cells end at midpoints: tables have six
 * decimals.  Returns the mean squared error over the second moment. */
static double check_lloyd(double (*law)(double, double), double p, const float *level,
                          int n, double low, double high)
{
    double mass = 0, power = 0, error = 0;
    for (int k = 0; k < n; k++) {
        const double c = (double)level[k];
        const double a = k ? ((double)level[k - 1] + c) / 2 : low;
        const double b = k < n - 1 ? (c + (double)level[k + 1]) / 2 : high;
        const struct moments s = integrate(law, p, a, b);
        assert_true(fabs(s.m[1] / s.m[0] - c) <= 3e-6);
        mass += s.m[0];
        power += s.m[2];
        error += s.m[2] - 2 * c * s.m[1] + c * c * s.m[0];
    }
    assert_true(mass > 0);
    return error / power;
}

static double law_distortion(int d, int bits)
{
    return check_lloyd(sphere_law, d, tq_codebook_for(d, bits), 1 << (bits - 1), 0,
                       fmin(sqrt(d), 12));
}

static void test_codebooks(void **state)
{
    (void)state;
    for (int k = 0; k < TQ_CODEBOOKS; k++)
        for (int bits = 1; bits <= 4; bits++) {
            const int d = tq_codebook_dim[k];
            const double got = law_distortion(d, bits);
            assert_ptr_equal(tq_codebook_for(d, bits),
                             tq_codebook[k] + (1 << (bits - 1)) - 1);
            /* Max 1960, for the normal law, which the sphere's tends to from below. */
            static const double normal[4] = {.36338, .117482, .034548, .009497};
            assert_true(got < normal[bits - 1] && got > normal[bits - 1] * (1 - 4.0 / d));
        }
    assert_near(law_distortion(128, 2), .1160, .001);
    assert_near(law_distortion(128, 3), .03397, .001);
    assert_near(law_distortion(128, 4), .00932, .001);
    for (int level = 2; level <= 4; level++)
        check_lloyd(angle_law, (1 << (level - 1)) - 1, tq_polar_angle[level - 2], 4, 0,
                    PI / 2);
}

/* ---- distortion ---- */

static void test_mse_distortion(void **state)
{
    (void)state;
    assert_near(distortion(TQ_MSE2, 128, 50), .1160, .01);
    assert_near(distortion(TQ_MSE3, 128, 50), .0340, .01);
    assert_near(distortion(TQ_MSE4, 128, 50), .0093, .01);
    static const int dims[] = {64, 80, 96, 112, 192, 256, 512};
    for (int i = 0; i < 7; i++)
        for (int b = 2; b <= 4; b++)
            assert_near(distortion((enum tq_type)(TQ_MSE4 + 4 - b), dims[i], 60),
                        law_distortion(dims[i], b), .015);
}

/* E max |x|^2 of 32 normal numbers: the integral of 2 x P(max > x). */
static double mean_square_of_maximum(void)
{
    double sum = 0;
    for (double x = .0005; x < 12; x += .001)
        sum += 2 * x * (1 - pow(erf(x / sqrt(2)), 32)) * .001;
    return sum;
}

/* q8_0: steps of max / 127 with uniform errors, but none for the largest of the 32.  The
 * other figures are of an independent program (docs/codec-experiments.md). */
static void test_block_distortion(void **state)
{
    (void)state;
    const double q8 = distortion(TQ_Q8_0, 128, 40);
    assert_near(q8, mean_square_of_maximum() / (127 * 127 * 12) * 31 / 32, .01);
    assert_near(q8, .000029, .03);
    assert_near(distortion(TQ_Q4_0, 128, 50), .00737, .015);
    assert_near(distortion(TQ_Q4_0, 96, 40), .00737, .02);
}

/* Half of the channels 16 times as strong.  The split finds them in any order, and then
 * the distortion is that of two codes of 64 dimensions; without the order the halves are
 * alike and the bits are spent badly. */
static void test_mix_distortion(void **state)
{
    (void)state;
    enum { D = 128, PAGES = 20 };
    for (int high = 3; high <= 4; high++) {
        const enum tq_type t = high == 4 ? TQ_MIX3_5 : TQ_MIX2_5;
        const double dh = law_distortion(D / 2, high),
                     dl = law_distortion(D / 2, high - 1);
        assert_near(distortion(t, D, 30), (dh + dl) / 2, .015);

        float energy[D] = {0};
        for (int i = 0; i < D; i++)
            energy[i * 37 % D] = i < D / 2 ? 16.0f : 1.0f;
        uint16_t order[D];
        tq_order_by_energy(order, energy, D);
        double sum[2] = {0, 0};
        for (int with = 0; with < 2; with++)
            for (int p = 0; p < PAGES; p++) {
                struct tq_codec c = codec(t, TQ_KEY, D);
                if (with)
                    assert_true(tq_codec_set_order(&c, order));
                fill_rows(D);
                for (int i = 0; i < TOKENS * D; i++)
                    rows[i] *= sqrtf(energy[i % D]);
                tq_rotate(&c, rows, TOKENS);
                round_trip(&c);
                sum[with] += nmse(D) / PAGES;
            }
        assert_near(sum[1], (16 * dh + dl) / 17, .03);
        assert_true(sum[0] > 1.3 * sum[1]);
    }
}

/* Radius exact, angles independent: <x, decoded> / |x|^2 is in the mean the product over
 * the levels of the mean cosine of the angle's error, and norms are equal. */
static void test_polar_distortion(void **state)
{
    (void)state;
    enum { D = 128, N = 4000 };
    double keep = sin(PI / 16) / (PI / 16);
    for (int level = 2; level <= 4; level++) {
        const float *c = tq_polar_angle[level - 2];
        const double power = (1 << (level - 1)) - 1;
        double mass = 0, cosine = 0;
        for (int i = 0; i < 20000; i++) {
            const double a = PI / 2 * (i + .5) / 20000, f = angle_law(a, power);
            double best = -1;
            for (int k = 0; k < 4; k++)
                best = fmax(best, cos(a - (double)c[k]));
            mass += f;
            cosine += f * best;
        }
        keep *= cosine / mass;
    }
    double sum = 0, ratio = 0;
    for (int n = 0; n < N; n++) {
        uint16_t radius[D / 16];
        uint8_t angle[D / 16 * 15];
        float x[D], y[D];
        double e = 0, x2 = 0, y2 = 0;
        for (int i = 0; i < D; i++)
            x[i] = gaussian();
        tq_polar_encode(radius, angle, x, D);
        tq_polar_decode(y, radius, angle, D);
        for (int i = 0; i < D; i++) {
            e += pow((double)x[i] - (double)y[i], 2);
            x2 += pow((double)x[i], 2);
            y2 += pow((double)y[i], 2);
        }
        sum += e / x2 / N;
        ratio += y2 / x2 / N;
    }
    assert_near(sum, 2 * (1 - keep), .01);
    assert_near(ratio, 1, .001);

    float odd[32] = {0}, back[32];
    uint16_t radius[2];
    uint8_t angle[30];
    odd[3] = NAN;
    odd[20] = -1.0f;
    tq_polar_encode(radius, angle, odd, 32);
    tq_polar_decode(back, radius, angle, 32);
    for (int i = 0; i < 16; i++)
        assert_true(back[i] == 0.0f);
    assert_true(back[20] < -0.5f);
}

/* ---- prod ---- */

/* Normal numbers of the documented generator, row_numbers for each row: their quantile is
 * the uniform one. */
static void check_sign_matrix(int d, int row_numbers)
{
    double m2 = 0, m4 = 0;
    for (int i = 0; i < d; i++) {
        float row[TQ_DIM_MAX], part[3];
        tq_sign_row(row, 5, d, i, 0, d);
        tq_sign_row(part, 5, d, i, d / 2 - 1, 3);
        assert_memory_equal(part, row + d / 2 - 1, sizeof part);
        for (int k = 0; k < d; k++) {
            uint64_t z = 5 + 0x9E3779B97F4A7C15u * (uint64_t)(row_numbers * i + k + 1);
            z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
            z = (z ^ z >> 27) * 0x94D049BB133111EBu;
            const double u = ((double)((z ^ z >> 31) >> 32) + .5) / 4294967296.0;
            const double x = (double)row[k], tail = u < .5 ? u : 1 - u;
            const double below = erfc(fabs(x) / sqrt(2)) / 2;
            const double slope = exp(-x * x / 2) / sqrt(2 * PI);
            assert_true((x < 0) == (u < .5));
            assert_true(fabs(below - tail) <= 1e-6 * slope * fmax(1, fabs(x)));
            m2 += x * x / d / d;
            m4 += x * x * x * x / d / d;
        }
    }
    assert_near(m2, 1, d < 256 ? .08 : .02);
    assert_near(m4, 3, d < 256 ? .2 : .05);
}

static void test_sign_matrix(void **state)
{
    (void)state;
    check_sign_matrix(64, 256);
    check_sign_matrix(256, 256);
    check_sign_matrix(512, 512);
}

enum { DRAWS = 128, QUERIES = 128, PD = 64 };

/* Over draws of the sign matrix, with rows and queries drawn anew each time: mean error
 * of the inner product, the excess of the slope of estimate against truth over 1 (both
 * with standard errors over the draws, whose pairs are not independent), and the mean
 * squared error of unit vectors. */
static void check_prod(enum tq_type t, int bits)
{
    struct tq_codec c = codec(t, TQ_KEY, PD);
    double mean = 0, mean2 = 0, slope = 0, slope2 = 0, square = 0;
    for (int draw = 0; draw < DRAWS; draw++) {
        c.seed = 1000u + (unsigned)draw;
        fill_rows(PD);
        round_trip(&c);
        double e1 = 0, exy = 0, xx = 0;
        for (int q = 0; q < QUERIES; q++) {
            double y[PD], y2 = 0;
            for (int i = 0; i < PD; i++) {
                y[i] = (double)gaussian();
                y2 += y[i] * y[i];
            }
            for (int j = 0; j < TOKENS; j++) {
                double dot = 0, error = 0, x2 = 0;
                for (int i = 0; i < PD; i++) {
                    const double x = (double)rows[j * PD + i];
                    dot += x * y[i];
                    error += ((double)decoded[j * PD + i] - x) * y[i];
                    x2 += x * x;
                }
                e1 += error;
                exy += error * dot;
                xx += dot * dot;
                square += error * error / (x2 * y2);
            }
        }
        const double e = e1 / (QUERIES * TOKENS), s = exy / xx;
        mean += e / DRAWS;
        mean2 += e * e / DRAWS;
        slope += s / DRAWS;
        slope2 += s * s / DRAWS;
    }
    const double se_mean = sqrt((mean2 - mean * mean) / (DRAWS - 1));
    const double se_slope = sqrt((slope2 - slope * slope) / (DRAWS - 1));
    assert_true(fabs(mean) <= 3 * se_mean);
    assert_true(fabs(slope) <= 3 * se_slope && se_slope < .005);
    assert_near(square / ((double)DRAWS * QUERIES * TOKENS),
                PI / (2 * PD) * law_distortion(PD, bits - 1), .03);
}

static void test_prod_unbiased(void **state)
{
    (void)state;
    rng = 7; // its own draws: one sequence in 60 is past one of the six limits
    check_prod(TQ_PROD2, 2);
    check_prod(TQ_PROD3, 3);
    check_prod(TQ_PROD4, 4);
}

/* ---- the trellis encoder ---- */

/* z of the branch from state (u[t-1], u[t-2], u[t-3] in bits 0..2) with input u:
 * docs/format.md, 3. */
static int branch_z(int state, int u)
{
    return ((u ^ state ^ state >> 2) & 1) << 1 | (state >> 1 & 1);
}

/* Levels in fixed point and the gains, docs/format.md, 6. */
static const double fixed_level[3] = {60, 136, 175};
static const double gains[3][4] = {
    {3484, 3810, 4173, 4566}, {5989, 6662, 7404, 8214}, {6825, 7455, 8155, 8925}};

/* Squared error of the nearest level of subset z for x of deviation 1 that is brought to
 * `gain`; with `cells`, of the level that the encoder looks up by the cell of x. */
static double subset_cost(double x, double gain, int z, int bits, bool cells)
{
    const int fixed = (int)fmax(fmin(nearbyint(x * gain), 32767), -32767);
    double best = INFINITY;
    for (int w = 0; w < 1 << (bits - 1); w++) {
        const double e = x - fixed_level[bits - 2] * tq_level[bits - 2][4 * w + z] / gain;
        if (!cells || w == tq_nearest[bits - 2][z][fixed >> 10 & 63])
            best = fmin(best, e * e);
    }
    return best;
}

/* The least squared error of x[d] over all closed paths, by a search for each of the
 * eight states at time 0. */
static double exhaustive(const double *x, double gain, int bits, int d, bool cells)
{
    static double cost[TQ_DIM_MAX][4];
    for (int t = 0; t < d; t++)
        for (int z = 0; z < 4; z++)
            cost[t][z] = subset_cost(x[t], gain, z, bits, cells);
    double best = INFINITY;
    for (int start = 0; start < 8; start++) {
        double metric[8];
        for (int s = 0; s < 8; s++)
            metric[s] = s == start ? 0 : INFINITY;
        for (int t = 0; t < d; t++) {
            double next[8];
            for (int s = 0; s < 8; s++)
                next[s] = INFINITY;
            for (int s = 0; s < 8; s++)
                for (int u = 0; u < 2; u++) {
                    double *to = &next[(s << 1 | u) & 7];
                    *to = fmin(*to, metric[s] + cost[t][branch_z(s, u)]);
                }
            memcpy(metric, next, sizeof metric);
        }
        best = fmin(best, metric[start]);
    }
    return best;
}

/* Squared errors of a page of value rows in units of the row's deviation, each at the
 * best of the gains: the encoder's, and the least over all start states with the looked
 * up levels and with all levels; the last at the third gain alone, which is about what
 * the levels were trained for.  Time t of a value row codes dimension 16 (t mod d/16) + t
 * / (d/16). */
static void add_search_errors(double sum[4], int bits, int d)
{
    for (int j = 0; j < TOKENS; j++) {
        double x[TQ_DIM_MAX], level[TQ_DIM_MAX], x2 = 0;
        const uint16_t scale = (uint16_t)(page[2 * j] | page[2 * j + 1] << 8);
        for (int i = 0; i < d; i++)
            x2 += pow((double)rows[j * d + i], 2);
        for (int t = 0; t < d; t++) {
            const int at = j * d + 16 * (t % (d / 16)) + t / (d / 16);
            x[t] = (double)rows[at] / sqrt(x2 / d);
            level[t] = (double)decoded[at] / (double)tq_f16_to_f32(scale);
        }
        double best[3] = {INFINITY, INFINITY, INFINITY};
        for (int g = 0; g < 4; g++) {
            const double gain = gains[bits - 2][g];
            double error = 0;
            for (int t = 0; t < d; t++)
                error += pow(x[t] - fixed_level[bits - 2] * level[t] / gain, 2);
            best[0] = fmin(best[0], error);
            best[1] = fmin(best[1], exhaustive(x, gain, bits, d, true));
            best[2] = fmin(best[2], exhaustive(x, gain, bits, d, false));
        }
        for (int k = 0; k < 3; k++)
            sum[k] += best[k];
        sum[3] += exhaustive(x, gains[bits - 2][2], bits, d, false);
    }
}

/* One start state from a warm-up of 64 steps and levels by cells, the same for every
 * start state, cost at most .3 % together.  Four gains gain more than any search at one.
 */
static void test_trellis_search(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++) {
        const struct tq_codec c =
            codec((enum tq_type)(TQ_TURBO2 + 2 - bits), TQ_VALUE, 128);
        double sum[4] = {0, 0, 0, 0};
        for (int p = 0; p < 12; p++) {
            fill_rows(128);
            round_trip(&c);
            add_search_errors(sum, bits, 128);
        }
        assert_true(sum[0] <= 1.003 * sum[1]);
        assert_true(sum[0] <= 1.003 * sum[2]);
        assert_true(sum[0] <= .99 * sum[3]);
        assert_true(sum[0] >= sum[1] && sum[1] >= sum[2]);
    }
}

int main(void)
{
    rng = 7;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codebooks),        cmocka_unit_test(test_mse_distortion),
        cmocka_unit_test(test_block_distortion), cmocka_unit_test(test_mix_distortion),
        cmocka_unit_test(test_polar_distortion), cmocka_unit_test(test_sign_matrix),
        cmocka_unit_test(test_prod_unbiased),    cmocka_unit_test(test_trellis_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
