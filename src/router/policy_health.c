/* policy_health.c - who is well: what answers and probes say, and what time heals. */
#include <math.h>
#include <stdlib.h>

#include "router/policy_impl.h"

enum {
    FAILING_LATE = 16, // results that the part of failures is of
    SLOW_LEAST = 16,   // first bytes before a backend is called slow
    SLOW_LATE = 32,    // first bytes their average is of
    SLOW_FLEET = 3,    // backends that have a median
    PROBES_DOWN = 2,   // failed ones in a row, of one nothing else is known of
    GRAIN_US = 8,      // for each backend, between two looks at all of them
};

bool policy_is_well(const struct policy_slot *s)
{
    return !s->gone && !s->off && !s->drained &&
           (s->health == POLICY_HEALTH_UP || s->health == POLICY_HEALTH_TRIAL);
}

static bool in_slow_start(const struct policy *p, const struct policy_slot *s,
                          uint64_t now_us)
{
    return s->health == POLICY_HEALTH_UP && s->back_us &&
           now_us - s->back_us < p->o.slow_start_us;
}

int policy_share_of(const struct policy *p, const struct policy_slot *s, uint64_t now_us)
{
    if (s->health == POLICY_HEALTH_TRIAL)
        return 1;
    if (!in_slow_start(p, s, now_us))
        return POLICY_SHARE;
    return 1 + (int)((now_us - s->back_us) * (POLICY_SHARE - 1) / p->o.slow_start_us);
}

enum policy_health policy_health_of(const struct policy *p, const struct policy_slot *s,
                                    uint64_t now_us)
{
    if (s->gone || s->off || s->drained)
        return POLICY_HEALTH_OFF;
    return in_slow_start(p, s, now_us) ? POLICY_HEALTH_SLOW_START : s->health;
}

int policy_load_of(const struct policy *p, const struct policy_slot *s, uint64_t now_us)
{
    const bool fresh = s->n_others && now_us - s->others_us < p->o.load_us;
    return s->in_flight + (fresh ? s->n_others : 0);
}

/* ---- sums ---- */

static void change_at(struct policy *p, uint64_t at_us, uint64_t now_us)
{
    if (at_us > now_us && at_us < p->change_us)
        p->change_us = at_us;
}

static void note_changes(struct policy *p, const struct policy_slot *s, uint64_t now_us)
{
    if (s->health == POLICY_HEALTH_EJECTED)
        change_at(p, s->until_us, now_us);
    if (in_slow_start(p, s, now_us)) {
        const uint64_t step = (uint64_t)policy_share_of(p, s, now_us);
        change_at(p, s->back_us + (step * p->o.slow_start_us + 2) / (POLICY_SHARE - 1),
                  now_us);
    }
    change_at(p, s->busy_us, now_us);
    if (s->n_others)
        change_at(p, s->others_us + p->o.load_us, now_us);
}

static bool has_place(const struct policy_slot *s, int share, uint64_t now_us)
{
    const bool trial = s->health == POLICY_HEALTH_TRIAL;
    const int limit =
        trial ? s->limit : (s->limit * share + POLICY_SHARE - 1) / POLICY_SHARE;
    return now_us >= s->busy_us && !(trial && s->trying) &&
           (!s->limit || s->in_flight < limit);
}

void policy_roll_window(const struct policy *p, struct policy_slot *s)
{
    if (s->window != p->window) {
        s->window = p->window;
        s->n_window = s->sum_window = 0;
    }
}

void policy_refresh(struct policy *p, struct policy_slot *s, uint64_t now_us)
{
    const bool well = policy_is_well(s);
    const int step = policy_share_of(p, s, now_us);
    const bool open = well && has_place(s, step, now_us);
    const bool trial = open && s->health == POLICY_HEALTH_TRIAL;
    policy_roll_window(p, s);
    const int64_t share = well ? (int64_t)s->weight * step : 0;
    const int64_t load = well ? policy_load_of(p, s, now_us) : 0;
    const int64_t n_window = well ? s->n_window : 0;
    for (int i = 0; i < s->n_pool; i++) {
        struct policy_pool *pool =
            &p->layout.pools[p->layout.memberships[s->first_pool + i]];
        if (pool->window != p->window) {
            pool->n_before = pool->window + 1 == p->window ? pool->n_window : 0;
            pool->window = p->window;
            pool->n_window = 0;
        }
        pool->share += share - s->sum_share;
        pool->load += load - s->sum_load;
        pool->n_window += n_window - s->sum_window;
        pool->n_well += well - s->sum_well;
        pool->n_open += open - s->sum_open;
        pool->n_trial += trial - s->sum_trial;
    }
    s->sum_share = share, s->sum_load = load, s->sum_window = n_window;
    s->sum_well = well, s->sum_open = open, s->sum_trial = trial;
    note_changes(p, s, now_us);
    if (open && p->n_waiting)
        policy_make_ready(p, s);
}

/* ---- transitions ---- */

/* Behind a pause between probes (was_down), or behind an ejection. */
static void begin_trial(const struct policy *p, struct policy_slot *s, bool was_down,
                        uint64_t now_us)
{
    s->was_down = was_down;
    s->probe_us = now_us + (was_down ? p->o.probe_most_us : p->o.health_us);
    s->health = POLICY_HEALTH_TRIAL;
    s->n_trial++;
    s->trying = false;
    s->n_row = s->n_probe_row = 0;
    s->failing = 0;
    s->n_result = s->n_first = 0;
    s->log_first = s->log_first_us = 0;
}

static void come_back(struct policy *p, struct policy_slot *s, bool at_once,
                      uint64_t now_us)
{
    s->health = POLICY_HEALTH_UP;
    s->trying = s->suspect = false;
    s->back_us = at_once ? 0 : now_us;
    s->n_row = s->n_probe_row = 0;
    s->pause_us = 0;
    s->probe_us = now_us + p->o.health_us;
}

static void go_down(struct policy *p, struct policy_slot *s, uint64_t now_us)
{
    if (s->health != POLICY_HEALTH_DOWN)
        s->down_us = now_us;
    s->health = POLICY_HEALTH_DOWN;
    s->trying = s->suspect = false;
    s->pause_us = s->pause_us ? s->pause_us : p->o.probe_us;
    s->probe_us = now_us + s->pause_us;
}

/* A backend as good is left for those that need one like this. */
static bool can_spare(const struct policy *p, const struct policy_slot *s)
{
    for (int i = 0; i < s->n_pool; i++) {
        const struct policy_pool *pool =
            &p->layout.pools[p->layout.memberships[s->first_pool + i]];
        bool other = false;
        for (int k = 0; k < pool->n_member && !other; k++) {
            const struct policy_slot *o = &p->slots[pool->member[k]];
            other = o != s && policy_is_well(o) &&
                    (!o->n_ctx || (s->n_ctx && o->n_ctx >= s->n_ctx));
        }
        if (other)
            return true;
    }
    return false;
}

static bool may_eject(const struct policy *p, const struct policy_slot *s, int percent)
{
    int n = 0, n_ejected = 0;
    for (int i = 0; i < p->n_slot; i++) {
        const struct policy_slot *o = &p->slots[i];
        n += !o->gone && !o->off;
        n_ejected += !o->gone && o->health == POLICY_HEALTH_EJECTED;
    }
    const int part = n < 10 ? n / 2 : n * percent / 100;
    return n_ejected < (part ? part : 1) && can_spare(p, s);
}

static void eject(struct policy *p, struct policy_slot *s, uint64_t now_us)
{
    if (s->n_eject < 100)
        s->n_eject++;
    const uint64_t us = p->o.eject_us * (uint64_t)s->n_eject;
    s->health = POLICY_HEALTH_EJECTED;
    s->trying = false;
    s->until_us = now_us + (us < p->o.eject_most_us ? us : p->o.eject_most_us);
    s->stats.n_ejected++;
}

/* ---- slow backends ---- */

static int double_compare(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static bool has_pace(const struct policy *p, const struct policy_slot *s, uint64_t now_us)
{
    return policy_is_well(s) && s->health == POLICY_HEALTH_UP &&
           !in_slow_start(p, s, now_us) && s->n_first >= SLOW_LEAST;
}

/* Backends of a pool do the same work: who takes many times the median is ill. */
static void sweep_pool(struct policy *p, const struct policy_pool *pool, uint64_t now_us)
{
    int n = 0;
    for (int i = 0; i < pool->n_member; i++) {
        const struct policy_slot *s = &p->slots[pool->member[i]];
        if (has_pace(p, s, now_us))
            p->medians[n++] = s->log_first;
    }
    if (n < SLOW_FLEET)
        return;
    qsort(p->medians, (size_t)n, sizeof *p->medians, double_compare);
    const double most = p->medians[n / 2] + log2(p->o.eject_slow);
    if (p->medians[n - 1] <= most)
        return;
    for (int i = 0; i < pool->n_member; i++) {
        struct policy_slot *s = &p->slots[pool->member[i]];
        if (has_pace(p, s, now_us) && s->log_first > most &&
            may_eject(p, s, p->o.eject_slow_percent)) {
            eject(p, s, now_us);
            policy_refresh(p, s, now_us);
        }
    }
}

static void sweep(struct policy *p, uint64_t now_us)
{
    for (int i = 0; i < p->layout.n_pool; i++)
        sweep_pool(p, &p->layout.pools[i], now_us);
    for (int i = 0; i < p->n_slot; i++) {
        struct policy_slot *s = &p->slots[i];
        if (s->n_eject && s->health == POLICY_HEALTH_UP && !s->n_row)
            s->n_eject -= s->n_eject > 0 && now_us - s->back_us > p->o.eject_us;
    }
}

void policy_advance(struct policy *p, uint64_t now_us)
{
    const uint64_t window = now_us / p->o.window_us;
    if (window != p->window) {
        const bool next = window == p->window + 1;
        p->n_recent[1] = next ? p->n_recent[0] : 0;
        p->n_done[1] = next ? p->n_done[0] : 0;
        p->n_recent[0] = p->n_done[0] = 0;
        p->window = window;
    }
    p->phase = (int)(now_us % p->o.window_us * 100 / p->o.window_us);
    if (now_us >= p->change_us) {
        p->change_us = POLICY_NEVER;
        for (int i = 0; i < p->n_slot; i++) {
            struct policy_slot *s = &p->slots[i];
            if (s->health == POLICY_HEALTH_EJECTED && now_us >= s->until_us)
                begin_trial(p, s, false, now_us);
            policy_refresh(p, s, now_us);
        }
        const uint64_t next = now_us + GRAIN_US * (uint64_t)p->n_slot;
        if (p->change_us < next)
            p->change_us = next;
    }
    if (now_us >= p->sweep_us) {
        p->sweep_us = now_us + p->o.sweep_us;
        sweep(p, now_us);
    }
}

/* ---- what requests say ---- */

static void note_result(struct policy_slot *s, bool failed)
{
    s->n_result += s->n_result < FAILING_LATE;
    s->failing += ((failed ? 1 : 0) - s->failing) / s->n_result;
}

void policy_succeed(struct policy *p, struct policy_slot *s, uint64_t now_us)
{
    s->well_us = now_us;
    s->n_row = s->n_probe_row = 0;
    s->suspect = false;
    note_result(s, false);
    if (s->health == POLICY_HEALTH_TRIAL)
        come_back(p, s, false, now_us);
    else if (s->health == POLICY_HEALTH_UP)
        s->probe_us = now_us + p->o.health_us;
}

static bool fails_often(const struct policy *p, const struct policy_slot *s)
{
    return s->n_row >= p->o.eject_failures ||
           (s->n_result >= FAILING_LATE && s->failing > 0.5);
}

void policy_fail(struct policy *p, struct policy_slot *s, enum policy_failure why,
                 bool trial, uint64_t now_us)
{
    note_result(s, true);
    s->n_row++;
    if (s->health != POLICY_HEALTH_UP && s->health != POLICY_HEALTH_TRIAL)
        return;
    if (why == POLICY_FAILURE_CONNECT) {
        go_down(p, s, now_us);
        return;
    }
    if (why == POLICY_FAILURE_TIMEOUT && !s->suspect) {
        s->suspect = true; // the probe decides
        s->probe_us = now_us;
    }
    if (trial ? can_spare(p, s)
              : s->health == POLICY_HEALTH_UP && fails_often(p, s) &&
                    may_eject(p, s, p->o.eject_percent))
        eject(p, s, now_us);
}

void policy_first_pace(struct policy_slot *s, int n_prompt, uint64_t us)
{
    s->n_first += s->n_first < SLOW_LATE;
    const double log_us = log2((double)us + 1);
    /* Short prompts cost about as much as 256 tokens. */
    const double pace = log_us - log2(256.0 + n_prompt);
    s->log_first += (pace - s->log_first) / s->n_first;
    s->log_first_us += (log_us - s->log_first_us) / s->n_first;
}

/* ---- probes ---- */

int policy_probe(struct policy *p, uint64_t now_us)
{
    policy_advance(p, now_us);
    for (int i = 0; i < p->n_slot; i++) {
        p->probe_at = p->probe_at + 1 < p->n_slot ? p->probe_at + 1 : 0;
        struct policy_slot *s = &p->slots[p->probe_at];
        if (!s->gone && !s->off && !s->probing && now_us >= s->probe_us &&
            s->health != POLICY_HEALTH_STOPPED && s->health != POLICY_HEALTH_EJECTED) {
            s->probing = true;
            return p->probe_at;
        }
    }
    return POLICY_NONE;
}

static void probe_failed(struct policy *p, struct policy_slot *s, uint64_t now_us)
{
    s->n_probe_row++;
    if (s->health == POLICY_HEALTH_DOWN) {
        s->pause_us =
            2 * s->pause_us < p->o.probe_most_us ? 2 * s->pause_us : p->o.probe_most_us;
        s->probe_us = now_us + s->pause_us;
    } else if (s->health == POLICY_HEALTH_STOPPED) {
        go_down(p, s, now_us); // it was started and does not answer
    } else if (s->suspect || s->n_probe_row >= PROBES_DOWN ||
               s->health == POLICY_HEALTH_TRIAL) {
        go_down(p, s, now_us);
    } else {
        s->probe_us = now_us + p->o.probe_us;
    }
}

static void probe_answered(struct policy *p, struct policy_slot *s, uint64_t now_us)
{
    s->well_us = now_us;
    s->n_probe_row = 0;
    s->suspect = false;
    s->probe_us = now_us + p->o.health_us;
    if (s->health == POLICY_HEALTH_STOPPED)
        come_back(p, s, true, now_us);
    else if (s->health == POLICY_HEALTH_DOWN)
        begin_trial(p, s, true, now_us);
    else if (s->health == POLICY_HEALTH_TRIAL && s->was_down && s->trying)
        come_back(p, s, false, now_us); // a long prompt takes its time
}

void policy_probed(struct policy *p, int backend, bool well, uint64_t now_us)
{
    policy_advance(p, now_us);
    if (backend < 0 || backend >= p->n_slot || p->slots[backend].gone)
        return;
    struct policy_slot *s = &p->slots[backend];
    s->probing = false;
    if (well)
        probe_answered(p, s, now_us);
    else
        probe_failed(p, s, now_us);
    policy_refresh(p, s, now_us);
}

void policy_load(struct policy *p, int backend, int n_running, int n_waiting, int n_own,
                 uint64_t now_us)
{
    policy_advance(p, now_us);
    if (backend < 0 || backend >= p->n_slot || n_running < 0 || n_waiting < 0)
        return;
    struct policy_slot *s = &p->slots[backend];
    /* Requests that came or ended while it answered are not taken for those of others. */
    const int own = n_own > s->in_flight ? n_own : s->in_flight;
    const int64_t others = (int64_t)n_running + n_waiting - own;
    s->n_others = others > 0 ? others < 1000000 ? (int)others : 1000000 : 0;
    s->others_us = now_us;
    policy_refresh(p, s, now_us);
}

void policy_stopped(struct policy *p, int backend, uint64_t now_us)
{
    policy_advance(p, now_us);
    if (backend < 0 || backend >= p->n_slot || !p->slots[backend].lazy)
        return;
    struct policy_slot *s = &p->slots[backend];
    s->health = POLICY_HEALTH_STOPPED;
    s->trying = s->probing = false;
    s->probe_us = POLICY_NEVER;
    policy_refresh(p, s, now_us);
}

void policy_drain(struct policy *p, int backend, bool drain, uint64_t now_us)
{
    policy_advance(p, now_us);
    if (backend < 0 || backend >= p->n_slot)
        return;
    p->slots[backend].drained = drain;
    policy_refresh(p, &p->slots[backend], now_us);
}
