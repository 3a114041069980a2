/* cmd_route.c - turbine route: one endpoint in front of many backends. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/executable.h"
#include "cli/key_file.h"
#include "cli/route_status.h"
#include "router/router.h"

struct route {
    struct router_options o;
    const char *shorts, *longs, *file, *check, *key_file;
    int threshold, drain_s;
    bool quiet;
    char key[KEY_BYTES];
    char program[EXECUTABLE_PATH_BYTES];
};

static enum status take_route_key(struct route *v, struct error *err)
{
    const enum status s = key_find(v->key, v->key_file, err);
    v->o.api_key = *v->key ? v->key : NULL;
    return s;
}

/* ---- the configuration ---- */

/* "URL,URL". */
static enum status add_urls(struct config *c, const char *list, enum policy_class class,
                            struct error *err)
{
    for (const char *at = list ? list : ""; *at;) {
        char url[CONFIG_URL_BYTES];
        const size_t n = strcspn(at, ",");
        if (n >= sizeof url)
            return fail(err, STATUS_LIMIT, "an address is too long");
        memcpy(url, at, n);
        url[n] = 0;
        at += n + (at[n] == ',');
        const enum status s = n ? config_add(c, url, class, err) : STATUS_OK;
        if (s)
            return s;
    }
    return STATUS_OK;
}

static enum status make_config(const struct route *v, struct config *c, struct error *err)
{
    enum status s = STATUS_OK;
    config_init(c);
    if (v->file && (v->shorts || v->longs))
        return fail(err, STATUS_BAD_ARG,
                    "--short and --long are for a router without --config");
    if (v->file)
        s = config_read_file(c, v->file, environment_foreign, err);
    if (!s)
        s = add_urls(c, v->shorts, POLICY_CLASS_SHORT, err);
    if (!s)
        s = add_urls(c, v->longs, POLICY_CLASS_LONG, err);
    if (!s && !c->n_backend)
        s = fail(
            err, STATUS_BAD_ARG,
            "nothing to route to: give --short URL and --long URL, or --config FILE");
    if (!s && !v->file)
        s = config_check(c, NULL, err);
    if (v->threshold)
        c->threshold = v->threshold;
    return s;
}

static int check_file(const struct cli_command *command, const struct route *v)
{
    struct config c;
    struct error err;
    config_init(&c);
    const enum status s = config_read_file(&c, v->check, environment_foreign, &err);
    if (!s)
        printf("%s: %d backends, %d client keys\n", v->check, c.n_backend, c.n_key);
    config_release(&c);
    return s ? cli_fail(command, &err) : CLI_OK;
}

/* ---- running ---- */

static struct router *running;

static void on_route_signal(int number)
{
    static volatile sig_atomic_t count;
    if (number == SIGHUP) {
        router_reload(running);
        return;
    }
    if (count++)
        _exit(128 + number);
    router_shutdown(running);
}

static void catch_route_signals(struct router *r)
{
    struct sigaction a = {.sa_handler = on_route_signal, .sa_flags = SA_RESTART};
    running = r;
    sigemptyset(&a.sa_mask);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGHUP, &a, NULL);
}

static enum status open_route(struct route *v, struct router **r, struct error *err)
{
    struct config c;
    enum status s = take_route_key(v, err);
    if (s)
        return s;
    s = make_config(v, &c, err);
    if (s) {
        config_release(&c);
        return s;
    }
    v->o.program = executable_self(v->program) ? v->program : NULL;
    v->o.limits = http_limits_default;
    v->o.config_path = v->file;
    v->o.threshold = v->threshold;
    v->o.lookup = environment_foreign;
    v->o.drain_us = (uint64_t)v->drain_s * 1000000;
    v->o.log = !v->quiet;
    return router_open(r, &v->o, &c, err);
}

static int run_route(const struct cli_command *command, struct route *v)
{
    struct router *r = NULL;
    struct error err;
    if (open_route(v, &r, &err))
        return cli_fail(command, &err);
    catch_route_signals(r);
    printf("listening on %s\n", router_url(r));
    fflush(stdout);
    router_run(r);
    router_close(r);
    return CLI_OK;
}

int cmd_route(int argc, char **argv)
{
    struct route v = {.o = {.host = "127.0.0.1", .port = 8000}, .drain_s = 30};
    struct route_status_options status = {.every_s = 0};
    const struct cli_option options[] = {
        {"--short", CLI_STRING, &v.shorts, 0, 0,
         "URL,URL  servers for short prompts, fast ones"},
        {"--long", CLI_STRING, &v.longs, 0, 0,
         "URL,URL  servers for long prompts, with a compressed cache"},
        {"--threshold", CLI_INT, &v.threshold, 1, 1 << 30,
         "N  tokens; longer prompts are long (default: 16000 for hybrid models, 6000 for "
         "others)"},
        {"--config", CLI_STRING, &v.file, 0, 0,
         "FILE  with backends, read again on SIGHUP; docs/router.md"},
        {"--check", CLI_STRING, &v.check, 0, 0, "FILE  say whether it is right, and end"},
        {"--host", CLI_STRING, &v.o.host, 0, 0,
         "HOST  to listen on (default 127.0.0.1); others need a key"},
        {"--port", CLI_INT, &v.o.port, 0, 65535,
         "N  (default 8000; 0: any that is free; of status: the router's)"},
        {"--api-key-file", CLI_STRING, &v.key_file, 0, 0,
         "FILE  with the clients' key, mode 0600 (else TURBINE_API_KEY)"},
        {"--insecure-no-auth", CLI_FLAG, &v.o.insecure, 0, 0,
         "serve other machines without a key"},
        {"--origins", CLI_STRING, &v.o.origins, 0, 0,
         "A,B  web pages that may call (https://x.example), or *"},
        {"--allow-host", CLI_STRING, &v.o.allow_host, 0, 0,
         "A,B  more names that clients may call this host"},
        {"--http-threads", CLI_INT, &v.o.n_worker, 1, 256,
         "N  that read requests and pass answers on (default 4)"},
        {"--drain", CLI_INT, &v.drain_s, 1, 3600,
         "S  seconds that answers may take after SIGTERM (default 30)"},
        {"--quiet", CLI_FLAG, &v.quiet, 0, 0, "no line of log for each request"},
        {"--every", CLI_INT, &status.every_s, 0, 3600,
         "S  with status: seconds between tables (default 0: one, and the end)"},
        {"--json", CLI_FLAG, &status.json, 0, 0, "with status: as JSON"},
        {0},
    };
    const struct cli_command command = {
        "route",
        "[status]",
        "One endpoint in front of servers that speak the APIs of OpenAI, Anthropic or "
        "Ollama:\nshort prompts to fast ones, long prompts to those with a compressed "
        "cache.\n'turbine route status' shows what a running router does.",
        options,
        0,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&command, argc, argv, arg);
    if (rc >= 0)
        return rc;
    if (v.check)
        return check_file(&command, &v);
    if (!arg[0])
        return run_route(&command, &v);
    if (strcmp(arg[0], "status")) {
        struct error err;
        (void)!fail(&err, STATUS_BAD_ARG, "'%s' is neither status nor an option", arg[0]);
        cli_fail(&command, &err);
        return CLI_USAGE;
    }
    struct error err;
    if (take_route_key(&v, &err))
        return cli_fail(&command, &err);
    status.host = v.o.host;
    status.port = v.o.port;
    status.key = v.o.api_key;
    return route_status(&command, &status);
}
