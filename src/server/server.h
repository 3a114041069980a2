/* server.h - models behind three APIs: OpenAI, Anthropic, Ollama.
 *
 * Workers parse requests, render prompts and print answers; each model's scheduler has a
 * thread that computes; one thread loads and unloads models; http's thread sends.  A
 * request that goes wrong is an answer in its own dialect and nothing else.
 * docs/design.md has the rules of access. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <jansson.h>

#include "engine/scheduler.h"
#include "http/http.h"
#include "server/model_params.h"

struct server;

/* How models are loaded, as the command line says it: what is 0 or NULL is the model's
 * PARAMETER, else the default. */
struct model_settings {
    const char *kv; // type of the cache
    int tail;       // tokens that it keeps exact behind the newest; below 0: not said
    int n_ctx;      // of a request; default: the model's, as far as memory allows
    struct model_param_defaults defaults; // for models that do not say
    int n_parallel;                       // answers at a time; default 4
    int n_thread;
    int n_queue;       // requests that wait for a model; default 64, or 2 x n_parallel
    uint64_t queue_us; // how long they do; 0: for ever
    enum cpu_isa cpu;  // at most
    size_t memory;     // most bytes of all models; 0: what there is
    int max_loaded;    // most models at a time; 0: as many as memory allows
    int64_t keep_us;   // that a model stays behind its last request; 0: five minutes,
                       // SERVER_KEEP_NONE: not at all, SERVER_KEEP_FOREVER
    /* Where calibrations are kept is known to the caller alone; NULL: there are none. */
    enum status (*calibrate)(void *ctx, struct engine *e, const struct kv_types *kv,
                             struct error *err);
    void *ctx;
};

#define SERVER_KEEP_NONE (-1)
#define SERVER_KEEP_FOREVER INT64_MAX

struct server_options {
    const char *host; // to bind
    int port;         // 0: any
    int n_worker;     // 0: 4
    int n_queue;      // of the scheduler that was given: so many may wait
    struct http_limits limits;
    struct store *store; // whose models are served; NULL: none
    /* How /api/pull fetches; NULL: it is refused.  Of its functions only
     * `package` is used, and not with its ctx. */
    const struct pull_options *pull;
    bool no_prune; // blobs that nothing names stay when it starts
    /* The model that is loaded at the start and stays: a file, or a name of the store;
     * both NULL: none.  The names below are names of it. */
    const char *model_path;
    const char *model_name; // with a path: shown in place of the file's name
    const char *kv_name;    // type of the cache of an engine that was given, as shown
    const char *aliases;    // "a,b": more names of the model, or NULL
    bool any_model;         // names that nothing else has mean this model
    struct model_settings models;
    const char *api_key;    // NULL: none
    bool insecure;          // without a key although not bound to loopback
    const char *origins;    // "https://a,https://b" that browsers may call from, or "*"
    const char *allow_host; // "name,name": more values of Host
    uint64_t drain_us;      // how long answers may take when the server ends; 0: 30 s
    uint64_t ping_us;       // of silence before a stream says that it lives; 0: 10 s
    size_t replay_bytes;    // of what a model wrote when it called tools; 0: 64 MiB
    bool log;               // JSON lines on stderr
};

/* Listens on return, with the model of the options in memory.  STATUS_BAD_ARG: another
 * bind than loopback without a key.  e and sched (both or none): the model of model_path,
 * opened by the caller.  These, the store and all strings of o outlive the server. */
enum status server_open(struct server **out, struct engine *e, struct scheduler *sched,
                        const struct server_options *o, struct error *err);
void server_close(struct server *s);
const char *server_url(const struct server *s); // "http://127.0.0.1:11434"
/* Of the model that was loaded at the start: its context and cache, and how they were
 * chosen; "" for none. */
const char *server_start_text(const struct server *s);
int server_start_n_ctx(const struct server *s); // 0: no model
/* What a person may not expect of its template and its context, or "". */
const char *server_start_note(const struct server *s);

/* Serve until server_shutdown was called and all answers are out, or drain_us is over:
 * then they end with an error of their dialect. */
void server_run(struct server *s);
void server_shutdown(struct server *s); // any thread or signal handler

#endif
