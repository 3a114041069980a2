/* config.h - what a router is told: backends, thresholds, clients' keys, limits.
 *
 * A file has one statement a line, a word and what belongs to it; # begins a comment, and
 * words with blanks stand in double quotes:
 *
 *   threshold 16000               queue 512              retry-percent 15
 *   threshold qwen3:8b 6000       queue-timeout 60       connect-timeout 5
 *   client-key alice file:alice.key                      first-timeout 600
 *   backend http://127.0.0.1:11434                       idle-timeout 120
 *       class short               key env:NAME           concurrency 8
 *       dialects openai ollama    context 32768          weight 10
 *       model qwen3:8b [SERVED]   start turbine serve m.gguf --port 8001
 *       idle-stop 300             check-memory yes
 *       ca file.pem               proxy http://10.0.0.1:3128
 *
 * What follows `backend` belongs to it until the next one.  Every error names file and
 * line. */
#ifndef ROUTER_CONFIG_H
#define ROUTER_CONFIG_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/status.h"
#include "router/policy.h"

enum {
    CONFIG_BACKENDS_MAX = 1024,
    CONFIG_MODELS_MAX = 64, // names of a backend
    CONFIG_KEYS_MAX = 256,
    CONFIG_ARGS_MAX = 64,
    CONFIG_URL_BYTES = 1024,
};

/* Bits of the APIs that a backend speaks. */
enum { DIALECT_OPENAI = 1, DIALECT_ANTHROPIC = 2, DIALECT_OLLAMA = 4, DIALECT_ALL = 7 };

struct config_backend {
    int line;
    const char *url; // without slash at the end
    enum policy_class class;
    unsigned dialects; // 0: to be found out
    struct policy_model models[CONFIG_MODELS_MAX];
    int n_model; // 0: those it lists
    int n_ctx;   // 0: to be found out
    int weight;
    int limit;
    const char *key;     // its own API key, NULL: none
    const char *proxy;   // NULL: none
    const char *ca_file; // NULL: the system's
    const char **start;  // [n_start] argv, terminated by NULL; NULL: not ours to start
    int n_start;
    bool any_memory; // start it whatever it needs
    int idle_stop_s; // 0: never
};

struct config_key {
    const char *name, *key;
};

struct config {
    struct arena arena;              // of all strings
    struct config_backend *backends; // [n_backend]
    int n_backend;
    struct policy_threshold thresholds[CONFIG_MODELS_MAX];
    int n_threshold;
    int threshold; // 0: by what the long backends are
    struct config_key keys[CONFIG_KEYS_MAX];
    int n_key;
    int n_queue, queue_s, retry_percent, connect_s, first_s, idle_s, health_s;
};

/* The value of an environment variable that a file names, or NULL. */
typedef const char *config_lookup(const char *name);

void config_init(struct config *c);
void config_release(struct config *c);
/* The errors name path and line. */
enum status config_read_file(struct config *c, const char *path, config_lookup *lookup,
                             struct error *err);
/* The same of its bytes: text [n] with a 0 behind, which is changed; path is for errors.
 */
enum status config_read_text(struct config *c, const char *path, char *text, size_t n,
                             config_lookup *lookup, struct error *err);
/* A backend from the command line: a URL. */
enum status config_add(struct config *c, const char *url, enum policy_class class,
                       struct error *err);
/* There is something to route to, and nothing twice.  path as shown, NULL: the command
 * line. */
enum status config_check(const struct config *c, const char *path, struct error *err);

/* Bits of "openai", "anthropic", "ollama"; 0: none of them. */
unsigned config_dialect(const char *name);

#endif
