/* internal.h - what the files of server share: the server, and one call of it. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "access/body.h"
#include "access/guard.h"
#include "access/ids.h"
#include "dialect/dialect.h"
#include "engine/chat_prompt.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/server.h"
#include "text/output.h"

enum {
    SERVER_ID_BYTES = ID_BYTES,
    SERVER_PING_US = 10000000,
    SERVER_ANSWER_MAX = 64 << 20, // bytes of an answer that is not streamed
    SERVER_JSON_MAX = 64 << 20,   // of other replies
    SERVER_CALL_MAX = 1 << 20,    // of a tool call that is held back
    SERVER_EMBED_WINDOW = 8,      // inputs of one request that are computed at a time
};

struct call;
struct catalog;
struct store_jobs;
struct store_call;

/* ---- routes ---- */

enum route_access { ROUTE_PUBLIC, ROUTE_PRIVATE };
enum route_match {
    ROUTE_EXACT,
    ROUTE_BELOW // the path goes on behind it
};

struct route {
    const char *method, *path;
    enum route_match match;
    enum route_access access;
    const struct api_operation *op; // or
    void (*handle)(struct call *c); // replies before it returns
    bool drains;                    // goes on while the server ends
};

/* The route of a method and a path; NULL: *allow <- the methods of the path, as a
 * header has them, "" if there is no such path. */
const struct route *route_find(const char *method, const char *path, char allow[64]);
const struct route *route_table(int *n);
/* "/v1/v1/x" is "/v1/x". */
const char *route_path(const char *path);
const struct dialect *route_dialect(const char *path, bool anthropic_version);

/* ---- the server ---- */

struct server {
    struct server_options o;
    struct models *models;
    struct catalog *catalog;
    struct http_server *http;
    struct guard guard;
    struct metrics metrics;
    struct store_jobs *jobs;
    bool loopback; // only this machine reaches it
    char url[128];
    uint64_t start_us;
    atomic_bool asked_to_end;
    atomic_bool draining; // no new work
    atomic_bool ended;    // time is up: answers end now
    uint64_t drain_start_us;
};

/* ---- one call ---- */

struct choice {
    struct generation *g; // NULL before and behind
    struct output_parser *parser;
    struct call *call;
    int index;
    bool done, reasoning, called;
    int n_reasoning;
    struct buf raw, mark, content, thought,
        args; // of the answer, as clients send it back
    json_t *calls;
    char tool_id[SERVER_ID_BYTES];
    char *tool_name;
};

struct embedding_job {
    float *vectors; // [n][n_embd]
    struct tokens *inputs;
    int n, n_submitted, n_done, n_prompt;
    int n_cut; // inputs that were too long
    struct generation *active[SERVER_EMBED_WINDOW];
    int input[SERVER_EMBED_WINDOW];
};

struct call {
    struct server *server;
    struct http_exchange *x;
    const char *path; // as routed
    const struct route *route;
    const struct dialect *dialect;
    char request_id[SERVER_ID_BYTES], id[SERVER_ID_BYTES];
    bool started, logged;

    struct api_request req;
    bool has_req;
    json_t *body; // of a route without an operation
    /* models.c: the model that answers, once it is there, and its place. */
    const struct loaded_model *model;
    struct model_slot *slot;
    struct call *next_waiting;
    uint64_t wait_us, load_us; // since when it waits for it; how long it did
    struct answer_head head;
    struct answer_writer *writer;
    struct buf out;
    bool began; // status and headers are on their way
    bool cancelled;
    struct choice choice[API_N_MAX];
    int n_choice, n_done;
    struct tokens prompt[API_N_MAX];
    int n_prompts;
    struct chat_prompt_result chat;
    json_t *messages; // of req, or what was left of them
    int n_dropped;
    json_t *tools; // those of req that may be called, borrowed
    struct grammar_entry *grammar;
    struct embedding_job embed;
    struct store_call *store;
    uint64_t next_ping_us, first_us, last_us;
    unsigned mem_mark; // mem_failures when this thread began to work on it

    int status;
    struct answer_usage usage; // summed, for the log
    const char *finish;
};

/* call.c: replies, each the last word of a call (but for streams). */
struct call *call_open(struct server *s, struct http_exchange *x);
void call_close(struct call *c);
/* Before a thread works on it, and whether memory was short since: then what was made is
 * not complete, and replies become an error. */
void call_mark_memory(struct call *c);
bool call_lacks_memory(const struct call *c);
void call_release(struct call *c); // memory alone: generations are closed
void call_error(struct call *c, const struct api_error *e);
void call_fail(struct call *c, enum api_error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void call_reply(struct call *c, int status, const char *content_type, struct buf *body);
void call_reply_json(struct call *c, int status, json_t *value); // takes value
void call_reply_text(struct call *c, int status, const char *text);
void call_add_headers(struct call *c);
/* What is counted and logged when a call was answered. */
void call_account(struct call *c, int status);
/* An object of the body; false: it was answered with an error. */
bool call_read_json(struct call *c, json_t **out);
/* The same as c->body, parsed once. */
bool call_take_body(struct call *c);
/* c->model for a route without an operation: what `name` of its body or query says.
 * false: it was answered, or the step is called again. */
bool call_wants_model(struct call *c, const char *name);
/* From a status of the engine. */
void call_engine_error(struct call *c, const struct error *err);

/* pipeline.c */
void pipeline_step(struct call *c);
/* What requests of a dialect get that do not say; m NULL: the server's defaults. */
struct sampler_params pipeline_sampling(const struct loaded_model *m,
                                        const struct dialect *dialect);
void pipeline_close(struct call *c); // generations, grammar
/* cache_type.c: what a request says of the type of the cache.  Known: it is one; model:
 * it is the model's.  false: answered with an error. */
bool cache_type_is_known(struct call *c);
bool cache_type_is_model(struct call *c);
/* embed.c */
bool embed_begin(struct call *c); // like embed_step
bool embed_step(struct call *c);
void embed_close(struct call *c);
/* prompt_tokens.c: c->prompt <- tokens; false: answered with an error. */
bool prompt_make(struct call *c);
/* c->messages and c->tools of a chat, with what the model adds to every one. */
void prompt_take_messages(struct call *c);
bool prompt_encode_input(struct call *c, const json_t *input, struct tokens *out);
bool prompt_too_long(struct call *c, size_t n);
int prompt_limit(const struct call *c); // most tokens of prompt and answer
bool prompt_add_text(struct call *c, struct tokens *out, const char *text, size_t n,
                     unsigned flags);
/* infill.c */
bool infill_make(struct call *c); // like prompt_make
/* constraint.c: c->grammar; false: answered with an error. */
bool constraint_make(struct call *c);
/* answer.c: false: answered. */
bool answer_open(struct call *c);
bool answer_step(struct call *c);    // take what events there are
void answer_nothing(struct call *c); // the end alone
void answer_close(struct call *c);

/* read_ahead.c: what the next prompt begins with; behind the reply. */
void read_ahead(const struct call *c);

/* Handlers: model_list.c, status_routes.c, text_routes.c, pages.c */
void handle_root(struct call *c);
void handle_asset(struct call *c);
void handle_version(struct call *c);
void handle_tags(struct call *c);
void handle_ps(struct call *c);
void handle_show(struct call *c);
void handle_cloud_status(struct call *c);
void handle_models(struct call *c);
void handle_model(struct call *c);
void handle_hello(struct call *c);
void handle_health(struct call *c);
void handle_livez(struct call *c);
void handle_readyz(struct call *c);
void handle_metrics(struct call *c);
void handle_props(struct call *c);
void handle_slots(struct call *c);
void handle_tokenize(struct call *c);
void handle_detokenize(struct call *c);
void handle_apply_template(struct call *c);

/* store_routes.c, store_upload.c */
enum status store_routes_open(struct server *s, struct error *err);
void store_routes_drain(struct server *s, bool time_is_up);
void handle_no_store(struct call *c);
void handle_create(struct call *c);
void handle_copy(struct call *c);
void handle_pull(struct call *c);
void handle_push(struct call *c);
void handle_delete(struct call *c);
void handle_account(struct call *c);
void handle_blob(struct call *c); // its body is streamed
void handle_blob_head(struct call *c);
/* store_call.c */
void store_call_release(struct call *c);

/* log.c */
void log_call(const struct call *c, uint64_t us);
void log_event(const struct server *s, const char *event, const char *text);

#endif
