/* attend.c - attention over one page. */
#include "codec/attend.h"

#include <math.h>
#include <string.h>

#include "codec/exp.h"
#include "codec/formats.h"
#include "codec/latent.h"
#include "codec/layout.h"
#include "codec/parts.h"
#include "codec/query.h"
#include "codec/simd.h"

/* Queries of one pass over an expanded page; bounds the scratch. */
enum { QUERIES = 32, TOKENS = TQ_PAGE_TOKENS, TILES = TOKENS / TQ_TILE_TOKENS };

/* Up to this many queries use codes from registers, where there is a kernel for it: it
 * takes four at a time. */
enum { PACKED_QUERIES = 4 };

static size_t attend_layout(struct tq_attend_scratch *a, char *mem, int d_max)
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
    struct tq_attend_scratch a;
    return attend_layout(&a, &dummy, d_max);
}

/* Ask for some of the next page.  Pages that are read once come from memory, in runs too
 * short for the hardware to read ahead; asked for all at once, a page would hold up the
 * loads of what is computed meanwhile (docs/performance.md). */
static TQ_APART void fetch_lines(struct tq_ahead *a)
{
    enum { LINES = 24, LINE = 64 };
    for (int i = 0, n = 0; i < 2; i++)
        for (; a->at[i] < a->end[i] && n < LINES; n++, a->at[i] += LINE)
            __builtin_prefetch(a->at[i]);
}

static inline void fetch_ahead(struct tq_ahead *a)
{
    if (a->at[0] < a->end[0] || a->at[1] < a->end[1])
        fetch_lines(a);
}

static enum tq_page_form form_of(const struct tq_codec *c, int n_query)
{
    if (!tq_type_compressed(c->type))
        return TQ_FORM_EXACT;
    if (tq_type_by_row(c->type))
        return TQ_FORM_ROWS;
    /* Few queries: levels are not worth a store. */
    return n_query <= PACKED_QUERIES && c->kernels->score_packed ? TQ_FORM_PACKED
                                                                 : TQ_FORM_LEVELS;
}

static enum tq_page_form value_form(const struct tq_codec *v, int n_query, bool latent)
{
    const enum tq_page_form form = form_of(v, n_query);
    if (form < TQ_FORM_LEVELS)
        return form;
    if (latent)
        return TQ_FORM_LEVELS;
    return form == TQ_FORM_LEVELS && v->type == TQ_TURBO8 ? TQ_FORM_STORED : form;
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

/* Half of the codes of a page of a type that is coded in tiles, or of a part of one. */
static size_t half_bytes(enum tq_type t, int d)
{
    return (size_t)(TOKENS / 16 * tq_tile_bits(t) * d);
}

static struct tq_places halves(const uint8_t *codes, size_t half)
{
    return (struct tq_places){{codes, codes + half}};
}

/* Scores of a part of queries i0 .. i0 + n - 1 against codes. */
static void score_part(const struct tq_attend_job *job, float *s, int part, int i0, int n)
{
    const struct tq_kernels *kernels = job->k->kernels;
    const struct tq_key_part *p = &job->part[part];
    const void *scales = page_part(job->kpage, job->ktype, part);
    struct tq_code_queries q = p->queries;
    if (i0) {
        q.hi += i0 * p->d;
        if (q.lo)
            q.lo += i0 * p->d;
        q.step += i0;
        q.sum_hi += i0;
        q.sum_lo += i0;
    }
    if (p->has_mean) {
        kernels->key_means(job->a.bias, job->a.kscale, scales, &q, p->d, n);
        scales = job->a.kscale;
    }
    if (job->kform == TQ_FORM_PACKED)
        kernels->score_packed(s, part_codes(job->kpage, job->ktype, part),
                              tq_tile_bits(job->ktype), scales, &q, p->d, n, job->tile0,
                              job->tile1,
                              halves(part_codes(job->next_k, job->ktype, part),
                                     half_bytes(job->ktype, p->d)));
    else
        kernels->score_codes(s, job->a.k + tq_part_at(part) * TOKENS, scales, &q, p->d, n,
                             job->tile0, job->tile1);
}

/* s <- s + s2, clamped; NaN stays. */
static void add_scores(const struct tq_attend_job *job, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 16 * job->tile0; j < 16 * job->tile1; j++) {
            float *s = &job->a.s[i * TOKENS + j];
            *s += job->a.s2[i * TOKENS + j];
            *s = *s > TQ_SCORE_MAX ? TQ_SCORE_MAX : *s;
            *s = *s < -TQ_SCORE_MAX ? -TQ_SCORE_MAX : *s;
        }
}

static void score_residuals(const struct tq_attend_job *job, int i0, int n)
{
    for (int part = 0; part < tq_parts(job->q->d); part++) {
        const struct tq_codec c = tq_part_codec(job->k, part);
        tq_prod_score(&c, job->a.s, page_part(job->coded, c.type, part),
                      tq_query_part(job->q, part, i0).sx, n, job->tile0, job->tile1);
    }
}

/* Scores of queries i0 .. i0 + n - 1. */
static void attend_scores(const struct tq_attend_job *job, int i0, int n)
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
    if (job->kform >= TQ_FORM_LEVELS && tq_parts(d) > 1) {
        score_part(job, job->a.s2, 1, i0, n);
        add_scores(job, n);
    }
    if (tq_type_prod(job->k->type))
        score_residuals(job, i0, n);
}

/* Values of an exact page.  Queries with the same end go together: a row beyond the end
 * of a query is not touched on its behalf, not even with weight zero. */
static void attend_exact_values(const struct tq_attend_job *job, struct tq_partial *p,
                                int i0, int n)
{
    const int d = job->v->d;
    for (int i = 0, run; i < n; i += run) {
        const int hi = job->hi[i0 + i];
        for (run = 1; i + run < n && job->hi[i0 + i + run] == hi;)
            run++;
        float *o = p->o + (size_t)(i0 + i) * (size_t)d;
        const float *weight = job->a.s + i * TOKENS, *c = job->a.c + i;
        if (job->vtype == TQ_F32)
            job->v->kernels->sum_f32(o, job->vpage, weight, c, d, run, job->lo, hi);
        else
            job->v->kernels->sum_f16(o, job->vpage, weight, c, d, run, job->lo, hi);
    }
}

/* A part of the values of a compressed page.  Rows of o that have a second part have a
 * gap between their first parts, so they are taken one at a time. */
static void attend_value_part(struct tq_attend_job *job, struct tq_partial *p, int part,
                              int i0, int n)
{
    const struct tq_attend_scratch *a = &job->a;
    const struct tq_kernels *kernels = job->v->kernels;
    const enum tq_type t = job->vtype;
    const int at = tq_part_at(part), d = tq_part_dim(job->v->d, part);
    const int bits = tq_tile_bits(t), limbs = bits == 8 ? 2 : 1;
    const int run = d == job->v->d ? n : 1;
    const uint8_t *codes = part_codes(job->vpage, t, part);
    const int8_t *levels =
        job->vform == TQ_FORM_STORED ? (const int8_t *)codes : a->v + at * TOKENS;
    kernels->weigh(a->w, a->unit, a->s, (const void *)page_part(job->vpage, t, part),
                   limbs, n, kernels->weight_most);
    fetch_ahead(&job->ahead);
    for (int i = 0; i < n; i += run) {
        float *o = p->o + (size_t)(i0 + i) * (size_t)job->v->d + at;
        const uint8_t *w = a->w + i * limbs * TOKENS;
        if (job->vform == TQ_FORM_PACKED)
            kernels->sum_packed(
                o, codes, bits, w, a->unit + i, a->c + i, d, run, job->tile0, job->tile1,
                halves(part_codes(job->next_v, t, part), half_bytes(t, d)));
        else
            kernels->sum_codes(o, levels, w, a->unit + i, a->c + i, limbs, d, run,
                               job->tile0, job->tile1);
    }
    fetch_ahead(&job->ahead);
}

/* c tanh(x) with |x| from exp(-2 |x|), which keeps NaN. */
static void cap_scores(const struct tq_attend_job *job, int i0, int n)
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
static void attend_run(struct tq_attend_job *job, struct tq_partial *p, int i0, int n)
{
    const struct tq_attend_scratch *a = &job->a;
    attend_scores(job, i0, n);
    if (job->softcap > 0)
        cap_scores(job, i0, n);
    fetch_ahead(&job->ahead);
    job->v->kernels->softmax(a->s, p->m + i0, p->l + i0, a->c, job->lo, job->hi + i0, n);
    fetch_ahead(&job->ahead);
    if (job->vform < TQ_FORM_LEVELS) {
        attend_exact_values(job, p, i0, n);
        return;
    }
    for (int part = 0; part < tq_parts(job->v->d); part++)
        attend_value_part(job, p, part, i0, n);
}

static void decode_row(const struct tq_codec *c, float *x, const void *page, int slot)
{
    for (int part = 0; part < tq_parts(c->d); part++) {
        const struct tq_codec one = tq_part_codec(c, part);
        tq_row_decode(&one, x + tq_part_at(part), page_part(page, c->type, part), slot);
    }
}

/* Pages of types that are coded by row become exact ones. */
static void decode_keys(struct tq_attend_job *job)
{
    const int d = job->k->d;
    float row[TQ_DIM_MAX];
    for (int j = 16 * job->tile0; j < 16 * job->tile1; j++) {
        decode_row(job->k, row, job->kpage, j);
        for (int i = 0; i < d; i++)
            job->a.kx[(j / 16 * d + i) * 16 + j % 16] = row[i];
    }
    job->kpage = job->a.kx;
}

static void decode_values(struct tq_attend_job *job)
{
    for (int j = 16 * job->tile0; j < 16 * job->tile1; j++)
        decode_row(job->v, job->a.vx + j * job->v->d, job->vpage, j);
    job->vpage = job->a.vx;
}

static void expand_keys(const struct tq_attend_job *job)
{
    const struct tq_codec *k = job->k;
    for (int part = 0; part < tq_parts(k->d); part++)
        k->kernels->expand_k(job->a.k + tq_part_at(part) * TOKENS,
                             part_codes(job->kpage, k->type, part), tq_tile_bits(k->type),
                             tq_part_dim(k->d, part), job->tile0, job->tile1);
}

static void expand_values(const struct tq_attend_job *job)
{
    const struct tq_codec *v = job->v;
    for (int part = 0; part < tq_parts(v->d); part++)
        v->kernels->expand_v(job->a.v + tq_part_at(part) * TOKENS,
                             part_codes(job->vpage, v->type, part), tq_tile_bits(v->type),
                             tq_part_dim(v->d, part), job->tile0, job->tile1);
}

/* Bring the key tiles of a compressed page into the form that attend_scores reads. */
static void open_keys(struct tq_attend_job *job)
{
    if (job->kform == TQ_FORM_ROWS)
        decode_keys(job);
    else if (job->kform == TQ_FORM_LEVELS)
        expand_keys(job);
    fetch_ahead(&job->ahead);
}

/* ---- a set of queries ---- */

static void open_key_part(struct tq_key_part *p, const struct tq_codec *k,
                          const struct tq_query *q, int part, const float *bias)
{
    const struct tq_query_part of = tq_query_part(q, part, 0);
    const struct tq_codec key = tq_part_codec(k, part);
    p->d = of.d;
    p->has_mean = tq_has_mean(&key);
    p->queries = (struct tq_code_queries){
        .bias = p->has_mean ? bias : NULL,
        .hi = of.hi,
        .lo = tq_tile_bits(k->type) == 8 ? of.lo : NULL,
        .step = of.step,
        .sum_hi = of.sum_hi,
        .sum_lo = of.sum_lo,
        .most = q->most,
    };
}

/* Packed kernels ask for codes themselves, but not for the scales in front. */
static size_t bytes_ahead(const struct tq_codec *c, enum tq_page_form form)
{
    return form == TQ_FORM_PACKED ? TQ_SCALES_BYTES : tq_page_bytes(c->type, c->d);
}

static enum tq_type computed_with(enum tq_type t)
{
    return tq_type_by_row(t) ? TQ_F32 : t;
}

/* By members: zeroes for the whole, to be overwritten, would take as long as the
 * bookkeeping of a page. */
void tq_attend_open(struct tq_attend_job *job, const struct tq_codec *k,
                    const struct tq_codec *v, const struct tq_query *q, bool latent,
                    float softcap, const float *shift, void *scratch)
{
    job->k = k;
    job->v = v;
    job->q = q;
    job->kform = form_of(k, q->n);
    job->ktype = computed_with(k->type);
    job->k_ahead = bytes_ahead(k, job->kform);
    if (v) {
        job->vform = value_form(v, q->n, latent);
        job->vtype = computed_with(v->type);
        job->v_ahead = bytes_ahead(v, job->vform);
    }
    job->latent = latent;
    job->softcap = softcap;
    job->shift = shift;
    attend_layout(&job->a, scratch, v && v->d > k->d ? v->d : k->d);
    if (job->kform >= TQ_FORM_LEVELS)
        for (int part = 0; part < tq_parts(k->d); part++)
            open_key_part(&job->part[part], k, q, part, job->a.bias);
    job->k_half = half_bytes(k->type, k->d);
    job->v_half = v ? half_bytes(v->type, v->d) : 0;
    job->packed = v && job->kform == TQ_FORM_PACKED && job->vform == TQ_FORM_PACKED &&
                  softcap == 0.0f && tq_parts(k->d) == 1 && tq_parts(v->d) == 1 &&
                  k->kernels == v->kernels && q->n <= PACKED_QUERIES;
}

/* Scores of few queries against a whole page of packed keys of one part. */
static void score_whole(const struct tq_codec *k, const struct tq_key_part *key, float *s,
                        const uint8_t *page, struct tq_places next, int n, float *bias,
                        uint16_t *kscale)
{
    const uint16_t *scales = (const void *)page;
    if (key->has_mean) {
        k->kernels->key_means(bias, kscale, scales, &key->queries, key->d, n);
        scales = kscale;
    }
    k->kernels->score_packed(s, page + TQ_SCALES_BYTES, tq_tile_bits(k->type), scales,
                             &key->queries, key->d, n, 0, TILES, next);
}

static void score_few(const struct tq_codec *k, float *score, const struct tq_query *q,
                      const void *page)
{
    float bias[PACKED_QUERIES];
    uint16_t kscale[TOKENS];
    struct tq_key_part key;
    open_key_part(&key, k, q, 0, bias);
    score_whole(k, &key, score, page, (struct tq_places){{page, page}}, q->n, bias,
                kscale);
}

void tq_score(const struct tq_codec *k, float *score, const struct tq_query *q,
              const void *page, void *scratch)
{
    if (form_of(k, q->n) == TQ_FORM_PACKED && tq_parts(k->d) == 1) {
        score_few(k, score, q, page);
        return;
    }
    struct tq_attend_job job;
    tq_attend_open(&job, k, NULL, q, false, 0.0f, NULL, scratch);
    job.coded = job.kpage = job.next_k = page;
    job.tile0 = 0;
    job.tile1 = TILES;
    job.ahead = (struct tq_ahead){{0}, {0}};
    open_keys(&job);
    for (int i = 0; i < q->n; i += QUERIES) {
        job.a.s = score + i * TOKENS;
        attend_scores(&job, i, q->n - i < QUERIES ? q->n - i : QUERIES);
    }
}

/* ---- a page ---- */

static int first_of(const struct tq_page_view *view, int i)
{
    return view->lows ? view->lows[i] : view->lo;
}

/* The tiles of the page that hold what any query sees; false if there are none. */
static bool find_tiles(struct tq_attend_job *job, const struct tq_page_view *view)
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
static void latent_values(struct tq_attend_job *job)
{
    const struct tq_codec *k = job->k, *v = job->v;
    if (job->vform == TQ_FORM_EXACT) {
        tq_latent_rows(job->a.vx, job->coded, k->type == TQ_F16 ? 2 : 4, k->d, v->d,
                       job->tile0, job->tile1);
        job->vpage = job->a.vx;
        return;
    }
    if (job->kform == TQ_FORM_PACKED)
        expand_keys(job);
    v->kernels->turn_levels(job->a.v, job->a.k, v->d, job->tile0, job->tile1);
}

static void open_values(struct tq_attend_job *job)
{
    if (job->vform == TQ_FORM_ROWS)
        decode_values(job);
    else if (job->latent)
        latent_values(job);
    else if (job->vform == TQ_FORM_LEVELS)
        expand_values(job);
    else
        return;
    fetch_ahead(&job->ahead);
}

/* Queries from i on that are taken together: they see tokens from the same one on. */
static int count_run(const struct tq_attend_job *job, const struct tq_page_view *view,
                     int i)
{
    const int lo = first_of(view, i);
    int n = 0;
    if (view->whole)
        return job->q->n - i < QUERIES ? job->q->n - i : QUERIES;
    while (n < QUERIES && i + n < job->q->n && first_of(view, i + n) == lo &&
           view->hi[i + n] > lo)
        n++;
    return n;
}

/* What the steps of a whole page come to where all is read as it is in the page: in one
 * place, as the bookkeeping of the general way takes a tenth of decode.  From memory come
 * meanwhile the values of the next page and the keys of the one after it, in turn: keys
 * are needed before values, and two places at a time keep more lines on their way
 * (docs/performance.md, 4). */
static void attend_packed(const struct tq_attend_job *job, struct tq_partial *p,
                          const struct tq_page_view *view)
{
    const struct tq_attend_scratch *a = &job->a;
    const struct tq_kernels *kernels = job->v->kernels;
    const int n = job->q->n;
    const uint8_t *k = view->k, *v = view->v;
    const uint8_t *next_k = view->after_k ? view->after_k : k;
    const uint8_t *next_v = view->next_v ? view->next_v : v;
    for (int at = 0; at < TQ_SCALES_BYTES; at += 64) {
        __builtin_prefetch(next_k + at);
        __builtin_prefetch(next_v + at);
    }
    next_k += TQ_SCALES_BYTES;
    next_v += TQ_SCALES_BYTES;
    struct tq_places first = {{next_k, next_v}},
                     second = {{next_k + job->k_half, next_v + job->v_half}};
    if (job->k_half != job->v_half) {
        first = halves(next_k, job->k_half);
        second = halves(next_v, job->v_half);
    }
    score_whole(job->k, &job->part[0], a->s, k, first, n, a->bias, a->kscale);
    kernels->softmax(a->s, p->m, p->l, a->c, 0, view->hi, n);
    kernels->weigh(a->w, a->unit, a->s, (const void *)v, job->vtype == TQ_TURBO8 ? 2 : 1,
                   n, kernels->weight_most);
    kernels->sum_packed(p->o, v + TQ_SCALES_BYTES, tq_tile_bits(job->vtype), a->w,
                        a->unit, a->c, job->v->d, n, 0, TILES, second);
}

void tq_attend_page(struct tq_attend_job *job, struct tq_partial *p,
                    const struct tq_page_view *view)
{
    if (view->whole && job->packed) {
        attend_packed(job, p, view);
        return;
    }
    if (view->whole) {
        job->tile0 = 0;
        job->tile1 = TILES;
    } else if (!find_tiles(job, view)) {
        return;
    }
    job->coded = job->kpage = view->k;
    job->vpage = view->v ? view->v : view->k;
    job->next_k = view->next_k ? view->next_k : view->k;
    job->next_v = view->next_v ? view->next_v : job->vpage;
    job->hi = view->hi;
    job->ahead.at[0] = view->next_k;
    job->ahead.end[0] = view->next_k ? job->ahead.at[0] + job->k_ahead : NULL;
    job->ahead.at[1] = view->next_v;
    job->ahead.end[1] = view->next_v ? job->ahead.at[1] + job->v_ahead : NULL;
    fetch_ahead(&job->ahead);
    open_keys(job);
    open_values(job);
    for (int i = 0; i < job->q->n;) {
        const int n = count_run(job, view, i);
        job->lo = first_of(view, i);
        if (n)
            attend_run(job, p, i, n);
        i += n ? n : 1;
    }
}

void tq_attend(const struct tq_codec *k, const struct tq_codec *v, struct tq_partial *p,
               const struct tq_query *q, const void *kpage, const void *vpage, int lo,
               const uint8_t *hi, void *scratch)
{
    struct tq_page_view view = {
        .k = kpage, .v = vpage, .lo = lo, .hi = hi, .whole = lo == 0};
    struct tq_attend_job job;
    for (int i = 0; i < q->n; i++)
        view.whole &= hi[i] == TOKENS;
    tq_attend_open(&job, k, v, q, !vpage, 0.0f, NULL, scratch);
    tq_attend_page(&job, p, &view);
}
