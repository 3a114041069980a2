#include "engine/replay.h"

#include <pthread.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { N_CHAIN = 1024, ARGS_DEPTH = 200, MADE_DIGITS = 10 };

/* One answer.  Newest use first in `newer`/`older`; `next` in its chain. */
struct kept {
    struct kept *newer, *older, *next;
    uint64_t hash;
    json_t *calls;
    char *content, *text;
    uint8_t *mark; // behind text, in one piece of memory
    size_t n, bytes;
};

struct replay {
    pthread_mutex_t lock;
    size_t max_bytes, bytes;
    struct kept *chain[N_CHAIN];
    struct kept *newest, *oldest;
};

enum status replay_open(struct replay **out, size_t max_bytes, struct error *err)
{
    struct replay *r = mem_array(1, sizeof *r);
    *out = r;
    if (!r)
        return fail(err, STATUS_NO_MEMORY, "no memory for answers to be put back");
    r->max_bytes = max_bytes;
    pthread_mutex_init(&r->lock, NULL);
    return STATUS_OK;
}

/* ---- what makes two messages the same ---- */

static json_t *member(const json_t *call, const char *key)
{
    return json_object_get(json_object_get(call, "function"), key);
}

static uint64_t hash_bytes(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u; // FNV-1a
    return rng_mix(h);
}

static uint64_t hash_text(uint64_t h, const json_t *s)
{
    return hash_bytes(h, json_string_value(s), json_string_length(s));
}

/* What same_json calls equal has the same hash. */
static uint64_t hash_json(uint64_t h, const json_t *v, int depth)
{
    const char *key;
    json_t *item;
    size_t i;
    uint64_t sum = 0;
    if (depth > ARGS_DEPTH)
        return h;
    if (json_is_number(v)) {
        const double d = json_number_value(v) + 0.0; // -0 is 0
        return hash_bytes(h, (const char *)&d, sizeof d);
    }
    h = rng_mix(h + (uint64_t)json_typeof(v));
    if (json_is_string(v))
        return hash_text(h, v);
    json_array_foreach(v, i, item) h = hash_json(h, item, depth + 1);
    if (json_is_object(v)) // in any order
        json_object_foreach((json_t *)v, key, item) sum +=
            hash_json(hash_bytes(h, key, strlen(key)), item, depth + 1);
    return rng_mix(h + sum);
}

/* Without ids, which may have been left out. */
static uint64_t hash_answer(const json_t *calls, const char *content)
{
    uint64_t h = hash_bytes(0xcbf29ce484222325u, content, strlen(content));
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call)
    {
        h = hash_text(h, member(call, "name"));
        h = hash_json(h, member(call, "arguments"), 0);
    }
    return h;
}

/* Whether a dialect made the ids up: those of answers are longer (access/ids.c). */
static bool has_no_ids(const json_t *calls)
{
    static const char prefix[] = "call_";
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call)
    {
        const char *id = json_string_value(json_object_get(call, "id"));
        if (!id || strncmp(id, prefix, sizeof prefix - 1))
            return false;
        id += sizeof prefix - 1;
        const size_t n = strspn(id, "0123456789");
        if (!n || n > MADE_DIGITS || id[n])
            return false;
    }
    return true;
}

static bool same_string(const json_t *a, const json_t *b)
{
    return json_is_string(a) && json_is_string(b) && json_equal(a, b);
}

/* Equal as JSON: clients may put members in another order, and write 1.0 as 1. */
static bool same_json(const json_t *a, const json_t *b, int depth)
{
    const char *key;
    json_t *v;
    size_t i;
    if (!a || !b || depth > ARGS_DEPTH)
        return false;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b)
                   ? json_integer_value(a) == json_integer_value(b)
                   : json_number_value(a) == json_number_value(b);
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_object(a)) {
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach(
            (json_t *)a, key,
            v) if (!same_json(v, json_object_get(b, key), depth + 1)) return false;
        return true;
    }
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        json_array_foreach(
            a, i, v) if (!same_json(v, json_array_get(b, i), depth + 1)) return false;
        return true;
    }
    return json_equal(a, b);
}

static bool same_calls(const json_t *a, const json_t *b, bool ids)
{
    size_t i;
    json_t *call;
    if (!json_array_size(a) || json_array_size(a) != json_array_size(b))
        return false;
    json_array_foreach(a, i, call)
    {
        const json_t *other = json_array_get(b, i);
        if ((ids &&
             !same_string(json_object_get(call, "id"), json_object_get(other, "id"))) ||
            !same_string(member(call, "name"), member(other, "name")) ||
            !same_json(member(call, "arguments"), member(other, "arguments"), 0))
            return false;
    }
    return true;
}

/* ---- the store ---- */

static struct kept **chain_of(struct replay *r, uint64_t hash)
{
    return &r->chain[hash % N_CHAIN];
}

static void unlink_use(struct replay *r, struct kept *k)
{
    *(k->newer ? &k->newer->older : &r->newest) = k->older;
    *(k->older ? &k->older->newer : &r->oldest) = k->newer;
}

static void link_newest(struct replay *r, struct kept *k)
{
    k->newer = NULL;
    k->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = k;
    r->newest = k;
}

static void kept_free(struct kept *k)
{
    if (!k)
        return;
    json_decref(k->calls);
    mem_free(k->content);
    mem_free(k->text);
    mem_free(k);
}

static void forget(struct replay *r, struct kept *k)
{
    struct kept **at = chain_of(r, k->hash);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    unlink_use(r, k);
    r->bytes -= k->bytes;
    kept_free(k);
}

/* The newest one. */
static struct kept *find_kept(struct replay *r, uint64_t hash, const json_t *calls,
                              const char *content, bool ids)
{
    for (struct kept *k = *chain_of(r, hash); k; k = k->next)
        if (k->hash == hash && !strcmp(k->content, content) &&
            same_calls(k->calls, calls, ids))
            return k;
    return NULL;
}

/* Bytes of a JSON value in memory, roughly. */
static size_t json_bytes(const json_t *v, int depth)
{
    size_t n = 64 + json_string_length(v), i;
    const char *key;
    json_t *item;
    if (depth > ARGS_DEPTH)
        return n;
    if (json_is_object(v))
        json_object_foreach((json_t *)v, key, item) n +=
            64 + strlen(key) + json_bytes(item, depth + 1);
    json_array_foreach(v, i, item) n += json_bytes(item, depth + 1);
    return n;
}

static struct kept *kept_new(const json_t *calls, const char *content, const char *text,
                             const uint8_t *mark, size_t n)
{
    struct kept *k = mem_array(1, sizeof *k);
    size_t both;
    if (!k || !mem_mul(&both, n, 2))
        return k;
    /* A copy: reference counts are not for several threads. */
    k->calls = json_deep_copy(calls);
    k->content = mem_strdup(content);
    k->text = mem_array(both ? both : 1, 1);
    if (!k->calls || !k->content || !k->text) {
        kept_free(k);
        return NULL;
    }
    memcpy(k->text, text, n);
    k->mark = (uint8_t *)k->text + n;
    memcpy(k->mark, mark, n);
    k->n = n;
    k->hash = hash_answer(calls, content);
    k->bytes = sizeof *k + both + strlen(content) + json_bytes(calls, 0);
    return k;
}

void replay_keep(struct replay *r, const json_t *calls, const char *content,
                 const char *text, const uint8_t *mark, size_t n)
{
    struct kept *k = n && json_array_size(calls) && n < r->max_bytes / 2
                         ? kept_new(calls, content, text, mark, n)
                         : NULL;
    if (!k || !k->text || k->bytes > r->max_bytes) {
        kept_free(k);
        return;
    }
    pthread_mutex_lock(&r->lock);
    struct kept *same = find_kept(r, k->hash, calls, content, true);
    if (same)
        forget(r, same);
    while (r->oldest && r->bytes + k->bytes > r->max_bytes)
        forget(r, r->oldest);
    k->next = *chain_of(r, k->hash);
    *chain_of(r, k->hash) = k;
    link_newest(r, k);
    r->bytes += k->bytes;
    pthread_mutex_unlock(&r->lock);
}

bool replay_find(struct replay *r, const json_t *calls, const char *content,
                 struct buf *text, struct buf *mark)
{
    if (!json_array_size(calls))
        return false;
    const uint64_t hash = hash_answer(calls, content);
    const bool left_out = has_no_ids(calls);
    pthread_mutex_lock(&r->lock);
    struct kept *k = find_kept(r, hash, calls, content, true);
    if (!k && left_out)
        k = find_kept(r, hash, calls, content, false);
    if (k) {
        unlink_use(r, k);
        link_newest(r, k);
        buf_append(text, k->text, k->n);
        buf_append(mark, k->mark, k->n);
    }
    pthread_mutex_unlock(&r->lock);
    return k && !text->failed && !mark->failed;
}

void replay_close(struct replay *r)
{
    if (!r)
        return;
    while (r->oldest)
        forget(r, r->oldest);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
