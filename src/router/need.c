/* need.c - does the memory suffice for a backend that would be started here, or for the
 * model that a long one here would load?
 *
 * Asked is our own program, as a child: `turbine plan MODEL --json` for `turbine serve
 * MODEL`, or for the model of a Turbine server at a loopback address that has not loaded
 * it.  A backend that does not fit is off, with a warning, until it does. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "json/parse.h"
#include "router/internal.h"

enum {
    PLAN_BYTES = 1 << 20,
    PLAN_US = 20000000,
    AGAIN_US = 60000000,
    PLAN_ARGS = 12,
    PLAN_CTX = 1 << 24, // most that it takes
};

/* The value of an option of the command, as "--ctx 8192" or "--ctx=8192". */
static const char *option_of(const struct config_backend *c, const char *name)
{
    const size_t n = strlen(name);
    for (int i = 2; i < c->n_start; i++)
        if (!strncmp(c->start[i], name, n) && c->start[i][n] == '=')
            return c->start[i] + n + 1;
        else if (!strcmp(c->start[i], name) && i + 1 < c->n_start)
            return c->start[i + 1];
    return NULL;
}

static bool is_ours(const struct config_backend *c)
{
    const char *name = c->start ? strrchr(c->start[0], '/') : NULL;
    name = name ? name + 1 : c->start ? c->start[0] : "";
    return c->n_start > 2 && !strcmp(name, "turbine") && !strcmp(c->start[1], "serve") &&
           c->start[2][0] != '-' && !c->any_memory;
}

/* Runs here, and is not ours to start. */
static bool is_local(const struct router *r, const struct backend *b)
{
    const struct config_backend *c = b->c;
    return r->o.program && b->is_loopback && b->known && c->class == POLICY_CLASS_LONG &&
           !c->start && !c->proxy && !c->any_memory && !strcmp(b->software, "turbine");
}

static void ask_plan(struct router *r, struct backend *b)
{
    const struct config_backend *c = b->c;
    const char *kv = option_of(c, "--kv"), *ctx = option_of(c, "--ctx");
    const char *argv[PLAN_ARGS] = {c->start ? c->start[0] : r->o.program,
                                   "plan",
                                   c->start ? c->start[2] : fleet_first_model(b),
                                   "--json",
                                   "--kv",
                                   kv ? kv : "turbo4"};
    const int n_ctx = c->n_ctx ? c->n_ctx : c->start ? 0 : b->n_ctx;
    char number[16];
    int fd[2], n = 6;
    if (argv[2][0] == '-' || !argv[2][0])
        return;
    snprintf(number, sizeof number, "%d", n_ctx < PLAN_CTX ? n_ctx : PLAN_CTX);
    if (ctx || n_ctx) {
        argv[n++] = "--ctx";
        argv[n++] = ctx ? ctx : number;
    }
    b->planned_us = clock_us();
    buf_init(&b->plan, PLAN_BYTES);
    if (pipe(fd))
        return;
    for (int i = 0; i < 2; i++)
        fcntl(fd[i], F_SETFD, FD_CLOEXEC);
    fcntl(fd[0], F_SETFL, O_NONBLOCK);
    const int e = process_spawn(&b->plan_pid, argv, fd[1]);
    close(fd[1]);
    b->plan_fd = fd[0];
    if (!e)
        return;
    router_log(r, "memory", "%s: %s: %s", b->shown, argv[0], strerror(e));
    close(fd[0]);
    b->plan_pid = 0;
}

/* "" if it fits, or if the answer says nothing. */
static void read_plan(char *why, size_t n, const struct buf *text)
{
    json_t *root = json_parse(text->data ? text->data : "", text->len, 0, NULL);
    const json_t *first = json_array_get(
        json_object_get(json_array_get(json_object_get(root, "results"), 0), "contexts"),
        0);
    const double gib = 1 << 30;
    *why = 0;
    if (json_is_false(json_object_get(first, "fits")))
        snprintf(why, n,
                 "it needs %.1f GiB for a context of %d tokens, and %.1f GiB are "
                 "available; 'check-memory no' tries it all the same",
                 json_number_value(json_object_get(first, "total_bytes")) / gib,
                 (int)json_integer_value(json_object_get(first, "ctx")),
                 json_number_value(json_object_get(root, "memory_bytes")) / gib);
    json_decref(root);
}

static void take_plan(struct router *r, struct backend *b)
{
    char why[sizeof b->off_why];
    read_plan(why, sizeof why, &b->plan);
    buf_release(&b->plan);
    pthread_mutex_lock(&r->lock);
    const bool changed = !*why != !*b->off_why;
    memcpy(b->off_why, why, sizeof why);
    if (changed && b->index != POLICY_NONE)
        fleet_apply(r);
    pthread_mutex_unlock(&r->lock);
    if (changed)
        router_log(r, "memory", "%s is %s: %s", b->shown, *why ? "off" : "on",
                   *why ? why : "it fits");
}

static void watch_plan(struct router *r, struct backend *b)
{
    char piece[4096];
    ssize_t n;
    while ((n = read(b->plan_fd, piece, sizeof piece)) > 0)
        buf_append(&b->plan, piece, (size_t)n);
    const bool waits = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (waits && clock_us() - b->planned_us < PLAN_US)
        return;
    need_close(b);
    take_plan(r, b);
}

/* ---- what runs here ---- */

static void ask_loaded(struct router *r, struct backend *b)
{
    const struct probe_question q = {.method = "GET", .path = "/api/ps"};
    b->planned_us = clock_us();
    buf_init(&b->ps_body, PLAN_BYTES);
    b->ps = probe_ask(r, b, &q);
}

/* Whether the list has the model; what is loaded has its memory. */
static bool is_loaded(const struct backend *b)
{
    json_t *v =
        json_parse(b->ps_body.data ? b->ps_body.data : "", b->ps_body.len, 0, NULL);
    bool loaded = !json_is_array(json_object_get(v, "models")); // it does not say
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(v, "models"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        loaded = loaded || (name && fleet_same_model(name, fleet_first_model(b)));
    }
    json_decref(v);
    return loaded;
}

static void watch_loaded(struct router *r, struct backend *b)
{
    struct http_transfer_state s;
    if (!http_transfer_collect(b->ps, &b->ps_body, &s))
        return;
    const bool ok = !b->ps_body.failed && s.end == HTTP_TRANSFER_DONE && s.status == 200;
    const bool loaded = ok && is_loaded(b);
    need_close(b);
    if (loaded)
        take_plan(r, b); // an empty one: it fits
    else if (ok)
        ask_plan(r, b);
}

void need_close(struct backend *b)
{
    http_transfer_close(b->ps);
    b->ps = NULL;
    buf_release(&b->ps_body);
    if (b->plan_pid <= 0)
        return;
    kill(-b->plan_pid, SIGKILL); // it has said all, or has not in its time
    waitpid(b->plan_pid, NULL, 0);
    close(b->plan_fd);
    b->plan_pid = 0;
}

void need_tick(struct router *r)
{
    for (int i = 0; i < r->n_backend; i++) {
        struct backend *b = r->backends[i];
        if (!b)
            continue;
        const bool ours = is_ours(b->c), local = !ours && is_local(r, b);
        if (b->ps)
            watch_loaded(r, b);
        else if (b->plan_pid > 0)
            watch_plan(r, b);
        else if (!ours && !local && *b->off_why)
            take_plan(r, b); // another configuration does not ask
        else if (b->planned_us && clock_us() - b->planned_us < AGAIN_US)
            continue;
        else if (local)
            ask_loaded(r, b);
        else if (ours && !b->pid)
            ask_plan(r, b);
    }
}
