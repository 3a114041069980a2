/* fleet.c - backends as the policy sees them: what is configured, and what was found out.
 */
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/client_url.h"
#include "router/internal.h"

enum { HYBRID_TOKENS = 16000, SOFTMAX_TOKENS = 6000, FLEET_BYTES = 64 << 20 };

void fleet_drop_ref(struct config_ref *ref)
{
    if (--ref->n_ref)
        return;
    config_release(&ref->c);
    mem_free(ref);
}

/* ---- backends ---- */

static uint64_t backend_id(const struct config_backend *c)
{
    const uint64_t id = XXH3_64bits(c->url, strlen(c->url));
    return id ? id : 1;
}

static void free_backend(struct backend *b)
{
    probe_close(b);
    load_close(b);
    need_close(b);
    buf_release(&b->plan);
    for (int i = 0; i < b->n_listed; i++)
        mem_free((char *)b->listed[i].name);
    if (b->ref)
        fleet_drop_ref(b->ref);
    mem_free(b);
}

static struct backend *find_backend(const struct router *r, uint64_t id)
{
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i] && r->backends[i]->id == id)
            return r->backends[i];
    return NULL;
}

static struct backend *make_backend(const struct config_backend *c, struct error *err)
{
    struct http_url u;
    struct backend *b = mem_array(1, sizeof *b);
    if (!b) {
        (void)!fail(err, STATUS_NO_MEMORY, "no memory for a backend");
        return NULL;
    }
    b->id = backend_id(c);
    b->index = POLICY_NONE;
    if (!http_url_parse(&u, c->url, err)) {
        http_url_origin(b->shown, sizeof b->shown, &u);
        b->is_loopback = http_url_is_loopback(&u);
    }
    return b;
}

/* ---- what the policy is told ---- */

struct fleet_build {
    struct arena arena;
    struct policy_backend *backends; // [n]
    struct policy_threshold *thresholds;
    int n_threshold;
    bool failed;
};

static bool has_name(const struct policy_model *m, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(m[i].name, name))
            return true;
    return false;
}

/* A backend of the command line that has one model alone answers to the names of the
 * other backends' models too: it is the same model under another name. */
static int add_names_of_others(const struct router *r, const struct backend *b,
                               struct policy_model *m, int n)
{
    for (int i = 0; i < r->n_backend; i++) {
        const struct backend *other = r->backends[i];
        for (int k = 0; other && other != b && k < other->n_listed; k++)
            if (n < CONFIG_MODELS_MAX * 4 && !has_name(m, n, other->listed[k].name))
                m[n++] = (struct policy_model){other->listed[k].name, b->listed[0].name};
    }
    return n;
}

static void build_models(const struct router *r, const struct backend *b,
                         struct policy_backend *out, struct fleet_build *f)
{
    static const struct policy_model any = {"*", NULL};
    struct policy_model *m;
    if (b->c->n_model) {
        out->models = b->c->models;
        out->n_model = b->c->n_model;
        return;
    }
    if (!b->n_listed) { // not known yet
        out->models = &any;
        out->n_model = 1;
        return;
    }
    m = arena_array(&f->arena, CONFIG_MODELS_MAX * 4, sizeof *m);
    if (!m) {
        f->failed = true;
        return;
    }
    memcpy(m, b->listed, (size_t)b->n_listed * sizeof *m);
    out->models = m;
    out->n_model = b->n_listed;
    if (b->n_listed == 1 && !b->c->line)
        out->n_model = add_names_of_others(r, b, m, 1);
}

static void build_backend(const struct router *r, const struct backend *b,
                          struct policy_backend *out, struct fleet_build *f)
{
    *out = (struct policy_backend){
        .id = b->id,
        .class = b->c->class,
        .dialects = b->dialects ? b->dialects : DIALECT_ALL,
        .n_ctx = b->c->n_ctx ? b->c->n_ctx : b->n_ctx,
        .weight = b->c->weight,
        .limit = b->c->limit,
        .off = *b->off_why,
        .lazy = b->c->start,
    };
    build_models(r, b, out, f);
}

static void add_threshold(struct fleet_build *f, const struct config *c,
                          const char *model, int tokens)
{
    if (!strcmp(model, "*") || f->n_threshold == POLICY_MODELS_MAX)
        return;
    for (int i = 0; i < f->n_threshold; i++)
        if (!strcmp(f->thresholds[i].model, model))
            return;
    f->thresholds[f->n_threshold++] =
        (struct policy_threshold){model, c->threshold ? c->threshold : tokens};
}

/* What is configured; else what suits the attention of the backend that would have the
 * long prompts. */
static void build_thresholds(const struct router *r, const struct config *c, int n,
                             struct fleet_build *f)
{
    for (int i = 0; i < c->n_threshold; i++)
        f->thresholds[f->n_threshold++] = c->thresholds[i];
    for (int i = 0; i < n; i++) {
        const struct policy_backend *b = &f->backends[i];
        const struct backend *of = find_backend(r, b->id);
        if (b->class != POLICY_CLASS_LONG)
            continue;
        const int tokens =
            of && of->arch == ARCH_SOFTMAX ? SOFTMAX_TOKENS : HYBRID_TOKENS;
        for (int k = 0; k < b->n_model; k++)
            add_threshold(f, c, b->models[k].name, tokens);
    }
    if (!c->threshold)
        return;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < f->backends[i].n_model; k++)
            add_threshold(f, c, f->backends[i].models[k].name, c->threshold);
}

static bool open_build(struct fleet_build *f, int n)
{
    *f = (struct fleet_build){0};
    arena_init(&f->arena, FLEET_BYTES);
    f->backends = arena_array(&f->arena, (size_t)n, sizeof *f->backends);
    f->thresholds = arena_array(&f->arena, POLICY_MODELS_MAX, sizeof *f->thresholds);
    return f->backends && f->thresholds;
}

/* list [n]: the backends, with their configurations. */
static enum status tell_policy(struct router *r, struct backend *const *list, int n,
                               const struct config *c, int *index, struct error *err)
{
    struct fleet_build f;
    enum status s = STATUS_NO_MEMORY;
    if (open_build(&f, n)) {
        for (int i = 0; i < n; i++)
            build_backend(r, list[i], &f.backends[i], &f);
        build_thresholds(r, c, n, &f);
        const struct policy_fleet fleet = {f.backends, n, f.thresholds, f.n_threshold};
        if (!f.failed)
            s = policy_reload(r->policy, &fleet, clock_us(), index, err);
    }
    if (s == STATUS_NO_MEMORY)
        s = fail(err, s, "no memory for %d backends", n);
    arena_release(&f.arena);
    return s;
}

void fleet_apply(struct router *r)
{
    struct error err;
    struct backend **list = mem_array((size_t)r->n_backend + 1, sizeof *list);
    int n = 0;
    for (int i = 0; list && i < r->n_backend; i++)
        if (r->backends[i])
            list[n++] = r->backends[i];
    if (list && tell_policy(r, list, n, &r->ref->c, NULL, &err))
        router_log(r, "fleet", "%s", err.text);
    mem_free(list);
}

/* ---- another configuration ---- */

/* Backends that the new configuration does not have are nobody's any more, but of those
 * whose streams they have. */
static bool place_backends(struct router *r, struct backend **list, const int *index,
                           int n)
{
    int size = r->n_backend;
    for (int i = 0; i < n; i++)
        size = index[i] >= size ? index[i] + 1 : size;
    struct backend **table = mem_array((size_t)size, sizeof *table);
    if (!table)
        return false;
    for (int i = 0; i < n; i++) {
        table[index[i]] = list[i];
        list[i]->index = index[i];
    }
    for (int i = 0; i < r->n_backend; i++) {
        struct backend *b = r->backends[i];
        bool stays = !b;
        for (int k = 0; k < n && !stays; k++)
            stays = list[k] == b;
        if (stays)
            continue;
        b->index = POLICY_NONE;
        b->next_gone = r->gone;
        r->gone = b;
    }
    mem_free(r->backends);
    r->backends = table;
    r->n_backend = size;
    return true;
}

/* What of the old configuration a backend keeps if the new one does not come true. */
struct fleet_old {
    const struct config_backend *c;
    struct config_ref *ref;
};

static enum status take_fleet(struct router *r, struct config_ref *ref,
                              struct backend **list, int *index, struct fleet_old *old,
                              struct error *err)
{
    const int n = ref->c.n_backend;
    for (int i = 0; i < n; i++) {
        const struct config_backend *c = &ref->c.backends[i];
        list[i] = find_backend(r, backend_id(c));
        if (!list[i])
            list[i] = make_backend(c, err);
        if (!list[i])
            return STATUS_NO_MEMORY;
        old[i] = (struct fleet_old){list[i]->c, list[i]->ref};
        list[i]->c = c;
        if (c->dialects)
            list[i]->dialects = c->dialects;
        list[i]->ref = ref;
        ref->n_ref++;
    }
    enum status s = tell_policy(r, list, n, &ref->c, index, err);
    if (!s && !place_backends(r, list, index, n))
        s = fail(err, STATUS_NO_MEMORY, "no memory for %d backends", n);
    return s;
}

static void undo_swap(struct backend **list, int n, const struct fleet_old *old)
{
    for (int i = 0; i < n && list[i]; i++) {
        struct config_ref *ref = list[i]->ref;
        list[i]->c = old[i].c;
        list[i]->ref = old[i].ref;
        if (!old[i].ref)
            free_backend(list[i]);
        fleet_drop_ref(ref);
    }
}

enum status fleet_load(struct router *r, struct config_ref *ref, struct error *err)
{
    const size_t n = (size_t)ref->c.n_backend;
    struct backend **list = mem_array(n, sizeof *list);
    int *index = mem_array(n, sizeof *index);
    struct fleet_old *old = mem_array(n, sizeof *old);
    enum status s = list && index && old
                        ? take_fleet(r, ref, list, index, old, err)
                        : fail(err, STATUS_NO_MEMORY, "no memory for backends");
    if (s && list && old) {
        undo_swap(list, (int)n, old);
    } else if (!s) {
        for (size_t i = 0; i < n; i++)
            if (old[i].ref)
                fleet_drop_ref(old[i].ref);
        if (r->ref)
            fleet_drop_ref(r->ref);
        r->ref = ref;
        ref->n_ref++;
    }
    mem_free(list);
    mem_free(index);
    mem_free(old);
    return s;
}

/* Without the tag that a name has if it has none. */
static size_t length_without_latest(const char *name)
{
    static const char latest[] = ":latest";
    const size_t n = strlen(name), k = sizeof latest - 1;
    return n > k && !strcmp(name + n - k, latest) ? n - k : n;
}

bool fleet_same_model(const char *a, const char *b)
{
    const size_t n = length_without_latest(a);
    return n == length_without_latest(b) && !strncmp(a, b, n);
}

const char *fleet_first_model(const struct backend *b)
{
    for (int i = 0; i < b->c->n_model; i++) {
        const struct policy_model *m = &b->c->models[i];
        if (m->served || strcmp(m->name, "*"))
            return m->served ? m->served : m->name;
    }
    return b->n_listed ? b->listed[0].name : "";
}

bool fleet_is_well(const struct router *r, const struct backend *b, bool runs)
{
    struct policy_view v;
    if (!policy_see(r->policy, b->index, clock_us(), &v))
        return false;
    return v.health == POLICY_HEALTH_UP || v.health == POLICY_HEALTH_SLOW_START ||
           v.health == POLICY_HEALTH_TRIAL ||
           (!runs && v.health == POLICY_HEALTH_STOPPED);
}

static void close_questions(struct backend *b)
{
    probe_close(b);
    load_close(b);
    need_close(b);
}

void fleet_close_gone(struct router *r)
{
    for (struct backend *b = r->gone; b; b = b->next_gone)
        close_questions(b);
}

void fleet_close_probes(struct router *r)
{
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i])
            close_questions(r->backends[i]);
}

void fleet_close(struct router *r)
{
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i])
            free_backend(r->backends[i]);
    while (r->gone) {
        struct backend *b = r->gone;
        r->gone = b->next_gone;
        free_backend(b);
    }
    mem_free(r->backends);
    if (r->ref)
        fleet_drop_ref(r->ref);
}
