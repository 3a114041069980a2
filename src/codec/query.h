/* query.h - where the parts of queries are. */
#ifndef CODEC_QUERY_H
#define CODEC_QUERY_H

#include "codec/parts.h"
#include "turboquant.h"

/* What part `part` of queries i and on has in the arrays of a set. */
struct tq_query_part {
    int d;
    const float *x; // row stride q->d
    int8_t *hi, *lo;
    float *step, *sx;
    int32_t *sum_hi, *sum_lo;
};

static inline struct tq_query_part tq_query_part(const struct tq_query *q, int part,
                                                 int i)
{
    const int at = tq_part_at(part), d = tq_part_dim(q->d, part);
    const int row = q->n_cap * at + i * d, one = q->n_cap * part + i;
    return (struct tq_query_part){
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

#endif
