/* process.c - backends that are started by their first request and stopped when idle.
 *
 * A command is an argv, no shell reads it; it has a process group of its own, which is
 * what is ended. */
#define _GNU_SOURCE // posix_spawn_file_actions_addclosefrom_np
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "router/internal.h"

enum { PROBE_EVERY_US = 500000, START_US = 120000000, END_US = 10000000 };

extern char **environ;

#ifdef __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 34)
#define HAS_CLOSE_FROM
#endif
#endif

static int set_attributes(posix_spawnattr_t *a)
{
    sigset_t none, usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    const int ends[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        sigaddset(&usual, ends[i]);
    int e = posix_spawnattr_setflags(a, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                            POSIX_SPAWN_SETSIGDEF);
    if (!e)
        e = posix_spawnattr_setpgroup(a, 0);
    if (!e)
        e = posix_spawnattr_setsigmask(a, &none);
    return e ? e : posix_spawnattr_setsigdefault(a, &usual);
}

int process_spawn(pid_t *pid, const char *const *argv, int out_fd)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t a;
    int e = posix_spawn_file_actions_init(&files);
    if (e)
        return e;
    if ((e = posix_spawnattr_init(&a))) {
        posix_spawn_file_actions_destroy(&files);
        return e;
    }
    e = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!e)
        e = posix_spawn_file_actions_adddup2(&files, out_fd, 1);
#ifdef HAS_CLOSE_FROM
    if (!e) // those of libraries; ours are closed by exec
        e = posix_spawn_file_actions_addclosefrom_np(&files, 3);
#endif
    if (!e)
        e = set_attributes(&a);
    if (!e)
        e = posix_spawnp(pid, argv[0], &files, &a, (char *const *)argv, environ);
    if (e)
        *pid = 0;
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&a);
    return e;
}

/* It does not run, or does not answer: the policy goes on without it.  What asked for it
 * meanwhile asked for this start. */
static void give_up(struct router *r, struct backend *b)
{
    b->starting = false;
    pthread_mutex_lock(&r->lock);
    b->wants_start = false;
    if (b->index != POLICY_NONE)
        policy_probed(r->policy, b->index, false, clock_us());
    pthread_mutex_unlock(&r->lock);
    fleet_wake(r);
}

static void start_backend(struct router *r, struct backend *b)
{
    // What it prints goes where our log goes.
    const int e = process_spawn(&b->pid, b->c->start, 2);
    if (e) {
        router_log(r, "start", "%s: %s: %s", b->shown, b->c->start[0], strerror(e));
        give_up(r, b);
        return;
    }
    b->starting = true;
    b->stop_us = b->down_us = 0;
    b->started_us = b->probed_us = clock_us();
    router_log(r, "start", "%s: %s is process %d", b->shown, b->c->start[0], (int)b->pid);
}

static void end_group(struct backend *b, int number)
{
    if (b->pid > 0)
        kill(-b->pid, number);
}

/* The policy starts it again when it is needed.  A probe that asks it while it ends would
 * find it down, and one that is down is not started. */
static void note_stopped(struct router *r, struct backend *b)
{
    probe_close(b);
    pthread_mutex_lock(&r->lock);
    if (b->index != POLICY_NONE)
        policy_stopped(r->policy, b->index, clock_us());
    b->known = false;
    pthread_mutex_unlock(&r->lock);
}

/* One that does not run and is down, as after a start that failed, may be started again
 * some time later. */
static void watch_down(struct router *r, struct backend *b, uint64_t now)
{
    struct policy_view v;
    pthread_mutex_lock(&r->lock);
    const uint64_t again_us = (uint64_t)r->ref->c.health_s * 1000000;
    const bool down =
        policy_see(r->policy, b->index, now, &v) && v.health == POLICY_HEALTH_DOWN;
    pthread_mutex_unlock(&r->lock);
    if (!down)
        b->down_us = 0;
    else if (!b->down_us)
        b->down_us = now;
    else if (now - b->down_us > again_us)
        note_stopped(r, b);
}

/* The one that had its address before a reload. */
static bool is_ending(const struct router *r, const struct backend *b)
{
    for (const struct backend *gone = r->gone; gone; gone = gone->next_gone)
        if (gone->id == b->id && gone->pid)
            return true;
    return false;
}

static void begin_stop(struct router *r, struct backend *b, const char *why)
{
    router_log(r, "stop", "%s: %s", b->shown, why);
    b->stop_us = clock_us();
    note_stopped(r, b);
    end_group(b, SIGTERM);
}

/* It ended by itself, or since it was told to. */
static void reap(struct router *r, struct backend *b)
{
    int state;
    if (b->pid <= 0 || waitpid(b->pid, &state, WNOHANG) != b->pid)
        return;
    end_group(b, SIGKILL); // what it left behind
    b->pid = 0;
    if (b->starting) {
        router_log(r, "start", "%s ended before it answered", b->shown);
        give_up(r, b);
    } else if (!b->stop_us) {
        router_log(r, "stop", "%s ended by itself", b->shown);
        note_stopped(r, b);
    }
    b->stop_us = 0;
}

static void watch_start(struct router *r, struct backend *b, uint64_t now)
{
    if (b->known && !b->probe) {
        b->starting = false;
        pthread_mutex_lock(&r->lock);
        b->wants_start = false; // of requests that came while it started
        pthread_mutex_unlock(&r->lock);
        router_log(r, "start", "%s answers after %.1f s", b->shown,
                   (double)(now - b->started_us) / 1e6);
    } else if (now - b->started_us > START_US) {
        router_log(r, "start", "%s does not answer", b->shown);
        end_group(b, SIGKILL);
        give_up(r, b);
    } else if (!b->probe && now - b->probed_us > PROBE_EVERY_US) {
        b->probed_us = now;
        probe_begin(r, b);
    }
}

static void watch_idle(struct router *r, struct backend *b)
{
    struct policy_view v;
    pthread_mutex_lock(&r->lock);
    const bool sees =
        b->index != POLICY_NONE && policy_see(r->policy, b->index, clock_us(), &v);
    pthread_mutex_unlock(&r->lock);
    if (sees && !v.in_flight && b->c->idle_stop_s &&
        v.idle_us > (uint64_t)b->c->idle_stop_s * 1000000 &&
        clock_us() - b->started_us > (uint64_t)b->c->idle_stop_s * 1000000)
        begin_stop(r, b, "idle");
}

static void tick_one(struct router *r, struct backend *b)
{
    const uint64_t now = clock_us();
    const bool ending = b->index != POLICY_NONE && b->c->start && is_ending(r, b);
    reap(r, b);
    pthread_mutex_lock(&r->lock);
    const bool wants = b->wants_start && b->c->start && b->index != POLICY_NONE;
    if (!b->pid && !ending)
        b->wants_start = false;
    pthread_mutex_unlock(&r->lock);
    if (b->pid && b->stop_us) {
        if (now - b->stop_us > END_US)
            end_group(b, SIGKILL);
    } else if (b->pid && b->index == POLICY_NONE) {
        begin_stop(r, b, "it is not in the configuration any more");
    } else if (b->pid && b->starting) {
        watch_start(r, b, now);
    } else if (b->pid) {
        watch_idle(r, b);
    } else if (wants && !ending) {
        start_backend(r, b);
    } else if (b->c->start && b->index != POLICY_NONE) {
        watch_down(r, b, now);
    }
}

void process_tick(struct router *r)
{
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i])
            tick_one(r, r->backends[i]);
    for (struct backend *b = r->gone; b; b = b->next_gone)
        tick_one(r, b);
}

/* true: it has ended. */
static bool has_ended(struct backend *b)
{
    if (b->pid > 0 && waitpid(b->pid, NULL, WNOHANG) == b->pid) {
        end_group(b, SIGKILL);
        b->pid = 0;
    }
    return b->pid <= 0;
}

void process_close(struct router *r)
{
    const struct timespec pause = {0, 20000000};
    const uint64_t end = clock_us() + END_US;
    for (int number = SIGTERM; number; number = number == SIGTERM ? SIGKILL : 0) {
        bool all = true;
        for (int i = 0; i < r->n_backend; i++)
            if (r->backends[i])
                end_group(r->backends[i], number);
        for (struct backend *b = r->gone; b; b = b->next_gone)
            end_group(b, number);
        do {
            all = true;
            for (int i = 0; i < r->n_backend; i++)
                all &= !r->backends[i] || has_ended(r->backends[i]);
            for (struct backend *b = r->gone; b; b = b->next_gone)
                all &= has_ended(b);
            if (!all)
                nanosleep(&pause, NULL);
        } while (!all && clock_us() < end);
        if (all)
            return;
    }
}
