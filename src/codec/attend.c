/* attend.c - queries, attention over one page, and partial results. */
#include "turboquant.h"

#include <math.h>
#include <string.h>

#include "codec/exp.h"
#include "codec/formats.h"
#include "codec/kernels.h"
#include "codec/layout.h"

/* Queries of one pass over an expanded page; bounds the scratch. */
enum { QUERIES = 32, TOKENS = TQ_PAGE_TOKENS };

/* Up to this many queries use codes from registers, where there is a kernel for it: it
 * takes four at a time. */
enum { PACKED_QUERIES = 4 };

/* ---- queries ---- */

static size_t query_layout(struct tq_query *q, char *mem, int d, int n_cap)
{
    const size_t n = (size_t)n_cap, row = (size_t)d;
    size_t at = 0;
    q->x = (void *)(mem + at), at += tq_round_up_64(n * row * sizeof(float));
    q->hi = (void *)(mem + at), at += tq_round_up_64(n * row);
    q->lo = (void *)(mem + at), at += tq_round_up_64(n * row);
    q->step = (void *)(mem + at), at += tq_round_up_64(n * sizeof(float));
    q->sum_hi = (void *)(mem + at), at += tq_round_up_64(n * sizeof(int32_t));
    q->sum_lo = (void *)(mem + at), at += tq_round_up_64(n * sizeof(int32_t));
    q->sx = (void *)(mem + at), at += tq_round_up_64(n * row * sizeof(float));
    return at;
}

size_t tq_query_bytes(int d, int n_cap)
{
    char dummy;
    struct tq_query q;
    return query_layout(&q, &dummy, d, n_cap);
}

void tq_query_init(struct tq_query *q, void *mem, int d, int n_cap)
{
    *q = (struct tq_query){.n_cap = n_cap, .d = d};
    query_layout(q, mem, d, n_cap);
}

void tq_query_load(const struct tq_codec *k, struct tq_query *q, const float *x,
                   size_t stride, int n, float scale)
{
    const int d = q->d;
    q->n = n;
    for (int i = 0; i < n; i++) {
        k->kernels->load_query(q->x + i * d, q->hi + i * d, q->lo + i * d, &q->step[i],
                               &q->sum_hi[i], &q->sum_lo[i], x + (size_t)i * stride,
                               scale, d);
    }
    if (tq_type_prod(k->type))
        tq_prod_query(k, q->sx, q->x, n);
}

/* ---- attention ---- */

struct attend_scratch {
    uint8_t *k;  // [4][d/4][16][4], expanded keys
    int8_t *v;   // [16][d][4], expanded values
    float *kx;   // [4][d][16], keys decoded to an exact page
    float *vx;   // [64][d]
    float *s;    // [QUERIES][64], scores, then weights
    uint8_t *w;  // [QUERIES][2][64], quantised weights
    float *c;    // [QUERIES], factor of earlier sums
    float *unit; // [QUERIES], value of one step of w
};

static size_t attend_layout(struct attend_scratch *a, char *mem, int d_max)
{
    const size_t expanded = (size_t)d_max * TOKENS;
    size_t at = 0;
    a->k = (void *)(mem + at), at += expanded;
    a->v = (void *)(mem + at), at += expanded;
    a->s = (void *)(mem + at), at += QUERIES * TOKENS * sizeof(float);
    a->w = (void *)(mem + at), at += QUERIES * TOKENS * 2;
    a->c = (void *)(mem + at), at += QUERIES * sizeof(float);
    a->unit = (void *)(mem + at), at += QUERIES * sizeof(float);
    a->kx = (void *)(mem + at), at += expanded * sizeof(float);
    a->vx = (void *)(mem + at), at += expanded * sizeof(float);
    return at;
}

size_t tq_attend_scratch_bytes(int d_max, int n)
{
    (void)n; // queries are taken QUERIES at a time
    char dummy;
    struct attend_scratch a;
    return attend_layout(&a, &dummy, d_max);
}

/* What tq_attend works on, for its parts. */
struct attend_job {
    const struct tq_codec *k, *v;
    const struct tq_query *q;
    struct tq_partial *p;
    enum tq_type ktype, vtype; // of the pages: f32 for types that are coded by row
    const void *kpage, *vpage;
    const void *coded; // the key page as it was given
    const uint8_t *hi;
    int lo, tile0, tile1;
    struct attend_scratch a;
};

static int type_bits(enum tq_type t)
{
    return t == TQ_TURBO8 ? 8 : t == TQ_TURBO4 ? 4 : t == TQ_TURBO3 ? 3 : 2;
}

/* Few queries: levels are not worth a store. */
static bool use_packed(const struct tq_codec *c, int n_query)
{
    return n_query <= PACKED_QUERIES && c->kernels->score_packed;
}

static const uint8_t *page_codes(const void *page)
{
    return (const uint8_t *)page + TQ_SCALES_BYTES;
}

static void attend_code_scores(const struct attend_job *job, int i0, int n)
{
    const struct tq_kernels *kernels = job->k->kernels;
    const struct tq_query *q = job->q;
    const int d = q->d, bits = type_bits(job->ktype);
    const struct tq_code_queries codes = {
        .hi = q->hi + i0 * d,
        .lo = bits == 8 ? q->lo + i0 * d : NULL,
        .step = q->step + i0,
        .sum_hi = q->sum_hi + i0,
        .sum_lo = q->sum_lo + i0,
    };
    if (use_packed(job->k, q->n))
        kernels->score_packed(job->a.s, page_codes(job->kpage), bits, job->kpage, &codes,
                              d, n, job->tile0, job->tile1);
    else
        kernels->score_codes(job->a.s, job->a.k, job->kpage, &codes, d, n, job->tile0,
                             job->tile1);
}

/* Scores of queries i0 .. i0 + n - 1. */
static void attend_scores(const struct attend_job *job, int i0, int n)
{
    const struct tq_kernels *kernels = job->k->kernels;
    const struct tq_query *q = job->q;
    const int d = q->d;
    float *s = job->a.s;
    if (job->ktype == TQ_F32)
        kernels->score_f32(s, job->kpage, q->x + i0 * d, d, n, job->tile0, job->tile1);
    else if (job->ktype == TQ_F16)
        kernels->score_f16(s, job->kpage, q->x + i0 * d, d, n, job->tile0, job->tile1);
    else
        attend_code_scores(job, i0, n);
    if (tq_type_prod(job->k->type))
        tq_prod_score(job->k, s, job->coded, q->sx + i0 * d, n, job->tile0, job->tile1);
}

/* Values of an exact page.  Queries with the same end go together: a row beyond the end
 * of a query is not touched on its behalf, not even with weight zero. */
static void attend_exact_values(const struct attend_job *job, int i0, int n)
{
    const int d = job->v->d;
    for (int i = 0, run; i < n; i += run) {
        const int hi = job->hi[i0 + i];
        for (run = 1; i + run < n && job->hi[i0 + i + run] == hi;)
            run++;
        float *o = job->p->o + (size_t)(i0 + i) * (size_t)d;
        const float *weight = job->a.s + i * TOKENS, *c = job->a.c + i;
        if (job->vtype == TQ_F32)
            job->v->kernels->sum_f32(o, job->vpage, weight, c, d, run, job->lo, hi);
        else
            job->v->kernels->sum_f16(o, job->vpage, weight, c, d, run, job->lo, hi);
    }
}

/* Queries i0 .. i0 + n - 1, n <= QUERIES, all of which see a token of the page. */
static void attend_run(const struct attend_job *job, int i0, int n)
{
    const struct attend_scratch *a = &job->a;
    const struct tq_kernels *kernels = job->v->kernels;
    attend_scores(job, i0, n);
    kernels->softmax(a->s, job->p->m + i0, job->p->l + i0, a->c, job->lo, job->hi + i0,
                     n);
    if (!tq_type_compressed(job->vtype)) {
        attend_exact_values(job, i0, n);
        return;
    }
    const int d = job->v->d, bits = type_bits(job->vtype), limbs = bits == 8 ? 2 : 1;
    const uint8_t *codes = page_codes(job->vpage);
    float *o = job->p->o + (size_t)i0 * (size_t)d;
    kernels->weigh(a->w, a->unit, a->s, job->vpage, limbs, n);
    if (use_packed(job->v, job->q->n) && bits != 8)
        kernels->sum_packed(o, codes, bits, a->w, a->unit, a->c, d, n, job->tile0,
                            job->tile1);
    else
        kernels->sum_codes(o, bits == 8 ? (const int8_t *)codes : a->v, a->w, a->unit,
                           a->c, limbs, d, n, job->tile0, job->tile1);
}

/* Pages of types that are coded by row become exact ones. */
static void decode_keys(struct attend_job *job)
{
    const int d = job->k->d;
    float row[TQ_DIM_MAX];
    for (int j = 16 * job->tile0; j < 16 * job->tile1; j++) {
        tq_row_decode(job->k, row, job->kpage, j);
        for (int i = 0; i < d; i++)
            job->a.kx[(j / 16 * d + i) * 16 + j % 16] = row[i];
    }
    job->ktype = TQ_F32;
    job->kpage = job->a.kx;
}

static void decode_values(struct attend_job *job)
{
    for (int j = 16 * job->tile0; j < 16 * job->tile1; j++)
        tq_row_decode(job->v, job->a.vx + j * job->v->d, job->vpage, j);
    job->vtype = TQ_F32;
    job->vpage = job->a.vx;
}

/* Bring the key tiles of a compressed page into the form that attend_scores reads. */
static void open_keys(struct attend_job *job)
{
    const struct tq_codec *k = job->k;
    if (tq_type_by_row(k->type))
        decode_keys(job);
    else if (tq_type_compressed(k->type) && !use_packed(k, job->q->n))
        k->kernels->expand_k(job->a.k, page_codes(job->kpage), type_bits(k->type), k->d,
                             job->tile0, job->tile1);
}

void tq_score(const struct tq_codec *k, float *score, const struct tq_query *q,
              const void *page, void *scratch)
{
    struct attend_job job = {.k = k,
                             .q = q,
                             .ktype = k->type,
                             .kpage = page,
                             .coded = page,
                             .tile1 = TOKENS / TQ_TILE_TOKENS};
    attend_layout(&job.a, scratch, k->d);
    open_keys(&job);
    job.a.s = score;
    attend_scores(&job, 0, q->n);
}

void tq_attend(const struct tq_codec *k, const struct tq_codec *v, struct tq_partial *p,
               const struct tq_query *q, const void *kpage, const void *vpage, int lo,
               const uint8_t *hi, void *scratch)
{
    int top = lo;
    for (int i = 0; i < q->n; i++)
        top = hi[i] > top ? hi[i] : top;
    if (top == lo)
        return;
    struct attend_job job = {.k = k,
                             .v = v,
                             .q = q,
                             .p = p,
                             .ktype = k->type,
                             .vtype = v->type,
                             .kpage = kpage,
                             .vpage = vpage,
                             .coded = kpage,
                             .hi = hi,
                             .lo = lo,
                             .tile0 = lo / TQ_TILE_TOKENS,
                             .tile1 = (top + TQ_TILE_TOKENS - 1) / TQ_TILE_TOKENS};
    attend_layout(&job.a, scratch, k->d > v->d ? k->d : v->d);
    open_keys(&job);
    if (tq_type_by_row(v->type))
        decode_values(&job);
    else if (tq_type_compressed(v->type) && v->type != TQ_TURBO8 && !use_packed(v, q->n))
        v->kernels->expand_v(job.a.v, page_codes(vpage), type_bits(v->type), v->d,
                             job.tile0, job.tile1);
    for (int i = 0; i < q->n;) {
        int n = 0;
        while (n < QUERIES && i + n < q->n && hi[i + n] > lo)
            n++;
        if (n)
            attend_run(&job, i, n);
        i += n ? n : 1;
    }
}

/* ---- partial results ---- */

void tq_partial_reset(struct tq_partial *p, int n, int d)
{
    for (int i = 0; i < n; i++) {
        p->m[i] = -INFINITY;
        p->l[i] = 0.0f;
    }
    memset(p->o, 0, (size_t)n * (size_t)d * sizeof(float));
}

void tq_merge(struct tq_partial *into, const struct tq_partial *from, int n, int d)
{
    for (int i = 0; i < n; i++) {
        float *to = into->o + (size_t)i * (size_t)d;
        const float *add = from->o + (size_t)i * (size_t)d;
        if (from->l[i] == 0.0f)
            continue;
        if (into->l[i] == 0.0f) {
            into->m[i] = from->m[i];
            into->l[i] = from->l[i];
            memcpy(to, add, (size_t)d * sizeof *to);
            continue;
        }
        const float m = into->m[i] > from->m[i] ? into->m[i] : from->m[i];
        const float a = into->m[i] == m ? 1.0f : tq_exp(into->m[i] - m);
        const float b = from->m[i] == m ? 1.0f : tq_exp(from->m[i] - m);
        into->m[i] = m;
        into->l[i] = into->l[i] * a + from->l[i] * b;
        for (int k = 0; k < d; k++)
            to[k] = to[k] * a + add[k] * b;
    }
}

void tq_finish(const struct tq_partial *p, float *out, size_t stride, int n, int d)
{
    for (int i = 0; i < n; i++) {
        const float inverse = p->l[i] == 0.0f ? 0.0f : 1.0f / p->l[i];
        for (int k = 0; k < d; k++)
            out[(size_t)i * stride + (size_t)k] =
                p->o[(size_t)i * (size_t)d + (size_t)k] * inverse;
    }
}
