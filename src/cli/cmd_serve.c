/* cmd_serve.c - turbine serve: the APIs of OpenAI, Anthropic and Ollama for one model. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/calibrate.h"
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/models.h"
#include "cli/pull_settings.h"
#include "kv/kv.h"
#include "server/server.h"

enum {
    PARALLEL = 4,
    QUEUE_LEAST = 64,
    CTX_AUTO_MAX = 131072,
    CTX_AUTO_MIN = 2048,
    CTX_BESIDE = 8192
};

struct serve {
    const struct cli_command *command;
    struct server_options o;
    struct environment_host address;
    struct store *store;
    struct pull_options pull;
    const char *kv, *key_file;
    int ctx, tail, threads, parallel, queue, queue_s, drain_s;
    bool quiet;
    enum cpu_isa cpu;
    char key[512];
    char kv_name[KV_NAME_BYTES];
    struct model_choice model;
    struct sampler_params sampling;
    const char *stops[MODELS_STOP_MAX];
    struct engine engine;
    struct scheduler *scheduler;
    struct server *server;
};

/* ---- the API key ---- */

static enum status read_key_file(struct serve *v, struct error *err)
{
    const int fd = open(v->key_file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0)
            close(fd);
        return fail(err, STATUS_IO, "%s: %s", v->key_file, strerror(errno));
    }
    const ssize_t n = read(fd, v->key, sizeof v->key - 1);
    close(fd);
    if (st.st_mode & 077)
        return fail(err, STATUS_BAD_ARG,
                    "%s can be read by others: chmod 600 it, so that the key is secret",
                    v->key_file);
    if (n == sizeof v->key - 1)
        return fail(err, STATUS_LIMIT, "%s: a key has at most %zu bytes", v->key_file,
                    sizeof v->key - 2);
    v->key[n > 0 ? strcspn(v->key, " \r\n") : 0] = 0;
    if (!*v->key)
        return fail(err, STATUS_BAD_INPUT, "%s: no key in its first line", v->key_file);
    return STATUS_OK;
}

/* --api-key-file, else TURBINE_API_KEY: never on the command line, which others see. */
static enum status find_key(struct serve *v, struct error *err)
{
    if (v->key_file) {
        const enum status s = read_key_file(v, err);
        if (s)
            return s;
    } else {
        const char *key = environment_text("API_KEY");
        snprintf(v->key, sizeof v->key, "%s", key ? key : "");
    }
    v->o.api_key = *v->key ? v->key : NULL;
    return STATUS_OK;
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

/* Default < environment < option; what a Modelfile may say, too, is in take_model. */
static enum status take_environment(struct serve *v, struct error *err)
{
    int parallel = 0, queue = 0;
    enum status s = environment_check(err);
    if (s || (s = take_address(v, err)))
        return s;
    environment_count("NUM_PARALLEL", &parallel);
    environment_count("MAX_QUEUE", &queue);
    if (!v->parallel)
        v->parallel = parallel ? parallel : PARALLEL;
    if (!v->queue)
        v->queue = queue                           ? queue
                   : v->parallel * 2 > QUEUE_LEAST ? v->parallel * 2
                                                   : QUEUE_LEAST;
    if (!v->o.origins)
        v->o.origins = environment_text("ORIGINS");
    environment_warn();
    return STATUS_OK;
}

/* ---- how much context ---- */

static bool plan_fits(const struct serve *v, const struct context_options *o,
                      size_t available)
{
    struct scheduler_memory m;
    return !scheduler_plan(&m, v->engine.model, o, NULL) &&
           m.pages + m.states + m.scratch < available / 4 * 3;
}

/* As long as the model was trained for, at most CTX_AUTO_MAX, with pages for one answer
 * of that length and others of CTX_BESIDE; what does not fit into memory shrinks, first
 * the others. */
static void choose_context(const struct serve *v, struct context_options *o)
{
    const size_t available = mem_available();
    const int n_train = model_hparams(v->engine.model)->n_ctx_train;
    o->n_ctx = v->ctx ? v->ctx : n_train < CTX_AUTO_MAX ? n_train : CTX_AUTO_MAX;
    for (;;) {
        const int beside = kv_pages_for(o->n_ctx < CTX_BESIDE ? o->n_ctx : CTX_BESIDE);
        for (int n = v->parallel; n >= 1; n = n > 2 ? 2 : n - 1) {
            o->n_page = kv_pages_for(o->n_ctx) + (n - 1) * beside;
            if (!available || plan_fits(v, o, available))
                return;
        }
        if (v->ctx || o->n_ctx / 2 < CTX_AUTO_MIN)
            return; // scheduler_open says what is missing
        o->n_ctx /= 2;
    }
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

/* What the command line leaves open is the model's PARAMETER, else the environment's,
 * else the default; the rest of its Modelfile is for requests that do not say it. */
static enum status take_model(struct serve *v, struct error *err)
{
    const struct model_choice *m = &v->model;
    double threads = 0;
    enum status s;
    v->sampling = (struct sampler_params){.temp = NAN,
                                          .top_k = -1,
                                          .top_p = NAN,
                                          .min_p = NAN,
                                          .typical_p = NAN,
                                          .repeat_penalty = NAN,
                                          .repeat_last_n = -2,
                                          .presence_penalty = NAN,
                                          .frequency_penalty = NAN};
    if ((s = models_sampling(m, &v->sampling, err)) ||
        (s = models_stops(m, v->stops, &v->o.n_stop, err)) ||
        (s = models_ctx(m, v->ctx, &v->ctx, err)) ||
        (s = models_number(m, "num_thread", 0, 256, &threads, err)))
        return s;
    v->threads = v->threads ? v->threads : (int)threads;
    v->o.model_path = m->path;
    v->o.model_name = m->stored ? m->name : NULL;
    v->o.sampling = &v->sampling;
    v->o.stop = v->stops;
    v->o.system = m->m.system.len ? m->m.system.data : NULL;
    v->o.messages = m->m.messages;
    return STATUS_OK;
}

static enum status open_serve(struct serve *v, const char *arg, struct error *err)
{
    enum status s = take_environment(v, err);
    if (s)
        return s;
    struct scheduler_options so = {.n_queue = v->queue,
                                   .queue_us = (uint64_t)v->queue_s * 1000000};
    struct context_options *co = &so.context;
    if ((s = find_key(v, err)) || (s = models_choose(&v->model, arg, err)) ||
        (s = take_model(v, err)) ||
        (s = models_kv(&v->model, v->kv, v->tail, &co->kv, err)) ||
        (s = engine_open(&v->engine, v->model.path, ENGINE_TEXT, v->threads, v->cpu,
                         err)) ||
        (s = models_template(&v->model, "serve", &v->engine, err)) ||
        (s = cli_calibrate(&v->engine, "serve", &co->kv, 1, err)))
        return s;
    co->calibration = v->engine.calibration;
    co->n_seq = v->parallel;
    choose_context(v, co);
    if ((s = scheduler_open(&v->scheduler, &v->engine, &so, err)))
        return s;
    v->o.kv_name = kv_types_name(v->kv_name, &co->kv);
    v->o.limits = http_limits_default;
    v->o.n_queue = so.n_queue;
    v->o.drain_us = (uint64_t)v->drain_s * 1000000;
    v->o.log = !v->quiet;
    pull_settings_read(&v->pull);
    if ((s = pull_settings_check(&v->pull, err)) || (s = models_open(&v->store, err)))
        return s;
    v->o.store = v->store;
    v->o.pull = &v->pull;
    v->o.no_prune = environment_flag("NOPRUNE");
    return server_open(&v->server, &v->engine, v->scheduler, &v->o, err);
}

static void print_start(const struct serve *v)
{
    const struct context *c = scheduler_context(v->scheduler);
    struct scheduler_stats m;
    scheduler_stats(v->scheduler, &m);
    const int n_ctx = context_n_ctx(c);
    const int n_train = model_hparams(v->engine.model)->n_ctx_train;
    fprintf(
        stderr,
        "turbine serve: %d tokens of context, %d answers at a time; cache %s: %.1f MiB "
        "of pages for %d tokens in all, %.1f MiB exact\n",
        n_ctx, v->parallel, v->kv_name, (double)m.n_page * (double)m.page_bytes / 0x1p20,
        m.n_page * KV_PAGE_TOKENS, (double)m.state_bytes / 0x1p20);
    if (n_ctx > n_train)
        fprintf(stderr, "turbine serve: note: the model was trained for %d tokens\n",
                n_train);
    else if (n_ctx < 32768)
        fprintf(stderr, "turbine serve: note: coding agents want 32768 tokens or more\n");
    printf("listening on %s\n", server_url(v->server));
    fflush(stdout);
}

int cmd_serve(int argc, char **argv)
{
    struct serve v = {.o = {.port = -1},
                      .tail = -1,
                      .queue_s = 60,
                      .drain_s = 30,
                      .cpu = CPU_ISA_COUNT - 1};
    const struct cli_option options[] = {
        {"--host", CLI_STRING, &v.o.host, 0, 0,
         "HOST  to listen on (default 127.0.0.1); others need a key"},
        {"--port", CLI_INT, &v.o.port, 0, 65535,
         "N  (default 11434; 0: any that is free)"},
        {"--ctx", CLI_INT, &v.ctx, 64, 1 << 24,
         "N  tokens of context of a request (default: the model's, as far as memory "
         "allows)"},
        {"--kv", CLI_STRING, &v.kv, 0, 0,
         "K[/V]  type of the cache: turbo4 (default), turbo8/turbo4, f16 ..."},
        {"--tail", CLI_INT, &v.tail, 0, KV_TAIL_MAX,
         "N  tokens behind the newest that the cache keeps exact (default 128)"},
        {"--parallel", CLI_INT, &v.parallel, 1, CONTEXT_SEQUENCES_MAX,
         "N  answers at a time (default 4)"},
        {"--queue", CLI_INT, &v.queue, 1, 1 << 20,
         "N  requests that wait; more are refused (default 64, or 2 x parallel)"},
        {"--queue-timeout", CLI_INT, &v.queue_s, 0, 86400,
         "S  seconds that they wait at most (default 60, 0: for ever)"},
        {"--api-key-file", CLI_STRING, &v.key_file, 0, 0,
         "FILE  with the API key, mode 0600 (else TURBINE_API_KEY)"},
        {"--insecure-no-auth", CLI_FLAG, &v.o.insecure, 0, 0,
         "serve other machines without a key"},
        {"--alias", CLI_STRING, &v.o.aliases, 0, 0, "A,B  more names of the model"},
        {"--any-model", CLI_FLAG, &v.o.any_model, 0, 0,
         "answer whatever name a client asks for"},
        {"--origins", CLI_STRING, &v.o.origins, 0, 0,
         "A,B  web pages that may call (https://x.example), or *"},
        {"--allow-host", CLI_STRING, &v.o.allow_host, 0, 0,
         "A,B  more names that clients may call this host"},
        {"--threads", CLI_INT, &v.threads, 1, 256,
         "N  compute threads (default: physical cores)"},
        {"--http-threads", CLI_INT, &v.o.n_worker, 1, 256,
         "N  that read requests and print answers (default 4)"},
        {"--drain", CLI_INT, &v.drain_s, 1, 3600,
         "S  seconds that answers may take after SIGTERM (default 30)"},
        {"--quiet", CLI_FLAG, &v.quiet, 0, 0, "no line of log for each request"},
        {"--cpu", CLI_CPU, &v.cpu, 0, 0,
         "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni"},
        {"TURBINE_*", CLI_ENVIRONMENT, NULL, 0, 0, ""},
        {0},
    };
    const struct cli_command command = {
        "serve",
        "MODEL",
        "Serve the APIs of OpenAI, Anthropic and Ollama, and a web page.  " MODELS_HELP
        "\nWhat its Modelfile says is the default of the options below, and of requests.",
        options,
        1,
        1,
    };
    const char *arg[1];
    int rc = cli_parse(&command, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    v.command = &command;
    if (open_serve(&v, arg[0], &err)) {
        rc = cli_fail(&command, &err);
    } else {
        catch_end_signals(v.server);
        print_start(&v);
        server_run(v.server);
        rc = CLI_OK;
    }
    server_close(v.server);
    store_close(v.store);
    if (v.scheduler)
        scheduler_close(v.scheduler);
    engine_close(&v.engine);
    models_close(&v.model);
    return rc;
}
