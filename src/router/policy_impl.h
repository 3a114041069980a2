/* policy_impl.h - the state of a policy, and what its files ask of each other.
 *
 * A pool is the backends of one model and lane.  It keeps sums over its members (share,
 * load, requests of the window, how many are open), so that a decision looks at a few
 * members only.  Whatever changes a member ends in policy_refresh, which moves the sums.
 */
#ifndef ROUTER_POLICY_IMPL_H
#define ROUTER_POLICY_IMPL_H

#include "base/arena.h"
#include "base/rng.h"
#include "router/policy.h"
#include "router/policy_table.h"

enum {
    POLICY_SHARE = 4,        // steps of slow start: the share of a weight of 1
    POLICY_REPLICAS = 4,     // backends that a prefix is remembered of
    POLICY_JUMPS = 16,       // places of a ring that are tried
    POLICY_PAIRS = 8,        // pairs of backends at random
    POLICY_HANDLE = 20,      // bits of an index in a flight or a ticket
    POLICY_SLOT = 14,        // bits of a backend in a place
    POLICY_PASS_US = 100000, // between two looks at all that wait
    POLICY_RETRY = 1000000,  // a retry; retry_least come in as many us
};

#define POLICY_NEVER UINT64_MAX

/* A backend in a table: its index, and which of those that had the index it is. */
typedef uint32_t policy_place;

struct policy_slot {
    uint64_t id;
    enum policy_class class;
    unsigned dialects;
    int n_ctx, weight, limit;
    bool gone, off, lazy, drained;
    uint32_t birth;
    int first_model, n_model; // of policy.served
    int first_pool, n_pool;   // of policy.memberships
    /* health */
    enum policy_health health; // UP, TRIAL, EJECTED, DOWN, STOPPED
    bool trying;               // TRIAL: the request is under way
    bool was_down;             // TRIAL: it had been down, not ejected
    uint32_t n_trial;          // trials so far
    bool probing, suspect;
    int n_row;           // failures in a row
    int n_probe_row;     // likewise of probes
    int n_eject;         // that lengthen the next ejection
    double failing;      // part of late requests that failed
    int n_result;        // of which it is an average
    double log_first;    // average of log2 of us to the first byte, for each token
    int n_first;         // of which it is
    double log_first_us; // the same without tokens, for people
    uint64_t until_us;   // end of an ejection
    uint64_t busy_us;    // takes nothing before
    uint64_t probe_us;   // time of the next probe
    uint64_t pause_us;   // between two probes
    uint64_t back_us;    // when it came back; slow start
    uint64_t down_us;    // when it went down
    uint64_t well_us;    // last good answer or probe
    /* load */
    int in_flight;
    int n_others; // requests of others, as it reported
    uint64_t others_us;
    uint64_t window;
    int64_t n_window; // requests of the window
    /* what the sums of its pools hold of it */
    int64_t sum_share, sum_load, sum_window;
    bool sum_well, sum_open, sum_trial;
    bool ready;       // in policy.ready
    uint64_t seen_us; // last request
    struct policy_view stats;
};

struct policy_point {
    uint64_t hash;
    int32_t slot;
};

struct policy_pool {
    int32_t *member; // [n_member], ascending
    int n_member;
    struct policy_point *ring; // [n_point], ascending
    uint32_t *starts;          // [1 << bits], the first point of each part of the ring
    int n_point, bits;
    int min_ctx; // of its members; an unknown one counts as INT_MAX
    bool unknown_ctx;
    uint64_t window;
    int64_t share, load, n_window; // of members that are well
    int64_t n_before;              // of the window before
    int n_well, n_open, n_trial;   // n_trial: open and on trial
};

struct policy_name {
    const char *name;
    int threshold;
    int pool[2]; // of the short and the long lane
};

struct policy_served {
    int name; // of policy.names
    const char *served;
};

/* What a reload makes anew. */
struct policy_layout {
    struct arena arena;
    struct policy_name *names; // [n_name], ascending by name
    int n_name, any;           // any: the name "*", or -1
    struct policy_pool *pools;
    int n_pool;
    struct policy_served *served;
    int32_t *memberships;
};

struct policy_session {
    policy_place place;
    enum policy_lane lane;
};

struct policy_prefix {
    policy_place place[POLICY_REPLICAS]; // the latest first
    int n;
    enum policy_lane lane;
};

struct policy_flight {
    uint32_t round; // of its index: old handles name nothing
    int next;       // unused one, -1 at the end; -2: used
    int slot;
    uint64_t start_us;
    uint64_t session;
    int n_prompt;
    uint32_t trial; // of those of its backend; 0: none
    bool began, first;
};

/* A request, and how its decision goes on while it waits. */
struct policy_ask {
    struct policy_request r;
    int name; // of policy.names
    enum policy_lane lane;
    enum policy_lane_why lane_why;
    bool near;
};

/* Where a request waits. */
struct policy_wait {
    enum policy_lane in; // of the lanes, the one it waits in
    enum policy_fallback fallback;
    bool room; // contexts must have room for an answer
    int home;  // the backend it would rather have, else POLICY_NONE
    int start; // the one that is being started, likewise
    bool old;  // decided for another fleet
};

struct policy_waiting {
    uint32_t round;
    int older, newer; // -1 at the ends
    int next;         // unused one, -1 at the end; -2: used
    struct policy_ask ask;
    struct policy_wait wait;
    uint64_t home_us; // until when it waits for its home
    uint64_t deadline_us;
};

struct policy {
    struct policy_options o;
    struct policy_layout layout;
    struct policy_slot *slots;
    int n_slot;
    struct policy_table sessions, prefixes;
    struct policy_session *session;
    struct policy_prefix *prefix;
    struct policy_flight *flights;
    int unused_flight;
    struct policy_waiting *waiting;
    int n_place; // of waiting: as many as o.n_queue, or as there once were
    int oldest, newest, unused_ticket, n_waiting;
    int pass;         // next to be looked at; -1: no pass is under way
    uint64_t pass_us; // when the next pass begins
    int *ready;       // stack of backends that may take one that waits
    int n_ready;
    uint64_t change_us; // when time itself changes a backend
    uint64_t sweep_us;
    uint64_t window; // the number of this one
    int phase;       // how much of it is over, in percent
    int probe_at;    // where the look for the next probe goes on
    int64_t budget;  // retries, in parts of POLICY_RETRY
    uint64_t budget_us;
    int64_t n_recent[2]; // requests of this window and the one before
    int64_t n_done[2];   // likewise requests that ended
    double *medians;     // scratch of the sweep, [n_slot]
    struct policy_counters count;
};

/* How far a search for a backend came. */
enum policy_found {
    POLICY_FOUND,
    POLICY_FULL,  // some could take it later
    POLICY_SMALL, // those that are well have too small a context
    POLICY_TRIED, // those that are well were tried or speak no such dialect
    POLICY_DEAD,  // none is well
};

struct policy_search {
    const struct policy_ask *ask;
    const struct policy_pool *pool;
    int need;         // tokens a context must hold
    bool as_fallback; // not for a long prompt where the context is unknown
    bool from_queue;  // it may take a place that is kept for those that wait
    bool wait_home;   // rather wait than leave a backend that has the prefix
    uint64_t now_us, random;
    /* out */
    int slot;
    enum policy_pick pick;
    int home; // POLICY_FULL: wait for this one, else POLICY_NONE
    bool over;
};

/* ---- policy_fleet.c ---- */
int policy_find_name(const struct policy *p, const char *name); // -1: unknown
bool policy_serves(const struct policy *p, const struct policy_slot *s, int name,
                   enum policy_lane lane);
const char *policy_served_name(const struct policy *p, const struct policy_slot *s,
                               int name);
void policy_release_layout(struct policy_layout *l);
/* Names, pools and rings of f, whose backends are slots[index[i]]. */
enum status policy_make_layout(const struct policy *p, struct policy_layout *l,
                               struct policy_slot *slots, int n_slot,
                               const struct policy_fleet *f, const int *index,
                               struct error *err);
enum status policy_no_memory(struct error *err);

/* ---- policy_health.c ---- */
/* Time changes what it changes. */
void policy_advance(struct policy *p, uint64_t now_us);
/* Bring the sums of s's pools to what s is now. */
void policy_refresh(struct policy *p, struct policy_slot *s, uint64_t now_us);
/* Requests are counted from 0 in a new window. */
void policy_roll_window(const struct policy *p, struct policy_slot *s);
enum policy_health policy_health_of(const struct policy *p, const struct policy_slot *s,
                                    uint64_t now_us);
/* us to the first byte of an answer to n_prompt tokens. */
void policy_first_pace(struct policy_slot *s, int n_prompt, uint64_t us);
bool policy_is_well(const struct policy_slot *s);
/* 1 .. POLICY_SHARE: the step of its slow start. */
int policy_share_of(const struct policy *p, const struct policy_slot *s, uint64_t now_us);
int policy_load_of(const struct policy *p, const struct policy_slot *s, uint64_t now_us);
void policy_succeed(struct policy *p, struct policy_slot *s, uint64_t now_us);
void policy_fail(struct policy *p, struct policy_slot *s, enum policy_failure why,
                 bool trial, uint64_t now_us);

/* ---- policy_pick.c ---- */
enum policy_found policy_pick_backend(struct policy *p, struct policy_search *s);
/* That s (open or not) may take the request by what never changes for it. */
bool policy_suits(const struct policy *p, const struct policy_slot *s,
                  const struct policy_search *q);
/* How long a request may wait for the backend that has its prefix. */
uint64_t policy_home_wait(const struct policy *p, const struct policy_request *r);
bool policy_under_bound(const struct policy *p, const struct policy_pool *pool,
                        const struct policy_slot *s);
policy_place policy_place_of(const struct policy *p, int slot);
int policy_slot_at(const struct policy *p, policy_place place); // POLICY_NONE if gone

/* ---- policy_route.c ---- */
/* Decide.  With WAIT it is not in the queue yet, and *wait says where it waits. */
void policy_decide(struct policy *p, const struct policy_ask *a, bool from_queue,
                   bool wait_home, uint64_t now_us, uint64_t random,
                   struct policy_wait *wait, struct policy_decision *out);
/* What a context must hold. */
int policy_need(const struct policy *p, const struct policy_request *r, bool room);
struct policy_pool *policy_pool_of(struct policy *p, const struct policy_ask *a,
                                   enum policy_lane lane);
bool policy_is_long(const struct policy *p, const struct policy_ask *a);
/* Take the place that q found: SEND, or REFUSE without a flight. */
void policy_send(struct policy *p, const struct policy_ask *a,
                 const struct policy_search *q, enum policy_fallback fallback,
                 struct policy_decision *out);
void policy_refuse(struct policy *p, enum policy_refusal why,
                   struct policy_decision *out);

/* ---- policy_queue.c ---- */
/* WAIT, or REFUSE if the queue is full. */
void policy_enqueue(struct policy *p, const struct policy_ask *a,
                    const struct policy_wait *wait, uint64_t now_us,
                    struct policy_decision *out);
void policy_make_ready(struct policy *p, struct policy_slot *s);
/* When those that wait are likely to be through. */
uint64_t policy_retry_us(const struct policy *p);

/* ---- policy_flight.c ---- */
/* POLICY_NONE if all are used. */
int policy_take_flight(struct policy *p, int slot, const struct policy_ask *a,
                       uint32_t trial, uint64_t now_us, uint32_t *flight);

#endif
