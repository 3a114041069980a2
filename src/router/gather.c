/* gather.c - GET /api/ps: what the backends of Ollama's API have in memory, in one list.
 *
 * All are asked at once, for this request; one that is late, or says what it is not asked
 * for, has no part in the list. */
#include <string.h>

#include "base/clock.h"
#include "json/parse.h"
#include "base/mem.h"
#include "router/internal.h"

enum {
    GATHER_MAX = 64,        // backends
    GATHER_BYTES = 1 << 20, // of each
    GATHER_US = 2000000,    // for each
    GATHER_ENTRIES = 1000,  // of each
};

struct gather {
    struct gather_part {
        uint64_t id; // of the backend
        struct http_transfer *transfer;
        struct buf body;
    } part[GATHER_MAX];
    int n;
    uint64_t until_us; // whoever goes on for ever
};

void gather_close(struct relay *c)
{
    struct gather *g = c->gather;
    for (int i = 0; g && i < g->n; i++) {
        http_transfer_close(g->part[i].transfer);
        buf_release(&g->part[i].body);
    }
    mem_free(g);
    c->gather = NULL;
}

/* ---- asking ---- */

static void on_part(void *ctx)
{
    http_wake(ctx);
}

/* With the lock: the configuration is only there as long. */
static void ask_part(struct relay *c, const struct backend *b, const char *path)
{
    struct gather *g = c->gather;
    const struct probe_question q = {
        .method = "GET", .path = path, .us = GATHER_US, .notify = on_part, .ctx = c->x};
    struct gather_part *part = &g->part[g->n];
    part->id = b->id;
    part->transfer = probe_ask(c->router, b, &q);
    if (!part->transfer)
        return;
    buf_init(&part->body, GATHER_BYTES);
    g->n++;
}

static bool gather_begin(struct relay *c, const char *path)
{
    struct router *r = c->router;
    c->gather = mem_array(1, sizeof *c->gather);
    if (!c->gather)
        return false;
    c->gather->until_us = clock_us() + GATHER_US;
    http_wake_at(c->x, c->gather->until_us + 1000);
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n_backend && c->gather->n < GATHER_MAX; i++)
        if (r->backends[i] && r->backends[i]->known &&
            r->backends[i]->dialects & DIALECT_OLLAMA &&
            fleet_is_well(r, r->backends[i], true))
            ask_part(c, r->backends[i], path);
    pthread_mutex_unlock(&r->lock);
    return true;
}

/* ---- merging ---- */

/* What clients of the router call a model of b; NULL: they have no such model. */
static const char *name_here(const struct backend *b, const char *served)
{
    const struct policy_model *m = b->c->models;
    bool any = !b->c->n_model;
    for (int i = 0; i < b->c->n_model; i++)
        if (!strcmp(m[i].name, "*"))
            any = true;
        else if (fleet_same_model(m[i].served ? m[i].served : m[i].name, served))
            return m[i].name;
    return any ? served : NULL;
}

/* Entries of a backend's list with our names, and with whose they are. */
static void add_entries(json_t *models, const struct backend *b, const json_t *list)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *served = json_string_value(json_object_get(entry, "model"));
        if (!served)
            served = json_string_value(json_object_get(entry, "name"));
        const char *name = served ? name_here(b, served) : NULL;
        json_t *mine = name && i < GATHER_ENTRIES ? json_copy(entry) : NULL;
        if (!mine)
            continue;
        json_object_set_new(mine, "name", json_string(name));
        json_object_set_new(mine, "model", json_string(name));
        json_object_set_new(mine, "backend", json_string(b->shown));
        json_array_append_new(models, mine);
    }
}

static void merge_part(struct router *r, json_t *models, const struct gather_part *part)
{
    json_t *v =
        json_parse(part->body.data ? part->body.data : "", part->body.len, 0, NULL);
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i] && r->backends[i]->id == part->id)
            add_entries(models, r->backends[i], json_object_get(v, "models"));
    pthread_mutex_unlock(&r->lock);
    json_decref(v);
}

/* true: nothing more comes of it. */
static bool gather_part_read(struct gather_part *part, bool late)
{
    struct http_transfer_state s;
    if (!part->transfer)
        return true;
    if (!http_transfer_collect(part->transfer, &part->body, &s) && !late)
        return false;
    if (part->body.failed || s.end != HTTP_TRANSFER_DONE || s.status != 200)
        buf_clear(&part->body);
    http_transfer_close(part->transfer);
    part->transfer = NULL;
    return true;
}

void own_ps(struct relay *c)
{
    bool all = true;
    if (!c->gather && !gather_begin(c, "/api/ps")) {
        relay_fail(c, API_ERROR_INTERNAL, "out of memory");
        return;
    }
    const bool late = clock_us() > c->gather->until_us;
    for (int i = 0; i < c->gather->n; i++)
        all = gather_part_read(&c->gather->part[i], late) && all;
    c->done = all; // else the next step goes on
    if (!all)
        return;
    json_t *models = json_array();
    for (int i = 0; i < c->gather->n; i++)
        merge_part(c->router, models, &c->gather->part[i]);
    gather_close(c);
    relay_reply_json(c, 200, json_pack("{s:o}", "models", models));
}
