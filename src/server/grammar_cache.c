#include "server/grammar_cache.h"

#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "json/print.h"

enum { CACHE_ENTRIES = 64, CACHE_KEY_MAX = 16 << 20 };

struct grammar_entry {
    XXH128_hash_t key;
    struct grammar *grammar;
    int refs; // of calls, and one of the cache
    uint64_t used;
};

struct grammar_cache {
    pthread_mutex_t lock;
    struct grammar_entry *entry[CACHE_ENTRIES];
    int n;
    uint64_t clock;
};

enum status grammar_cache_open(struct grammar_cache **out, struct error *err)
{
    *out = mem_array(1, sizeof **out);
    if (!*out || pthread_mutex_init(&(*out)->lock, NULL))
        return fail(err, STATUS_NO_MEMORY, "no memory for grammars");
    return STATUS_OK;
}

static void entry_drop(struct grammar_entry *e)
{
    if (--e->refs)
        return;
    grammar_close(e->grammar);
    mem_free(e);
}

void grammar_cache_close(struct grammar_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++)
        entry_drop(c->entry[i]);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

/* The text of a source: everything that the grammar depends on. */
static enum status source_key(XXH128_hash_t *key, const struct grammar_source *src,
                              struct error *err)
{
    struct buf b;
    buf_init(&b, CACHE_KEY_MAX);
    buf_printf(&b, "%d %zu ", src->once, src->n);
    if (src->gbnf)
        buf_append(&b, src->gbnf, src->n);
    for (int i = 0; i < src->n_trigger; i++)
        buf_append(&b, src->triggers[i], strlen(src->triggers[i]) + 1);
    for (int i = 0; i < src->n_schema; i++) {
        json_print_value(&b, src->schemas[i]);
        buf_append(&b, "", 1);
    }
    const bool failed = b.failed;
    *key = XXH3_128bits(b.data, b.len);
    buf_release(&b);
    return failed ? fail(err, STATUS_LIMIT, "the grammar is larger than %d MiB",
                         CACHE_KEY_MAX >> 20)
                  : STATUS_OK;
}

static struct grammar_entry *find_entry(struct grammar_cache *c, XXH128_hash_t key)
{
    for (int i = 0; i < c->n; i++)
        if (XXH128_isEqual(c->entry[i]->key, key)) {
            c->entry[i]->used = ++c->clock;
            c->entry[i]->refs++;
            return c->entry[i];
        }
    return NULL;
}

static void keep_entry(struct grammar_cache *c, struct grammar_entry *e)
{
    int at = c->n;
    if (c->n == CACHE_ENTRIES) {
        at = 0;
        for (int i = 1; i < c->n; i++)
            if (c->entry[i]->used < c->entry[at]->used)
                at = i;
        entry_drop(c->entry[at]);
    } else {
        c->n++;
    }
    e->used = ++c->clock;
    c->entry[at] = e;
}

enum status grammar_cache_get(struct grammar_cache *c, const struct grammar_source *src,
                              struct grammar_entry **out, struct error *err)
{
    XXH128_hash_t key;
    enum status s = source_key(&key, src, err);
    if (s)
        return s;
    pthread_mutex_lock(&c->lock);
    *out = find_entry(c, key);
    pthread_mutex_unlock(&c->lock);
    if (*out)
        return STATUS_OK;
    struct grammar_entry *e = mem_array(1, sizeof *e);
    if (!e)
        return fail(err, STATUS_NO_MEMORY, "no memory for a grammar");
    if ((s = grammar_open(&e->grammar, src, err))) {
        mem_free(e);
        return s;
    }
    e->key = key;
    e->refs = 2;
    pthread_mutex_lock(&c->lock);
    struct grammar_entry *other = find_entry(c, key); // by somebody else meanwhile
    if (other) {
        e->refs = 1;
        entry_drop(e);
        e = other;
    } else {
        keep_entry(c, e);
    }
    pthread_mutex_unlock(&c->lock);
    *out = e;
    return STATUS_OK;
}

void grammar_cache_put(struct grammar_cache *c, struct grammar_entry *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&c->lock);
    entry_drop(e);
    pthread_mutex_unlock(&c->lock);
}

const struct grammar *grammar_entry_grammar(const struct grammar_entry *e)
{
    return e ? e->grammar : NULL;
}
