#include "cli/executable.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* ---- finding ---- */

bool executable_find(char path[EXECUTABLE_PATH_BYTES], const char *name,
                     const char *search)
{
    for (const char *at = search; at && *at;) {
        const size_t n = strcspn(at, ":");
        struct stat st;
        if (*at == '/' &&
            snprintf(path, EXECUTABLE_PATH_BYTES, "%.*s/%s", (int)n, at, name) <
                EXECUTABLE_PATH_BYTES &&
            !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

bool executable_self(char path[EXECUTABLE_PATH_BYTES])
{
    static const char self[] = "/proc/self/exe";
    struct stat a, b;
    const ssize_t n = readlink(self, path, EXECUTABLE_PATH_BYTES - 1);
    if (n <= 0)
        return false;
    path[n] = 0;
    /* The file may have been replaced since: the link still leads to what runs. */
    if (stat(self, &a) || stat(path, &b) || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        memcpy(path, self, sizeof self);
    return true;
}

/* ---- its version ---- */

/* Make fd the descriptor `to` of a program that follows. */
static void take_as(int fd, int to)
{
    if (fd != to) {
        dup2(fd, to);
        close(fd);
    }
}

static _Noreturn void run_version(const char *path, int out_fd)
{
    char *const argv[] = {(char *)path, (char *)"--version", NULL};
    const int null = open("/dev/null", O_RDWR);
    setsid();
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDERR_FILENO);
    }
    take_as(out_fd, STDOUT_FILENO);
    execv(path, argv);
    _exit(127);
}

/* What comes on fd, until its end, the time's or the buffer's. */
static size_t read_for(int fd, char *out, size_t max, int timeout_ms)
{
    const uint64_t end = clock_us() + (uint64_t)timeout_ms * 1000;
    size_t n = 0;
    while (n < max) {
        struct pollfd p = {fd, POLLIN, 0};
        const uint64_t now = clock_us();
        if (now >= end || poll(&p, 1, (int)((end - now) / 1000) + 1) <= 0)
            break;
        const ssize_t got = read(fd, out + n, max - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

/* The end of the output need not be that of the program, so it is ended in any case. */
static void end_version(pid_t pid)
{
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); // not yet in a group of its own
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

bool executable_version(char out[EXECUTABLE_VERSION_BYTES], const char *path,
                        int timeout_ms)
{
    char text[4096 + 1];
    int fds[2];
    if (pipe(fds))
        return false;
    fflush(NULL); // the child has none of it to write again
    const pid_t pid = fork();
    if (!pid) {
        close(fds[0]);
        run_version(path, fds[1]);
    }
    close(fds[1]);
    const size_t n = pid < 0 ? 0 : read_for(fds[0], text, sizeof text - 1, timeout_ms);
    close(fds[0]);
    if (pid > 0)
        end_version(pid);
    text[n] = 0;
    for (const char *line = text; *line;) {
        const size_t length = strcspn(line, "\n");
        if (strcspn(line, "0123456789") < length) {
            size_t k = 0;
            for (; k < length && k < EXECUTABLE_VERSION_BYTES - 1; k++)
                out[k] = line[k] < ' ' || line[k] > '~' ? '?' : line[k];
            while (k > 0 && (out[k - 1] == ' ' || out[k - 1] == '?'))
                k--;
            out[k] = 0;
            return true;
        }
        line += length + (line[length] == '\n');
    }
    return false;
}

/* ---- one that stays ---- */

/* What a detached program tells through the pipe whose end says that it is gone. */
struct detached_news {
    pid_t pid;
    int error; // errno, if it cannot be run
};

static _Noreturn void run_detached(char *const argv[], int log_fd, int news_fd)
{
    struct detached_news news = {getpid(), 0};
    const int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        take_as(null, STDIN_FILENO);
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    if (write(news_fd, &news, sizeof news) == (ssize_t)sizeof news)
        execv(argv[0], argv);
    news.error = errno;
    if (write(news_fd, &news, sizeof news) < 0)
        _exit(126);
    _exit(127);
}

/* A child of a child: its parent is the system's first process, not whoever waits for
 * children of this one or ends them. */
static pid_t fork_detached(char *const argv[], int log_fd, int news_fd)
{
    const pid_t pid = fork();
    if (pid)
        return pid;
    setsid();
    const pid_t second = fork();
    if (!second)
        run_detached(argv, log_fd, news_fd);
    _exit(second < 0);
}

static int open_log(const char *log)
{
    char old[EXECUTABLE_PATH_BYTES];
    if (snprintf(old, sizeof old, "%s.old", log) < (int)sizeof old)
        rename(log, old); // the one before stays
    const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

enum status detached_start(struct detached *out, char *const argv[], const char *log,
                           struct error *err)
{
    struct detached_news news = {0};
    int fds[2], ended = 1;
    *out = (struct detached){0, -1};
    const int log_fd = open_log(log);
    if (log_fd < 0)
        return fail(err, STATUS_IO, "%s: %s", log, strerror(errno));
    if (pipe(fds)) {
        close(log_fd);
        return fail(err, STATUS_IO, "cannot make a pipe: %s", strerror(errno));
    }
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    fflush(NULL);
    const pid_t pid = fork_detached(argv, log_fd, fds[1]);
    const int why = errno;
    close(fds[1]);
    close(log_fd);
    out->alive_fd = fds[0];
    while (pid > 0 && waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || ended || read(fds[0], &news, sizeof news) != (ssize_t)sizeof news) {
        detached_release(out);
        return fail(err, STATUS_IO, "cannot start a process: %s",
                    strerror(pid < 0 ? why : EAGAIN));
    }
    out->pid = news.pid;
    return STATUS_OK;
}

bool detached_alive(const struct detached *p, int timeout_ms)
{
    struct detached_news news;
    struct pollfd fd = {p->alive_fd, POLLIN, 0};
    if (poll(&fd, 1, timeout_ms) <= 0)
        return true;
    /* It says no more than why it cannot be run. */
    return read(p->alive_fd, &news, sizeof news) < 0 && errno == EINTR;
}

bool detached_end(const struct detached *p, int timeout_ms)
{
    kill(p->pid, SIGTERM);
    if (!detached_alive(p, timeout_ms))
        return true;
    kill(p->pid, SIGKILL);
    return !detached_alive(p, timeout_ms);
}

void detached_release(struct detached *p)
{
    if (p->alive_fd >= 0)
        close(p->alive_fd);
    p->alive_fd = -1;
}
