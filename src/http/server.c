/* server.c - the I/O thread: libmicrohttpd's events, our wake-ups, ends of clients. */
#include "http/internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

/* Two files for a connection at most, and some for everything else. */
static int raise_files(int n_connection)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l))
        return n_connection;
    const rlim_t want = (rlim_t)n_connection + 256;
    if (l.rlim_cur < want) {
        l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
        setrlimit(RLIMIT_NOFILE, &l);
        getrlimit(RLIMIT_NOFILE, &l);
    }
    return l.rlim_cur < want ? (int)l.rlim_cur - 256 : n_connection;
}

static enum status open_daemon(struct http_server *s, struct error *err)
{
    const int n = raise_files(s->o.limits.n_connection);
    if (n < 1)
        return fail(err, STATUS_LIMIT, "too few files may be open for a server");
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, http_on_request, s,
        MHD_OPTION_LISTEN_SOCKET, s->listen_fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)n,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
        http_on_connection, s, MHD_OPTION_URI_LOG_CALLBACK, http_on_url, s,
        MHD_OPTION_END);
    if (!s->daemon)
        return fail(err, STATUS_IO, "cannot start the HTTP server: %s", strerror(errno));
    const union MHD_DaemonInfo *fd =
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!fd)
        return fail(err, STATUS_UNSUPPORTED, "libmicrohttpd has no epoll here");
    s->mhd_fd = fd->epoll_fd;
    return STATUS_OK;
}

static enum status open_events(struct http_server *s, struct error *err)
{
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event mhd = {.events = EPOLLIN, .data.ptr = s};
    struct epoll_event own = {.events = EPOLLIN, .data.ptr = NULL};
    if (s->epoll_fd < 0 || s->event_fd < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->event_fd, &own))
        return fail(err, STATUS_IO, "epoll: %s", strerror(errno));
    const enum status st = open_daemon(s, err);
    if (st)
        return st;
    struct epoll_event turn = {.events = EPOLLIN, .data.ptr = &s->turn_us};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->mhd_fd, &mhd) ||
        (s->o.turn && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->o.turn_fd, &turn)))
        return fail(err, STATUS_IO, "epoll: %s", strerror(errno));
    return STATUS_OK;
}

enum status http_server_open(struct http_server **out, const struct http_options *o,
                             struct error *err)
{
    struct http_server *s = mem_array(1, sizeof *s);
    *out = NULL;
    if (!s)
        return fail(err, STATUS_NO_MEMORY, "no memory for a server");
    s->o = *o;
    s->listen_fd = s->epoll_fd = s->event_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    signal(SIGPIPE, SIG_IGN);
    enum status st = http_listen(s, err);
    if (!st)
        st = open_events(s, err);
    if (!st)
        st = http_workers_open(s, err);
    if (st)
        http_server_close(s);
    else
        *out = s;
    return st;
}

void http_server_close(struct http_server *s)
{
    if (!s)
        return;
    if (s->workers)
        http_workers_close(s);
    if (s->daemon) {
        /* It must not hold suspended connections. */
        for (struct http_conn *c = s->conns; c; c = c->next)
            if (c->exchange)
                http_exchange_resume(c->exchange);
        MHD_stop_daemon(s->daemon);
    }
    /* Those that were still waiting for something when the workers ended. */
    while (s->exchanges) {
        s->exchanges->refs = 1;
        http_exchange_drop(s->exchanges);
    }
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    if (s->event_fd >= 0)
        close(s->event_fd);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

const char *http_server_address(const struct http_server *s)
{
    return s->address;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_signal(struct http_server *s)
{
    const uint64_t one = 1;
    const int e = errno; // also in signal handlers
    // In its turn the I/O thread looks behind it.
    const bool looks = pthread_equal(pthread_self(), s->io) && s->in_turn;
    if (!atomic_exchange(&s->poked, true) && !looks) {
        const ssize_t n = write(s->event_fd, &one, sizeof one);
        (void)n;
    }
    errno = e;
}

void http_server_poke(struct http_server *s)
{
    atomic_store(&s->wants_tick, true);
    http_server_signal(s);
}

void http_server_stop(struct http_server *s)
{
    atomic_store(&s->stop, true);
    http_server_signal(s);
}

void http_server_quiesce(struct http_server *s)
{
    if (s->listen_fd < 0)
        return;
    MHD_quiesce_daemon(s->daemon);
    close(s->listen_fd);
    s->listen_fd = -1;
}

int http_server_active(const struct http_server *s)
{
    return atomic_load(&s->n_active);
}

int http_server_connections(const struct http_server *s)
{
    return atomic_load(&s->n_conn);
}

/* Whenever epoll says so, not when `poked` is set: who sets it writes a moment later, and
 * what nobody reads keeps the thread awake. */
static void clear_event(struct http_server *s)
{
    uint64_t count;
    const ssize_t got = read(s->event_fd, &count, sizeof count);
    (void)got;
}

static void handle_ready(struct http_server *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct http_exchange *x = s->ready;
        if (x) {
            s->ready = x->ready_next;
            x->in_ready = false;
        }
        pthread_mutex_unlock(&s->lock);
        if (!x)
            return;
        http_exchange_resume(x);
        http_exchange_drop(x);
    }
}

/* The peer of a connection will send no more: what it waits for is not wanted.  A client
 * that only closed its sending side is taken for gone too, as most servers do. */
static void handle_hangup(struct http_conn *c)
{
    struct http_exchange *x = c->exchange;
    c->closed = true;
    c->closed_us = clock_us();
    if (!x)
        return;
    http_exchange_gone(x);
    if (x->queued)
        http_exchange_resume(x);
}

static int wait_ms(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;
    int wait = HTTP_SWEEP_US / 1000;
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES && ms < (unsigned)wait)
        wait = (int)ms;
    if (s->o.turn) {
        const uint64_t now = clock_us();
        const uint64_t left = s->turn_us > now ? (s->turn_us - now + 999) / 1000 : 0;
        wait = left < (uint64_t)wait ? (int)left : wait;
    }
    return wait;
}

static void run_turn(struct http_server *s)
{
    s->in_turn = true;
    const int ms = s->o.turn(s->o.ctx);
    s->in_turn = false;
    s->turn_us = clock_us() + (uint64_t)ms * 1000;
}

void http_server_run(struct http_server *s)
{
    struct epoll_event events[256];
    s->io = pthread_self();
    while (!atomic_load(&s->stop)) {
        const int n = epoll_wait(s->epoll_fd, events, 256, wait_ms(s));
        bool turn = s->o.turn && clock_us() >= s->turn_us;
        /* Connections end in MHD_run alone, so these are all alive. */
        for (int i = 0; i < n; i++)
            if (!events[i].data.ptr)
                clear_event(s);
            else if (events[i].data.ptr == &s->turn_us)
                turn = true;
            else if (events[i].data.ptr != s)
                handle_hangup(events[i].data.ptr);
        if (turn)
            run_turn(s);
        if (atomic_exchange(&s->poked, false)) {
            handle_ready(s);
            if (atomic_exchange(&s->wants_tick, false))
                s->swept_us = 0;
        }
        MHD_run(s->daemon);
        http_sweep(s);
    }
}
