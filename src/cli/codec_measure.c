/* codec_measure.c - distortion, inner products, softmax and speed of the formats.
 *
 * Keys and queries are independent Gaussians.  A set of keys goes through rotation, f16,
 * encoder and decoder as in the cache; estimates are compared with inner products in
 * double.  Softmax: a query against all keys of a set, scaled so that the logits have a
 * given deviation, KL divergence from the exact distribution. */
#include "cli/codec_table.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "codec/polar.h"

enum {
    SETS = CODEC_SETS,
    KEYS = CODEC_KEYS,
    PAGES = KEYS / TQ_PAGE_TOKENS,
    QUERIES = 32,
    TIMED_PAGES = 8, // about 70 KB at d = 128 and 8 bits: L2
    TIMED_US = 2000,
    TIMED_RUNS = 7,
};

const double codec_deviation[CODEC_KLS] = {1, 2, 4};

/* Figures of the papers: TurboQuant, arXiv 2504.19874, theorems 1 and 2. */
static const struct {
    enum tq_type type;
    double nmse, error;
} paper[] = {
    {TQ_MSE4, .009, 0},  {TQ_MSE3, .03, 0},  {TQ_MSE2, .117, 0},
    {TQ_PROD4, 0, .047}, {TQ_PROD3, 0, .18}, {TQ_PROD2, 0, .56},
};

struct workbench {
    int d;
    enum tq_isa isa;
    uint64_t counter;    // of the random numbers drawn
    float *keys;         // [KEYS][d]
    float *rotated;      // [KEYS][d], by the codec at hand
    float *decoded;      // [KEYS][d]
    float *queries;      // [QUERIES][d]
    float *query;        // [QUERIES][d], rotated
    double *dot;         // [QUERIES][KEYS]
    double *key_norm2;   // [KEYS]
    double *query_norm2; // [QUERIES]
    double *estimate;    // [KEYS]
    char *exact, *pages; // [PAGES] pages
    char *scratch, *query_mem;
};

static void close_workbench(struct workbench *w)
{
    mem_free(w->keys);
    mem_free(w->rotated);
    mem_free(w->decoded);
    mem_free(w->queries);
    mem_free(w->query);
    mem_free(w->dot);
    mem_free(w->key_norm2);
    mem_free(w->query_norm2);
    mem_free(w->estimate);
    mem_pages_free(w->exact, PAGES * tq_page_bytes(TQ_F32, w->d));
    mem_pages_free(w->pages, PAGES * tq_page_bytes(TQ_F32, w->d));
    mem_pages_free(w->scratch,
                   tq_encode_scratch_bytes(w->d) + tq_attend_scratch_bytes(w->d, 1));
    mem_pages_free(w->query_mem, tq_query_bytes(w->d, 1));
}

static enum status open_workbench(struct workbench *w, int d, enum tq_isa isa,
                                  struct error *err)
{
    const size_t n = (size_t)d;
    *w = (struct workbench){.d = d, .isa = isa};
    w->keys = mem_array(KEYS * n, sizeof(float));
    w->rotated = mem_array(KEYS * n, sizeof(float));
    w->decoded = mem_array(KEYS * n, sizeof(float));
    w->queries = mem_array(QUERIES * n, sizeof(float));
    w->query = mem_array(QUERIES * n, sizeof(float));
    w->dot = mem_array((size_t)QUERIES * KEYS, sizeof(double));
    w->key_norm2 = mem_array(KEYS, sizeof(double));
    w->query_norm2 = mem_array(QUERIES, sizeof(double));
    w->estimate = mem_array(KEYS, sizeof(double));
    w->exact = mem_pages(PAGES * tq_page_bytes(TQ_F32, d));
    w->pages = mem_pages(PAGES * tq_page_bytes(TQ_F32, d));
    w->scratch = mem_pages(tq_encode_scratch_bytes(d) + tq_attend_scratch_bytes(d, 1));
    w->query_mem = mem_pages(tq_query_bytes(d, 1));
    if (w->keys && w->rotated && w->decoded && w->queries && w->query && w->dot &&
        w->key_norm2 && w->query_norm2 && w->estimate && w->exact && w->pages &&
        w->scratch && w->query_mem)
        return STATUS_OK;
    close_workbench(w);
    return fail(err, STATUS_NO_MEMORY, "no memory to measure %d dimensions", d);
}

static void draw_gaussians(struct workbench *w, float *x, int n)
{
    for (int i = 0; i < n; i += 2) {
        const double u = 1 - rng_uniform(1, w->counter), v = rng_uniform(2, w->counter);
        const double r = sqrt(-2 * log(u)), a = 6.283185307179586 * v;
        w->counter++;
        x[i] = (float)(r * cos(a));
        x[i + 1] = (float)(r * sin(a));
    }
}

static double inner_product(const float *a, const float *b, int d)
{
    double sum[4] = {0, 0, 0, 0};
    for (int i = 0; i < d; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += (double)a[i + k] * (double)b[i + k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void draw_set(struct workbench *w)
{
    const int d = w->d;
    draw_gaussians(w, w->keys, KEYS * d);
    draw_gaussians(w, w->queries, QUERIES * d);
    for (int j = 0; j < KEYS; j++)
        w->key_norm2[j] = inner_product(w->keys + j * d, w->keys + j * d, d);
    for (int q = 0; q < QUERIES; q++) {
        const float *y = w->queries + q * d;
        w->query_norm2[q] = inner_product(y, y, d);
        for (int j = 0; j < KEYS; j++)
            w->dot[q * KEYS + j] = inner_product(y, w->keys + j * d, d);
    }
}

/* ---- formats ---- */

/* A type of the codec, or the polar transform. */
struct subject {
    const char *name;
    bool polar;
    struct tq_codec codec, exact;
};

static char *page_at(char *pages, const struct tq_codec *c, int page)
{
    return pages + (size_t)page * tq_page_bytes(c->type, c->d);
}

static void decode_polar(struct workbench *w)
{
    uint16_t radius[TQ_DIM_MAX / TQ_POLAR_VALUES];
    uint8_t angle[TQ_DIM_MAX];
    for (int j = 0; j < KEYS; j++) {
        tq_polar_encode(radius, angle, w->rotated + j * w->d, w->d);
        tq_polar_decode(w->decoded + j * w->d, radius, angle, w->d);
    }
}

/* Keys and queries of the set to w->decoded and w->query. */
static void pass_set(struct workbench *w, struct subject *s)
{
    const int d = w->d, page_values = TQ_PAGE_TOKENS * d;
    memcpy(w->rotated, w->keys, (size_t)(KEYS * d) * sizeof(float));
    memcpy(w->query, w->queries, (size_t)(QUERIES * d) * sizeof(float));
    if (tq_type_compressed(s->codec.type)) {
        tq_rotate(&s->codec, w->rotated, KEYS);
        tq_rotate(&s->codec, w->query, QUERIES);
    }
    if (s->polar) {
        decode_polar(w);
        return;
    }
    for (int p = 0; p < PAGES; p++) {
        char *exact = page_at(w->exact, &s->exact, p);
        char *page = page_at(w->pages, &s->codec, p);
        for (int j = 0; j < TQ_PAGE_TOKENS; j++)
            tq_put(&s->exact, exact, j, w->rotated + p * page_values + j * d);
        if (tq_type_compressed(s->codec.type))
            tq_encode(&s->codec, page, exact, w->scratch);
        else
            memcpy(page, exact, tq_page_bytes(s->exact.type, d));
        tq_decode(&s->codec, w->decoded + p * page_values, page);
    }
}

/* KL divergence of softmax(f estimate) from softmax(f dot) over the keys. */
static double softmax_kl(const double *dot, const double *estimate, double f)
{
    double top = -INFINITY, top2 = -INFINITY, z = 0, z2 = 0, sum = 0;
    for (int j = 0; j < KEYS; j++) {
        top = fmax(top, f * dot[j]);
        top2 = fmax(top2, f * estimate[j]);
    }
    for (int j = 0; j < KEYS; j++) {
        const double p = exp(f * dot[j] - top);
        z += p;
        z2 += exp(f * estimate[j] - top2);
        sum += p * f * (dot[j] - estimate[j]);
    }
    return sum / z - (top + log(z)) + (top2 + log(z2));
}

/* Sums over all sets. */
struct tally {
    double nmse, error_dot, dot2, error2, kl[CODEC_KLS];
};

static void tally_set(struct tally *t, struct workbench *w)
{
    const int d = w->d;
    for (int j = 0; j < KEYS; j++) {
        double e = 0;
        for (int i = j * d; i < (j + 1) * d; i++) {
            const double r = (double)w->rotated[i] - (double)w->decoded[i];
            e += r * r;
        }
        t->nmse += e / w->key_norm2[j];
    }
    for (int q = 0; q < QUERIES; q++) {
        const double *dot = w->dot + q * KEYS;
        for (int j = 0; j < KEYS; j++) {
            w->estimate[j] = inner_product(w->query + q * d, w->decoded + j * d, d);
            const double e = w->estimate[j] - dot[j];
            t->error_dot += e * dot[j];
            t->dot2 += dot[j] * dot[j];
            t->error2 += e * e / (w->query_norm2[q] * w->key_norm2[j]);
        }
        for (int k = 0; k < CODEC_KLS; k++)
            t->kl[k] += softmax_kl(dot, w->estimate,
                                   codec_deviation[k] / sqrt(w->query_norm2[q]));
    }
}

static void finish_row(struct codec_row *r, const struct tally *t, int d)
{
    r->nmse = t->nmse / (SETS * KEYS);
    r->gap_db = 10 * log10(r->nmse) + 20 * r->bits * log10(2);
    r->ip_bias = t->error_dot / t->dot2;
    r->ip_error = t->error2 / ((double)SETS * KEYS * QUERIES) * d;
    for (int k = 0; k < CODEC_KLS; k++)
        r->kl[k] = t->kl[k] / (SETS * QUERIES);
}

/* ---- speed ---- */

struct timed {
    struct workbench *w;
    struct subject *s;
    struct tq_codec one; // values of one dimension, for scores without values
    struct tq_query q;
};

static void run_encode(struct timed *t)
{
    for (int p = 0; p < TIMED_PAGES; p++)
        tq_encode(&t->s->codec, page_at(t->w->pages, &t->s->codec, p),
                  page_at(t->w->exact, &t->s->exact, p), t->w->scratch);
}

static void run_score(struct timed *t)
{
    static const uint8_t hi = TQ_PAGE_TOKENS;
    _Alignas(64) float m, l, o;
    struct tq_partial p = {&m, &l, &o};
    tq_partial_reset(&p, 1, 1);
    for (int i = 0; i < TIMED_PAGES; i++)
        tq_attend(&t->s->codec, &t->one, &p, &t->q, page_at(t->w->pages, &t->s->codec, i),
                  t->w->rotated, 0, &hi, t->w->scratch);
}

/* The least time of a call over repeated runs of at least TIMED_US, for 128 values. */
static double least_ns(void (*run)(struct timed *), struct timed *t)
{
    double best = INFINITY;
    int n = 1;
    for (int i = 0; i < TIMED_RUNS;) {
        const uint64_t start = clock_us();
        for (int k = 0; k < n; k++)
            run(t);
        const uint64_t us = clock_us() - start;
        if (us < TIMED_US && n < 1 << 20) {
            n *= 2;
            continue;
        }
        best = fmin(best, (double)us * 1e3 / n);
        i++;
    }
    return best / (TIMED_PAGES * TQ_PAGE_TOKENS) * 128 / t->w->d;
}

/* Pages of the last set are in place. */
static void time_row(struct codec_row *r, struct workbench *w, struct subject *s)
{
    struct timed t = {.w = w, .s = s};
    if (s->polar || !tq_codec_init(&t.one, TQ_F16, TQ_VALUE, 1, w->isa))
        return;
    memset(w->rotated, 0, tq_page_bytes(TQ_F16, 1)); // serves as the page of values
    tq_query_init(&t.q, w->query_mem, w->d, 1);
    tq_query_load(&s->codec, &t.q, w->query, (size_t)w->d, 1, 0.1f);
    if (tq_type_compressed(s->codec.type))
        r->encode_ns = least_ns(run_encode, &t);
    r->score_ns = least_ns(run_score, &t);
}

/* ---- the table ---- */

static int list_subjects(struct subject *s, struct codec_table *t, int d, enum tq_isa isa)
{
    int n = 0;
    for (int type = TQ_F16; type < TQ_TYPE_COUNT; type++) {
        struct codec_row *r = &t->rows[n];
        if (!tq_codec_init(&s[n].codec, (enum tq_type)type, TQ_KEY, d, isa))
            continue;
        r->name = tq_type_name((enum tq_type)type);
        r->bits = 8.0 * (double)tq_row_bytes((enum tq_type)type, d) / d;
        for (size_t i = 0; i < sizeof paper / sizeof *paper; i++)
            if ((int)paper[i].type == type) {
                r->paper_nmse = paper[i].nmse;
                r->paper_error = paper[i].error;
            }
        n++;
    }
    tq_codec_init(&s[n].codec, TQ_MSE4, TQ_KEY, d, isa); // for its rotation
    s[n].polar = true;
    t->rows[n].name = "polar";
    t->rows[n].bits = (double)TQ_POLAR_BITS / TQ_POLAR_VALUES;
    for (int i = 0; i <= n; i++)
        tq_codec_init(&s[i].exact, TQ_F16, TQ_KEY, d, isa);
    return n + 1;
}

static void sort_rows(struct codec_table *t)
{
    for (int i = 1; i < t->n; i++)
        for (int k = i; k > 0 && t->rows[k].bits > t->rows[k - 1].bits; k--) {
            const struct codec_row r = t->rows[k];
            t->rows[k] = t->rows[k - 1];
            t->rows[k - 1] = r;
        }
}

enum status codec_measure(struct codec_table *t, int d, enum tq_isa isa,
                          struct error *err)
{
    struct workbench w;
    struct subject subject[CODEC_ROWS_MAX] = {{0}};
    struct tally tally[CODEC_ROWS_MAX] = {{0}};
    const enum status s = open_workbench(&w, d, isa, err);
    if (s)
        return s;
    *t = (struct codec_table){.d = d};
    t->n = list_subjects(subject, t, d, isa);
    for (int set = 0; set < SETS; set++) {
        draw_set(&w);
        for (int i = 0; i < t->n; i++) {
            subject[i].codec.seed = (uint64_t)set; // a sign matrix for each set
            pass_set(&w, &subject[i]);
            tally_set(&tally[i], &w);
            if (set == SETS - 1)
                time_row(&t->rows[i], &w, &subject[i]);
        }
    }
    for (int i = 0; i < t->n; i++)
        finish_row(&t->rows[i], &tally[i], d);
    sort_rows(t);
    close_workbench(&w);
    return STATUS_OK;
}
