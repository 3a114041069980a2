/* models.c - names, places and who holds them. */
#include "server/models.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dialect/ollama_keep_alive.h"
#include "server/model_open.h"
#include "server/models_internal.h"

enum { KEEP_US = 300000000 };

/* ---- opening ---- */

enum status model_pool_open(struct models **out, struct server *s, struct error *err)
{
    struct models *p = *out = mem_array(1, sizeof *p);
    const int64_t keep = s->o.models.keep_us;
    pthread_condattr_t a;
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for models");
    p->server = s;
    p->keep_us = keep == 0 ? KEEP_US : keep < 0 ? 0 : keep;
    if (pthread_mutex_init(&p->lock, NULL))
        return fail(err, STATUS_NO_MEMORY, "cannot make a lock");
    p->has_lock = true;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &a);
    pthread_condattr_destroy(&a);
    if (pthread_create(&p->thread, NULL, models_loader, p))
        return fail(err, STATUS_NO_MEMORY, "cannot start a thread");
    p->has_thread = true;
    return STATUS_OK;
}

void model_pool_close(struct models *p)
{
    if (!p)
        return;
    if (p->has_thread) {
        pthread_mutex_lock(&p->lock);
        p->ending = true;
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL); // a load that is under way ends first
    }
    while (p->slots) {
        struct model_slot *x = p->slots;
        p->slots = x->next;
        models_close_slot(p, x);
    }
    if (p->has_lock) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
    }
    guard_list_free(p->start.aliases, p->start.n_alias);
    model_card_drop(p->start.card);
    mem_free(p);
}

/* At the end of the list, with the lock. */
static struct model_slot *add_slot(struct models *p, const struct model_ref *ref)
{
    struct model_slot *x = mem_array(1, sizeof *x), **at = &p->slots;
    if (!x)
        return NULL;
    x->ref = *ref;
    while (*at)
        at = &(*at)->next;
    *at = x;
    return x;
}

static enum status find_start(struct models *p, struct model_ref *ref, struct error *err)
{
    const struct server_options *o = &p->server->o;
    struct model_start *t = &p->start;
    *ref = (struct model_ref){.start = true};
    if (!o->model_path) {
        struct store_entry entry;
        struct manifest m;
        enum status s =
            model_name_parse(&t->name, o->model_name, strlen(o->model_name), err);
        if (s)
            return s;
        s = store_find(o->store, &t->name, &m, &entry, err);
        manifest_release(&m);
        if (s)
            return s;
        ref->stored = t->stored = true;
        ref->name = t->name = entry.name;
        ref->digest = entry.digest;
        model_name_print(t->shown, &t->name);
    } else if (o->model_name) {
        snprintf(t->shown, sizeof t->shown, "%s", o->model_name);
    } else {
        model_card_file_name(t->shown, sizeof t->shown, o->model_path);
    }
    snprintf(t->claude, sizeof t->claude, MODELS_CLAUDE_PREFIX "%s", t->shown);
    return guard_list(&t->aliases, &t->n_alias, o->aliases, err);
}

static enum status load_start(struct models *p, const struct model_ref *ref,
                              struct loaded_model **out, struct error *err)
{
    const struct server_options *o = &p->server->o;
    struct model_opening opening;
    enum status s =
        model_opening_begin(&opening, o->store, ref->stored ? &ref->name : NULL,
                            o->model_path, p->start.shown, &o->models, err);
    if (!s)
        s = model_opening_fit(&opening, models_room(p), err);
    if (!s)
        s = model_opening_load(&opening, out, o->replay_bytes, err);
    model_opening_close(&opening);
    return s;
}

enum status models_start(struct models *p, struct engine *e, struct scheduler *sched,
                         struct error *err)
{
    const struct server_options *o = &p->server->o;
    struct model_start *t = &p->start;
    struct loaded_model *m = NULL;
    struct model_ref ref;
    enum status s = find_start(p, &ref, err);
    if (!s)
        s = e ? model_opening_given(&m, e, sched, o, err) : load_start(p, &ref, &m, err);
    if (s)
        return s;
    t->is_there = true;
    t->card = model_card_share(m->card);
    snprintf(t->general, sizeof t->general, "%s", m->card->general);
    snprintf(t->text, sizeof t->text, "%s", m->text);
    snprintf(t->note, sizeof t->note, "%s", m->note);
    t->n_ctx = m->n_ctx;
    pthread_mutex_lock(&p->lock);
    struct model_slot *x = add_slot(p, &ref);
    if (x) {
        x->state = SLOT_READY;
        x->model = m;
        x->given = e != NULL;
        x->keep_us = SERVER_KEEP_FOREVER;
        x->used_us = clock_us();
        p->past.n_load++;
    }
    pthread_mutex_unlock(&p->lock);
    if (x)
        return STATUS_OK;
    loaded_model_close(m);
    return fail(err, STATUS_NO_MEMORY, "no memory for a model");
}

const struct model_start *models_start_model(const struct models *p)
{
    return &p->start;
}

/* ---- names ---- */

/* A name as it is, or with Ollama's tag for none. */
static bool same_model(const char *asked, const char *name)
{
    static const char latest[] = ":latest";
    const size_t tag = sizeof latest - 1;
    size_t n = strlen(name);
    if (n > tag && !strcasecmp(name + n - tag, latest))
        n -= tag;
    return n && !strncasecmp(asked, name, n) &&
           (!asked[n] || !strcasecmp(asked + n, latest));
}

static bool names_start(const struct model_start *t, const char *name)
{
    if (!t->is_there)
        return false;
    bool is = same_model(name, t->shown) || same_model(name, t->claude);
    for (int i = 0; i < t->n_alias; i++)
        is |= same_model(name, t->aliases[i]);
    return is;
}

static enum status no_model(const char *name, struct api_error *e)
{
    return api_fail(e, STATUS_NOT_FOUND, API_ERROR_NO_MODEL, "model",
                    "model '%.200s' not found", name);
}

static enum status find_stored(struct models *p, const struct model_name *name,
                               const char *asked, struct model_ref *out,
                               struct api_error *e)
{
    struct store_entry entry;
    struct manifest m;
    struct error err;
    const enum status s = store_find(p->server->o.store, name, &m, &entry, &err);
    manifest_release(&m);
    if (s == STATUS_NOT_FOUND)
        return no_model(asked, e);
    if (s)
        return api_fail(e, s, API_ERROR_INTERNAL, NULL, "%s", err.text);
    *out = (struct model_ref){.stored = true,
                              .name = entry.name,
                              .digest = entry.digest,
                              .start = p->start.is_there && p->start.stored &&
                                       model_name_equal(&entry.name, &p->start.name)};
    return STATUS_OK;
}

static enum status find_start_again(struct models *p, const char *asked,
                                    struct model_ref *out, struct api_error *e)
{
    *out = (struct model_ref){.start = true};
    return p->start.stored ? find_stored(p, &p->start.name, asked, out, e) : STATUS_OK;
}

static enum status find_in_store(struct models *p, const char *name,
                                 struct model_ref *out, struct api_error *e)
{
    static const char prefix[] = MODELS_CLAUDE_PREFIX;
    struct model_name parsed;
    const char *plain = name;
    if (!strncasecmp(name, prefix, sizeof prefix - 1))
        plain += sizeof prefix - 1;
    if (!p->server->o.store || model_name_parse(&parsed, plain, strlen(plain), NULL))
        return no_model(name, e);
    return find_stored(p, &parsed, name, out, e);
}

/* A request that names none. */
static enum status find_default(struct models *p, struct model_ref *out,
                                struct api_error *e)
{
    const struct model_slot *best = NULL;
    struct store_entry *list = NULL;
    int n = 0;
    if (p->start.is_there)
        return find_start_again(p, "", out, e);
    pthread_mutex_lock(&p->lock);
    for (const struct model_slot *x = p->slots; x; x = x->next)
        if (x->state == SLOT_READY && !x->leaving &&
            (!best || x->used_us > best->used_us))
            best = x;
    if (best)
        *out = best->ref;
    pthread_mutex_unlock(&p->lock);
    if (best)
        return STATUS_OK;
    if (p->server->o.store && !store_list(p->server->o.store, &list, &n, NULL) && n == 1)
        *out = (struct model_ref){
            .stored = true, .name = list[0].name, .digest = list[0].digest};
    mem_free(list);
    return n == 1 ? STATUS_OK
                  : api_fail(e, STATUS_BAD_INPUT, API_ERROR_INVALID, "model",
                             "model is required: no model is loaded, and %d are here", n);
}

enum status models_find(struct models *p, const char *name, struct model_ref *out,
                        struct api_error *e)
{
    const struct model_start *t = &p->start;
    if (!*name)
        return find_default(p, out, e);
    if (names_start(t, name))
        return find_start_again(p, name, out, e);
    const enum status s = find_in_store(p, name, out, e);
    if (s != STATUS_NOT_FOUND || !t->is_there)
        return s;
    if (p->server->o.any_model || same_model(name, t->general))
        return find_start_again(p, name, out, e);
    return s;
}

/* ---- places ---- */

static bool same_ref(const struct model_ref *a, const struct model_ref *b)
{
    return a->stored == b->stored && (!a->stored || digest_equal(&a->digest, &b->digest));
}

/* With the lock.  A model of this name that the store has replaced goes. */
static struct model_slot *find_slot(struct models *p, const struct model_ref *ref)
{
    struct model_slot *found = NULL;
    for (struct model_slot *x = p->slots; x; x = x->next) {
        if (x->leaving)
            continue;
        if (same_ref(&x->ref, ref)) {
            found = x;
        } else if (ref->stored && x->ref.stored && x->state == SLOT_READY &&
                   model_name_equal(&x->ref.name, &ref->name)) {
            x->leaving = true;
            pthread_cond_signal(&p->changed);
        }
    }
    return found;
}

/* What the request says, or what one before it said; else the default of a slot that is
 * new or was about to go. */
static void keep_slot(const struct models *p, struct model_slot *x, const struct call *c,
                      bool is_new)
{
    int64_t us;
    if (c->req.keep_alive && ollama_keep_alive_text(c->req.keep_alive, &us))
        x->keep_us = us;
    else if (is_new || !x->keep_us)
        x->keep_us = x->ref.start ? SERVER_KEEP_FOREVER : p->keep_us;
}

static bool join(struct models *p, struct call *c, const struct model_ref *ref)
{
    pthread_mutex_lock(&p->lock);
    struct model_slot *x = find_slot(p, ref);
    const bool is_new = !x;
    if (!x && (x = add_slot(p, ref)))
        pthread_cond_signal(&p->changed);
    if (x) {
        x->ref.start |= ref->start;
        x->n_call++;
        keep_slot(p, x, c, is_new);
        x->used_us = clock_us();
        c->slot = x;
        if (x->state == SLOT_LOADING) {
            c->next_waiting = x->waiting;
            x->waiting = c;
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (!x)
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
    return x;
}

static enum model_wait look_at_slot(struct models *p, struct call *c)
{
    struct model_slot *x = c->slot;
    struct api_error e;
    pthread_mutex_lock(&p->lock);
    const enum slot_state state = x->state;
    if (state == SLOT_READY)
        c->model = x->model;
    else if (state == SLOT_FAILED)
        e = x->error;
    pthread_mutex_unlock(&p->lock);
    if (state == SLOT_READY)
        return MODEL_READY;
    if (state == SLOT_LOADING)
        return MODEL_WAITS;
    models_release(c);
    call_error(c, &e);
    return MODEL_FAILED;
}

static enum model_wait stop_waiting(struct call *c, enum api_error_kind kind,
                                    const char *text)
{
    const struct api_error e = {.kind = kind, .retry_after_s = 5};
    struct api_error out = e;
    snprintf(out.message, sizeof out.message, "%s", text);
    models_release(c);
    call_error(c, &out);
    return MODEL_FAILED;
}

enum model_wait models_acquire(struct call *c, const char *name)
{
    struct models *p = c->server->models;
    struct model_ref ref;
    struct api_error e;
    if (c->model)
        return MODEL_READY;
    const uint64_t now = clock_us();
    if (!c->slot) {
        if (models_find(p, name, &ref, &e)) {
            call_error(c, &e);
            return MODEL_FAILED;
        }
        c->wait_us = now;
        if (!join(p, c, &ref))
            return MODEL_FAILED;
    }
    const enum model_wait w = look_at_slot(p, c);
    if (w == MODEL_READY)
        c->load_us = clock_us() - c->wait_us;
    if (w != MODEL_WAITS)
        return w;
    if (http_is_gone(c->x))
        return stop_waiting(c, API_ERROR_CANCELLED, "the client has gone");
    if (atomic_load(&c->server->ended))
        return stop_waiting(c, API_ERROR_DRAINING, "the server is about to end");
    return MODEL_WAITS;
}

void models_release(struct call *c)
{
    struct models *p = c->server->models;
    struct model_slot *x = c->slot;
    if (!x)
        return;
    pthread_mutex_lock(&p->lock);
    for (struct call **at = &x->waiting; *at; at = &(*at)->next_waiting)
        if (*at == c) {
            *at = c->next_waiting;
            break;
        }
    x->n_call--;
    if (c->model)
        x->used_us = clock_us();
    const bool forget = x->state == SLOT_FAILED && !x->n_call;
    if (!x->n_call)
        pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    if (forget)
        mem_free(x);
    c->slot = NULL;
    c->model = NULL;
    c->next_waiting = NULL;
}

void models_unload(struct models *p, const struct model_ref *ref)
{
    pthread_mutex_lock(&p->lock);
    struct model_slot *x = find_slot(p, ref);
    if (x) {
        x->keep_us = 0;
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- looking at the store ---- */

/* Where the store cannot be read now, nothing is known. */
static bool is_changed(const struct store *store, const struct model_ref *ref)
{
    struct store_entry entry;
    struct manifest m;
    const enum status s = store_find(store, &ref->name, &m, &entry, NULL);
    manifest_release(&m);
    return s == STATUS_NOT_FOUND || (!s && !digest_equal(&entry.digest, &ref->digest));
}

void models_drop_changed(struct models *p)
{
    struct model_slot *held[MODELS_HELD_MAX];
    bool changed[MODELS_HELD_MAX];
    const int n = models_hold(p, held); // their names and digests stay as they are
    for (int i = 0; i < n; i++)
        changed[i] = held[i]->ref.stored && p->server->o.store &&
                     is_changed(p->server->o.store, &held[i]->ref);
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < n; i++)
        held[i]->leaving |= changed[i];
    pthread_mutex_unlock(&p->lock);
    models_let_go(p, held, n);
}

bool model_slot_goes(struct models *p, const struct model_slot *x)
{
    pthread_mutex_lock(&p->lock);
    const bool goes = x->leaving && !x->n_call;
    pthread_mutex_unlock(&p->lock);
    return goes;
}

/* ---- looking ---- */

int64_t model_slot_left_us(const struct model_slot *x)
{
    if (x->given || x->keep_us == SERVER_KEEP_FOREVER)
        return SERVER_KEEP_FOREVER;
    const uint64_t now = clock_us();
    const int64_t gone = x->n_call > 0 ? 0 : (int64_t)(now - x->used_us);
    return x->keep_us > gone ? x->keep_us - gone : 0;
}

const struct loaded_model *model_slot_model(const struct model_slot *x)
{
    return x->model;
}

int models_hold(struct models *p, struct model_slot *out[MODELS_HELD_MAX])
{
    int64_t left[MODELS_HELD_MAX];
    int n = 0;
    pthread_mutex_lock(&p->lock);
    for (struct model_slot *x = p->slots; x && n < MODELS_HELD_MAX; x = x->next) {
        if (x->state != SLOT_READY)
            continue;
        x->n_look++;
        const int64_t mine = model_slot_left_us(x);
        int at = n++;
        for (; at > 0 && left[at - 1] < mine; at--) {
            left[at] = left[at - 1];
            out[at] = out[at - 1];
        }
        left[at] = mine;
        out[at] = x;
    }
    pthread_mutex_unlock(&p->lock);
    return n;
}

struct model_slot *models_hold_one(struct models *p, const struct model_ref *ref)
{
    pthread_mutex_lock(&p->lock);
    struct model_slot *x = find_slot(p, ref);
    if (x && x->state == SLOT_READY)
        x->n_look++;
    else
        x = NULL;
    pthread_mutex_unlock(&p->lock);
    return x;
}

void models_let_go(struct models *p, struct model_slot *const *held, int n)
{
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < n; i++)
        held[i]->n_look--;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void models_past(struct models *p, struct models_past *out)
{
    pthread_mutex_lock(&p->lock);
    *out = p->past;
    out->n_loading = 0;
    for (const struct model_slot *x = p->slots; x; x = x->next)
        out->n_loading += x->state == SLOT_LOADING;
    pthread_mutex_unlock(&p->lock);
}
