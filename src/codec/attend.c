/* attend.c - queries, attention over one page, and partial results. */
#include "turboquant.h"

#include <math.h>
#include <string.h>

#include "codec/attend.h"
#include "codec/exp.h"
#include "codec/formats.h"
#include "codec/kernels.h"
#include "codec/latent.h"
#include "codec/layout.h"
#include "codec/parts.h"

/* Queries of one pass over an expanded page; bounds the scratch. */
enum { QUERIES = 32, TOKENS = TQ_PAGE_TOKENS };

/* Up to this many queries use codes from registers, where there is a kernel for it: it
 * takes four at a time. */
enum { PACKED_QUERIES = 4 };

/* ---- queries ---- */

static size_t query_layout(struct tq_query *q, char *mem, int d, int n_cap)
{
    const size_t n = (size_t)n_cap, row = (size_t)d, parts = n * (size_t)tq_parts(d);
    size_t at = 0;
    q->x = (void *)(mem + at), at += tq_round_up_64(n * row * sizeof(float));
    q->hi = (void *)(mem + at), at += tq_round_up_64(n * row);
    q->lo = (void *)(mem + at), at += tq_round_up_64(n * row);
    q->step = (void *)(mem + at), at += tq_round_up_64(parts * sizeof(float));
    q->sum_hi = (void *)(mem + at), at += tq_round_up_64(parts * sizeof(int32_t));
    q->sum_lo = (void *)(mem + at), at += tq_round_up_64(parts * sizeof(int32_t));
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

/* What part `part` of queries i and on has in the arrays of a set. */
struct query_part {
    int d;
    const float *x; // row stride q->d
    int8_t *hi, *lo;
    float *step, *sx;
    int32_t *sum_hi, *sum_lo;
};

static struct query_part query_part(const struct tq_query *q, int part, int i)
{
    const int at = tq_part_at(part), d = tq_part_dim(q->d, part);
    const int row = q->n_cap * at + i * d, one = q->n_cap * part + i;
    return (struct query_part){
        .d = d,
        .x = q->x + i * q->d + at,
        .hi = q->hi + row,
        .lo = q->lo + row,
        .sx = q->sx + row,
        .step = q->step + one,
        .sum_hi = q->sum_hi + one,
        .sum_lo = q->sum_lo + one,
    };
}

void tq_query_load(const struct tq_codec *k, struct tq_query *q, const float *x,
                   size_t stride, int n, float scale)
{
    q->n = n;
    q->most = k->kernels->query_most;
    for (int part = 0; part < tq_parts(q->d); part++) {
        const int at = tq_part_at(part);
        for (int i = 0; i < n; i++) {
            const struct query_part to = query_part(q, part, i);
            k->kernels->load_query(q->x + i * q->d + at, to.hi, to.lo, to.step, to.sum_hi,
                                   to.sum_lo, x + (size_t)i * stride + at, scale, to.d,
                                   k->kernels->query_most);
        }
        if (tq_type_prod(k->type)) {
            const struct tq_codec c = tq_part_codec(k, part);
            const struct query_part all = query_part(q, part, 0);
            tq_prod_query(&c, all.sx, all.x, q->d, n);
        }
    }
}

/* ---- attention ---- */

struct attend_scratch {
    uint8_t *k;       // [4][d/4][16][4], expanded keys, and so for the second part
    int8_t *v;        // [16][d][4], expanded values, and so for the second part
    float *kx;        // [4][d][16], keys decoded to an exact page
    float *vx;        // [64][d]
    float *s;         // [QUERIES][64], scores, then weights
    float *s2;        // [QUERIES][64], scores of a second part
    uint8_t *w;       // [QUERIES][2][64], quantised weights
    float *c;         // [QUERIES], factor of earlier sums
    float *unit;      // [QUERIES], value of one step of w
    float *bias;      // [QUERIES], scores against the mean of a page of keys
    uint16_t *kscale; // [64], scales without its bits
};

static size_t attend_layout(struct attend_scratch *a, char *mem, int d_max)
{
    const size_t expanded = (size_t)d_max * TOKENS;
    size_t at = 0;
    a->k = (void *)(mem + at), at += expanded;
    a->v = (void *)(mem + at), at += expanded;
    a->s = (void *)(mem + at), at += QUERIES * TOKENS * sizeof(float);
    a->s2 = (void *)(mem + at), at += QUERIES * TOKENS * sizeof(float);
    a->w = (void *)(mem + at), at += QUERIES * TOKENS * 2;
    a->c = (void *)(mem + at), at += QUERIES * sizeof(float);
    a->unit = (void *)(mem + at), at += QUERIES * sizeof(float);
    a->bias = (void *)(mem + at), at += QUERIES * sizeof(float);
    a->kscale = (void *)(mem + at), at += TOKENS * sizeof(uint16_t);
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

/* Bytes that will be read next: [at, end) of keys and of values. */
struct ahead {
    const char *at[2], *end[2];
};

/* What the keys, or the values, of a page are computed with. */
enum page_form {
    FORM_EXACT,  // numbers, as they are in the page
    FORM_ROWS,   // numbers, after the page is decoded row by row
    FORM_LEVELS, // levels, after the page is expanded; those before have no levels
    FORM_STORED, // levels, as they are in the page
    FORM_PACKED, // codes, as they are in the page
};

/* What tq_attend works on, for its parts. */
struct attend_job {
    struct ahead ahead;
    enum page_form kform, vform;
    const struct tq_codec *k, *v;
    const struct tq_query *q;
    struct tq_partial *p;
    enum tq_type ktype, vtype; // of the pages: f32 for types that are coded by row
    const void *kpage, *vpage;
    const void *coded;           // the key page as it was given
    const void *next_k, *next_v; // the pages that come next, or these
    bool latent;                 // values are its first channels
    const uint8_t *hi;
    float softcap;
    const float *shift;
    int lo, tile0, tile1;
    struct attend_scratch a;
};

/* Ask for some of the next page.  Pages that are read once come from memory, in runs too
 * short for the hardware to read ahead; asked for all at once, a page would hold up the
 * loads of what is computed meanwhile (docs/performance.md). */
static void fetch_ahead(struct ahead *a)
{
    enum { LINES = 24, LINE = 64 };
    for (int i = 0, n = 0; i < 2; i++)
        for (; a->at[i] < a->end[i] && n < LINES; n++, a->at[i] += LINE)
            __builtin_prefetch(a->at[i]);
}

static enum page_form form_of(const struct tq_codec *c, int n_query)
{
    if (!tq_type_compressed(c->type))
        return FORM_EXACT;
    if (tq_type_by_row(c->type))
        return FORM_ROWS;
    /* Few queries: levels are not worth a store. */
    return n_query <= PACKED_QUERIES && c->kernels->score_packed ? FORM_PACKED
                                                                 : FORM_LEVELS;
}

static enum page_form value_form(const struct tq_codec *v, int n_query, bool latent)
{
    const enum page_form form = form_of(v, n_query);
    if (form < FORM_LEVELS)
        return form;
    if (latent)
        return FORM_LEVELS;
    return v->type == TQ_TURBO8 ? FORM_STORED : form;
}

/* A part of a compressed page: scales, then codes. */
static const uint8_t *page_part(const void *page, enum tq_type t, int part)
{
    return (const uint8_t *)page + tq_part_offset(t, part);
}

static const uint8_t *part_codes(const void *page, enum tq_type t, int part)
{
    return page_part(page, t, part) + TQ_SCALES_BYTES;
}

/* Scores of a part of queries i0 .. i0 + n - 1 against codes. */
static void score_part(const struct attend_job *job, float *s, int part, int i0, int n)
{
    const struct tq_kernels *kernels = job->k->kernels;
    const struct query_part q = query_part(job->q, part, i0);
    const int bits = tq_tile_bits(job->ktype);
    const void *scales = page_part(job->kpage, job->ktype, part);
    const struct tq_codec key = tq_part_codec(job->k, part);
    struct tq_code_queries codes = {
        .hi = q.hi,
        .lo = bits == 8 ? q.lo : NULL,
        .step = q.step,
        .sum_hi = q.sum_hi,
        .sum_lo = q.sum_lo,
        .most = job->q->most,
    };
    if (tq_has_mean(&key)) {
        kernels->key_means(job->a.bias, job->a.kscale, scales, &codes, q.d, n);
        codes.bias = job->a.bias;
        scales = job->a.kscale;
    }
    if (job->kform == FORM_PACKED)
        kernels->score_packed(s, part_codes(job->kpage, job->ktype, part), bits, scales,
                              &codes, q.d, n, job->tile0, job->tile1,
                              part_codes(job->next_k, job->ktype, part));
    else
        kernels->score_codes(s, job->a.k + tq_part_at(part) * TOKENS, scales, &codes, q.d,
                             n, job->tile0, job->tile1);
}

/* s <- s + s2, clamped; NaN stays. */
static void add_scores(const struct attend_job *job, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 16 * job->tile0; j < 16 * job->tile1; j++) {
            float *s = &job->a.s[i * TOKENS + j];
            *s += job->a.s2[i * TOKENS + j];
            *s = *s > TQ_SCORE_MAX ? TQ_SCORE_MAX : *s;
            *s = *s < -TQ_SCORE_MAX ? -TQ_SCORE_MAX : *s;
        }
}

static void score_residuals(const struct attend_job *job, int i0, int n)
{
    for (int part = 0; part < tq_parts(job->q->d); part++) {
        const struct tq_codec c = tq_part_codec(job->k, part);
        tq_prod_score(&c, job->a.s, page_part(job->coded, c.type, part),
                      query_part(job->q, part, i0).sx, n, job->tile0, job->tile1);
    }
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
        score_part(job, s, 0, i0, n);
    if (job->kform >= FORM_LEVELS && tq_parts(d) > 1) {
        score_part(job, job->a.s2, 1, i0, n);
        add_scores(job, n);
    }
    if (tq_type_prod(job->k->type))
        score_residuals(job, i0, n);
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

/* A part of the values of a compressed page.  Rows of o that have a second part have a
 * gap between their first parts, so they are taken one at a time. */
static void attend_value_part(struct attend_job *job, int part, int i0, int n)
{
    const struct attend_scratch *a = &job->a;
    const struct tq_kernels *kernels = job->v->kernels;
    const enum tq_type t = job->vtype;
    const int at = tq_part_at(part), d = tq_part_dim(job->v->d, part);
    const int bits = tq_tile_bits(t), limbs = bits == 8 ? 2 : 1;
    const int run = d == job->v->d ? n : 1;
    const uint8_t *codes = part_codes(job->vpage, t, part);
    const int8_t *levels =
        job->vform == FORM_STORED ? (const int8_t *)codes : a->v + at * TOKENS;
    kernels->weigh(a->w, a->unit, a->s, (const void *)page_part(job->vpage, t, part),
                   limbs, n, kernels->weight_most);
    fetch_ahead(&job->ahead);
    for (int i = 0; i < n; i += run) {
        float *o = job->p->o + (size_t)(i0 + i) * (size_t)job->v->d + at;
        const uint8_t *w = a->w + i * limbs * TOKENS;
        if (job->vform == FORM_PACKED)
            kernels->sum_packed(o, codes, bits, w, a->unit + i, a->c + i, d, run,
                                job->tile0, job->tile1, part_codes(job->next_v, t, part));
        else
            kernels->sum_codes(o, levels, w, a->unit + i, a->c + i, limbs, d, run,
                               job->tile0, job->tile1);
    }
    fetch_ahead(&job->ahead);
}

/* c tanh(x) with |x| from exp(-2 |x|), which keeps NaN. */
static void cap_scores(const struct attend_job *job, int i0, int n)
{
    const float cap = job->softcap, inverse = 1.0f / cap;
    for (int i = 0; i < n; i++) {
        const float shift = job->shift ? job->shift[i0 + i] : 0.0f;
        for (int j = 16 * job->tile0; j < 16 * job->tile1; j++) {
            float *s = &job->a.s[i * TOKENS + j];
            const float x = (*s + shift) * inverse, e = tq_exp(-2.0f * fabsf(x));
            *s = copysignf(cap * ((1.0f - e) / (1.0f + e)), x);
        }
    }
}

/* Queries i0 .. i0 + n - 1, n <= QUERIES, all of which see a token of the page. */
static void attend_run(struct attend_job *job, int i0, int n)
{
    const struct attend_scratch *a = &job->a;
    attend_scores(job, i0, n);
    if (job->softcap > 0)
        cap_scores(job, i0, n);
    fetch_ahead(&job->ahead);
    job->v->kernels->softmax(a->s, job->p->m + i0, job->p->l + i0, a->c, job->lo,
                             job->hi + i0, n);
    fetch_ahead(&job->ahead);
    if (job->vform < FORM_LEVELS) {
        attend_exact_values(job, i0, n);
        return;
    }
    for (int part = 0; part < tq_parts(job->v->d); part++)
        attend_value_part(job, part, i0, n);
}

static void decode_row(const struct tq_codec *c, float *x, const void *page, int slot)
{
    for (int part = 0; part < tq_parts(c->d); part++) {
        const struct tq_codec one = tq_part_codec(c, part);
        tq_row_decode(&one, x + tq_part_at(part), page_part(page, c->type, part), slot);
    }
}

/* Pages of types that are coded by row become exact ones. */
static void decode_keys(struct attend_job *job)
{
    const int d = job->k->d;
    float row[TQ_DIM_MAX];
    for (int j = 16 * job->tile0; j < 16 * job->tile1; j++) {
        decode_row(job->k, row, job->kpage, j);
        for (int i = 0; i < d; i++)
            job->a.kx[(j / 16 * d + i) * 16 + j % 16] = row[i];
    }
    job->ktype = TQ_F32;
    job->kpage = job->a.kx;
}

static void decode_values(struct attend_job *job)
{
    for (int j = 16 * job->tile0; j < 16 * job->tile1; j++)
        decode_row(job->v, job->a.vx + j * job->v->d, job->vpage, j);
    job->vtype = TQ_F32;
    job->vpage = job->a.vx;
}

static void expand_keys(const struct attend_job *job)
{
    const struct tq_codec *k = job->k;
    for (int part = 0; part < tq_parts(k->d); part++)
        k->kernels->expand_k(job->a.k + tq_part_at(part) * TOKENS,
                             part_codes(job->kpage, k->type, part), tq_tile_bits(k->type),
                             tq_part_dim(k->d, part), job->tile0, job->tile1);
}

static void expand_values(const struct attend_job *job)
{
    const struct tq_codec *v = job->v;
    for (int part = 0; part < tq_parts(v->d); part++)
        v->kernels->expand_v(job->a.v + tq_part_at(part) * TOKENS,
                             part_codes(job->vpage, v->type, part), tq_tile_bits(v->type),
                             tq_part_dim(v->d, part), job->tile0, job->tile1);
}

/* Bring the key tiles of a compressed page into the form that attend_scores reads. */
static void open_keys(struct attend_job *job)
{
    if (job->kform == FORM_ROWS)
        decode_keys(job);
    else if (job->kform == FORM_LEVELS)
        expand_keys(job);
    fetch_ahead(&job->ahead);
}

void tq_score(const struct tq_codec *k, float *score, const struct tq_query *q,
              const void *page, void *scratch)
{
    struct attend_job job = {.k = k,
                             .q = q,
                             .kform = form_of(k, q->n),
                             .ktype = k->type,
                             .kpage = page,
                             .coded = page,
                             .next_k = page,
                             .tile1 = TOKENS / TQ_TILE_TOKENS};
    attend_layout(&job.a, scratch, k->d);
    open_keys(&job);
    for (int i = 0; i < q->n; i += QUERIES) {
        job.a.s = score + i * TOKENS;
        attend_scores(&job, i, q->n - i < QUERIES ? q->n - i : QUERIES);
    }
}

void tq_attend(const struct tq_codec *k, const struct tq_codec *v, struct tq_partial *p,
               const struct tq_query *q, const void *kpage, const void *vpage, int lo,
               const uint8_t *hi, void *scratch)
{
    const struct tq_page_view view = {.k = kpage, .v = vpage, .lo = lo, .hi = hi};
    tq_attend_view(k, v, p, q, &view, scratch);
}

static int first_of(const struct tq_page_view *view, int i)
{
    return view->lows ? view->lows[i] : view->lo;
}

/* The tiles of the page that hold what any query sees; false if there are none. */
static bool find_tiles(struct attend_job *job, const struct tq_page_view *view)
{
    int lo = TOKENS, top = 0;
    for (int i = 0; i < job->q->n; i++)
        if (view->hi[i] > first_of(view, i)) {
            lo = first_of(view, i) < lo ? first_of(view, i) : lo;
            top = view->hi[i] > top ? view->hi[i] : top;
        }
    job->tile0 = lo / TQ_TILE_TOKENS;
    job->tile1 = (top + TQ_TILE_TOKENS - 1) / TQ_TILE_TOKENS;
    return lo < top;
}

/* From tiles of keys to the form of values.  A part of 512 has no mean. */
static void latent_values(struct attend_job *job)
{
    const struct tq_codec *k = job->k, *v = job->v;
    if (job->vform == FORM_EXACT) {
        tq_latent_rows(job->a.vx, job->coded, k->type == TQ_F16 ? 2 : 4, k->d, v->d,
                       job->tile0, job->tile1);
        job->vpage = job->a.vx;
        return;
    }
    if (job->kform == FORM_PACKED)
        expand_keys(job);
    v->kernels->turn_levels(job->a.v, job->a.k, v->d, job->tile0, job->tile1);
}

static void open_values(struct attend_job *job)
{
    if (job->vform == FORM_ROWS)
        decode_values(job);
    else if (job->latent)
        latent_values(job);
    else if (job->vform == FORM_LEVELS)
        expand_values(job);
    else
        return;
    fetch_ahead(&job->ahead);
}

/* Queries from i on that are taken together: they see tokens from the same one on. */
static int count_run(const struct attend_job *job, const struct tq_page_view *view, int i)
{
    const int lo = first_of(view, i);
    int n = 0;
    while (n < QUERIES && i + n < job->q->n && first_of(view, i + n) == lo &&
           view->hi[i + n] > lo)
        n++;
    return n;
}

static const char *codes_start(const void *page)
{
    return page ? (const char *)page + TQ_SCALES_BYTES : NULL;
}

static const char *page_end(const struct tq_codec *c, const void *page)
{
    return page ? (const char *)page + tq_page_bytes(c->type, c->d) : NULL;
}

void tq_attend_view(const struct tq_codec *k, const struct tq_codec *v,
                    struct tq_partial *p, const struct tq_query *q,
                    const struct tq_page_view *view, void *scratch)
{
    struct attend_job job = {.k = k,
                             .v = v,
                             .q = q,
                             .p = p,
                             .kform = form_of(k, q->n),
                             .vform = value_form(v, q->n, !view->v),
                             .ktype = k->type,
                             .vtype = v->type,
                             .kpage = view->k,
                             .vpage = view->v ? view->v : view->k,
                             .coded = view->k,
                             .latent = !view->v,
                             .hi = view->hi,
                             .softcap = view->softcap,
                             .shift = view->shift};
    if (!find_tiles(&job, view))
        return;
    attend_layout(&job.a, scratch, k->d > v->d ? k->d : v->d);
    job.next_k = view->next_k ? view->next_k : job.kpage;
    job.next_v = view->next_v ? view->next_v : job.vpage;
    /* Packed kernels ask for codes themselves, but not for the scales in front. */
    job.ahead = (struct ahead){
        {view->next_k, view->next_v},
        {job.kform == FORM_PACKED ? codes_start(view->next_k) : page_end(k, view->next_k),
         job.vform == FORM_PACKED ? codes_start(view->next_v)
                                  : page_end(v, view->next_v)}};
    fetch_ahead(&job.ahead);
    open_keys(&job);
    open_values(&job);
    for (int i = 0; i < q->n;) {
        const int n = count_run(&job, view, i);
        job.lo = first_of(view, i);
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
