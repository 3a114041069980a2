/* specials.h - tokens that are found in a text as they are written. */
#ifndef TEXT_SPECIALS_H
#define TEXT_SPECIALS_H

#include "text/vocab.h"

struct specials {
    int32_t *id; // [n], sorted by text
    int n;
    int first[257]; // those that begin with byte b are first[b] .. first[b + 1]
};

enum status specials_open(struct specials *a, const struct vocab *v, struct error *err);
void specials_release(struct specials *a);

/* The first place at or after `from` where a special token stands, and there the longest
 * one; the id, or -1 with *at = n.  Control tokens count only if `control`, and only
 * where no byte is marked. */
int32_t specials_next(const struct specials *a, const struct vocab *v, const char *text,
                      size_t n, const uint8_t *mark, bool control, size_t from,
                      size_t *at, size_t *len);

#endif
