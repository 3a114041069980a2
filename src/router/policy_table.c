#include "router/policy_table.h"

#include "base/mem.h"
#include "base/rng.h"

enum status policy_table_open(struct policy_table *t, int cap, struct error *err)
{
    uint32_t n_bucket = 16;
    while (n_bucket < (uint32_t)cap)
        n_bucket *= 2;
    t->entries = mem_array((size_t)cap, sizeof *t->entries);
    t->buckets = mem_array(n_bucket, sizeof *t->buckets);
    if (!t->entries || !t->buckets) {
        policy_table_close(t);
        return fail(err, STATUS_NO_MEMORY, "no memory for a table of %d entries", cap);
    }
    t->mask = n_bucket - 1;
    t->n = 0, t->cap = cap;
    t->newest = t->oldest = -1;
    for (uint32_t b = 0; b < n_bucket; b++)
        t->buckets[b] = -1;
    for (int i = 0; i < cap; i++)
        t->entries[i].chain = i + 1 < cap ? i + 1 : -1;
    t->unused = 0;
    return STATUS_OK;
}

void policy_table_close(struct policy_table *t)
{
    mem_free(t->entries);
    mem_free(t->buckets);
    *t = (struct policy_table){0};
}

/* Keys are hashes already, but whose the caller does not say. */
static int32_t *bucket_of(struct policy_table *t, uint64_t key)
{
    return &t->buckets[rng_mix(key) & t->mask];
}

static void unlink_age(struct policy_table *t, int i)
{
    const struct policy_table_entry *e = &t->entries[i];
    *(e->newer < 0 ? &t->newest : &t->entries[e->newer].older) = e->older;
    *(e->older < 0 ? &t->oldest : &t->entries[e->older].newer) = e->newer;
}

static void link_age(struct policy_table *t, int i)
{
    struct policy_table_entry *e = &t->entries[i];
    e->newer = -1, e->older = t->newest;
    *(t->newest < 0 ? &t->oldest : &t->entries[t->newest].newer) = i;
    t->newest = i;
}

void policy_table_forget(struct policy_table *t, int entry)
{
    struct policy_table_entry *e = &t->entries[entry];
    int32_t *at = bucket_of(t, e->key);
    while (*at != entry)
        at = &t->entries[*at].chain;
    *at = e->chain;
    unlink_age(t, entry);
    e->chain = t->unused;
    t->unused = entry;
    t->n--;
}

int policy_table_find(struct policy_table *t, uint64_t key, uint64_t life_us,
                      uint64_t now_us)
{
    int i = *bucket_of(t, key);
    while (i >= 0 && t->entries[i].key != key)
        i = t->entries[i].chain;
    if (i >= 0 && now_us - t->entries[i].used_us > life_us) {
        policy_table_forget(t, i);
        return -1;
    }
    return i;
}

int policy_table_put(struct policy_table *t, uint64_t key, uint64_t now_us, int *fresh)
{
    int i = policy_table_find(t, key, UINT64_MAX, now_us);
    *fresh = i < 0;
    if (i >= 0) {
        unlink_age(t, i);
    } else {
        if (t->unused < 0)
            policy_table_forget(t, t->oldest);
        i = t->unused;
        t->unused = t->entries[i].chain;
        t->n++;
        int32_t *bucket = bucket_of(t, key);
        t->entries[i].key = key;
        t->entries[i].chain = *bucket;
        *bucket = i;
    }
    t->entries[i].used_us = now_us;
    link_age(t, i);
    return i;
}
