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
#include "engine/replay.h"
#include "server/metrics.h"
#include "server/server.h"
#include "text/output.h"

enum {
    SERVER_ID_BYTES = ID_BYTES,
    SERVER_PING_US = 10000000,
    SERVER_ANSWER_MAX = 64 << 20, // bytes of an answer that is not streamed
    SERVER_JSON_MAX = 64 << 20,   // of other replies
    SERVER_CALL_MAX = 1 << 20,    // of a tool call that is held back
    SERVER_NAMES_MAX = GUARD_LIST_MAX + 2,
    SERVER_EMBED_WINDOW = 8, // inputs of one request that are computed at a time
};

struct call;
struct grammar_cache;
struct grammar_entry;

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

struct model_card {
    char name[128];    // file stem: what is shown
    char general[128]; // general.name, "" for none
    char claude[160];  // "claude-turbine-NAME": clients list names with "claude" only
    char **aliases;    // [n_alias]
    int n_alias;
    char digest[72];     // "sha256:..." in form; of the metadata and tensors
    char size_label[32]; // "135M"
    char quant[16];      // of most bytes
    char modified[40];
    json_t *info;   // of /api/show
    char *template; // source, NULL for none
    uint64_t n_param;
    int64_t created;
    bool can_insert, can_think, can_call;
};

struct infill_tokens {
    int32_t prefix, suffix, middle, file; // -1: the vocabulary has none
};

struct server {
    struct server_options o;
    struct engine *engine;
    struct scheduler *scheduler;
    struct http_server *http;
    struct guard guard;
    struct model_card card;
    struct infill_tokens infill;
    const struct output_format *format;
    struct replay *replay;
    struct grammar_cache *grammars;
    struct metrics metrics;
    char url[128];
    char kv_key[KV_NAME_BYTES], kv_value[KV_NAME_BYTES];
    size_t f16_page_bytes; // of a page, if the cache were of 16-bit floats
    char fingerprint[32];
    uint64_t start_us;
    int n_ctx, n_embd;
    size_t piece_bytes; // of the longest token
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
    struct buf raw, mark, content, thought, args; // of the answer, as clients send it back
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
    uint64_t next_ping_us, first_us, last_us;

    int status;
    struct answer_usage usage; // summed, for the log
    const char *finish;
};

/* call.c: replies, each the last word of a call (but for streams). */
struct call *call_open(struct server *s, struct http_exchange *x);
void call_close(struct call *c);
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
/* From a status of the engine. */
void call_engine_error(struct call *c, const struct error *err);

/* pipeline.c */
void pipeline_step(struct call *c);
/* What requests of a dialect get that do not say. */
struct sampler_params pipeline_sampling(const struct server *s,
                                        const struct dialect *dialect);
void pipeline_close(struct call *c); // generations, grammar
/* embed.c */
bool embed_begin(struct call *c); // like embed_step
bool embed_step(struct call *c);
void embed_close(struct call *c);
/* prompt_tokens.c: c->prompt <- tokens; false: answered with an error. */
bool prompt_make(struct call *c);
bool prompt_encode_input(struct call *c, const json_t *input, struct tokens *out);
bool prompt_too_long(struct call *c, size_t n);
int prompt_limit(const struct call *c); // most tokens of prompt and answer
bool prompt_add_text(struct call *c, struct tokens *out, const char *text, size_t n,
                     unsigned flags);
/* infill.c */
void infill_find(struct infill_tokens *out, const struct tokenizer *t);
bool infill_make(struct call *c); // like prompt_make
/* grammar_cache.c */
enum status grammar_cache_open(struct grammar_cache **out, struct error *err);
void grammar_cache_close(struct grammar_cache *c);
/* Compile, or find: an entry to be given back, behind all generations that use it. */
enum status grammar_cache_get(struct grammar_cache *c, const struct grammar_source *src,
                              struct grammar_entry **out, struct error *err);
void grammar_cache_put(struct grammar_cache *c, struct grammar_entry *e);
const struct grammar *grammar_entry_grammar(const struct grammar_entry *e);
/* constraint.c: c->grammar; false: answered with an error. */
bool constraint_make(struct call *c);
/* answer.c: false: answered. */
bool answer_open(struct call *c);
bool answer_step(struct call *c);    // take what events there are
void answer_nothing(struct call *c); // the end alone
void answer_close(struct call *c);

/* read_ahead.c: what the next prompt begins with; behind the reply. */
void read_ahead(const struct call *c);

/* model_card.c */
enum status model_card_open(struct model_card *m, const struct server *s,
                            struct error *err);
void model_card_close(struct model_card *m);
bool model_card_has(const struct server *s, const char *name);

/* Handlers: model_list.c, status_routes.c, text_routes.c, pages.c */
void handle_root(struct call *c);
void handle_asset(struct call *c);
void handle_version(struct call *c);
void handle_tags(struct call *c);
void handle_ps(struct call *c);
void handle_show(struct call *c);
void handle_cloud_status(struct call *c);
void handle_no_store(struct call *c);
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

/* log.c */
void log_call(const struct call *c, uint64_t us);
void log_event(const struct server *s, const char *event, const char *text);

#endif
