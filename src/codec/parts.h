/* parts.h - the vectors that a head consists of.
 *
 * A head of TQ_DIM_MAX channels, the latent of multi-head latent attention, is two: its
 * values are its first 512 channels, which must be readable by themselves, and the last
 * 64 carry positions.  Each part is rotated, scaled and coded by itself, and a compressed
 * page of the whole is the pages of its parts one after the other.  Any other head is one
 * part.  Exact pages have no parts. */
#ifndef CODEC_PARTS_H
#define CODEC_PARTS_H

#include "turboquant.h"

enum { TQ_PART_MAX = 512 }; // channels of a part

static inline int tq_parts(int d)
{
    return d == TQ_DIM_MAX ? 2 : 1;
}

/* First channel and number of channels of part i. */
static inline int tq_part_at(int i)
{
    return TQ_PART_MAX * i;
}

static inline int tq_part_dim(int d, int i)
{
    if (tq_parts(d) == 1)
        return d;
    return i ? TQ_DIM_MAX - TQ_PART_MAX : TQ_PART_MAX;
}

/* Bytes before part i of a compressed page. */
static inline size_t tq_part_offset(enum tq_type t, int i)
{
    return i ? tq_page_bytes(t, TQ_PART_MAX) : 0;
}

/* The codec of part i; its sign matrix is independent of that of the other part. */
static inline struct tq_codec tq_part_codec(const struct tq_codec *c, int i)
{
    struct tq_codec part = *c;
    part.d = tq_part_dim(c->d, i);
    part.seed = i ? ~c->seed : c->seed;
    return part;
}

#endif
