/* tokens.c - a growing array of token ids. */
#include "text/tokenizer.h"

#include "base/mem.h"

void tokens_init(struct tokens *a)
{
    *a = (struct tokens){0};
}

void tokens_release(struct tokens *a)
{
    mem_free(a->id);
    *a = (struct tokens){0};
}

bool tokens_push(struct tokens *a, int32_t id)
{
    if (a->n == a->cap) {
        const size_t cap = a->cap ? a->cap * 2 : 64;
        int32_t *p = mem_resize(a->id, cap, sizeof *p);
        if (!p)
            return false;
        a->id = p;
        a->cap = cap;
    }
    a->id[a->n++] = id;
    return true;
}
