#include "router/policy.h"

#include <math.h>

#include "base/mem.h"
#include "router/policy_impl.h"

/* docs/router-policy.md says where each is from. */
const struct policy_options policy_options_default = {
    .threshold = 16000,
    .return_percent = 50,
    .answer_reserve = 1024,
    .n_session = 65536,
    .n_prefix = 65536,
    .n_queue = 512,
    .n_flight = 16384,
    .session_us = 3600u * 1000000ull,
    .prefix_us = 600u * 1000000ull,
    .queue_us = 60 * 1000000ull,
    .home_us = 2 * 1000000ull,
    .start_us = 120 * 1000000ull,
    .grace_us = 2 * 1000000ull,
    .window_us = 10 * 1000000ull,
    .window_mean = 16,
    .bound_percent = 125,
    .eject_failures = 5,
    .eject_slow = 4,
    .eject_percent = 50,
    .eject_slow_percent = 10,
    .eject_us = 30 * 1000000ull,
    .eject_most_us = 300 * 1000000ull,
    .sweep_us = 10 * 1000000ull,
    .health_us = 30 * 1000000ull,
    .probe_us = 1 * 1000000ull,
    .probe_most_us = 10 * 1000000ull,
    .slow_start_us = 10 * 1000000ull,
    .retry_percent = 15,
    .retry_least = 3,
    .load_us = 10 * 1000000ull,
};

static const char *const lane_names[] = {
#define X(id, name, text) name,
    POLICY_LANE_MAP(X)
#undef X
};
static const char *const pick_names[] = {
#define X(id, name, text) name,
    POLICY_PICK_MAP(X)
#undef X
};
static const char *const fallback_names[] = {
#define X(id, name, text) name,
    POLICY_FALLBACK_MAP(X)
#undef X
};
static const char *const refusal_names[][2] = {
#define X(id, name, text) {name, text},
    POLICY_REFUSAL_MAP(X)
#undef X
};
static const char *const failure_names[] = {
#define X(id, name) name,
    POLICY_FAILURE_MAP(X)
#undef X
};
static const char *const health_names[] = {
#define X(id, name) name,
    POLICY_HEALTH_MAP(X)
#undef X
};

const char *policy_lane_name(enum policy_lane_why w)
{
    return lane_names[w];
}

const char *policy_pick_name(enum policy_pick w)
{
    return pick_names[w];
}

const char *policy_fallback_name(enum policy_fallback w)
{
    return fallback_names[w];
}

const char *policy_refusal_name(enum policy_refusal w)
{
    return refusal_names[w][0];
}

const char *policy_refusal_text(enum policy_refusal w)
{
    return refusal_names[w][1];
}

const char *policy_failure_name(enum policy_failure f)
{
    return failure_names[f];
}

const char *policy_health_name(enum policy_health h)
{
    return health_names[h];
}

static enum status check_options(const struct policy_options *o, struct error *err)
{
    const int handles = 1 << POLICY_HANDLE;
    const bool sizes = o->n_session > 0 && o->n_prefix > 0 && o->n_queue > 0 &&
                       o->n_queue <= handles && o->n_flight > 0 && o->n_flight <= handles;
    const bool parts =
        o->threshold > 0 && o->return_percent >= 0 && o->return_percent <= 100 &&
        o->answer_reserve >= 0 && o->bound_percent >= 101 && o->window_mean >= 1 &&
        o->eject_failures >= 1 && o->eject_slow >= 2 && o->eject_percent >= 0 &&
        o->eject_slow_percent >= 0 && o->retry_percent >= 0 && o->retry_percent <= 100 &&
        o->retry_least >= 0;
    const bool times = o->window_us >= 1000 && o->sweep_us && o->probe_us && o->health_us;
    if (!sizes || !parts || !times)
        return fail(err, STATUS_BAD_ARG,
                    "an option of the routing policy is out of range");
    return STATUS_OK;
}

/* At least n places for those that wait. */
static enum status open_places(struct policy *p, int n, struct error *err)
{
    if (n <= p->n_place)
        return STATUS_OK;
    struct policy_waiting *w = mem_resize(p->waiting, (size_t)n, sizeof *w);
    if (!w)
        return policy_no_memory(err);
    for (int i = n - 1; i >= p->n_place; i--) {
        w[i] = (struct policy_waiting){.next = p->unused_ticket};
        p->unused_ticket = i;
    }
    p->waiting = w;
    p->n_place = n;
    return STATUS_OK;
}

static enum status open_tables(struct policy *p, struct error *err)
{
    enum status st = policy_table_open(&p->sessions, p->o.n_session, err);
    if (!st)
        st = policy_table_open(&p->prefixes, p->o.n_prefix, err);
    if (st)
        return st;
    p->session = mem_array((size_t)p->o.n_session, sizeof *p->session);
    p->prefix = mem_array((size_t)p->o.n_prefix, sizeof *p->prefix);
    p->flights = mem_array((size_t)p->o.n_flight, sizeof *p->flights);
    if (!p->session || !p->prefix || !p->flights)
        return policy_no_memory(err);
    for (int i = 0; i < p->o.n_flight; i++)
        p->flights[i].next = i + 1 < p->o.n_flight ? i + 1 : -1;
    return open_places(p, p->o.n_queue, err);
}

enum status policy_open(struct policy **out, const struct policy_options *o,
                        struct error *err)
{
    const struct policy_options *options = o ? o : &policy_options_default;
    enum status st = check_options(options, err);
    if (st)
        return st;
    struct policy *p = mem_array(1, sizeof *p);
    if (!p)
        return policy_no_memory(err);
    p->o = *options;
    p->oldest = p->newest = p->pass = p->unused_ticket = -1;
    p->layout.any = POLICY_NONE;
    st = open_tables(p, err);
    if (st) {
        policy_close(p);
        return st;
    }
    *out = p;
    return STATUS_OK;
}

enum status policy_change(struct policy *p, const struct policy_options *o,
                          uint64_t now_us, struct error *err)
{
    struct policy_options n = *o;
    n.n_session = p->o.n_session, n.n_prefix = p->o.n_prefix, n.n_flight = p->o.n_flight;
    enum status st = check_options(&n, err);
    if (!st)
        st = open_places(p, n.n_queue, err);
    if (st)
        return st;
    p->o = n;
    for (int i = 0; i < p->n_slot; i++) {
        struct policy_slot *s = &p->slots[i];
        if (s->health == POLICY_HEALTH_UP && s->probe_us > now_us + n.health_us)
            s->probe_us = now_us + n.health_us;
    }
    return STATUS_OK;
}

void policy_close(struct policy *p)
{
    if (!p)
        return;
    policy_release_layout(&p->layout);
    policy_table_close(&p->sessions);
    policy_table_close(&p->prefixes);
    mem_free(p->session);
    mem_free(p->prefix);
    mem_free(p->flights);
    mem_free(p->waiting);
    mem_free(p->slots);
    mem_free(p->medians);
    mem_free(p->ready);
    mem_free(p);
}

int policy_n_backend(const struct policy *p)
{
    return p->n_slot;
}

bool policy_see(const struct policy *p, int backend, uint64_t now_us,
                struct policy_view *out)
{
    if (backend < 0 || backend >= p->n_slot ||
        (p->slots[backend].gone && !p->slots[backend].in_flight))
        return false;
    const struct policy_slot *s = &p->slots[backend];
    *out = s->stats;
    out->id = s->id;
    out->class = s->class;
    out->health = policy_health_of(p, s, now_us);
    out->n_ctx = s->n_ctx, out->weight = s->weight, out->limit = s->limit;
    out->in_flight = s->in_flight;
    out->load = policy_load_of(p, s, now_us);
    out->until_us = s->health == POLICY_HEALTH_EJECTED ? s->until_us
                    : s->health == POLICY_HEALTH_DOWN  ? s->probe_us
                                                       : 0;
    out->idle_us = s->in_flight ? 0 : now_us - s->seen_us;
    out->first_byte_us = s->n_first ? (uint64_t)exp2(s->log_first_us) : 0;
    return true;
}

void policy_count(const struct policy *p, struct policy_counters *out)
{
    *out = p->count;
    out->n_queue = p->n_waiting;
    out->n_session = p->sessions.n;
}

int policy_threshold_of(const struct policy *p, const char *model)
{
    const int name = policy_find_name(p, model);
    return name >= 0 ? p->layout.names[name].threshold : p->o.threshold;
}
