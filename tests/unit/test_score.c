/* test_score.c - scores of a key page, of every type, against inner products in double.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "codec/formats.h"
#include "codec/kernels.h"
#include "turboquant.h"
#include "draws.h"

enum { TOKENS = TQ_PAGE_TOKENS, N_DIM = 8, MAX_N = 67 };

static const int dims[N_DIM] = {64, 80, 96, 112, 128, 192, 256, 512};
static const enum tq_isa isas[2] = {TQ_ISA_C, TQ_ISA_BEST};

static _Alignas(64) uint8_t page[TOKENS * TQ_DIM_MAX * 4], exact[TOKENS * TQ_DIM_MAX * 2];
static _Alignas(64) uint8_t query_mem[MAX_N * TQ_DIM_MAX * 12], scratch[1 << 19];
static float queries[MAX_N * TQ_DIM_MAX], keys[TOKENS * TQ_DIM_MAX];
static float score[MAX_N * TOKENS], alone[TOKENS];

#define SCALE 0.25f

/* Gaussian rows as a page of c, and its decoded keys. */
static void make_page(const struct tq_codec *c)
{
    struct tq_codec put = *c;
    uint8_t *to = page;
    if (tq_type_compressed(c->type)) {
        assert_true(tq_codec_init(&put, TQ_F16, TQ_KEY, c->d, TQ_ISA_BEST));
        to = exact;
    }
    for (int j = 0; j < TOKENS; j++) {
        float row[TQ_DIM_MAX];
        for (int i = 0; i < c->d; i++)
            row[i] = gaussian();
        tq_put(&put, to, j, row);
    }
    if (to == exact)
        assert_int_equal(tq_encode(c, page, exact, scratch), 0);
    tq_decode(c, keys, page);
}

/* Queries i0 .. i0 + n - 1. */
static void score_page(const struct tq_codec *c, float *out, int i0, int n)
{
    struct tq_query q;
    assert_true(tq_query_bytes(c->d, n) <= sizeof query_mem);
    assert_true(tq_attend_scratch_bytes(c->d, n) <= sizeof scratch);
    tq_query_init(&q, query_mem, c->d, n);
    tq_query_load(c, &q, queries + i0 * c->d, (size_t)c->d, n, SCALE);
    tq_score(c, out, &q, page, scratch);
}

/* sum |S[i][k] x[k]| over i and k: what d times its roundings can put into a projection
 * and its sum. */
static double projected(const struct tq_codec *c, const float *x)
{
    double sum = 0;
    for (int i = 0; i < c->d; i++) {
        float s[TQ_DIM_MAX];
        tq_sign_row(s, c->seed, c->d, i, 0, c->d);
        for (int k = 0; k < c->d; k++)
            sum += (double)fabsf(s[k] * SCALE * x[k]);
    }
    return sum;
}

/* Whether the codec takes queries as int8: docs/numerics.md, 1.3. */
static bool takes_limbs(enum tq_type t)
{
    return t >= TQ_TURBO8 && t <= TQ_TURBO2;
}

/* Each score within its worst case, and all of them in the mean square within what
 * uniform and independent roundings give: step / sqrt(12) times |key| for a query, and
 * for d partial sums sqrt(d) eps / sqrt(12) of the sum of magnitudes.  Keys of prod are
 * decoded with as much rounding as they are scored. */
static void check_scores(const struct tq_codec *c, int n)
{
    const int d = c->d;
    double square = 0, expected = 0;
    for (int i = 0; i < n; i++) {
        const float *x = queries + i * d;
        const double residual = tq_type_prod(c->type) ? projected(c, x) : 0;
        double top = 0, step = 0;
        for (int k = 0; k < d; k++)
            top = fmax(top, (double)fabsf(SCALE * x[k]));
        if (takes_limbs(c->type))
            step = top / c->kernels->query_most / (c->type == TQ_TURBO8 ? 128 : 1);
        for (int j = 0; j < TOKENS; j++) {
            double want = 0, k1 = 0, k2 = 0, sum = 0;
            for (int k = 0; k < d; k++) {
                const double key = (double)keys[j * d + k];
                want += (double)(SCALE * x[k]) * key;
                sum += fabs((double)(SCALE * x[k]) * key);
                k1 += fabs(key);
                k2 += key * key;
            }
            /* |r| of a prod key is at most that of the key. */
            const double unit = sqrt(1.57079633 * k2) / d;
            const double e = fabs((double)score[i * TOKENS + j] - want);
            assert_true(e <= step / 2 * k1 + (d + 1) * (double)FLT_EPSILON *
                                                 (sum + 4 * unit * residual));
            square += e * e;
            const double rounding = (double)FLT_EPSILON * (sum + 2 * unit * residual);
            expected += (step * step * k2 + d * rounding * rounding) / 12;
        }
    }
    assert_true(square <= 1.5 * expected);
}

static void test_scores(void **state)
{
    (void)state;
    for (int t = 0; t < TQ_TYPE_COUNT; t++)
        for (int k = 0; k < N_DIM; k++)
            for (int isa = 0; isa < 2; isa++) {
                struct tq_codec c;
                if (!tq_codec_init(&c, (enum tq_type)t, TQ_KEY, dims[k], isas[isa]))
                    continue;
                for (int i = 0; i < 3 * dims[k]; i++)
                    queries[i] = gaussian();
                make_page(&c);
                score_page(&c, score, 0, 3);
                check_scores(&c, 3);
            }
}

/* Exact pages of any d. */
static void test_exact_dims(void **state)
{
    (void)state;
    for (int d = 1; d <= TQ_DIM_MAX; d += 17)
        for (int t = TQ_F32; t <= TQ_F16; t++) {
            struct tq_codec c;
            assert_true(tq_codec_init(&c, (enum tq_type)t, TQ_KEY, d, TQ_ISA_BEST));
            for (int i = 0; i < 5 * d; i++)
                queries[i] = gaussian();
            make_page(&c);
            score_page(&c, score, 0, 5);
            check_scores(&c, 5);
        }
}

/* More queries than attention takes at a time; a broken one among them shows as NaN and
 * does not disturb the others, which have the bits that they have alone. */
static void test_many_queries(void **state)
{
    (void)state;
    for (int t = 0; t < TQ_TYPE_COUNT; t++) {
        struct tq_codec c;
        const int d = t % 4 ? 96 : 576, broken = 40; // in two parts
        assert_true(tq_codec_init(&c, (enum tq_type)t, TQ_KEY, d, TQ_ISA_BEST));
        for (int i = 0; i < MAX_N * d; i++)
            queries[i] = gaussian();
        queries[broken * d + 5] = t % 2 ? NAN : INFINITY;
        make_page(&c);
        score_page(&c, score, 0, MAX_N);
        for (int i = 0; i < MAX_N; i++) {
            score_page(&c, alone, i, 1);
            for (int j = 0; j < TOKENS; j++) {
                assert_int_equal(isnan(score[i * TOKENS + j]), i == broken);
                assert_true(i == broken || score[i * TOKENS + j] == alone[j]);
            }
        }
    }
}

int main(void)
{
    rng = 11;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_exact_dims),
        cmocka_unit_test(test_many_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
