#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "base/mem.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, cap;
    alignas(16) unsigned char data[];
};

enum { CHUNK_BYTES = 64 << 10 };

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

void arena_release(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;
        mem_free(a->chunks);
        a->chunks = next;
    }
    a->used = 0;
}

static struct arena_chunk *chunk_new(struct arena *a, size_t bytes)
{
    const size_t cap = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    struct arena_chunk *c = mem_array(1, sizeof *c + cap);
    if (!c)
        return NULL;
    c->cap = cap;
    /* A chunk of one large piece goes behind the head, which still has room. */
    if (a->chunks && cap > CHUNK_BYTES) {
        c->next = a->chunks->next;
        a->chunks->next = c;
    } else {
        c->next = a->chunks;
        a->chunks = c;
    }
    return c;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (!mem_mul(&bytes, n, size) || bytes > a->max - a->used)
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > a->max - a->used)
        return NULL;
    struct arena_chunk *c = a->chunks;
    if (!c || bytes > c->cap - c->used)
        c = chunk_new(a, bytes);
    if (!c)
        return NULL;
    void *p = c->data + c->used;
    c->used += bytes;
    a->used += bytes;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *p = n + 1 ? arena_array(a, n + 1, 1) : NULL;
    if (p && n)
        memcpy(p, s, n);
    return p;
}
