/* cmd_serve.c - turbine serve: the APIs of OpenAI, Anthropic and Ollama. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/agent.h"
#include "cli/calibrate.h"
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/key_file.h"
#include "cli/models.h"
#include "cli/pull_settings.h"
#include "cli/server_link.h"
#include "dialect/ollama_keep_alive.h"
#include "server/server.h"

enum { CTX_LEAST = 64, CTX_MOST = 1 << 24, MAX_LOADED = 3 };

struct serve {
    const struct cli_command *command;
    struct server_options o;
    struct environment_host address;
    struct pull_options pull;
    const char *key_file, *ctx, *keep;
    int queue_s, drain_s;
    bool quiet;
    char key[KEY_BYTES];
    char path[STORE_PATH_BYTES], name[MODEL_NAME_BYTES];
    struct store *store;
    struct server *server;
};

/* ---- the API key ---- */

static enum status find_key(struct serve *v, struct error *err)
{
    const enum status s = key_find(v->key, v->key_file, err);
    v->o.api_key = *v->key ? v->key : NULL;
    return s;
}

/* ---- the environment ---- */

/* Where options do not say where to listen, HOST does: a URL of http without a path. */
static enum status take_address(struct serve *v, struct error *err)
{
    const enum status s = environment_host(&v->address, err);
    if (s)
        return s;
    if (!v->o.host && (v->address.https || *v->address.path))
        return fail(err, STATUS_BAD_INPUT,
                    "%s is '%s': serve speaks http, and its paths begin at '/'; --host "
                    "and --port say where it listens",
                    environment_source("HOST"), environment_text("HOST"));
    if (!v->o.host)
        v->o.host = v->address.host;
    if (v->o.port < 0)
        v->o.port = v->address.port;
    return STATUS_OK;
}

/* Default < environment < option; a model's PARAMETERs stand between the last two. */
static enum status take_environment(struct serve *v, struct error *err)
{
    struct model_settings *m = &v->o.models;
    int most = 0;
    int64_t keep = 0;
    enum status s = environment_check(err);
    if (s || (s = take_address(v, err)))
        return s;
    m->defaults.kv = environment_text("KV_CACHE_TYPE");
    m->defaults.kv_source = environment_source("KV_CACHE_TYPE");
    environment_count("CONTEXT_LENGTH", &m->defaults.n_ctx);
    environment_count("NUM_PARALLEL", &m->defaults.n_parallel);
    if (!m->n_queue)
        environment_count("MAX_QUEUE", &m->n_queue);
    environment_count("MAX_LOADED_MODELS", &most);
    if (m->max_loaded < 0)
        m->max_loaded = most ? most : MAX_LOADED;
    if (environment_text("KEEP_ALIVE")) {
        environment_duration("KEEP_ALIVE", &keep);
        m->keep_us = keep ? keep : SERVER_KEEP_NONE;
    }
    if (!v->o.origins)
        v->o.origins = environment_text("ORIGINS");
    environment_warn();
    return STATUS_OK;
}

/* ---- options that are words ---- */

static enum status read_ctx(struct serve *v, struct error *err)
{
    char *end;
    if (!v->ctx || !strcmp(v->ctx, "auto"))
        return STATUS_OK;
    const long n = strtol(v->ctx, &end, 10);
    if (end == v->ctx || *end || n < CTX_LEAST || n > CTX_MOST)
        return fail(err, STATUS_BAD_ARG,
                    "--ctx takes auto or a whole number between %d and %d, not '%s'",
                    CTX_LEAST, CTX_MOST, v->ctx);
    v->o.models.n_ctx = (int)n;
    return STATUS_OK;
}

/* Numbers are seconds, as in requests. */
static enum status read_keep(struct serve *v, struct error *err)
{
    int64_t us;
    char *end;
    if (!v->keep)
        return STATUS_OK;
    const double seconds = strtod(v->keep, &end);
    json_t *j = end != v->keep && !*end ? json_real(seconds) : json_string(v->keep);
    const bool ok = j && ollama_keep_alive(j, &us);
    json_decref(j);
    if (!ok)
        return fail(err, STATUS_BAD_ARG,
                    "--keep-alive takes seconds or a duration (5m, 1h30m; -1: for ever), "
                    "not '%s'",
                    v->keep);
    v->o.models.keep_us = us ? us : SERVER_KEEP_NONE;
    return STATUS_OK;
}

/* ---- running ---- */

static struct server *running;

static void on_end_signal(int number)
{
    static volatile sig_atomic_t count;
    if (count++)
        _exit(128 + number);
    server_shutdown(running);
}

static void catch_end_signals(struct server *s)
{
    struct sigaction a = {.sa_handler = on_end_signal};
    running = s;
    sigemptyset(&a.sa_mask);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
}

static enum status calibrate(void *ctx, struct engine *e, const struct kv_types *kv,
                             struct error *err)
{
    (void)ctx;
    return cli_calibrate(e, "serve", kv, 1, err);
}

/* A path is as it is; a name must be one of the store's. */
static enum status choose_start(struct serve *v, const char *arg, struct error *err)
{
    struct model_choice m;
    const enum status s = models_choose(&m, arg, err);
    if (!s && m.stored) {
        snprintf(v->name, sizeof v->name, "%s", m.name);
        v->o.model_name = v->name;
    } else if (!s) {
        snprintf(v->path, sizeof v->path, "%s", m.path);
        v->o.model_path = v->path;
    }
    models_close(&m);
    return s;
}

/* Ollama on its port is what most people meet first. */
static enum status say_who_listens(const struct serve *v, enum status s,
                                   const struct error *why, struct error *err)
{
    char url[SERVER_LINK_URL_BYTES], who[SERVER_LINK_TEXT_BYTES];
    const int n = snprintf(url, sizeof url, "http://%s:%d", v->o.host, v->o.port);
    const bool known = !strncmp(why->text, "cannot listen on ", 17) && v->o.port &&
                       !strchr(v->o.host, ':') && n < (int)sizeof url &&
                       server_link_kind(url, who) != SERVER_LINK_NONE;
    return known ? fail(err, s,
                        "%s: %s; end it, or take another port (--port %d; TURBINE_HOST "
                        "tells it to the other commands)",
                        why->text, who, v->o.port % 65535 + 1)
                 : fail(err, s, "%s", why->text);
}

static enum status open_serve(struct serve *v, const char *arg, struct error *err)
{
    struct kv_types kv;
    struct error why;
    enum status s;
    if ((s = take_environment(v, err)) || (s = find_key(v, err)) ||
        (s = read_ctx(v, err)) || (s = read_keep(v, err)) ||
        (v->o.models.kv && (s = kv_types_parse(&kv, v->o.models.kv, err))) ||
        (s = models_open(&v->store, err)) || (arg && (s = choose_start(v, arg, err))))
        return s;
    v->o.store = v->store;
    v->o.models.queue_us = (uint64_t)v->queue_s * 1000000;
    v->o.models.calibrate = calibrate;
    v->o.limits = http_limits_default;
    v->o.drain_us = (uint64_t)v->drain_s * 1000000;
    v->o.log = !v->quiet;
    pull_settings_read(&v->pull);
    if ((s = pull_settings_check(&v->pull, err)))
        return s;
    v->o.pull = &v->pull;
    v->o.no_prune = environment_flag("NOPRUNE");
    s = server_open(&v->server, NULL, NULL, &v->o, &why);
    return s ? say_who_listens(v, s, &why, err) : s;
}

/* Without a model of the command line: what there is. */
static void print_store(const struct serve *v)
{
    struct store_entry *list = NULL;
    int n = 0;
    if (store_list(v->store, &list, &n, NULL))
        n = 0;
    mem_free(list);
    if (n)
        fprintf(stderr,
                "turbine serve: %d model%s, each loaded when a request names it\n", n,
                n == 1 ? "" : "s");
    else
        fputs("turbine serve: no models yet; 'turbine pull NAME' gets one\n", stderr);
}

static void print_start(const struct serve *v)
{
    const int n_ctx = server_start_n_ctx(v->server);
    const char *note = server_start_note(v->server);
    if (n_ctx)
        fprintf(stderr, "turbine serve: %s\n", server_start_text(v->server));
    else
        print_store(v);
    if (*note)
        fprintf(stderr, "turbine serve: note: %s\n", note);
    if (n_ctx && n_ctx < AGENT_CTX_GOOD)
        fprintf(
            stderr,
            "turbine serve: note: coding agents need %d tokens of context, and want %d "
            "(--ctx)\n",
            AGENT_CTX_LEAST, AGENT_CTX_GOOD);
    printf("listening on %s\n", server_url(v->server));
    fflush(stdout);
}

static int run_serve(struct serve *v, const char *arg)
{
    struct error err;
    int rc = CLI_OK;
    if (open_serve(v, arg, &err)) {
        rc = cli_fail(v->command, &err);
    } else {
        catch_end_signals(v->server);
        print_start(v);
        server_run(v->server);
    }
    server_close(v->server);
    store_close(v->store);
    return rc;
}

int cmd_serve(int argc, char **argv)
{
    struct serve v = {
        .o = {.port = -1,
              .models = {.max_loaded = -1, .tail = -1, .cpu = CPU_ISA_COUNT - 1}},
        .queue_s = 60,
        .drain_s = 30};
    struct model_settings *m = &v.o.models;
    const struct cli_option options[] = {
        {"--host", CLI_STRING, &v.o.host, 0, 0,
         "HOST  to listen on (default 127.0.0.1); others need a key"},
        {"--port", CLI_INT, &v.o.port, 0, 65535,
         "N  (default 11434; 0: any that is free)"},
        {"--ctx", CLI_STRING, &v.ctx, 0, 0,
         "N  tokens of context of a request, or auto (default): the model's, as far as "
         "memory allows"},
        {"--kv", CLI_STRING, &m->kv, 0, 0,
         "K[/V]  type of the cache: turbo4 (default), turbo8/turbo4, f16 ..."},
        {"--tail", CLI_INT, &m->tail, 0, KV_TAIL_MAX,
         "N  tokens behind the newest that the cache keeps exact (default 128)"},
        {"--parallel", CLI_INT, &m->n_parallel, 1, CONTEXT_SEQUENCES_MAX,
         "N  answers of a model at a time (default 4)"},
        {"--queue", CLI_INT, &m->n_queue, 1, 1 << 20,
         "N  requests that wait for a model; more are refused (default 64, or 2 x "
         "parallel)"},
        {"--queue-timeout", CLI_INT, &v.queue_s, 0, 86400,
         "S  seconds that they wait at most (default 60, 0: for ever)"},
        {"--keep-alive", CLI_STRING, &v.keep, 0, 0,
         "T  how long a model stays behind its last request (default 5m; 0: not at all, "
         "-1: for ever; MODEL stays)"},
        {"--max-loaded", CLI_INT, &m->max_loaded, 0, 1024,
         "N  models in memory at a time (default 3; 0: as many as fit)"},
        {"--memory", CLI_BYTES, &m->memory, 0, 0,
         "BYTES  that models may take together (default: what there is, with a reserve)"},
        {"--api-key-file", CLI_STRING, &v.key_file, 0, 0,
         "FILE  with the API key, mode 0600 (else TURBINE_API_KEY)"},
        {"--insecure-no-auth", CLI_FLAG, &v.o.insecure, 0, 0,
         "serve other machines without a key"},
        {"--alias", CLI_STRING, &v.o.aliases, 0, 0, "A,B  more names of MODEL"},
        {"--any-model", CLI_FLAG, &v.o.any_model, 0, 0,
         "answer names that no model has by MODEL"},
        {"--origins", CLI_STRING, &v.o.origins, 0, 0,
         "A,B  web pages that may call (https://x.example), or *"},
        {"--allow-host", CLI_STRING, &v.o.allow_host, 0, 0,
         "A,B  more names that clients may call this host"},
        {"--threads", CLI_INT, &m->n_thread, 1, 256,
         "N  compute threads (default: physical cores)"},
        {"--http-threads", CLI_INT, &v.o.n_worker, 1, 256,
         "N  that read requests and print answers (default 4)"},
        {"--drain", CLI_INT, &v.drain_s, 1, 3600,
         "S  seconds that answers may take after SIGTERM (default 30)"},
        {"--quiet", CLI_FLAG, &v.quiet, 0, 0, "no line of log for each request"},
        {"--cpu", CLI_CPU, &m->cpu, 0, 0,
         "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni, amx"},
        {"TURBINE_*", CLI_ENVIRONMENT, NULL, 0, 0, ""},
        {0},
    };
    const struct cli_command command = {
        "serve",
        "[MODEL]",
        "Serve the APIs of OpenAI, Anthropic and Ollama, and a web page, for the models "
        "that\n'turbine list' shows: each is loaded when a request names it, and goes "
        "when it was not\nused for a while.  " MODELS_HELP
        "  It is loaded\nat the start, and stays.  What a model's Modelfile says is the "
        "default of the options\nbelow, and of requests.",
        options,
        0,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&command, argc, argv, arg);
    if (rc >= 0)
        return rc;
    v.command = &command;
    if (!arg[0] && (v.o.any_model || v.o.aliases)) {
        fprintf(stderr, "turbine serve: %s needs a MODEL\n",
                v.o.any_model ? "--any-model" : "--alias");
        return CLI_USAGE;
    }
    return run_serve(&v, arg[0]);
}
