#include "kv/kv.h"

#include <string.h>

#include "base/mem.h"

struct kv_seq {
    struct kv_pool *pool; // NULL while the slot is free
    int index;
    int n_page;
    int32_t *page; // [pool->n_page] indices, the first n_page are held
};

struct kv_pool {
    uint8_t *pages;     // [n_page][page_bytes]
    uint8_t *state;     // [n_seq][state_bytes]
    int *free_page;     // stack of free pages, [n_free] are valid
    int *holders;       // [n_page]
    struct kv_seq *seq; // [n_seq]
    int32_t *seq_page;  // [n_seq][n_page]
    size_t page_bytes, state_bytes;
    int n_page, n_free, n_seq;
};

static size_t round64(size_t n)
{
    return (n + 63) / 64 * 64;
}

enum status kv_pool_open(struct kv_pool **out, size_t page_bytes, int n_page,
                         size_t state_bytes, int n_seq, struct error *err)
{
    size_t all_pages, all_state, total;
    page_bytes = round64(page_bytes);
    state_bytes = round64(state_bytes);
    if (!mem_mul(&all_pages, page_bytes, (size_t)n_page) ||
        !mem_mul(&all_state, state_bytes, (size_t)n_seq) ||
        !mem_add(&total, all_pages, all_state))
        return fail(err, STATUS_NO_MEMORY,
                    "the KV cache would be larger than the address space");
    const size_t available = mem_available();
    if (available && total > available)
        return fail(
            err, STATUS_NO_MEMORY,
            "the KV cache needs %.0f MiB but %.0f MiB are available: use a smaller "
            "--ctx or a smaller --kv type",
            (double)total / 0x1p20, (double)available / 0x1p20);
    struct kv_pool *p = mem_array(1, sizeof *p);
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for the KV pool");
    *p = (struct kv_pool){.page_bytes = page_bytes,
                          .state_bytes = state_bytes,
                          .n_page = n_page,
                          .n_free = n_page,
                          .n_seq = n_seq};
    p->pages = mem_pages(all_pages);
    p->state = mem_pages(all_state);
    p->free_page = mem_array((size_t)n_page, sizeof *p->free_page);
    p->holders = mem_array((size_t)n_page, sizeof *p->holders);
    p->seq = mem_array((size_t)n_seq, sizeof *p->seq);
    p->seq_page = mem_array((size_t)n_seq * (size_t)n_page, sizeof *p->seq_page);
    if (!p->pages || !p->state || !p->free_page || !p->holders || !p->seq ||
        !p->seq_page) {
        kv_pool_close(p);
        return fail(err, STATUS_NO_MEMORY,
                    "no memory for a KV cache of %.0f MiB: use a smaller --ctx or a "
                    "smaller --kv type",
                    (double)total / 0x1p20);
    }
    /* Touch everything now: a later page fault must not meet a full machine. */
    memset(p->pages, 0, all_pages);
    memset(p->state, 0, all_state);
    for (int i = 0; i < n_page; i++)
        p->free_page[i] = n_page - 1 - i;
    for (int i = 0; i < n_seq; i++)
        p->seq[i] =
            (struct kv_seq){.index = i, .page = p->seq_page + (size_t)i * (size_t)n_page};
    *out = p;
    return STATUS_OK;
}

void kv_pool_close(struct kv_pool *p)
{
    if (!p)
        return;
    mem_pages_free(p->pages, p->page_bytes * (size_t)p->n_page);
    mem_pages_free(p->state, p->state_bytes * (size_t)p->n_seq);
    mem_free(p->free_page);
    mem_free(p->holders);
    mem_free(p->seq);
    mem_free(p->seq_page);
    mem_free(p);
}

size_t kv_pool_bytes(const struct kv_pool *p)
{
    return p->page_bytes * (size_t)p->n_page + p->state_bytes * (size_t)p->n_seq;
}

int kv_pool_pages(const struct kv_pool *p)
{
    return p->n_page;
}

int kv_pool_free(const struct kv_pool *p)
{
    return p->n_free;
}

void kv_page_hold(struct kv_pool *p, int32_t page)
{
    p->holders[page]++;
}

void kv_page_drop(struct kv_pool *p, int32_t page)
{
    if (--p->holders[page] == 0)
        p->free_page[p->n_free++] = page;
}

int kv_page_holders(const struct kv_pool *p, int32_t page)
{
    return p->holders[page];
}

enum status kv_seq_open(struct kv_seq **out, struct kv_pool *p, struct error *err)
{
    for (int i = 0; i < p->n_seq; i++)
        if (!p->seq[i].pool) {
            p->seq[i].pool = p;
            p->seq[i].n_page = 0;
            *out = &p->seq[i];
            return STATUS_OK;
        }
    return fail(err, STATUS_FULL, "all %d sequences are in use", p->n_seq);
}

void kv_seq_release(struct kv_seq *s)
{
    while (s->n_page)
        kv_page_drop(s->pool, s->page[--s->n_page]);
}

void kv_seq_close(struct kv_seq *s)
{
    if (!s)
        return;
    kv_seq_release(s);
    s->pool = NULL;
}

int kv_pages_for(int n_token)
{
    return n_token / KV_PAGE_TOKENS + (n_token % KV_PAGE_TOKENS != 0);
}

enum status kv_seq_reserve(struct kv_seq *s, int n_token, struct error *err)
{
    struct kv_pool *p = s->pool;
    const int want = kv_pages_for(n_token) - s->n_page;
    if (want > p->n_free)
        return fail(err, STATUS_FULL,
                    "the KV cache is full: %d tokens need %d pages, %d are free", n_token,
                    want, p->n_free);
    for (int i = 0; i < want; i++) {
        s->page[s->n_page] = p->free_page[--p->n_free];
        p->holders[s->page[s->n_page++]] = 1;
    }
    return STATUS_OK;
}

int kv_seq_pages(const struct kv_seq *s)
{
    return s->n_page;
}

int32_t kv_seq_index(const struct kv_seq *s, int page)
{
    return s->page[page];
}

void kv_seq_share(struct kv_seq *s, int32_t index)
{
    kv_page_hold(s->pool, index);
    s->page[s->n_page++] = index;
}

void kv_seq_adopt(struct kv_seq *s, int page, int32_t index)
{
    kv_page_hold(s->pool, index);
    kv_page_drop(s->pool, s->page[page]);
    s->page[page] = index;
}

void kv_seq_copy(struct kv_seq *s, int page, int32_t index)
{
    memcpy(kv_seq_page(s, page), s->pool->pages + (size_t)index * s->pool->page_bytes,
           s->pool->page_bytes);
}

uint8_t *kv_seq_page(const struct kv_seq *s, int page)
{
    return s->pool->pages + (size_t)s->page[page] * s->pool->page_bytes;
}

struct kv_view kv_seq_view(const struct kv_seq *s)
{
    return (struct kv_view){s->pool->pages, s->pool->page_bytes, s->page};
}

uint8_t *kv_seq_state(const struct kv_seq *s)
{
    return s->pool->state + (size_t)s->index * s->pool->state_bytes;
}
