/* launch_server.c - the server of a launch: the one that runs, or a new one that stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/launch.h"
#include "cli/paths.h"

enum { STEP_MS = 100, END_MS = 5000, LOG_LINES = 10, LOG_TAIL = 2048 };

void launch_note(const struct launch *l, const char *format, ...)
{
    char text[CLI_PATH_BYTES + 512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_message(l->command, text);
}

/* ---- its address ---- */

struct address {
    char host[64], port[8];
    bool plain, bare; // http; nothing behind it
};

static void read_address(struct address *out, const char *url)
{
    const char *scheme = strstr(url, "://"), *at = scheme ? scheme + 3 : url;
    const size_t n = strcspn(at, "/");
    const char *close = memchr(at, ']', n), *after = close ? close : at;
    const char *colon = memchr(after, ':', n - (size_t)(after - at));
    const size_t n_host = colon ? (size_t)(colon - at) : n;
    const size_t n_port = colon ? n - n_host - 1 : 0;
    out->plain = !strncmp(url, "http://", 7);
    out->bare = !at[n];
    snprintf(out->host, sizeof out->host, "%.*s", n_host < 64 ? (int)n_host : 63, at);
    snprintf(out->port, sizeof out->port, "%.*s", n_port < 8 ? (int)n_port : 7,
             colon ? colon + 1 : "");
    if (!*out->port)
        snprintf(out->port, sizeof out->port, "%s", out->plain ? "80" : "443");
}

int launch_port(const char *url)
{
    struct address a;
    read_address(&a, url);
    return (int)strtol(a.port, NULL, 10);
}

bool launch_is_local(const char *url)
{
    struct address a;
    read_address(&a, url);
    return !strncmp(a.host, "127.", 4) || !strcmp(a.host, "localhost") ||
           !strcmp(a.host, "[::1]");
}

/* ---- one at a time ---- */

/* A lock that all launches of a user for a port share; -1: none in time. */
static int lock_start(const struct launch *l, const char *port)
{
    char name[32], path[CLI_PATH_BYTES];
    const struct timespec step = {0, STEP_MS * 1000000L};
    snprintf(name, sizeof name, "serve-%s.lock", port);
    if (!paths_log(path, name))
        return -1;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    const uint64_t end = clock_us() + (uint64_t)l->wait_s * 1000000;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB)) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || clock_us() > end) {
            close(fd);
            return -1;
        }
        nanosleep(&step, NULL);
    }
    return fd;
}

/* ---- its start ---- */

static void print_log_end(const char *path)
{
    char text[LOG_TAIL + 1];
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    if (!fseek(f, 0, SEEK_END)) {
        const long size = ftell(f);
        fseek(f, size > LOG_TAIL ? size - LOG_TAIL : 0, SEEK_SET);
    }
    const size_t n = fread(text, 1, LOG_TAIL, f);
    fclose(f);
    text[n] = 0;
    const char *at = text + n;
    for (int lines = 0; at > text; at--)
        if (at[-1] == '\n' && at < text + n && ++lines == LOG_LINES)
            break;
    fprintf(stderr, "the end of %s:\n", path);
    for (; *at; at++)
        fputc((*at < ' ' && *at != '\n' && *at > 0) || *at == 0x7f ? '?' : *at, stderr);
    if (n && text[n - 1] != '\n')
        fputc('\n', stderr);
}

/* Something else at the address may listen and say nothing: its version is asked for
 * with a short limit of time. */
static bool is_ready(const char *url)
{
    int status = 0;
    struct error unused;
    return server_link_kind(url, NULL) == SERVER_LINK_TURBINE &&
           !server_link_call(url, "GET", "/readyz", NULL, NULL, &status, &unused);
}

/* Until it takes requests, it ends or the time does. */
static enum status wait_ready(struct launch *l, const char *log, struct error *err)
{
    const uint64_t start = clock_us(), end = start + (uint64_t)l->wait_s * 1000000;
    const bool terminal = isatty(STDERR_FILENO);
    enum status s = STATUS_OK;
    for (bool ready = false; !s && !ready;) {
        ready = is_ready(l->url);
        if (!detached_alive(&l->server, ready ? 0 : STEP_MS))
            s = fail(err, STATUS_IO, "the server has ended; its log is %s", log);
        else if (!ready && clock_us() > end)
            s = fail(err, STATUS_LIMIT,
                     "the server is not ready after %d s, and is ended; --wait gives it "
                     "more time; its log is %s",
                     l->wait_s, log);
        else if (!ready && terminal)
            fprintf(stderr, "\rloading the model: %.0f s",
                    (double)(clock_us() - start) / 1e6);
    }
    if (terminal)
        fputs("\r\033[K", stderr);
    if (s)
        print_log_end(log);
    return s;
}

static enum status start_server(struct launch *l, struct address *at, struct error *err)
{
    char self[EXECUTABLE_PATH_BYTES], name[32], log[CLI_PATH_BYTES];
    char *const argv[] = {self,     "serve", "--host", at->host, "--port",
                          at->port, "--",    l->model, NULL};
    snprintf(name, sizeof name, "serve-%s.log", at->port);
    if (!executable_self(self) || !paths_log(log, name))
        return fail(err, STATUS_UNSUPPORTED,
                    "no server answers at %s; start it with 'turbine serve %s'", l->url,
                    l->model);
    enum status s = detached_start(&l->server, argv, log, err);
    if (s)
        return s;
    l->started = true;
    launch_note(l, "starting a server of %s at %s: process %ld, log %s", l->model, l->url,
                (long)l->server.pid, log);
    if ((s = wait_ready(l, log, err)))
        launch_end_server(l);
    else
        launch_note(l, "the server stays; 'kill %ld' ends it", (long)l->server.pid);
    return s;
}

void launch_end_server(struct launch *l)
{
    if (l->started)
        detached_end(&l->server, END_MS);
    detached_release(&l->server);
    l->started = false;
}

/* ---- which ---- */

static enum status find_kind(struct launch *l, struct error *err)
{
    char why[SERVER_LINK_TEXT_BYTES];
    const enum server_link_kind kind = server_link_kind(l->url, why);
    l->running = kind == SERVER_LINK_TURBINE;
    if (kind == SERVER_LINK_OTHER)
        return fail(err, STATUS_UNSUPPORTED,
                    "%s: %s; end it, or take another port, as --host 127.0.0.1:11435",
                    l->url, why);
    return STATUS_OK;
}

enum status launch_find_server(struct launch *l, struct error *err)
{
    struct address at;
    enum status s = find_kind(l, err);
    if (s || l->running)
        return s;
    read_address(&at, l->url);
    if (!launch_is_local(l->url) || !at.plain || !at.bare)
        return fail(
            err, STATUS_NOT_FOUND,
            "no server answers at %s, and one is started only on this machine, as "
            "http://127.0.0.1:11434",
            l->url);
    if ((s = launch_choose_stored(l, err)) || (s = launch_check_plan(l, err)) || l->print)
        return s;
    const int turn = lock_start(l, at.port);
    if (turn < 0)
        return fail(err, STATUS_IO,
                    "no server answers at %s, and none can be started: another launch is "
                    "at it, or the folder of the cache cannot be written; start it with "
                    "'turbine serve %s'",
                    l->url, l->model);
    s = find_kind(l, err); // another launch may have been first
    if (!s && !l->running)
        s = start_server(l, &at, err);
    close(turn);
    l->running = !s;
    return s;
}
