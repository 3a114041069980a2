/* policy.h - which backend answers a request: a state machine without clock, sockets,
 * threads or luck of its own.
 *
 * Time (microseconds, never going back) and random bits are arguments: equal calls give
 * equal answers.  Nothing is allocated but by policy_open and policy_reload.  Calls on
 * one policy are serialised by the caller.
 *
 * A request lives so: policy_route says SEND, WAIT or REFUSE.  SEND has taken a place at
 * a backend and gives a flight, which ends in exactly one policy_finished or
 * policy_failed.  WAIT has put the request into the queue under a ticket: policy_wake,
 * called behind every other call and every 100 ms, says what becomes of it.  A retry is a
 * new policy_route with attempt + 1 and the backends that were tried.
 *
 * A backend is named by its index, which stays over reloads as long as its id does. */
#ifndef ROUTER_POLICY_H
#define ROUTER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum {
    POLICY_PREFIX_MAX = 8, // prefixes of a request
    POLICY_TRIED_MAX = 8,  // backends that failed a request
    POLICY_BACKENDS_MAX = 16384,
    POLICY_MODELS_MAX = 4096, // names in a fleet
    POLICY_NAME_MAX = 512,    // bytes of a model's name, with its 0
    POLICY_NONE = -1,
};

enum policy_class { POLICY_CLASS_ANY, POLICY_CLASS_SHORT, POLICY_CLASS_LONG };

enum policy_lane { POLICY_AUTO, POLICY_SHORT, POLICY_LONG };

/* ---- the fleet ---- */

/* A name that a backend answers to.  "*" is every name; a name without tag is the same as
 * with ":latest". */
struct policy_model {
    const char *name;
    const char *served; // what the backend calls it; NULL: as it was asked for
};

struct policy_backend {
    uint64_t id; // of its URL, not 0: what stays the same over a reload
    enum policy_class class;
    unsigned dialects; // bits; what the proxy can speak to it, translating if need be
    const struct policy_model *models;
    int n_model;
    int n_ctx;  // tokens of prompt and answer together; 0: unknown
    int weight; // 1 .. 100: its share of the requests
    int limit;  // requests at once; 0: no limit
    bool off;   // takes nothing (its memory is missing, or it is drained)
    bool lazy;  // is started by the first request that needs it
};

struct policy_threshold {
    const char *model;
    int tokens;
};

struct policy_fleet {
    const struct policy_backend *backends;
    int n_backend;
    const struct policy_threshold *thresholds; // of models; others have the default
    int n_threshold;
};

/* Times in us.  docs/router-policy.md says where each default is from. */
struct policy_options {
    int threshold;       // tokens; longer prompts are long
    int return_percent;  // a conversation goes back to short below this part of it
    int answer_reserve;  // tokens of an answer that a context must have room for
    int n_session;       // conversations that are remembered
    int n_prefix;        // prefixes that are remembered
    int n_queue;         // requests that wait
    int n_flight;        // requests that are under way
    uint64_t session_us; // without a request, after which a session is forgotten
    uint64_t prefix_us;
    uint64_t queue_us;      // that a request waits at most
    uint64_t home_us;       // that it waits for the backend that has its prefix
    uint64_t start_us;      // that it waits for a backend to be started
    uint64_t grace_us;      // that it waits when its backends have just gone down
    uint64_t window_us;     // of bounded load
    int window_mean;        // requests a backend in a window, below which none is passed
                            // over
    int bound_percent;      // most requests of a backend, of the mean
    int eject_failures;     // in a row
    int eject_slow;         // times the median time to a first byte
    int eject_percent;      // of the backends, for failures (half of fewer than 10)
    int eject_slow_percent; // likewise, for being slow; never the last
    uint64_t eject_us;      // times the number of ejections
    uint64_t eject_most_us;
    uint64_t sweep_us;      // between two looks for slow backends
    uint64_t health_us;     // that an answer or a probe is good for
    uint64_t probe_us;      // first pause between two probes of one that is down
    uint64_t probe_most_us; // it doubles up to this
    uint64_t slow_start_us; // in which a backend that came back gets its full share
    int retry_percent;      // of the requests
    int retry_least;        // a second, whatever their number
    uint64_t load_us;       // that a reported load is good for
};

extern const struct policy_options policy_options_default;

struct policy;

/* With an empty fleet.  o NULL: the defaults. */
enum status policy_open(struct policy **out, const struct policy_options *o,
                        struct error *err);
void policy_close(struct policy *p);
/* Other options from now on.  Requests that wait keep their place and their deadline;
 * n_session, n_prefix and n_flight are those of policy_open.  If it fails the old ones
 * stay; going back to options that once were cannot fail. */
enum status policy_change(struct policy *p, const struct policy_options *o,
                          uint64_t now_us, struct error *err);

/* Takes the fleet's place; strings are copied.  Backends whose id was known keep their
 * index, health, load and statistics; those that are gone take nothing more, and their
 * flights end as ever.  If it fails the old fleet stays.
 *   index  [n_backend] written, the index of each; may be NULL */
enum status policy_reload(struct policy *p, const struct policy_fleet *f, uint64_t now_us,
                          int *index, struct error *err);

/* ---- requests ---- */

struct policy_request {
    const char *model;     // as asked for, without suffix (policy_parse_model); stays
                           // where it is while the request waits
    enum policy_lane lane; // asked for by suffix, header or option; else POLICY_AUTO
    uint64_t session;      // hash of the client's name for the conversation; 0: none
    /* Hashes of growing prefixes, aligned to messages: the first covers what
     * conversations share (model, system, tools), the last the whole prompt; in between
     * the newest.  The client's tenant is part of each.  0 never. */
    uint64_t prefix[POLICY_PREFIX_MAX];
    int n_prefix;
    int n_prompt;      // tokens, tools included; 0: does not matter
    bool exact;        // they were counted
    int max_tokens;    // -1: not said
    bool side;         // title and the like: short, and no part of the conversation
    unsigned dialects; // bits: backends with one of them; 0: all
    int attempt;       // 0, then 1 ...
    int tried[POLICY_TRIED_MAX];
    int n_tried;
    uint64_t deadline_us; // when it is of no use any more; 0: never
};

enum policy_verdict { POLICY_SEND, POLICY_WAIT, POLICY_REFUSE };

/* Why this lane. */
#define POLICY_LANE_MAP(X)                                                \
    X(ASKED, "asked", "the client asked for it")                          \
    X(SIDE, "side", "a small side request")                               \
    X(STAYS, "stays", "the conversation is there, within the hysteresis") \
    X(TOKENS, "tokens", "by the length of the prompt")

/* Why this backend. */
#define POLICY_PICK_MAP(X)                                             \
    X(SESSION, "session", "the conversation is there")                 \
    X(PREFIX, "prefix", "it has read a prefix of the prompt")          \
    X(HASH, "hash", "where the prefix hashes to, loads being bounded") \
    X(CHOICES, "choices", "the less loaded of two at random")          \
    X(TRIAL, "trial", "to see whether it is well again")               \
    X(QUEUE, "queue", "the first that was free")                       \
    X(LEAST, "least", "the least loaded of all")

/* Why not what should have been. */
#define POLICY_FALLBACK_MAP(X)                                 \
    X(NONE, "none", "")                                        \
    X(DOWN, "down", "nothing of the lane is healthy")          \
    X(CONTEXT, "context", "the lane's contexts are too small") \
    X(RETRY, "retry", "another backend failed")

#define POLICY_REFUSAL_MAP(X)                                      \
    X(NONE, "none", "")                                            \
    X(CONTEXT, "context", "the prompt is longer than any context") \
    X(MODEL, "model", "no backend has the model")                  \
    X(DOWN, "down", "no backend is healthy")                       \
    X(QUEUE, "queue", "the queue is full")                         \
    X(DEADLINE, "deadline", "it waited too long")                  \
    X(BUDGET, "budget", "too many retries")                        \
    X(TRIED, "tried", "all backends were tried")

enum policy_lane_why {
#define X(id, name, text) POLICY_LANE_##id,
    POLICY_LANE_MAP(X)
#undef X
        POLICY_LANE_N
};

enum policy_pick {
#define X(id, name, text) POLICY_PICK_##id,
    POLICY_PICK_MAP(X)
#undef X
        POLICY_PICK_N
};

enum policy_fallback {
#define X(id, name, text) POLICY_FALLBACK_##id,
    POLICY_FALLBACK_MAP(X)
#undef X
        POLICY_FALLBACK_N
};

enum policy_refusal {
#define X(id, name, text) POLICY_REFUSED_##id,
    POLICY_REFUSAL_MAP(X)
#undef X
        POLICY_REFUSAL_N
};

/* Short names for headers, logs and metrics. */
const char *policy_lane_name(enum policy_lane_why w);
const char *policy_pick_name(enum policy_pick w);
const char *policy_fallback_name(enum policy_fallback w);
const char *policy_refusal_name(enum policy_refusal w);
const char *policy_refusal_text(enum policy_refusal w);

struct policy_decision {
    enum policy_verdict verdict;
    enum policy_lane lane; // short or long
    enum policy_lane_why lane_why;
    /* SEND */
    int backend;
    uint32_t flight;
    const char *model; // what the backend calls it; NULL: as asked for.  Until a reload
    enum policy_pick pick;
    enum policy_fallback fallback;
    bool trial; // the one request that says whether a backend is well again
    /* WAIT */
    uint32_t ticket;
    int start; // backend that must be started for it, else POLICY_NONE
    /* WAIT: until then at most.  REFUSE: 0. */
    uint64_t deadline_us;
    /* REFUSE */
    enum policy_refusal refusal;
    int n_prompt, n_ctx; // CONTEXT: n_prompt > n_ctx, the largest there is
    uint64_t retry_us;   // QUEUE, DOWN, DEADLINE: what to tell as Retry-After
    /* The number of tokens is an estimate, and so near a threshold or a limit that an
     * exact one might change the decision.  With REFUSE count first, then ask again. */
    bool near;
};

/* "name@short", "@long", "@auto": the lane, and the name without it (in name, which has
 * POLICY_NAME_MAX bytes).  What follows another @ is part of the name.  False if the name
 * is too long. */
bool policy_parse_model(char *name, enum policy_lane *lane, const char *asked);

void policy_route(struct policy *p, const struct policy_request *r, uint64_t now_us,
                  uint64_t random, struct policy_decision *out);

/* The next request whose wait is over: SEND or REFUSE in out, with its ticket.  False if
 * there is none (now).  Call until it is false. */
bool policy_wake(struct policy *p, uint64_t now_us, uint64_t random,
                 struct policy_decision *out);
/* The client is gone, or the proxy does not want to wait any more. */
void policy_leave_queue(struct policy *p, uint32_t ticket);

/* ---- what becomes of them ---- */

/* The reply has begun: the backend is alive, whether or not it has read the prompt. */
void policy_began(struct policy *p, uint32_t flight, uint64_t now_us);
/* The first of the answer itself is there. */
void policy_first_byte(struct policy *p, uint32_t flight, uint64_t now_us);

struct policy_usage {
    int n_prompt, n_cached, n_answer; // tokens as the backend says; -1: it does not
};

/* A whole answer; an error that is the client's (400) is one too. */
void policy_finished(struct policy *p, uint32_t flight, const struct policy_usage *u,
                     uint64_t now_us);

#define POLICY_FAILURE_MAP(X)                                              \
    X(CONNECT, "connect") /* refused, unreachable, TLS: down at once */    \
    X(TIMEOUT, "timeout") /* no first byte, or a stall: a probe decides */ \
    X(STATUS, "status")   /* 5xx */                                        \
    X(CUT, "cut")         /* ended in the middle */                        \
    X(GARBAGE, "garbage") /* not HTTP, not the dialect, wrong length */    \
    X(BUSY, "busy")       /* 429, 503 with Retry-After: not its fault */   \
    X(CLIENT, "client")   /* the client left: says nothing of the backend */

enum policy_failure {
#define X(id, name) POLICY_FAILURE_##id,
    POLICY_FAILURE_MAP(X)
#undef X
        POLICY_FAILURE_N
};

const char *policy_failure_name(enum policy_failure f);

/* busy_us: what a BUSY one said in Retry-After, 0 if nothing. */
void policy_failed(struct policy *p, uint32_t flight, enum policy_failure why,
                   uint64_t busy_us, uint64_t now_us);

/* ---- health ---- */

/* A backend that wants GET /health (or the like) now, POLICY_NONE if none does.  It is
 * not named again before policy_probed.  Call until it is NONE, every 250 ms. */
int policy_probe(struct policy *p, uint64_t now_us);
void policy_probed(struct policy *p, int backend, bool well, uint64_t now_us);

/* A load that a backend reports: requests it runs and that wait in it, whoever sent
 * them.  n_own: those in flight there when it was asked.  What is more than that, and
 * more than what is in flight now, is of others. */
void policy_load(struct policy *p, int backend, int n_running, int n_waiting, int n_own,
                 uint64_t now_us);

/* A lazy backend was stopped (idle, or it ended); it takes requests again after
 * policy_probed(true). */
void policy_stopped(struct policy *p, int backend, uint64_t now_us);
/* It takes no more requests (true), or does again (false). */
void policy_drain(struct policy *p, int backend, bool drain, uint64_t now_us);

/* ---- what an operator sees ---- */

#define POLICY_HEALTH_MAP(X)                                         \
    X(UP, "up")                                                      \
    X(SLOW_START, "starting") /* up, with less than its share */     \
    X(TRIAL, "trial")         /* half open: one request at a time */ \
    X(EJECTED, "ejected")     /* answers, but badly */               \
    X(DOWN, "down")           /* does not answer */                  \
    X(STOPPED, "stopped")     /* lazy, not started */                \
    X(OFF, "off")             /* off, drained or gone from the fleet */

enum policy_health {
#define X(id, name) POLICY_HEALTH_##id,
    POLICY_HEALTH_MAP(X)
#undef X
        POLICY_HEALTH_N
};

const char *policy_health_name(enum policy_health h);

struct policy_view {
    uint64_t id;
    enum policy_class class;
    enum policy_health health;
    int n_ctx, weight, limit;
    int in_flight, load; // load: with what others sent, as reported
    uint64_t until_us;   // end of its ejection, or of its pause between probes
    uint64_t idle_us;    // since it last had a request
    uint64_t n_sent, n_finished, n_failed[POLICY_FAILURE_N], n_fallback, n_ejected;
    uint64_t n_picked[POLICY_PICK_N];
    uint64_t n_prompt, n_cached, n_answer; // tokens
    uint64_t first_byte_us;                // geometric mean of late
};

/* Indexes are 0 .. policy_n_backend - 1; false for one that names none. */
int policy_n_backend(const struct policy *p);
bool policy_see(const struct policy *p, int backend, uint64_t now_us,
                struct policy_view *out);

struct policy_counters {
    uint64_t n_request; // first attempts
    uint64_t n_sent, n_retry, n_waited;
    uint64_t n_lane[POLICY_LANE_N], n_pick[POLICY_PICK_N];
    uint64_t n_fallback[POLICY_FALLBACK_N], n_refused[POLICY_REFUSAL_N];
    uint64_t n_over;        // sent beyond the bound of loads, since nothing else was free
    uint64_t n_moved;       // conversations that went from one backend to another
    int n_queue, n_session; // now
};

void policy_count(const struct policy *p, struct policy_counters *out);

/* Tokens above which a prompt to this model is long. */
int policy_threshold_of(const struct policy *p, const char *model);

#endif
