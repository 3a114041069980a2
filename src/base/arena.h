/* arena.h - allocations that are freed together, with a maximum. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks;
    size_t used, max; // bytes handed out, and their limit
};

void arena_init(struct arena *a, size_t max);
void arena_release(struct arena *a);

/* n zeroed elements, 16-byte aligned; NULL past max, on overflow or without memory. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* A copy of s[0..n) with a 0 behind it. */
char *arena_strndup(struct arena *a, const char *s, size_t n);

#endif
