/* models_loader.c - the thread that opens and closes models. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/model_open.h"
#include "server/models_internal.h"

enum { WAIT_MOST_US = 60000000, LOOK_AGAIN_US = 200000, STORE_AGAIN_US = 2000000 };

void models_unlink(struct models *p, struct model_slot *x)
{
    struct model_slot **at = &p->slots;
    while (*at && *at != x)
        at = &(*at)->next;
    if (*at)
        *at = x->next;
}

struct model_use models_use(const struct model_slot *x)
{
    return (struct model_use){.here = x->model != NULL,
                              .leaving = x->leaving,
                              .kept = x->ref.start,
                              .n_call = x->n_call,
                              .used_us = x->used_us,
                              .keep_us = x->given ? SERVER_KEEP_FOREVER : x->keep_us};
}

size_t models_room(const struct models *p)
{
    size_t reserved = 0;
    for (const struct model_slot *x = p->slots; x; x = x->next)
        reserved += x->model ? x->model->bytes : 0;
    return model_policy_room(mem_available(), mem_resident(), reserved,
                             p->server->o.models.memory);
}

static void add_stats(struct models *p, const struct scheduler_stats *s)
{
    struct scheduler_stats *all = &p->past.stats;
    metrics_add_counters(all, s);
}

void models_close_slot(struct models *p, struct model_slot *x)
{
    struct scheduler_stats st;
    if (x->model) {
        char name[MODEL_NAME_BYTES];
        snprintf(name, sizeof name, "%s", x->model->name);
        scheduler_stats(x->model->scheduler, &st);
        loaded_model_close(x->model);
        pthread_mutex_lock(&p->lock);
        add_stats(p, &st);
        p->past.n_unload++;
        const bool ending = p->ending;
        pthread_mutex_unlock(&p->lock);
        if (!ending)
            log_event(p->server, "unload", name);
    }
    mem_free(x);
}

/* ---- with the lock ---- */

static void wait_changed(struct models *p, uint64_t us)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    us = us < WAIT_MOST_US ? us : WAIT_MOST_US;
    t.tv_nsec += (long)(us % 1000000) * 1000;
    t.tv_sec += (time_t)(us / 1000000) + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&p->changed, &p->lock, &t);
}

/* Models whose time is over leave; returns when the next one's is. */
static uint64_t expire(struct models *p)
{
    const uint64_t now = clock_us();
    uint64_t next = UINT64_MAX;
    for (struct model_slot *x = p->slots; x; x = x->next) {
        const struct model_use u = models_use(x);
        const uint64_t at = model_policy_expiry_us(&u);
        if (at <= now)
            x->leaving = true;
        else if (at < next)
            next = at;
    }
    return next == UINT64_MAX ? WAIT_MOST_US : next - now;
}

/* Close, without the lock in between, those that leave and are idle, and forget those
 * that nobody waits for any more. */
static void sweep_models(struct models *p)
{
    for (struct model_slot *x = p->slots; x;) {
        const bool goes = x->state == SLOT_READY ? x->leaving : !x->begun;
        if (x->n_call || x->n_look || !goes) {
            x = x->next;
            continue;
        }
        models_unlink(p, x);
        pthread_mutex_unlock(&p->lock);
        models_close_slot(p, x);
        pthread_mutex_lock(&p->lock);
        x = p->slots; // it may be another list now
    }
}

static int count_loaded(const struct models *p)
{
    int n = 0;
    for (const struct model_slot *x = p->slots; x; x = x->next)
        n += x->model != NULL;
    return n;
}

/* The one that is least missed is told to go; false: there is none. */
static bool evict(struct models *p, bool busy)
{
    struct model_use list[MODELS_HELD_MAX];
    struct model_slot *slot[MODELS_HELD_MAX];
    int n = 0;
    for (struct model_slot *x = p->slots; x && n < MODELS_HELD_MAX; x = x->next)
        if (x->model && !x->given) {
            slot[n] = x;
            list[n++] = models_use(x);
        }
    const int victim = model_policy_victim(list, n, busy);
    if (victim >= 0)
        slot[victim]->leaving = true;
    return victim >= 0;
}

static bool any_leaves(const struct models *p)
{
    for (const struct model_slot *x = p->slots; x; x = x->next)
        if (x->model && x->leaving)
            return true;
    return false;
}

/* ---- making room ---- */

enum room { ROOM_IS_THERE, ROOM_AGAIN, ROOM_NONE };

/* One step towards room for a model; with the lock. */
static enum room make_model_room(struct models *p, struct model_opening *o,
                                 struct error *err)
{
    const int most = p->server->o.models.max_loaded;
    sweep_models(p);
    const bool full =
        (most && count_loaded(p) >= most) || count_loaded(p) >= MODELS_HELD_MAX;
    enum status s = STATUS_NO_MEMORY;
    if (!full) {
        s = model_opening_fit(o, models_room(p), err);
        if (s && s != STATUS_NO_MEMORY)
            return ROOM_NONE;
        if (!s && !o->choice.shrunk)
            return ROOM_IS_THERE;
    }
    if (evict(p, false))
        return ROOM_AGAIN;
    if (any_leaves(p)) { // the end of its requests
        wait_changed(p, LOOK_AGAIN_US);
        return ROOM_AGAIN;
    }
    if (!s)
        return ROOM_IS_THERE; // with less context
    return evict(p, true) ? ROOM_AGAIN : ROOM_NONE;
}

/* false: nobody waits any more, or the server ends. */
static bool find_room(struct models *p, const struct model_slot *x,
                      struct model_opening *o, enum status *s, struct error *err)
{
    enum room room = ROOM_AGAIN;
    pthread_mutex_lock(&p->lock);
    while (room == ROOM_AGAIN && x->n_call && !p->ending)
        room = make_model_room(p, o, err);
    pthread_mutex_unlock(&p->lock);
    *s = room == ROOM_NONE ? err->status : STATUS_OK;
    return room != ROOM_AGAIN;
}

/* ---- loading ---- */

static void end_load(struct models *p, struct model_slot *x, struct loaded_model *m,
                     const struct error *err)
{
    if (m) {
        if (x->ref.stored) // it may have been replaced on the way
            x->ref.digest = m->stored.entry.digest;
        x->model = m;
        x->state = SLOT_READY;
        x->used_us = clock_us();
        p->past.n_load++;
    } else {
        x->state = SLOT_FAILED;
        p->past.n_failed++;
        (void)!api_fail(&x->error, err->status,
                        err->status == STATUS_NO_MEMORY     ? API_ERROR_NO_ROOM
                        : err->status == STATUS_UNSUPPORTED ? API_ERROR_UNSUPPORTED
                                                            : API_ERROR_INTERNAL,
                        NULL, "%s", err->text);
        models_unlink(p, x);
    }
    for (struct call *c = x->waiting; c; c = c->next_waiting)
        http_wake(c->x);
    x->waiting = NULL;
    if (!m && !x->n_call)
        mem_free(x);
}

/* Memory may be taken by others between plan and load: a plan that fails for memory is
 * that of a model that does not fit, not of a server that is broken. */
static void load(struct models *p, struct model_slot *x)
{
    const struct server_options *o = &p->server->o;
    struct model_opening opening;
    struct loaded_model *m = NULL;
    struct error err = {0};
    bool wanted = true;
    enum status s = model_opening_begin(
        &opening, o->store, x->ref.stored ? &x->ref.name : NULL, o->model_path,
        x->ref.stored ? NULL : p->start.shown, &o->models, &err);
    if (!s)
        wanted = find_room(p, x, &opening, &s, &err);
    if (!s && wanted)
        s = model_opening_load(&opening, &m, o->replay_bytes, &err);
    model_opening_close(&opening);
    if (m) {
        char text[MODEL_NAME_BYTES + MODEL_TEXT_BYTES + MODEL_NOTE_BYTES + 64];
        snprintf(text, sizeof text, "%s in %.1f s: %s%s%s", m->name,
                 (double)m->load_us / 1e6, m->text, *m->note ? "; " : "", m->note);
        log_event(p->server, "load", text);
    } else if (wanted) {
        log_event(p->server, "load failed", err.text);
    }
    pthread_mutex_lock(&p->lock);
    x->begun = false;
    if (wanted)
        end_load(p, x, m, &err);
}

static bool any_of_store(const struct models *p)
{
    for (const struct model_slot *x = p->slots; x; x = x->next)
        if (x->state == SLOT_READY && x->ref.stored && !x->leaving)
            return true;
    return false;
}

/* Now and then, without the lock in between, what others did to the store: its command
 * line works without a server.  Returns when to look again. */
static uint64_t look_at_store(struct models *p)
{
    if (!any_of_store(p))
        return WAIT_MOST_US;
    const uint64_t now = clock_us();
    if (now < p->look_us)
        return p->look_us - now;
    p->look_us = now + STORE_AGAIN_US;
    pthread_mutex_unlock(&p->lock);
    models_drop_changed(p);
    pthread_mutex_lock(&p->lock);
    return STORE_AGAIN_US;
}

static struct model_slot *next_to_load(struct models *p)
{
    struct model_slot *x = p->slots;
    while (x && x->state != SLOT_LOADING)
        x = x->next;
    return x;
}

void *models_loader(void *ctx)
{
    struct models *p = ctx;
    pthread_mutex_lock(&p->lock);
    while (!p->ending) {
        const uint64_t look = look_at_store(p);
        expire(p);
        sweep_models(p);
        struct model_slot *x = next_to_load(p);
        if (x) {
            x->begun = true;
            pthread_mutex_unlock(&p->lock);
            load(p, x); // comes back with the lock
        } else if (!p->ending) {
            const uint64_t wait = expire(p);
            wait_changed(p, wait < look ? wait : look);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}
