/* internal.h - what the files of router share: the router, its backends, one call of it.
 *
 * r->lock guards the policy, the table of backends, what is found out about them and the
 * list of calls that wait.  A call belongs to the worker that runs its step; what the
 * list of waiting calls says to it is guarded by the lock. */
#ifndef ROUTER_INTERNAL_H
#define ROUTER_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "access/guard.h"
#include "access/ids.h"
#include "dialect/dialect.h"
#include "dialect/upstream.h"
#include "http/http.h"
#include "http/transfer.h"
#include "router/config.h"
#include "router/policy.h"
#include "router/router.h"
#include "router/token_estimate.h"

enum {
    ROUTER_ANSWER_MAX = 64 << 20, // bytes of an answer that is one document
    ROUTER_ERROR_MAX = 256 << 10, // of a backend's error that is passed on
    ROUTER_HELD_MAX = 64 << 10,   // of an event that is held back until it is whole
    ROUTER_PIECE = 16 << 10,
    ROUTER_ATTEMPTS = 4,
    ROUTER_STATUSES = 96,
    ROUTER_LISTED_MAX = 64, // models that are found out of a backend
};

struct relay;

/* ---- routes ---- */

enum route_kind {
    ROUTE_OWN,      // handle replies
    ROUTE_GENERATE, // op; may be a stream
    ROUTE_COUNT,    // op, API_COUNT
    ROUTE_EMBED,    // op, API_EMBED
    ROUTE_PLAIN,    // a document in, a document out, for backends of the same dialect
};

struct router_route {
    const char *method, *path;
    enum route_kind kind;
    unsigned dialect; // DIALECT_...
    const struct api_operation *op;
    const char *answer; // the member that each document has, or NULL
    bool streams;       // unless the body says otherwise
    bool below;         // the path goes on
    bool public, drains;
    void (*handle)(struct relay *c);
};

/* As route_find of the server. */
const struct router_route *router_route_find(const char *method, const char *path,
                                             char allow[64]);
const struct dialect *router_route_dialect(const char *path, bool anthropic_version);

/* ---- backends ---- */

enum backend_arch { ARCH_UNKNOWN, ARCH_HYBRID, ARCH_SOFTMAX };

/* A configuration and who uses it. */
struct config_ref {
    struct config c;
    int n_ref; // lock
};

struct probe; // probe.c

/* Where a backend may say its load, in the order in which it is asked. */
enum load_source { LOAD_METRICS, LOAD_SLOTS, LOAD_NOWHERE };

struct load_poll; // load.c

struct backend {
    const struct config_backend *c; // of ref
    struct config_ref *ref;
    int index; // of the policy; -1: gone
    uint64_t id;
    char shown[128]; // scheme, host and port

    /* Found out: lock. */
    unsigned dialects;
    bool known; // a probe has answered
    char software[24];
    enum upstream_counter counter;
    enum backend_arch arch;
    int n_ctx;
    struct policy_model listed[ROUTER_LISTED_MAX]; // names are owned
    int n_listed;
    char off_why[200]; // what it needs does not fit
    struct probe *probe;

    /* Its load, as it says: tick; what is shown: lock. */
    struct load_poll *poll;
    uint64_t load_us; // when it is asked next
    enum load_source source;
    bool reports;    // it has said it there
    bool load_noted; // that it said what cannot be

    /* Started by us: tick. */
    pid_t pid; // 0: none
    uint64_t started_us, probed_us, stop_us;
    uint64_t down_us; // since when, not running; 0: not
    bool starting;    // it has not answered yet
    bool wants_start; // lock

    /* `turbine plan` for it: tick. */
    bool is_loopback;
    struct http_transfer *ps; // of /api/ps, before it
    struct buf ps_body;
    pid_t plan_pid; // 0: none
    int plan_fd;
    uint64_t planned_us;
    struct buf plan;

    struct backend *next_gone;
};

/* ---- the router ---- */

struct router_counts {
    const char *dialect;
    int status;
    uint64_t n;
};

struct router {
    struct router_options o;
    struct http_server *http;
    struct http_transfers *transfers;
    struct guard guard; // Host and Origin, and the key of the options
    struct guard *keys; // [ref->c.n_key]: I/O thread
    char url[128];
    uint64_t start_us;
    atomic_bool asked_to_end, draining, ended, asked_to_reload;
    uint64_t drain_start_us;

    pthread_mutex_t lock;
    struct config_ref *ref;
    struct policy *policy;
    struct backend **backends; // [n_backend], by the policy's index; NULL: gone
    int n_backend;
    struct backend *gone;
    struct relay *waiting; // in the policy's queue
    bool fleet_changed;
    /* Counted. */
    struct router_counts counts[ROUTER_STATUSES];
    int n_count;
    uint64_t n_gone, n_stream_error, n_translated, n_reload, n_reload_failed;
    struct estimate_model estimate;
    uint64_t load_look_us; // tick
};

/* ---- one call ---- */

enum relay_phase { RELAY_NEW, RELAY_QUEUED, RELAY_COUNTING, RELAY_ASKED, RELAY_STREAM };

struct relay {
    struct router *router;
    struct http_exchange *x;
    const char *path;
    const struct router_route *route;
    const struct dialect *dialect;
    char client[64]; // name of its key, "" for none
    char request_id[ID_BYTES], id[ID_BYTES];
    enum relay_phase phase;
    atomic_bool streams; // phase is RELAY_STREAM, for other threads
    bool logged;

    /* The request. */
    struct policy_request ask;
    char asked_model[POLICY_NAME_MAX], model[POLICY_NAME_MAX]; // model: without suffix
    bool has_body, stream;
    struct estimate_text text;
    int n_estimate;       // tokens
    bool counted;         // it was tried
    uint64_t counting_id; // backend.id of the one that counts
    enum upstream_counter counting;
    uint64_t counting_until_us; // whoever drips
    char *query;                // "?beta=true"

    /* Waiting: lock. */
    struct relay *prev_waiting, *next_waiting;
    uint32_t ticket;
    bool waits, woken;
    struct policy_decision decision;
    char served[POLICY_NAME_MAX]; // decision.model, copied
    struct backend *chosen;       // of the decision

    /* The attempt. */
    struct backend *backend;
    struct config_ref *ref;
    const struct config_backend *conf; // of ref
    bool has_flight;
    unsigned via;    // DIALECT_... that is spoken to the backend
    struct buf sent; // the body, if it is not the client's own
    struct http_transfer *transfer;
    bool translates, first_byte, first_text, is_stream;
    bool coded; // its body is compressed, or the like
    int backend_status;
    struct stream_watch watch;
    struct buf in;   // of a document; of a stream: an event that is not whole
    uint64_t end_us; // when a stream that said its last word is over
    bool end_set;
    bool held_over; // an event was too long to be held back
    /* Translation. */
    struct api_request req;
    bool has_req;
    struct answer_head head;
    struct answer_writer *writer;
    bool writer_begun, has_text;
    struct upstream_reader *reader;
    struct buf out;
    enum upstream_state reader_state;
    struct api_error reader_error;

    /* Of the attempts before. */
    struct api_error last_error;
    bool has_error;
    enum policy_failure last_failure;
    struct buf last_body; // an error of a backend in the client's own dialect
    int last_status;

    struct gather *gather; // gather.c
    int status, n_attempt;
    uint64_t first_us;
    struct answer_usage usage;
    bool has_usage;
    char fallback[48]; // reason, "" for none
    char dropped[160]; // fields that the attempt's translation left out, "" for none
    bool done;         // answered
};

/* reply.c */
struct relay *relay_open(struct router *r, struct http_exchange *x);
void relay_release(struct relay *c);
void relay_error(struct relay *c, const struct api_error *e);
void relay_fail(struct relay *c, enum api_error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void relay_reply(struct relay *c, int status, const char *content_type, struct buf *body);
void relay_reply_json(struct relay *c, int status, json_t *value); // takes value
void relay_reply_text(struct relay *c, int status, const char *text);
void relay_add_headers(struct relay *c);
void relay_account(struct relay *c, int status);

/* facts.c: c->ask, model, stream <- the body; false: answered. */
bool relay_read(struct relay *c);
/* estimate.c: the text of a prompt that is somewhere in body. */
void estimate_body(struct estimate_text *t, const json_t *body);
/* edit.c: out <- text [n], a valid JSON object, with another string as its member; false:
 * it has no such member at its top. */
bool edit_member(struct buf *out, const char *text, size_t n, const char *member,
                 const char *value);

/* count.c: true if the prompt is being counted, in phase RELAY_COUNTING; step: true when
 * it is over, and the decision is to be made again. */
bool count_begin(struct relay *c, bool refused);
bool count_step(struct relay *c);

/* relay.c: a step. */
void relay_step(struct relay *c);
/* The attempt ended badly: try again, or answer with e, or end the stream with it. */
void relay_attempt_failed(struct relay *c, enum policy_failure why,
                          const struct api_error *e, uint64_t busy_us);
/* The backend cannot do it, though nothing is wrong with it: another may. */
void relay_try_elsewhere(struct relay *c, const struct api_error *e);
/* The attempt ended well; the policy is told. */
void relay_attempt_done(struct relay *c);
/* With the last attempt's error: its own words, or those of the client's dialect. */
void relay_answer_error(struct relay *c);
void relay_close_attempt(struct relay *c);
/* The client is gone, or the router ends. */
void relay_abandon(struct relay *c);

/* attempt.c: where a backend has path, which begins with "/".  Its own URL may end in
 * "/v1", as clients of OpenAI write it.  As snprintf. */
int backend_url(char *out, size_t n, const struct config_backend *b, const char *path,
                const char *query);
/* A request to c->backend; false: it failed, and that was dealt with. */
bool relay_start(struct relay *c);

/* pump.c: what came from the backend to the client. */
void relay_pump(struct relay *c);
/* Ends a stream whose end mark was passed on, though the backend has not closed it. */
bool relay_finish_said(struct relay *c);

/* translate.c */
/* c->req <- the request, once for all attempts. */
enum status translate_parse(struct relay *c, struct api_error *err);
/* What needs no backend: true if it was answered. */
bool translate_alone(struct relay *c);
enum status translate_request(struct relay *c, const char **method, const char **path,
                              struct api_error *err);
/* Open reader and writer for the reply. */
bool translate_open(struct relay *c);
void translate_feed(struct relay *c, const char *p, size_t n);
void translate_finish(struct relay *c, const char *why);
void translate_close(struct relay *c);
const struct upstream *translate_upstream(unsigned dialect);

/* fleet.c: with r->lock unless it says otherwise. */
enum status fleet_load(struct router *r, struct config_ref *ref, struct error *err);
void fleet_apply(struct router *r); // what was found out to the policy
/* Names that mean the same: "m" is "m:latest". */
bool fleet_same_model(const char *a, const char *b);
/* What b calls the first of its models, "" if none is known. */
const char *fleet_first_model(const struct backend *b);
/* It takes requests; runs: without being started for them. */
bool fleet_is_well(const struct router *r, const struct backend *b, bool runs);
/* What those that a reload has dropped are asked.  By tick and without the lock: closing
 * a transfer waits for a thread that may want it. */
void fleet_close_gone(struct router *r);
void fleet_close_probes(struct router *r);
void fleet_close(struct router *r);
void fleet_drop_ref(struct config_ref *ref);
/* Requests that may go on now: behind every change.  Without the lock. */
void fleet_wake(struct router *r);

/* probe.c: by tick. */
void probe_tick(struct router *r);
void probe_begin(struct router *r, struct backend *b);
void probe_close(struct backend *b);
/* What the router asks on its own account. */
struct probe_question {
    const char *method, *path;
    const struct buf *body;    // with POST, until the transfer is closed
    uint64_t us;               // most time for each part of it; 0: 5 s
    void (*notify)(void *ctx); // NULL: the server is poked
    void *ctx;
};

/* By tick, or with the lock.  NULL without memory. */
struct http_transfer *probe_ask(struct router *r, const struct backend *b,
                                const struct probe_question *q);

/* load.c: by tick. */
void load_tick(struct router *r);
void load_close(struct backend *b);
/* It may be another server now: with the lock. */
void load_forget(struct backend *b);
/* Where it says its load, NULL if it does not; with the lock. */
const char *load_path(const struct backend *b);

/* process.c: by tick. */
void process_tick(struct router *r);
/* 0, or an errno.  argv ends with NULL; standard output goes to out_fd. */
int process_spawn(pid_t *pid, const char *const *argv, int out_fd);
/* At the end: all that were started, and wait for them. */
void process_close(struct router *r);

/* need.c: by tick. */
void need_tick(struct router *r);
void need_close(struct backend *b);

/* log.c */
void router_log(const struct router *r, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void router_log_call(const struct relay *c, uint64_t us);

/* gather.c */
void gather_close(struct relay *c);

/* own_routes.c, gather.c, status.c */
void own_root(struct relay *c);
void own_livez(struct relay *c);
void own_readyz(struct relay *c);
void own_health(struct relay *c);
void own_hello(struct relay *c);
void own_models(struct relay *c);
void own_model(struct relay *c);
void own_tags(struct relay *c);
void own_ps(struct relay *c);
void own_version(struct relay *c);
void own_metrics(struct relay *c);
void own_status(struct relay *c);

#endif
