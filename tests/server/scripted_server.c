/* scripted_server.c - the whole server with a scheduler that follows a script.
 *
 *   scripted_server MODEL.gguf SCRIPT.json [--port N] [--OPTION VALUE ...]
 *
 * prints "listening on http://127.0.0.1:PORT" and serves until SIGTERM.  Options are
 * those of `turbine serve` and the limits, in milliseconds, that tests make short. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scripted.h"
#include "server/server.h"

static struct server *running;

static void on_signal(int number)
{
    static volatile sig_atomic_t count;
    (void)number;
    if (count++)
        _exit(1);
    server_shutdown(running);
}

static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal};
    sigemptyset(&a.sa_mask);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
}

static bool take_text(struct server_options *o, const char *name, const char *v)
{
    const struct {
        const char *name;
        const char **out;
    } texts[] = {{"--host", &o->host},
                 {"--api-key", &o->api_key},
                 {"--alias", &o->aliases},
                 {"--origins", &o->origins},
                 {"--allow-host", &o->allow_host}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(name, texts[i].name)) {
            *texts[i].out = v;
            return true;
        }
    return false;
}

static bool take_number(struct server_options *o, const char *name, const char *v)
{
    const long n = strtol(v, NULL, 10);
    const uint64_t us = (uint64_t)n * 1000;
    if (!strcmp(name, "--port"))
        o->port = (int)n;
    else if (!strcmp(name, "--workers"))
        o->n_worker = (int)n;
    else if (!strcmp(name, "--drain-ms"))
        o->drain_us = us;
    else if (!strcmp(name, "--ping-ms"))
        o->ping_us = us;
    else if (!strcmp(name, "--header-ms"))
        o->limits.header_us = us;
    else if (!strcmp(name, "--body-ms"))
        o->limits.body_idle_us = us;
    else if (!strcmp(name, "--keep-alive-ms"))
        o->limits.keep_alive_us = us;
    else if (!strcmp(name, "--write-ms"))
        o->limits.write_us = us;
    else if (!strcmp(name, "--keep"))
        o->limits.n_keep = (int)n;
    else if (!strcmp(name, "--body-bytes"))
        o->limits.body_bytes = (size_t)n;
    else if (!strcmp(name, "--all-bodies"))
        o->limits.all_bodies = (size_t)n;
    else
        return false;
    return true;
}

static bool take_options(struct server_options *o, int argc, char **argv)
{
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--any-model"))
            o->any_model = true;
        else if (!strcmp(argv[i], "--insecure-no-auth"))
            o->insecure = true;
        else if (!strcmp(argv[i], "--log"))
            o->log = true;
        else if (i + 1 < argc && (take_text(o, argv[i], argv[i + 1]) ||
                                  take_number(o, argv[i], argv[i + 1])))
            i++;
        else
            return false;
    }
    return true;
}

static enum status open_all(struct engine *e, struct scheduler **s, json_t *script,
                            const struct server_options *o, struct error *err)
{
    enum status st =
        engine_open(e, o->model_path, ENGINE_TEXT, 1, CPU_ISA_COUNT - 1, err);
    if (!st)
        st = scripted_open(s, e, script, err);
    return st ? st : server_open(&running, e, *s, o, err);
}

int main(int argc, char **argv)
{
    struct server_options o = {.host = "127.0.0.1", .kv_name = "turbo4"};
    struct engine e = {0};
    struct scheduler *s = NULL;
    struct error err;
    json_error_t why;
    o.limits = http_limits_default;
    if (argc < 3 || !take_options(&o, argc, argv)) {
        fputs("usage: scripted_server MODEL.gguf SCRIPT.json [OPTION VALUE ...]\n",
              stderr);
        return 2;
    }
    o.model_path = argv[1];
    json_t *script = json_load_file(argv[2], 0, &why);
    if (!script) {
        fprintf(stderr, "%s: %s (line %d)\n", argv[2], why.text, why.line);
        return 1;
    }
    o.n_queue = (int)json_integer_value(json_object_get(script, "queue"));
    const enum status st = open_all(&e, &s, script, &o, &err);
    if (st) {
        fprintf(stderr, "scripted_server: %s\n", err.text);
    } else {
        catch_signals();
        printf("listening on %s\n", server_url(running));
        fflush(stdout);
        server_run(running);
    }
    server_close(running);
    if (s)
        scheduler_close(s);
    engine_close(&e);
    json_decref(script);
    return st != STATUS_OK;
}
