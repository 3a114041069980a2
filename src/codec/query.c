/* query.c - queries as floats and as integers. */
#include "codec/query.h"

#include "codec/formats.h"
#include "codec/kernels.h"
#include "codec/layout.h"
#include "codec/parts.h"

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

void tq_query_load(const struct tq_codec *k, struct tq_query *q, const float *x,
                   size_t stride, int n, float scale)
{
    q->n = n;
    q->most = k->kernels->query_most;
    for (int part = 0; part < tq_parts(q->d); part++) {
        const int at = tq_part_at(part);
        for (int i = 0; i < n; i++) {
            const struct tq_query_part to = tq_query_part(q, part, i);
            k->kernels->load_query(q->x + i * q->d + at, to.hi, to.lo, to.step, to.sum_hi,
                                   to.sum_lo, x + (size_t)i * stride + at, scale, to.d,
                                   k->kernels->query_most);
        }
        if (tq_type_prod(k->type)) {
            const struct tq_codec c = tq_part_codec(k, part);
            const struct tq_query_part all = tq_query_part(q, part, 0);
            tq_prod_query(&c, all.sx, all.x, q->d, n);
        }
    }
}
