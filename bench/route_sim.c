#include "route_sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"

#define SECOND 1000000.0

enum {
    SLOTS = 12,           // requests a backend serves at once
    CACHE = 64,           // prefixes that a backend's cache holds
    N_APP = 1000,         // applications
    TRIES = 3,            // of the proxy, before the first byte
    CLIENT_TRIES = 5,     // of a client, in a storm
    READ_RATE = 8000,     // tokens a second that are read
    TOKEN_US = 20000,     // an answer's token
    ANSWER = 100,         // mean tokens of an answer
    TURN = 600,           // mean tokens that a turn adds, besides the last answer
    THINK_US = 20000000,  // mean pause between turns
    CONNECT_US = 1000000, // until nobody answered a connection
    STALL_US = 5000000,   // until a stream that stopped is given up
    ERROR_US = 50000,     // a 500
    TICK_US = 100000,
    PER_BACKEND_MILLI = 2000, // turns a backend and 1,000 s
    WINDOW_US = 10000000,
    BUCKETS = 4096, // of a histogram, 16 an octave
    SECONDS_MAX = 1 << 16,
};

enum event_kind {
    EVENT_TURN,
    EVENT_RETRY,
    EVENT_FIRST,
    EVENT_DONE,
    EVENT_FAIL,
    EVENT_TICK,
    EVENT_PROBED,
    EVENT_CHANGE
};

struct event {
    double at;
    uint32_t order; // of equal times, the first one made
    uint16_t round; // of the user
    uint8_t kind, detail;
    int32_t who; // user or backend
};

struct cached {
    uint64_t key;
    int n_token;
    double used;
};

struct sim_backend {
    struct cached cache[CACHE];
    int n_cached, n_running;
    int32_t first_waiting, last_waiting; // users, where the policy does not hold them
    bool dead, broken, in_zone;
    double slow;
    int n_window;
};

enum user_state { USER_THINKS, USER_WAITS, USER_RUNS, USER_ANSWERED };

struct user {
    uint64_t conversation;
    int app, turn, n_turn, n_prompt, n_answer;
    enum user_state state;
    uint16_t round;
    bool by_session, first, counted;
    int tries, client_tries;
    double begun;
    int backend;
    uint32_t flight, ticket;
    int32_t next; // in a backend's queue
    int tried[POLICY_TRIED_MAX];
};

struct histogram {
    int64_t n[BUCKETS], total;
};

struct sim {
    struct sim_options o;
    struct policy *policy;
    struct sim_backend *backends;
    struct user *users;
    int n_user;
    struct event *heap;
    int n_event, event_cap;
    uint32_t n_made;
    uint64_t n_draw;
    double now, end, loss, back;
    int *app_prefix;        // [N_APP] tokens
    double app_part[N_APP]; // cumulative
    struct histogram wait, first;
    int32_t *ticket_user; // by index of a ticket
    int round_robin;
    int64_t n_hit, n_read;
    /* of each second */
    int32_t *late, *bad, *begun, *zone_begun, *all_begun;
    int64_t n_client; // requests of clients
    int64_t storm_sent, storm_client;
    bool changed_window;
    struct sim_result r;
};

static double uniform(struct sim *s)
{
    return rng_uniform(s->o.seed, s->n_draw++);
}

static uint64_t bits(struct sim *s)
{
    return rng_at(s->o.seed, s->n_draw++);
}

static double exponential(struct sim *s, double mean)
{
    return -mean * log(1 - uniform(s));
}

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at <= b->at && a->order < b->order);
}

static void post(struct sim *s, double at, enum event_kind kind, int who, int detail)
{
    int i = s->n_event++;
    struct event e = {at, s->n_made++, 0, (uint8_t)kind, (uint8_t)detail, who};
    if (kind <= EVENT_FAIL)
        e.round = s->users[who].round;
    for (; i && before(&e, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static struct event next_event(struct sim *s)
{
    const struct event top = s->heap[0], e = s->heap[--s->n_event];
    int i = 0;
    for (int k; (k = 2 * i + 1) < s->n_event; i = k) {
        k += k + 1 < s->n_event && before(&s->heap[k + 1], &s->heap[k]);
        if (!before(&s->heap[k], &e))
            break;
        s->heap[i] = s->heap[k];
    }
    s->heap[i] = e;
    return top;
}

static void count_time(struct histogram *h, double us)
{
    const int b = us < 1 ? 0 : 1 + (int)(16 * log2(us));
    h->n[b < BUCKETS ? b : BUCKETS - 1]++;
    h->total++;
}

static double quantile(const struct histogram *h, double q)
{
    int64_t n = 0;
    for (int b = 0; b < BUCKETS; b++) {
        n += h->n[b];
        if (n && (double)n >= q * (double)h->total)
            return b ? exp2(b / 16.0) / SECOND : 0;
    }
    return 0;
}

static int second_of(const struct sim *s, double us)
{
    const int t = (int)(us / SECOND);
    (void)s;
    return t < SECONDS_MAX ? t : SECONDS_MAX - 1;
}

/* ---- caches ---- */

static struct cached *find_cached(struct sim_backend *b, uint64_t key)
{
    for (int i = 0; i < b->n_cached; i++)
        if (b->cache[i].key == key)
            return &b->cache[i];
    return NULL;
}

static void keep_cached(struct sim *s, struct sim_backend *b, uint64_t key, int n_token)
{
    struct cached *c = find_cached(b, key);
    if (!c && b->n_cached < CACHE)
        c = &b->cache[b->n_cached++];
    if (!c) {
        c = b->cache;
        for (int i = 1; i < CACHE; i++)
            if (b->cache[i].used < c->used)
                c = &b->cache[i];
    }
    *c = (struct cached){key, n_token, s->now};
}

static uint64_t app_key(int app)
{
    return rng_at(1, (uint64_t)app) | 1;
}

static uint64_t turn_key(const struct user *u, int turn)
{
    return rng_at(u->conversation, (uint64_t)turn) | 1;
}

/* Tokens of u's prompt that b has; it has all of them from now on. */
static int read_prompt(struct sim *s, struct sim_backend *b, const struct user *u)
{
    const struct cached *own = find_cached(b, u->conversation);
    struct cached *app = find_cached(b, app_key(u->app));
    int n = own ? own->n_token : app ? app->n_token : 0;
    n = n < u->n_prompt ? n : u->n_prompt - 1;
    keep_cached(s, b, app_key(u->app), s->app_prefix[u->app]);
    keep_cached(s, b, u->conversation, u->n_prompt + u->n_answer);
    return n;
}

/* ---- requests at backends ---- */

/* Caches are empty at first, as they never are later. */
static bool is_warm(const struct sim *s)
{
    return s->now > 0.1 * s->end;
}

static void begin(struct sim *s, int who)
{
    struct user *u = &s->users[who];
    struct sim_backend *b = &s->backends[u->backend];
    b->n_running++;
    const int hit = read_prompt(s, b, u);
    if (is_warm(s)) {
        s->n_hit += hit, s->n_read += u->n_prompt;
        count_time(&s->wait, s->now - u->begun);
    }
    const int at = second_of(s, u->begun);
    s->begun[at]++;
    s->late[at] += s->now - u->begun > 500000;
    const double first =
        s->now + (2000 + (u->n_prompt - hit) * SECOND / READ_RATE) * b->slow;
    post(s, first, EVENT_FIRST, who, 0);
    post(s, first + (double)u->n_answer * TOKEN_US * b->slow, EVENT_DONE, who, 0);
}

/* The request reaches its backend. */
static void arrive(struct sim *s, int who)
{
    struct user *u = &s->users[who];
    struct sim_backend *b = &s->backends[u->backend];
    u->state = USER_RUNS;
    u->first = false;
    s->r.n_sent++;
    b->n_window++;
    const int at = second_of(s, s->now);
    s->all_begun[at]++;
    s->zone_begun[at] += b->in_zone;
    if (b->dead) {
        post(s, s->now + CONNECT_US, EVENT_FAIL, who, POLICY_FAILURE_CONNECT);
    } else if (b->broken) {
        post(s, s->now + ERROR_US, EVENT_FAIL, who, POLICY_FAILURE_STATUS);
    } else if (b->n_running < SLOTS) {
        begin(s, who);
    } else {
        u->next = -1;
        *(b->first_waiting < 0 ? &b->first_waiting : &s->users[b->last_waiting].next) =
            who;
        b->last_waiting = who;
    }
}

static void leave_backend(struct sim *s, struct user *u)
{
    struct sim_backend *b = &s->backends[u->backend];
    b->n_running--;
    if (b->first_waiting >= 0 && !b->dead) {
        const int next = b->first_waiting;
        b->first_waiting = s->users[next].next;
        begin(s, next);
    }
}

/* ---- turns ---- */

static void new_conversation(struct sim *s, struct user *u)
{
    const double at = uniform(s);
    int low = 0, high = N_APP - 1;
    while (low < high) {
        const int mid = (low + high) / 2;
        if (s->app_part[mid] < at)
            low = mid + 1;
        else
            high = mid;
    }
    u->conversation = bits(s) | 1;
    u->app = low;
    u->turn = 0;
    /* 1 to 64 turns, most of them few: Zipf's law with exponent 1. */
    u->n_turn = (int)exp2(6 * uniform(s));
    u->by_session = uniform(s) < 0.5;
    u->n_prompt = s->app_prefix[u->app];
}

static void think(struct sim *s, int who, bool answered)
{
    struct user *u = &s->users[who];
    u->state = USER_THINKS;
    u->round++;
    if (answered && ++u->turn >= u->n_turn)
        new_conversation(s, u);
    else if (answered)
        u->n_prompt += u->n_answer;
    u->counted = answered;
    post(s, s->now + exponential(s, THINK_US), EVENT_TURN, who, 0);
}

/* The client sees an error. */
static void fail_turn(struct sim *s, int who, bool broken)
{
    struct user *u = &s->users[who];
    *(broken ? &s->r.n_broken : &s->r.n_failed) += 1;
    s->bad[second_of(s, s->now)]++;
    if (s->o.scenario == SIM_STORM && ++u->client_tries < CLIENT_TRIES) {
        u->round++;
        u->state = USER_THINKS;
        post(s, s->now + 100000 * (1 + uniform(s)), EVENT_RETRY, who, 0);
    } else {
        think(s, who, false);
    }
}

static void take(struct sim *s, int who, const struct policy_decision *d)
{
    struct user *u = &s->users[who];
    if (d->verdict == POLICY_SEND) {
        u->backend = d->backend;
        u->flight = d->flight;
        arrive(s, who);
    } else if (d->verdict == POLICY_WAIT) {
        u->state = USER_WAITS;
        u->ticket = d->ticket;
        s->ticket_user[d->ticket & 0xfffff] = who;
    } else {
        s->r.n_refused++;
        fail_turn(s, who, false);
    }
}

static void wake(struct sim *s)
{
    struct policy_decision d;
    while (s->policy && policy_wake(s->policy, (uint64_t)s->now, bits(s), &d))
        take(s, s->ticket_user[d.ticket & 0xfffff], &d);
}

static void send(struct sim *s, int who)
{
    struct user *u = &s->users[who];
    if (!s->policy) {
        const int n = s->o.n_backend;
        u->backend = s->o.policy == SIM_RANDOM ? (int)(bits(s) % (uint64_t)n)
                                               : s->round_robin++ % n;
        arrive(s, who);
        return;
    }
    struct policy_request r = {
        .model = "m",
        .session = u->by_session ? u->conversation : 0,
        .prefix = {app_key(u->app), turn_key(u, u->turn), turn_key(u, u->turn + 1)},
        .n_prefix = 3,
        .n_prompt = u->n_prompt,
        .exact = true,
        .max_tokens = -1,
        .attempt = u->tries,
        .n_tried = u->tries};
    memcpy(r.tried, u->tried, sizeof r.tried);
    struct policy_decision d;
    policy_route(s->policy, &r, (uint64_t)s->now, bits(s), &d);
    take(s, who, &d);
    wake(s);
}

static void begin_turn(struct sim *s, int who, bool again)
{
    struct user *u = &s->users[who];
    u->tries = 0;
    s->n_client++;
    if (!again) {
        u->client_tries = 0;
        if (u->counted)
            u->n_prompt += 1 + (int)exponential(s, TURN);
        u->n_answer = 1 + (int)exponential(s, ANSWER);
        s->r.n_turn++;
    }
    u->begun = s->now;
    send(s, who);
}

static void first_byte(struct sim *s, int who)
{
    struct user *u = &s->users[who];
    u->first = true;
    if (is_warm(s))
        count_time(&s->first, s->now - u->begun);
    if (s->policy)
        policy_first_byte(s->policy, u->flight, (uint64_t)s->now);
}

static void done(struct sim *s, int who)
{
    struct user *u = &s->users[who];
    leave_backend(s, u);
    s->r.n_answered++;
    if (s->policy)
        policy_finished(s->policy, u->flight, NULL, (uint64_t)s->now);
    think(s, who, true);
    wake(s);
}

static void failed(struct sim *s, int who, enum policy_failure why)
{
    struct user *u = &s->users[who];
    u->round++;
    if (s->policy)
        policy_failed(s->policy, u->flight, why, 0, (uint64_t)s->now);
    if (!u->first && u->tries + 1 < TRIES) {
        u->tried[u->tries++] = u->backend;
        send(s, who);
    } else {
        fail_turn(s, who, u->first);
    }
    wake(s);
}

/* ---- what happens to the fleet ---- */

static void vanish(struct sim *s)
{
    for (int i = 0; i < s->o.n_backend; i++) {
        struct sim_backend *b = &s->backends[i];
        if (!b->in_zone)
            continue;
        b->dead = true;
        b->n_running = b->n_cached = 0;
        b->first_waiting = -1;
    }
    for (int i = 0; i < s->n_user; i++) {
        struct user *u = &s->users[i];
        if (u->state != USER_RUNS || !s->backends[u->backend].in_zone)
            continue;
        u->round++; // nothing of what was to come comes
        post(s, s->now + STALL_US, EVENT_FAIL, i, POLICY_FAILURE_TIMEOUT);
    }
}

static void change(struct sim *s, bool end)
{
    s->changed_window = true;
    /* Both become what was added between the two changes. */
    s->storm_sent = s->r.n_sent - s->storm_sent;
    s->storm_client = s->n_client - s->storm_client;
    if (s->o.scenario == SIM_ZONE && !end)
        vanish(s);
    for (int i = 0; i < s->o.n_backend; i++) {
        struct sim_backend *b = &s->backends[i];
        if (s->o.scenario == SIM_ZONE && end)
            b->dead = false;
        if (s->o.scenario == SIM_STORM)
            b->broken = !end && i % 10 < 3;
        if (s->o.scenario == SIM_SLOW)
            b->slow = i % 100 == 0 ? 10 : 1;
    }
}

static bool is_all_well(const struct sim *s)
{
    struct policy_view v;
    for (int i = 0; i < s->o.n_backend; i++)
        if (s->backends[i].dead || s->backends[i].broken || s->backends[i].slow > 1 ||
            (s->policy && policy_see(s->policy, i, (uint64_t)s->now, &v) &&
             v.health != POLICY_HEALTH_UP))
            return false;
    return true;
}

static void end_window(struct sim *s)
{
    double sum = 0, most = 0;
    int n = 0;
    for (int i = 0; i < s->o.n_backend; i++) {
        struct sim_backend *b = &s->backends[i];
        if (!b->dead) {
            sum += b->n_window;
            n++;
            most = b->n_window > most ? b->n_window : most;
        }
        b->n_window = 0;
    }
    const bool calm = !s->changed_window && is_all_well(s);
    s->changed_window = !is_all_well(s);
    if (!n || sum / n < 16)
        return;
    const double peak = most * n / sum;
    s->r.n_window++;
    if (calm && peak > s->r.peak)
        s->r.peak = peak;
    if (peak > s->r.peak_any)
        s->r.peak_any = peak;
}

static void tick(struct sim *s)
{
    const double next = s->now + TICK_US;
    if (fmod(s->now + 0.5, WINDOW_US) < 1 && s->now > 1)
        end_window(s);
    if (s->policy) {
        wake(s);
        for (int b; (b = policy_probe(s->policy, (uint64_t)s->now)) >= 0;)
            post(s, s->now + (s->backends[b].dead ? CONNECT_US : 10000), EVENT_PROBED, b,
                 !s->backends[b].dead);
    }
    if (next < s->end)
        post(s, next, EVENT_TICK, 0, 0);
}

static void handle(struct sim *s, const struct event *e)
{
    if (e->kind <= EVENT_FAIL && e->round != s->users[e->who].round)
        return;
    switch ((enum event_kind)e->kind) {
    case EVENT_TURN:
    case EVENT_RETRY:
        if (s->r.n_turn < s->o.n_request)
            begin_turn(s, e->who, e->kind == EVENT_RETRY);
        break;
    case EVENT_FIRST:
        first_byte(s, e->who);
        break;
    case EVENT_DONE:
        done(s, e->who);
        break;
    case EVENT_FAIL:
        failed(s, e->who, (enum policy_failure)e->detail);
        break;
    case EVENT_TICK:
        tick(s);
        break;
    case EVENT_PROBED:
        policy_probed(s->policy, e->who, e->detail && !s->backends[e->who].dead,
                      (uint64_t)s->now);
        wake(s);
        break;
    case EVENT_CHANGE:
        change(s, e->detail);
        break;
    }
}

/* ---- results ---- */

/* Seconds from the loss to the first one from which on, for five seconds, no more
 * requests wait longer than half a second or fail than before: 1 %, or twice what it was.
 */
static double recovery_of(const struct sim *s)
{
    const int from = second_of(s, s->loss), to = second_of(s, s->end) - 6;
    int64_t n_bad = 0, n = 0;
    for (int t = from / 2; t < from; t++)
        n_bad += s->late[t] + s->bad[t], n += s->begun[t];
    const double most = fmax(0.01, n ? 2 * (double)n_bad / (double)n : 0);
    for (int t = from, good = 0; t < to; t++) {
        good = s->late[t] + s->bad[t] <= most * s->begun[t] ? good + 1 : 0;
        if (good == 5)
            return t - 4 - from;
    }
    return -1;
}

/* Seconds from the return to the first one in which the zone gets 90 % of its part. */
static double return_of(const struct sim *s)
{
    const int from = second_of(s, s->back), to = second_of(s, s->end) - 1;
    for (int t = from; t < to; t++)
        if (3.0 * s->zone_begun[t] >= 0.9 * s->all_begun[t])
            return t - from;
    return -1;
}

static void conclude(struct sim *s, double took_s)
{
    struct sim_result *r = &s->r;
    r->seconds = s->now / SECOND;
    r->wait_p50 = quantile(&s->wait, 0.5), r->wait_p99 = quantile(&s->wait, 0.99);
    r->first_p50 = quantile(&s->first, 0.5), r->first_p99 = quantile(&s->first, 0.99);
    r->hit = s->n_read ? (double)s->n_hit / (double)s->n_read : 0;
    const bool two = s->o.scenario == SIM_ZONE || s->o.scenario == SIM_STORM;
    const int64_t n_sent = two ? s->storm_sent : r->n_sent;
    const int64_t n_client = two ? s->storm_client : s->n_client;
    r->amplified = n_client ? (double)n_sent / (double)n_client : 0;
    r->recovery = two ? recovery_of(s) : 0;
    r->return_s = s->o.scenario == SIM_ZONE ? return_of(s) : 0;
    r->decision_us = took_s * SECOND / (double)(r->n_turn ? r->n_turn : 1);
    if (s->policy) {
        struct policy_counters c;
        policy_count(s->policy, &c);
        r->n_over = (int64_t)c.n_over;
        r->moved = (double)c.n_moved / (double)r->n_turn;
    }
}

/* ---- set-up ---- */

static void make_apps(struct sim *s)
{
    double sum = 0;
    for (int i = 0; i < N_APP; i++)
        sum += 1.0 / (i + 1);
    const double hot = s->o.scenario == SIM_HOT ? 0.3 : 0;
    double part = 0;
    for (int i = 0; i < N_APP; i++) {
        part += (1 - hot) / (i + 1) / sum + (i == 0 ? hot - hot / sum : 0);
        s->app_part[i] = part;
        s->app_prefix[i] = 500 + (int)(rng_at(3, (uint64_t)i) % 8000);
    }
    for (int i = 0; i < N_APP; i++)
        s->app_part[i] /= part;
}

static bool make_policy(struct sim *s)
{
    static const struct policy_model model[] = {{"m", NULL}};
    const int n = s->o.n_backend;
    struct policy_options o = policy_options_default;
    o.n_session = 2 * s->n_user;
    o.n_prefix = 4 * s->n_user;
    o.n_queue = 4 * n + 512 < 1 << 20 ? 4 * n + 512 : 1 << 20;
    o.n_flight = n * SLOTS * 2;
    struct policy_backend *b = mem_array((size_t)n, sizeof *b);
    for (int i = 0; b && i < n; i++)
        b[i] = (struct policy_backend){.id = rng_at(2, (uint64_t)i) | 1,
                                       .models = model,
                                       .n_model = 1,
                                       .n_ctx = 1 << 20,
                                       .weight = 1,
                                       .limit = SLOTS};
    const struct policy_fleet f = {.backends = b, .n_backend = n};
    const bool ok = b && !policy_open(&s->policy, &o, NULL) &&
                    !policy_reload(s->policy, &f, 0, NULL, NULL);
    s->ticket_user = mem_array((size_t)o.n_queue, sizeof *s->ticket_user);
    mem_free(b);
    return ok && s->ticket_user;
}

static bool make_sim(struct sim *s)
{
    const int n = s->o.n_backend;
    const double a_second = n * PER_BACKEND_MILLI / 1000.0;
    s->n_user = (int)(a_second * (THINK_US + ANSWER * TOKEN_US) / SECOND);
    s->event_cap = 3 * s->n_user + n + 1024;
    s->backends = mem_array((size_t)n, sizeof *s->backends);
    s->users = mem_array((size_t)s->n_user, sizeof *s->users);
    s->heap = mem_array((size_t)s->event_cap * 2, sizeof *s->heap);
    s->app_prefix = mem_array(N_APP, sizeof *s->app_prefix);
    int32_t **const each[] = {&s->late, &s->bad, &s->begun, &s->zone_begun,
                              &s->all_begun};
    bool ok = s->backends && s->users && s->heap && s->app_prefix;
    for (int i = 0; i < 5; i++)
        ok = (*each[i] = mem_array(SECONDS_MAX, sizeof **each[i])) && ok;
    if (!ok || (s->o.policy == SIM_TURBINE && !make_policy(s)))
        return false;
    make_apps(s);
    for (int i = 0; i < n; i++) {
        s->backends[i].first_waiting = -1;
        s->backends[i].slow = 1;
        s->backends[i].in_zone = i % 3 == 0;
    }
    for (int i = 0; i < s->n_user; i++) {
        new_conversation(s, &s->users[i]);
        s->users[i].turn = (int)(uniform(s) * s->users[i].n_turn);
        s->users[i].n_prompt += s->users[i].turn * (TURN + ANSWER);
        s->users[i].counted = true;
        post(s, uniform(s) * THINK_US, EVENT_TURN, i, 0);
    }
    s->end = (double)s->o.n_request / a_second * SECOND;
    s->loss = floor(0.4 * s->end / WINDOW_US) * WINDOW_US + 3 * SECOND;
    s->back = floor(0.7 * s->end / WINDOW_US) * WINDOW_US + 3 * SECOND;
    post(s, 0, EVENT_TICK, 0, 0);
    if (s->o.scenario == SIM_ZONE || s->o.scenario == SIM_STORM ||
        s->o.scenario == SIM_SLOW)
        post(s, s->loss, EVENT_CHANGE, 0, 0);
    if (s->o.scenario == SIM_ZONE || s->o.scenario == SIM_STORM)
        post(s, s->back, EVENT_CHANGE, 0, 1);
    return true;
}

bool sim_run(const struct sim_options *o, struct sim_result *out)
{
    struct sim *s = mem_array(1, sizeof *s);
    if (!s)
        return false;
    s->o = *o;
    const bool ok = make_sim(s);
    const clock_t start = clock();
    while (ok && s->n_event && s->heap[0].at <= s->end) {
        const struct event e = next_event(s);
        s->now = e.at;
        handle(s, &e);
    }
    if (ok)
        conclude(s, (double)(clock() - start) / CLOCKS_PER_SEC);
    *out = s->r;
    policy_close(s->policy);
    void *const all[] = {s->backends,  s->users,       s->heap,  s->app_prefix,
                         s->late,      s->bad,         s->begun, s->zone_begun,
                         s->all_begun, s->ticket_user, s};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        mem_free(all[i]);
    return ok;
}

const char *sim_scenario_name(enum sim_scenario s)
{
    static const char *const names[] = {"steady", "zone loss", "hot prefix",
                                        "retry storm", "slow backend"};
    return names[s];
}

const char *sim_policy_name(enum sim_policy p)
{
    static const char *const names[] = {"turbine", "random", "round robin"};
    return names[p];
}
