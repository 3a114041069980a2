/* attend.h - what whole attention needs of one page. */
#ifndef CODEC_ATTEND_H
#define CODEC_ATTEND_H

#include "turboquant.h"

/* A page, and what the queries see of it: query i the tokens [lows ? lows[i] : lo, hi[i])
 * where there are any.  v is NULL for values that are the first channels of the keys,
 * next_v then too.  next_k and next_v (both NULL: none) is the page that comes next,
 * of the same types: it is brought from memory meanwhile. */
struct tq_page_view {
    const void *k, *v;
    const void *next_k, *next_v;
    int lo;
    const uint8_t *lows, *hi; // [n]
    float softcap;            // as in struct tq_cache
    const float *shift;       // [n] or NULL
};

/* tq_attend; bits do not depend on what other queries see. */
void tq_attend_view(const struct tq_codec *k, const struct tq_codec *v,
                    struct tq_partial *p, const struct tq_query *q,
                    const struct tq_page_view *view, void *scratch);

#endif
