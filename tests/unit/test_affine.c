/* test_affine.c - means and scales of channels change nothing but rounding: attention on
 * affine rows against softmax in double on the plain ones, and what a key bias costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "turboquant.h"

enum {
    D_MAX = 576,
    N_TOKEN = 250, // 4 pages, the last one not full
    N_PAGE = 4,
    N_QUERY = 4,
    N_SINK = 4,
    PAGE_BYTES = TQ_PAGE_TOKENS * D_MAX * 4,
};

struct affine_data {
    float mean[D_MAX], scale[D_MAX];
};

/* Rows in the plain basis, as a model makes them. */
static float keys[N_TOKEN * D_MAX], values[N_TOKEN * D_MAX], queries[N_QUERY * D_MAX];
static struct affine_data key_affine, value_affine; // in the rotated basis

static uint64_t counter;

static double gaussian(void)
{
    const double u = ((double)(rng_at(5, counter++) >> 11) + .5) * 0x1p-53;
    const double w = ((double)(rng_at(5, counter++) >> 11) + .5) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * w);
}

static void fill(float *x, int n, double spread)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)(spread * gaussian());
}

static void draw_rows(int d)
{
    fill(keys, N_TOKEN * d, 1);
    fill(values, N_TOKEN * d, 1);
    fill(queries, N_QUERY * d, 1.5);
    fill(key_affine.mean, d, 2);
    fill(value_affine.mean, d, 2);
    for (int i = 0; i < d; i++) {
        key_affine.scale[i] = (float)exp(.5 * gaussian());
        value_affine.scale[i] = (float)exp(.5 * gaussian());
    }
}

/* ---- softmax in double ---- */

/* logit is that of a sink: it takes weight and gives nothing; NULL: none.  cap 0: none.
 */
static void oracle(double *out, int d, const double *logit, double cap)
{
    double s[N_TOKEN];
    for (int i = 0; i < N_QUERY; i++, out += d) {
        double max = logit ? *logit : -INFINITY, sum = 0;
        for (int j = 0; j < N_TOKEN; j++) {
            s[j] = 0;
            for (int e = 0; e < d; e++)
                s[j] += (double)queries[i * d + e] * (double)keys[j * d + e];
            s[j] /= sqrt(d);
            if (cap > 0)
                s[j] = cap * tanh(s[j] / cap);
            max = fmax(max, s[j]);
        }
        memset(out, 0, (size_t)d * sizeof *out);
        for (int j = 0; j < N_TOKEN; j++) {
            const double w = exp(s[j] - max);
            sum += w;
            for (int e = 0; e < d; e++)
                out[e] += w * (double)values[j * d + e];
        }
        sum += logit ? exp(*logit - max) : 0;
        for (int e = 0; e < d; e++)
            out[e] /= sum;
    }
}

/* ---- the codec ---- */

struct head {
    int d;
    struct tq_affine ka, va;  // NULLs: off
    struct tq_codec kx, vx;   // of sinks and the last page
    struct tq_codec k, v;     // of the other pages
    struct tq_codec turn;     // rotates
    float q[N_QUERY * D_MAX]; // rotated, with the scale
    float shift[N_QUERY];     // what scores lost
};

static _Alignas(64) uint8_t kpage[N_PAGE][PAGE_BYTES], vpage[N_PAGE][PAGE_BYTES];
static _Alignas(64) uint8_t ksink[PAGE_BYTES], vsink[PAGE_BYTES];
static _Alignas(64) uint8_t query_mem[1 << 16], scratch[1 << 19];

static void store_role(const struct head *h, const struct tq_codec *exact,
                       const struct tq_codec *code, const struct tq_affine *a,
                       const float *plain, uint8_t (*page)[PAGE_BYTES], uint8_t *sink)
{
    static float x[N_TOKEN * D_MAX];
    static _Alignas(64) uint8_t copy[PAGE_BYTES];
    memcpy(x, plain, sizeof x);
    tq_rotate(&h->turn, x, N_TOKEN);
    tq_affine_rows(a, x, N_TOKEN, h->d);
    memset(page, 0, sizeof kpage);
    for (int j = 0; j < N_TOKEN; j++) {
        tq_put(exact, page[j / TQ_PAGE_TOKENS], j % TQ_PAGE_TOKENS, x + j * h->d);
        if (j < N_SINK)
            tq_put(exact, sink, j, x + j * h->d);
    }
    for (int p = 0; tq_type_compressed(code->type) && p < N_PAGE - 1; p++) {
        memcpy(copy, page[p], sizeof copy);
        assert_int_equal(tq_encode(code, page[p], copy, scratch), 0);
    }
}

static void open_head(struct head *h, int d, enum tq_type t, bool affine)
{
    const enum tq_type exact = t == TQ_F32 ? TQ_F32 : TQ_F16;
    *h = (struct head){.d = d};
    if (affine) {
        h->ka = (struct tq_affine){key_affine.mean, key_affine.scale};
        h->va = (struct tq_affine){value_affine.mean, value_affine.scale};
    }
    assert_true(tq_codec_init(&h->kx, exact, TQ_KEY, d, TQ_ISA_BEST) &&
                tq_codec_init(&h->vx, exact, TQ_VALUE, d, TQ_ISA_BEST) &&
                tq_codec_init(&h->k, t, TQ_KEY, d, TQ_ISA_BEST) &&
                tq_codec_init(&h->v, t, TQ_VALUE, d, TQ_ISA_BEST) &&
                tq_codec_init(&h->turn, TQ_TURBO4, TQ_KEY, d, TQ_ISA_BEST));
}

static void store_rows(struct head *h)
{
    store_role(h, &h->kx, &h->k, &h->ka, keys, kpage, ksink);
    store_role(h, &h->vx, &h->v, &h->va, values, vpage, vsink);
    memcpy(h->q, queries, sizeof h->q);
    tq_rotate(&h->turn, h->q, N_QUERY);
    for (int i = 0; i < N_QUERY; i++)
        h->shift[i] = tq_affine_shift(&h->ka, h->q + i * h->d, h->d);
    tq_affine_query(&h->ka, h->q, N_QUERY, h->d);
}

/* A partial result for each of: sinks, the rest of page 0, each further page. */
static void attend_head(struct head *h, float *out, const double *logit)
{
    static float m[2][N_QUERY], l[2][N_QUERY];
    static _Alignas(64) float o[2][N_QUERY * D_MAX];
    struct tq_partial total = {m[0], l[0], o[0]}, part = {m[1], l[1], o[1]};
    struct tq_query q;
    const float scale = 1 / sqrtf((float)h->d);
    tq_query_init(&q, query_mem, h->d, N_QUERY);
    tq_query_load(&h->k, &q, h->q, (size_t)h->d, N_QUERY, scale);
    tq_partial_reset(&total, N_QUERY, h->d);
    for (int p = -1; p < N_PAGE; p++) {
        const bool exact = p < 0 || p == N_PAGE - 1;
        uint8_t hi[N_QUERY];
        memset(hi, p < 0 ? N_SINK : p < N_PAGE - 1 ? 64 : N_TOKEN % 64, sizeof hi);
        tq_partial_reset(&part, N_QUERY, h->d);
        tq_attend(exact ? &h->kx : &h->k, exact ? &h->vx : &h->v, &part, &q,
                  p < 0 ? ksink : kpage[p], p < 0 ? vsink : vpage[p], p ? 0 : N_SINK, hi,
                  scratch);
        tq_merge(&total, &part, N_QUERY, h->d);
    }
    if (logit) {
        memset(o[1], 0, sizeof o[1]);
        tq_affine_rows(&h->va, o[1], N_QUERY, h->d);
        for (int i = 0; i < N_QUERY; i++) {
            part.m[i] = (float)*logit - scale * h->shift[i];
            part.l[i] = 1;
        }
        tq_merge(&total, &part, N_QUERY, h->d);
    }
    tq_finish(&total, out, (size_t)h->d, N_QUERY, h->d);
    tq_affine_output(&h->va, out, N_QUERY, h->d);
    tq_unrotate(&h->turn, out, N_QUERY);
}

static double root_mean_square_error(const float *got, const double *want, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    return sqrt(sum / n);
}

static double head_error(int d, enum tq_type t, bool affine, const double *logit)
{
    static double want[N_QUERY * D_MAX];
    static float got[N_QUERY * D_MAX];
    struct head h;
    open_head(&h, d, t, affine);
    store_rows(&h);
    attend_head(&h, got, logit);
    oracle(want, d, logit, 0);
    if (t == TQ_F32)
        for (int i = 0; i < N_QUERY * d; i++)
            assert_true(fabs((double)got[i] - want[i]) <= 1e-5);
    return root_mean_square_error(got, want, N_QUERY * d);
}

/* ---- tests ---- */

static void test_attention_is_invariant(void **state)
{
    (void)state;
    static const int dims[] = {64, 80, 96, 112, 128, 512, 576};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        const int d = dims[i];
        draw_rows(d);
        const double logit = 2.5;
        head_error(d, TQ_F32, false, NULL); // asserts each element
        head_error(d, TQ_F32, true, NULL);
        head_error(d, TQ_F32, false, &logit);
        head_error(d, TQ_F32, true, &logit);
    }
}

/* tq_attend has no soft cap: one belongs on decoded scores plus what they lost. */
static void test_soft_cap(void **state)
{
    (void)state;
    const int d = 64;
    const double cap = 3;
    static float row[TQ_PAGE_TOKENS * D_MAX];
    static double want[N_QUERY * D_MAX];
    struct head h;
    draw_rows(d);
    open_head(&h, d, TQ_F32, true);
    store_rows(&h);
    oracle(want, d, NULL, cap);
    for (int i = 0; i < N_QUERY; i++) {
        double sum = 0;
        float out[D_MAX];
        double o[D_MAX] = {0};
        for (int j = 0; j < N_TOKEN; j++) {
            double s = (double)h.shift[i];
            tq_decode(&h.kx, row, kpage[j / 64]);
            for (int e = 0; e < d; e++)
                s += (double)h.q[i * d + e] * (double)row[j % 64 * d + e];
            const double w = exp(cap * tanh(s / sqrt(d) / cap));
            sum += w;
            tq_decode(&h.vx, row, vpage[j / 64]);
            for (int e = 0; e < d; e++)
                o[e] += w * (double)row[j % 64 * d + e];
        }
        for (int e = 0; e < d; e++)
            out[e] = (float)(o[e] / sum);
        tq_affine_output(&h.va, out, 1, d);
        tq_unrotate(&h.turn, out, 1);
        for (int e = 0; e < d; e++)
            assert_true(fabs((double)out[e] - want[i * d + e]) <= 1e-5);
    }
}

/* means <- those of rows of another draw with this bias, in the rotated basis. */
static void measure_means(struct affine_data *a, const float *bias, int d)
{
    enum { N = 1000 };
    struct tq_codec turn;
    double sum[D_MAX] = {0};
    tq_codec_init(&turn, TQ_TURBO4, TQ_KEY, d, TQ_ISA_BEST);
    for (int j = 0; j < N; j++) {
        float x[D_MAX];
        for (int e = 0; e < d; e++)
            x[e] = bias[e] + (float)gaussian();
        tq_rotate(&turn, x, 1);
        for (int e = 0; e < d; e++)
            sum[e] += (double)x[e] / N;
    }
    for (int e = 0; e < d; e++) {
        a->mean[e] = (float)sum[e];
        a->scale[e] = 1;
    }
}

enum { CLEAN, LEFT, REMOVED, N_CASE, N_DRAW = 48 };

/* Mean squares of the errors of one draw: rows around zero, the same with a constant
 * vector of 20 times their spread on every key (or value), and that with its mean
 * removed. */
static void bias_draw(double error[N_CASE], enum tq_type t, bool on_values)
{
    const int d = 128;
    float bias[D_MAX], none[D_MAX] = {0}, *rows = on_values ? values : keys;
    double e[N_CASE];
    draw_rows(d);
    e[CLEAN] = head_error(d, t, false, NULL);
    fill(bias, d, 20);
    measure_means(&key_affine, on_values ? none : bias, d);
    measure_means(&value_affine, on_values ? bias : none, d);
    for (int j = 0; j < N_TOKEN * d; j++)
        rows[j] += bias[j % d];
    e[LEFT] = head_error(d, t, false, NULL);
    e[REMOVED] = head_error(d, t, true, NULL);
    for (int i = 0; i < N_CASE; i++)
        error[i] += e[i] * e[i];
}

/* With the mean removed a bias costs nothing, without it the output is lost. */
static void test_bias_needs_mean_removal(void **state)
{
    (void)state;
    static const enum tq_type types[] = {TQ_TURBO4, TQ_TURBO3};
    counter = 0;
    for (int i = 0; i < 4; i++) {
        double error[N_CASE] = {0};
        for (int draw = 0; draw < N_DRAW; draw++)
            bias_draw(error, types[i / 2], i % 2);
        for (int j = 0; j < N_CASE; j++)
            error[j] = sqrt(error[j] / N_DRAW);
        print_message("bias on %s of %s: error %.4f, left in %.4f, removed %.4f\n",
                      i % 2 ? "values" : "keys", tq_type_name(types[i / 2]), error[CLEAN],
                      error[LEFT], error[REMOVED]);
        assert_true(error[REMOVED] <= 1.05 * error[CLEAN]);
        assert_true(error[LEFT] >= 5 * error[CLEAN]);
    }
}

static void test_null_is_identity(void **state)
{
    (void)state;
    const struct tq_affine none = {NULL, NULL};
    float x[3] = {1, -2, 0.1f}, y[3];
    memcpy(y, x, sizeof x);
    tq_affine_rows(&none, y, 1, 3);
    tq_affine_query(&none, y, 1, 3);
    tq_affine_output(&none, y, 1, 3);
    assert_memory_equal(x, y, sizeof x);
    assert_true(tq_affine_shift(&none, x, 3) == 0);
    const float mean[3] = {1, 2, 3}, scale[3] = {2, 4, .5f};
    const struct tq_affine both = {mean, scale};
    float r[6] = {3, 2, 3.5f, 1, 6, 2}, q[3] = {1, 2, 3};
    tq_affine_rows(&both, r, 2, 3);
    const float want[6] = {1, 0, 1, 0, 1, -2};
    assert_memory_equal(r, want, sizeof r);
    assert_true(tq_affine_shift(&both, q, 3) == 14);
    tq_affine_query(&both, q, 1, 3);
    assert_true(q[0] == 2 && q[1] == 8 && q[2] == 1.5f);
    tq_affine_output(&both, r, 2, 3);
    const float back[6] = {3, 2, 3.5f, 1, 6, 2};
    assert_memory_equal(r, back, sizeof r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_is_invariant),
        cmocka_unit_test(test_soft_cap),
        cmocka_unit_test(test_bias_needs_mean_removal),
        cmocka_unit_test(test_null_is_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
