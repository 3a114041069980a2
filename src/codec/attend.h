/* attend.h - what whole attention needs of one page. */
#ifndef CODEC_ATTEND_H
#define CODEC_ATTEND_H

#include "turboquant.h"

/* tq_attend, while the page of next_k and next_v (both NULL: none), of the same types,
 * comes from memory. */
void tq_attend_then(const struct tq_codec *k, const struct tq_codec *v,
                    struct tq_partial *p, const struct tq_query *q, const void *kpage,
                    const void *vpage, int lo, const uint8_t *hi, const void *next_k,
                    const void *next_v, void *scratch);

#endif
