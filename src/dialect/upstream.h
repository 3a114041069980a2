/* upstream.h - the other half of the dialects: requests to a backend, and its replies as
 * the events that a client's writer takes (answer.h).  No sockets; where client and
 * backend speak the same dialect bytes pass untouched, with a stream_watch beside them.
 *
 * What a client can say is translated, or refused by the name of its field; what changes
 * nothing in the answer may be dropped, and upstream_call.dropped says so.  A reply that
 * breaks off, or that is garbage, becomes ANSWER_ERROR: never an END.
 *
 * Sources: the API references of OpenAI, Anthropic and Ollama; llama.cpp,
 * tools/server/README.md; vLLM, docs/serving/openai_compatible_server.md. */
#ifndef DIALECT_UPSTREAM_H
#define DIALECT_UPSTREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "dialect/dialect.h"

enum upstream_kind {
    UPSTREAM_OPENAI,
    UPSTREAM_ANTHROPIC,
    UPSTREAM_OLLAMA,
    UPSTREAM_KINDS
};

/* An API that backends speak.  Paths stand behind the backend's base URL, which has no
 * /v1 at its end; NULL: the API has no such operation. */
struct upstream {
    enum upstream_kind kind;
    const char *name; // "openai", "anthropic", "ollama"
    const struct dialect *dialect;
    const char *models_path; // GET
};

extern const struct upstream upstreams[UPSTREAM_KINDS];
/* NULL for a name that is none. */
const struct upstream *upstream_find(const char *name);

/* ---- headers ---- */

enum { UPSTREAM_HEADERS_MAX = 4 };

/* "NAME: BEFORE VALUE" with nothing between before and value. */
struct upstream_header {
    const char *name, *before, *value;
};

/* h <- the headers that a request needs, their number is returned: content-type, how the
 * key is sent (key NULL or "": it is not), anthropic-version. */
int upstream_headers(struct upstream_header h[UPSTREAM_HEADERS_MAX],
                     const struct upstream *u, const char *key);

/* ---- requests ---- */

/* What is known of the backend and of this call of it. */
struct upstream_ask {
    const char *model;  // its name there
    bool stream;        // ask for a stream, whatever the client wants
    int max_tokens;     // for APIs that need a number where the client gave none; 0:
                        // UPSTREAM_MAX_TOKENS
    int max_tokens_cap; // more than that is lowered to it (what fits); 0: none
    int n_ctx;          // Ollama: num_ctx where the client gave none; 0: the backend's
    bool strict;        // OpenAI: fields of llama.cpp and vLLM are refused there
    bool late_system;   // system messages may stand behind the first turn; else they
                        // become a <system-reminder> of the user, in their place
    bool adaptive_thinking; // Anthropic: thinking adaptive and effort, not a budget
    bool no_thinking;       // the model does not think: it is not asked to
    bool no_images;         // the model sees none: a request with images is refused
};

enum { UPSTREAM_MAX_TOKENS = 8192 };

struct upstream_call {
    const char *method, *path;
    /* Names of fields that were left out as the backend has nothing like them and the
     * answer does not depend on them: "cache_control, keep_alive"; "" for none. */
    char dropped[160];
};

/* body <- the request that asks u what the client asked, *call <- where it goes.  r is of
 * API_CHAT, API_COMPLETION, API_INFILL or API_EMBED, and ollama_loads_only(r) is false
 * (there is nothing to ask).
 *
 * STATUS_UNSUPPORTED or STATUS_BAD_INPUT with err: the backend has nothing like what is
 * asked; body is then undefined.  STATUS_NO_MEMORY also if body's maximum is too small.
 */
enum status upstream_print_request(const struct upstream *u, struct buf *body,
                                   struct upstream_call *call,
                                   const struct api_request *r,
                                   const struct upstream_ask *ask, struct api_error *err);

/* How backends count the tokens of a prompt, tools and template included. */
enum upstream_counter {
    UPSTREAM_COUNT_NONE,      // not at all: estimate
    UPSTREAM_COUNT_ANTHROPIC, // POST /v1/messages/count_tokens: Anthropic, Turbine, and
                              // llama.cpp's server before it had the next
    UPSTREAM_COUNT_LLAMA, // POST /v1/chat/completions/input_tokens: llama.cpp's server
    UPSTREAM_COUNT_VLLM,  // POST /tokenize with messages
};

/* The same for a count; r is of API_CHAT or API_COUNT.  What cannot be said to the
 * counter (sampling, max_tokens) does not change the count and is left out. */
enum status upstream_print_count(enum upstream_counter c, struct buf *body,
                                 struct upstream_call *call, const struct api_request *r,
                                 const struct upstream_ask *ask, struct api_error *err);
/* The count in a reply of status 200, -1 if there is none. */
int upstream_read_count(const char *body, size_t n);

/* ---- replies ---- */

enum upstream_state {
    UPSTREAM_OPEN,   // more is awaited
    UPSTREAM_DONE,   // END of each choice was sent; what follows is not looked at
    UPSTREAM_FAILED, // ERROR was sent, nothing else will be: end the connection
};

/* Called from feed and finish; the event and what it points to is valid until it returns.
 * A client's writer can be given the event as it is. */
typedef void upstream_sink(void *ctx, const struct answer_event *e);

struct upstream_reader_setup {
    const struct upstream *upstream;
    const struct api_request *request; // that was translated; outlives the reader
    bool stream;                       // the reply's content type is one of a stream
    const char *id; // answer_head.id: ids of calls that come without one are made of it
    upstream_sink *sink;
    void *ctx;
    size_t max_bytes; // of the reply; 0: UPSTREAM_REPLY_MAX
};

#define UPSTREAM_REPLY_MAX ((size_t)256 << 20) // bytes of a reply, all together
#define UPSTREAM_EVENT_MAX ((size_t)16 << 20)  // of one event or line of a stream
#define UPSTREAM_ARGS_MAX ((size_t)16 << 20)   // of the arguments of all calls
enum {
    UPSTREAM_CALLS_MAX = 128, // of an answer
    UPSTREAM_DEPTH_MAX = 64,  // nesting of JSON
};

struct upstream_reader;

/* Whether a content type (NULL: none was sent) is one of a stream: text/event-stream,
 * application/x-ndjson and its aliases. */
bool upstream_is_stream(const char *content_type);

/* A reader of a reply with status 200; others are for upstream_read_error.  NULL without
 * memory.
 *
 * Events of a choice are in the order of answer.h: a call's pieces are held back as long
 * as another call is open.  ids of calls are unique, also among those of the request:
 * one that is not is replaced.  Usage is in each END; of several choices, the first has
 * it.  Times are those that the backend told, total_us is the caller's to add. */
struct upstream_reader *upstream_reader_open(const struct upstream_reader_setup *s);
/* Bytes of the body, cut anywhere. */
enum upstream_state upstream_reader_feed(struct upstream_reader *r, const char *bytes,
                                         size_t n);
/* The body ended.  why: NULL, or what broke it off ("the connection was reset").  Without
 * the end mark of its API this is an error. */
enum upstream_state upstream_reader_finish(struct upstream_reader *r, const char *why);
/* What is known so far; false: nothing. */
bool upstream_reader_usage(const struct upstream_reader *r, struct answer_usage *out);
void upstream_reader_close(struct upstream_reader *r);

/* *out <- what a reply with an HTTP status of 400 and more says: of any of the three
 * shapes, of vLLM's and FastAPI's, a page of HTML, or nothing.  retry_after: the header,
 * NULL if it was not sent.  Known words for a prompt that is too long give
 * API_ERROR_TOO_LONG, with the numbers that they name. */
void upstream_read_error(struct api_error *out, int http_status, const char *retry_after,
                         const char *body, size_t n);
/* What went wrong before there was a status: nobody listens, a timeout, TLS.  502. */
void upstream_no_reply(struct api_error *out, const char *why);

/* ---- embeddings and models ---- */

/* *out <- the vectors of a reply with status 200, n_expected of them, all of one length;
 * out->vectors is freed by upstream_embeddings_release. */
enum status upstream_read_embeddings(const struct upstream *u, struct api_embeddings *out,
                                     int n_expected, const char *body, size_t n,
                                     struct api_error *err);
void upstream_embeddings_release(struct api_embeddings *e);

/* Strings are those of `owner`; what a list does not say is "", 0. */
struct upstream_model {
    const char *id;
    const char *display_name; // Anthropic
    const char *digest;       // Ollama, Turbine
    int64_t created_us;       // since 1970
    uint64_t bytes;
    int n_ctx; // most tokens of prompt and answer: vLLM's max_model_len, llama.cpp's
               // meta.n_ctx, Anthropic's max_input_tokens; else that of training
    const json_t *entry; // as it was sent
};

struct upstream_models {
    struct upstream_model *models; // [n]
    int n;
    json_t *owner;
};

enum { UPSTREAM_MODELS_MAX = 10000 };

/* *out <- the reply to GET models_path: /v1/models of OpenAI or Anthropic, /api/tags. */
enum status upstream_read_models(const struct upstream *u, struct upstream_models *out,
                                 const char *body, size_t n, struct api_error *err);
void upstream_models_release(struct upstream_models *m);

/* ---- passing through ---- */

enum stream_form {
    STREAM_SSE_DONE,      // data: [DONE]
    STREAM_SSE_RESPONSES, // type response.completed, response.incomplete
    STREAM_SSE_STOP,      // "stop": true (llama.cpp's /completion and /infill)
    STREAM_SSE_ANTHROPIC, // type message_stop
    STREAM_LINES,         // "done": true
    STREAM_DOCUMENT,      // one JSON value
};

/* Follows the bytes of a reply that pass through unchanged, in the memory of this struct,
 * whatever their length.  Set by stream_watch_init and read as it is; what is below
 * `usage` is private. */
struct stream_watch {
    enum stream_form form;
    bool ended;       // the end mark came, whole
    bool failed;      // the backend itself sent an error event
    bool at_boundary; // the last byte ended an event: one of ours may follow
    bool has_usage;
    bool has_text; // something of the answer came: text, reasoning or a call
    uint64_t n_bytes, n_event;
    struct answer_usage usage; // tokens; times where the backend tells them

    uint8_t line;    // which part of a line the next byte is in
    uint8_t n_done;  // characters of [DONE] that are there; 255: another text
    uint8_t keys[8]; // of the members that the value being read is in
    bool after_cr, in_string, escape, is_value, end_seen;
    bool begun; // of the JSON value
    bool odd;   // there is something that is none
    int depth;
    unsigned n_word, n_field;
    char word[32], field[8];
    int n_read, n_created; // of Anthropic's prompt, beside what is new in it
    int n_new;
};

/* What the reply to a client's operation looks like; stream: it is one. */
void stream_watch_init(struct stream_watch *w, const struct api_operation *op,
                       bool stream);
/* Look at n bytes.  Returns how many of them, from the first on, end with an event: a
 * caller that sends no others before the rest of their event came is always at a
 * boundary when the backend dies.  (0 with a long event: they may be sent all the same.)
 */
size_t stream_watch_feed(struct stream_watch *w, const char *bytes, size_t n);

/* What tells a client in the middle of a stream that no more comes, in the form of the
 * operation.  at_boundary false: the event that is cut is ended first, in the way that
 * clients notice least. */
void upstream_print_stream_error(struct buf *out, const struct api_operation *op,
                                 const struct api_error *e, const char *request_id,
                                 bool at_boundary);

#endif
