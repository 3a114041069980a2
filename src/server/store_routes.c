/* store_routes.c - Ollama's requests that change the store, and its opening. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/ollama_store.h"
#include "server/store_call.h"

/* ---- opening, ending ---- */

/* What crashes and cut uploads left. */
static void prune_at_start(struct server *s)
{
    struct store_pruned p = {0};
    struct error err;
    char text[200];
    const char *folder = store_folder(s->o.store, 0);
    if (s->o.no_prune || !*folder)
        return;
    if (store_prune(s->o.store, STORE_BLOB_KEEP_S, &p, &err)) {
        log_event(s, "prune", err.text);
        return;
    }
    snprintf(text, sizeof text, "%d blobs and %d unfinished files removed, %.1f MB",
             p.n_blob, p.n_file, (double)p.bytes / 1e6);
    if (p.n_blob || p.n_file)
        log_event(s, "prune", text);
    if (p.n_damaged) {
        snprintf(text, sizeof text,
                 "%d manifests cannot be read, so no blob was removed: turbine verify "
                 "says which",
                 p.n_damaged);
        log_event(s, "prune", text);
    }
}

enum status store_routes_open(struct server *s, struct error *err)
{
    if (s->o.store)
        prune_at_start(s);
    return store_jobs_open(&s->jobs, err);
}

void store_routes_drain(struct server *s, bool time_is_up)
{
    store_jobs_stop(s->jobs, STORE_PULL);
    if (time_is_up) {
        store_jobs_stop(s->jobs, STORE_UPLOAD);
        store_jobs_stop(s->jobs, STORE_CHANGE);
    }
}

/* ---- what all have in common ---- */

void handle_no_store(struct call *c)
{
    struct buf b;
    buf_init(&b, 1024);
    buf_puts(&b, "{\"error\":\"this server has the one model that it was started with: "
                 "there is no store to create, copy, pull, push or delete in\"}");
    call_reply(c, 501, "application/json", &b);
    buf_release(&b);
}

/* The body of the first step; NULL: answered, or not the first. */
static json_t *first_body(struct call *c)
{
    json_t *body = NULL;
    if (c->store)
        store_call_step(c);
    else if (!c->server->o.store)
        handle_no_store(c);
    else if (call_read_json(c, &body) && !store_call_open(c))
        json_decref(body), body = NULL;
    return body;
}

/* After an error of reading that call_error answers. */
static void refuse_body(struct call *c, json_t *body, const struct api_error *e)
{
    json_decref(body);
    call_error(c, e);
}

/* ---- copy and delete: no lines ---- */

struct change_job {
    struct server *server;
    struct store *store;
    struct model_name from, to;
};

static enum status run_copy(struct store_job *job, void *data, struct error *err)
{
    struct change_job *j = data;
    (void)job;
    return store_copy(j->store, &j->from, &j->to, err);
}

static enum status run_delete(struct store_job *job, void *data, struct error *err)
{
    struct change_job *j = data;
    struct model_ref ref = {.stored = true, .name = j->from};
    struct store_entry entry;
    struct manifest m;
    (void)job;
    const bool found = !store_find(j->store, &j->from, &m, &entry, NULL);
    manifest_release(&m);
    const enum status s = store_delete(j->store, &j->from, NULL, err);
    if (found && !s) { // another name of the same bytes loads them again
        ref.digest = entry.digest;
        models_unload(j->server->models, &ref);
    }
    return s;
}

/* to NULL: delete. */
static void start_change(struct call *c, const char *from, const char *to)
{
    struct change_job *j = mem_array(1, sizeof *j);
    struct store_task t = {.work = STORE_CHANGE,
                           .run = to ? run_copy : run_delete,
                           .release = mem_free,
                           .data = j};
    struct error err;
    enum status st = STATUS_OK;
    if (!j) {
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
        return;
    }
    j->server = c->server;
    j->store = c->server->o.store;
    st = model_name_parse(&j->from, from, strlen(from), &err);
    if (!st && to)
        st = model_name_parse(&j->to, to, strlen(to), &err);
    if (!st) {
        store_call_start(c, &t);
        return;
    }
    mem_free(j);
    store_call_fail(c, &err);
}

void handle_copy(struct call *c)
{
    struct ollama_copy r;
    struct api_error e;
    json_t *body = first_body(c);
    if (!body)
        return;
    if (ollama_read_copy(&r, body, &e)) {
        refuse_body(c, body, &e);
        return;
    }
    start_change(c, r.source, r.destination);
    json_decref(body);
}

void handle_delete(struct call *c)
{
    struct ollama_named r;
    struct api_error e;
    json_t *body = first_body(c);
    if (!body)
        return;
    if (ollama_read_delete(&r, body, &e)) {
        refuse_body(c, body, &e);
        return;
    }
    start_change(c, r.model, NULL);
    json_decref(body);
}

/* ---- create and pull: lines ---- */

void handle_create(struct call *c)
{
    struct ollama_create r;
    struct api_error e;
    struct error err;
    json_t *body = first_body(c);
    if (!body)
        return;
    if (ollama_read_create(&r, body, &e)) {
        refuse_body(c, body, &e);
        return;
    }
    c->store->stream = r.stream;
    c->store->has_lines = true;
    struct create_job *j = create_job_open(c->server, body, &r, &err);
    const struct store_task t = {.work =
                                     j && create_job_pulls(j) ? STORE_PULL : STORE_CHANGE,
                                 .run = create_job_run,
                                 .release = create_job_release,
                                 .data = j};
    if (!j)
        store_call_fail(c, &err);
    else
        store_call_start(c, &t);
}

void handle_pull(struct call *c)
{
    struct ollama_named r;
    struct api_error e;
    struct error err;
    char key[MODEL_NAME_BYTES + 8];
    json_t *body = first_body(c);
    if (!body)
        return;
    if (ollama_read_pull(&r, body, &e)) {
        refuse_body(c, body, &e);
        return;
    }
    if (!c->server->o.pull) {
        json_decref(body);
        call_fail(c, API_ERROR_UNSUPPORTED, "this server does not fetch models");
        return;
    }
    c->store->stream = r.stream;
    c->store->has_lines = true;
    struct pull_job *j = pull_job_open(c->server, r.model, r.insecure, key, &err);
    const struct store_task t = {.work = STORE_PULL,
                                 .key = key,
                                 .run = pull_job_run,
                                 .release = pull_job_release,
                                 .data = j};
    json_decref(body);
    if (!j)
        store_call_fail(c, &err);
    else
        store_call_start(c, &t);
}

/* ---- what there is not ---- */

void handle_push(struct call *c)
{
    call_fail(c, API_ERROR_UNSUPPORTED,
              "pushing is not supported: this server sends no model to anybody");
}

void handle_account(struct call *c)
{
    call_fail(c, API_ERROR_NO_ROUTE, "there are no accounts here");
}
