/* server.h - one model behind three APIs: OpenAI, Anthropic, Ollama.
 *
 * Workers parse requests, render prompts and print answers; the scheduler's thread
 * computes; http's thread sends.  A request that goes wrong is an answer in its own
 * dialect and nothing else.  docs/design.md has the rules of access. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include <jansson.h>

#include "engine/scheduler.h"
#include "http/http.h"

struct server;
struct store;
struct pull_options;

struct server_options {
    const char *host; // to bind
    int port;         // 0: any
    int n_worker;     // 0: 4
    int n_queue;      // of the scheduler: with as many waiting it is not ready
    struct http_limits limits;
    const char *model_path; // of the file that the engine has
    const char *model_name; // NULL: the name of that file
    const char *kv_name;    // type of the cache, as shown
    const char *aliases;    // "a,b": more names of the model, or NULL
    bool any_model;         // any name that a client asks for means this model
    const char *api_key;    // NULL: none
    bool insecure;          // without a key although not bound to loopback
    const char *origins;    // "https://a,https://b" that browsers may call from, or "*"
    const char *allow_host; // "name,name": more values of Host
    uint64_t drain_us;      // how long answers may take when the server ends; 0: 30 s
    uint64_t ping_us;       // of silence before a stream says that it lives; 0: 10 s
    size_t replay_bytes;    // of what the model wrote when it called tools; 0: 64 MiB
    bool log;               // JSON lines on stderr
    struct store *store;    // whose models it serves; NULL: none
    /* How /api/pull fetches; NULL: it is refused.  Of its functions only
     * `package` is used, and not with its ctx. */
    const struct pull_options *pull;
    bool no_prune; // blobs that nothing names stay when it starts
    /* What the model's Modelfile says, for requests that do not. */
    /* What the model's file says, without bias; NAN, top_k -1 and repeat_last_n -2: it
     * does not.  NULL: nothing. */
    const struct sampler_params *sampling;
    const char *const *stop; // [n_stop], at most API_STOP_MAX
    int n_stop;
    const char *system;     // NULL: none
    const json_t *messages; // that chats start with; NULL: none
};

/* Listens on return.  STATUS_BAD_ARG: another bind than loopback without a key.  The
 * engine, the scheduler and all strings of o outlive the server. */
enum status server_open(struct server **out, struct engine *e, struct scheduler *sched,
                        const struct server_options *o, struct error *err);
void server_close(struct server *s);
const char *server_url(const struct server *s); // "http://127.0.0.1:11434"

/* Serve until server_shutdown was called and all answers are out, or drain_us is over:
 * then they end with an error of their dialect. */
void server_run(struct server *s);
void server_shutdown(struct server *s); // any thread or signal handler

#endif
