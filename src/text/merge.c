#include "text/merge.h"

#include "base/mem.h"

void merge_work_release(struct merge_work *w)
{
    mem_free(w->sym);
    mem_free(w->heap);
    *w = (struct merge_work){0};
}

bool merge_reserve(struct merge_work *w, size_t n)
{
    if (n <= w->sym_cap)
        return true;
    struct merge_symbol *p = mem_resize(w->sym, n, sizeof *p);
    if (!p)
        return false;
    w->sym = p;
    w->sym_cap = n;
    return true;
}

static bool heap_push(struct merge_work *w, uint64_t v)
{
    if (w->n_heap == w->heap_cap) {
        const size_t cap = w->heap_cap ? w->heap_cap * 2 : 256;
        uint64_t *p = mem_resize(w->heap, cap, sizeof *p);
        if (!p)
            return false;
        w->heap = p;
        w->heap_cap = cap;
    }
    size_t i = w->n_heap++;
    for (; i > 0 && w->heap[(i - 1) / 2] > v; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = v;
    return true;
}

static uint64_t heap_pop(struct merge_work *w)
{
    const uint64_t top = w->heap[0], v = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && w->heap[child + 1] < w->heap[child])
            child++;
        if (w->heap[child] >= v)
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = v;
    return top;
}

/* Look up the pair of the symbols at i and behind it. */
static bool merge_update(struct merge_work *w, const struct tokenizer *t,
                         merge_pair *pair, const char *s, size_t n, uint32_t i)
{
    struct merge_symbol *a = &w->sym[i];
    a->prio = MERGE_NONE;
    if (a->next >= n)
        return true;
    const struct merge_symbol *b = &w->sym[a->next];
    a->prio = pair(t, s + i, b->next - i, a->id, b->id, &a->merged);
    return a->prio == MERGE_NONE || heap_push(w, (uint64_t)a->prio << 32 | i);
}

bool merge_run(struct merge_work *w, const struct tokenizer *t, merge_pair *pair,
               const char *s, size_t n)
{
    w->n_heap = 0;
    for (uint32_t i = 0; i < n; i = w->sym[i].next)
        if (!merge_update(w, t, pair, s, n, i))
            return false;
    while (w->n_heap > 0) {
        const uint64_t top = heap_pop(w);
        const uint32_t i = (uint32_t)top;
        struct merge_symbol *a = &w->sym[i];
        /* An entry whose pair has changed since, or was swallowed, is stale. */
        if (a->prio != top >> 32)
            continue;
        struct merge_symbol *b = &w->sym[a->next];
        b->prio = MERGE_NONE;
        a->id = a->merged;
        a->next = b->next;
        if (a->next < n)
            w->sym[a->next].prev = i;
        if (!merge_update(w, t, pair, s, n, i))
            return false;
        if (i > 0 && !merge_update(w, t, pair, s, n, a->prev))
            return false;
    }
    return true;
}
