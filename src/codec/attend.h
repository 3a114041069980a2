/* attend.h - what whole attention needs of one page. */
#ifndef CODEC_ATTEND_H
#define CODEC_ATTEND_H

#include <stdbool.h>

#include "codec/kernels.h"
#include "turboquant.h"

struct tq_attend_scratch {
    uint8_t *k;       // [4][d/4][16][4], expanded keys, and so for the second part
    int8_t *v;        // [16][d][4], expanded values, and so for the second part
    float *kx;        // [4][d][16], keys decoded to an exact page
    float *vx;        // [64][d]
    float *s;         // [32][64], scores, then weights
    float *s2;        // [32][64], scores of a second part
    uint8_t *w;       // [32][2][64], quantised weights
    float *c;         // [32], factor of earlier sums
    float *unit;      // [32], value of one step of w
    float *bias;      // [32], scores against the mean of a page of keys
    uint16_t *kscale; // [64], scales without its bits
};

/* What the keys, or the values, of a page are computed with. */
enum tq_page_form {
    TQ_FORM_EXACT,  // numbers, as they are in the page
    TQ_FORM_ROWS,   // numbers, after the page is decoded row by row
    TQ_FORM_LEVELS, // levels, after the page is expanded; those before have no levels
    TQ_FORM_STORED, // levels, as they are in the page
    TQ_FORM_PACKED, // codes, as they are in the page
};

/* Queries as integers against a part of the keys (parts.h). */
struct tq_key_part {
    struct tq_code_queries queries;
    int d;
    bool has_mean;
};

/* Bytes that will be read next: [at, end) of keys and of values. */
struct tq_ahead {
    const char *at[2], *end[2];
};

/* A set of queries against pages of two codecs. */
struct tq_attend_job {
    const struct tq_codec *k, *v;
    const struct tq_query *q;
    struct tq_attend_scratch a;
    enum tq_page_form kform, vform;
    enum tq_type ktype, vtype; // computed with: f32 for types that are coded by row
    size_t k_half, v_half;     // bytes of half of the codes of a page, if packed
    size_t k_ahead, v_ahead;   // bytes of a page that no kernel asks for
    struct tq_key_part part[2];
    bool packed; // whole pages need nothing but packed kernels
    bool latent; // values are the first channels of the keys
    float softcap;
    const float *shift;
    /* The page at hand. */
    const void *coded; // keys, as they were given
    const void *kpage, *vpage;
    const void *next_k, *next_v; // what comes next, or the page itself
    const uint8_t *hi;
    int lo, tile0, tile1;
    struct tq_ahead ahead;
};

/* Before any page.  k, v, q, shift (struct tq_cache) and scratch stay as they are, and
 * stay in use, until the last page.  No values, v is NULL: for scores alone. */
void tq_attend_open(struct tq_attend_job *job, const struct tq_codec *k,
                    const struct tq_codec *v, const struct tq_query *q, bool latent,
                    float softcap, const float *shift, void *scratch);

/* A page, and what the queries see of it: query i the tokens [lows ? lows[i] : lo, hi[i])
 * where there are any.  v is NULL if the values are the first channels of the keys,
 * next_v then too.  next_k and next_v (both NULL: none) is the page that comes next,
 * of the same types, after_k (NULL: none) the keys of the one after it: they are brought
 * from memory meanwhile. */
struct tq_page_view {
    const void *k, *v;
    const void *next_k, *next_v, *after_k;
    int lo;
    const uint8_t *lows, *hi; // [n]
    bool whole;               // they say that every query sees all of it
};

/* tq_attend; bits do not depend on what other queries see. */
void tq_attend_page(struct tq_attend_job *job, struct tq_partial *p,
                    const struct tq_page_view *view);

#endif
