/* bench_route.c - what the router adds: time to the first byte, lateness of events at 100
 * streams of 50 events a second, processor time for an event, memory of 1,000 streams.
 *
 *   bench_route [TURBINE]     (build/turbine)
 *
 * Backend and clients are one thread each of this program, on epoll; each event carries
 * the time at which it was sent.  The same is measured without the router in between. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNS = 4096, EVENTS_MAX = 1 << 20, BUFFER = 65536 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- the backend ---- */

struct server_conn {
    int fd, left; // events to send
    uint64_t next_ns, period_ns;
    char in[8192];
    size_t n;
};

static struct {
    int listen_fd, epoll_fd, port;
    struct server_conn *conn[CONNS];
    int n;
} backend;

static void send_all(int fd, const char *p, size_t n)
{
    while (n) {
        const ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        p += k;
        n -= (size_t)k;
    }
}

static void send_chunk(int fd, const char *text)
{
    char out[1024];
    const int n = snprintf(out, sizeof out, "%zx\r\n%s\r\n", strlen(text), text);
    send_all(fd, out, (size_t)n);
}

static void send_event(struct server_conn *c)
{
    char text[512];
    snprintf(
        text, sizeof text,
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"t\":%" PRIu64
        ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},"
        "\"finish_reason\":null}]}\n\n",
        now_ns());
    send_chunk(c->fd, text);
    if (--c->left == 0) {
        send_chunk(c->fd, "data: [DONE]\n\n");
        send_all(c->fd, "0\r\n\r\n", 5);
    }
}

static void answer_get(struct server_conn *c)
{
    static const char models[] =
        "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\",\"created\":1,"
        "\"owned_by\":\"x\"}]}";
    char out[512];
    const bool list = !strncmp(c->in, "GET /v1/models", 14);
    const int n = snprintf(out, sizeof out,
                           "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                           "Content-Length: %zu\r\n\r\n%s",
                           list ? "200 OK" : "404 No", list ? sizeof models - 1 : 2,
                           list ? models : "{}");
    send_all(c->fd, out, (size_t)n);
}

/* "n events every us microseconds" is in the body: "seed":n,"top_k":us. */
static void answer_post(struct server_conn *c, const char *body)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    const char *n = strstr(body, "\"seed\":"), *us = strstr(body, "\"top_k\":");
    c->left = n ? atoi(n + 7) : 1;
    c->period_ns = us ? (uint64_t)atoll(us + 8) * 1000 : 0;
    send_all(c->fd, head, sizeof head - 1);
    send_event(c);
    c->next_ns = now_ns() + c->period_ns;
}

static void read_request(struct server_conn *c)
{
    const ssize_t k = recv(c->fd, c->in + c->n, sizeof c->in - 1 - c->n, 0);
    if (k <= 0) {
        if (k < 0 && errno == EAGAIN)
            return;
        close(c->fd);
        c->fd = -1;
        return;
    }
    c->n += (size_t)k;
    c->in[c->n] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    const char *length = strstr(c->in, "Content-Length: ");
    if (!end ||
        (size_t)(c->in + c->n - end - 4) < (size_t)(length ? atoi(length + 16) : 0))
        return;
    if (!strncmp(c->in, "GET", 3))
        answer_get(c);
    else
        answer_post(c, end + 4);
    c->n = 0;
}

static int no_delay(int fd)
{
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void accept_all(void)
{
    for (int fd; (fd = accept(backend.listen_fd, NULL, NULL)) >= 0;) {
        struct server_conn *c = calloc(1, sizeof *c);
        c->fd = no_delay(fd);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(backend.epoll_fd, EPOLL_CTL_ADD, fd, &e);
        int at = 0;
        while (at < backend.n && backend.conn[at]->fd >= 0)
            at++;
        if (at == CONNS)
            exit(2);
        backend.conn[at] = c;
        backend.n = at == backend.n ? at + 1 : backend.n;
    }
}

static void *run_backend(void *ctx)
{
    struct epoll_event events[256];
    (void)ctx;
    for (;;) {
        uint64_t next = now_ns() + 100000000u;
        for (int i = 0; i < backend.n; i++) {
            struct server_conn *c = backend.conn[i];
            if (c->fd < 0 || c->left < 1)
                continue;
            if (now_ns() >= c->next_ns) {
                send_event(c);
                c->next_ns += c->period_ns;
            }
            next = c->left && c->next_ns < next ? c->next_ns : next;
        }
        const uint64_t now = now_ns();
        const struct timespec wait = {0, next > now ? (long)(next - now) : 0};
        struct timespec short_wait = {0, wait.tv_nsec < 500000 ? wait.tv_nsec : 0};
        if (short_wait.tv_nsec)
            nanosleep(&short_wait, NULL);
        const int n = epoll_wait(backend.epoll_fd, events, 256,
                                 short_wait.tv_nsec ? 0 : (int)(wait.tv_nsec / 1000000));
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                read_request(events[i].data.ptr);
            else
                accept_all();
    }
    return NULL;
}

static void open_backend(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;
    pthread_t thread;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    backend.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    backend.epoll_fd = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    if (bind(backend.listen_fd, (struct sockaddr *)&a, sizeof a) ||
        listen(backend.listen_fd, 2048) ||
        getsockname(backend.listen_fd, (struct sockaddr *)&a, &n) ||
        epoll_ctl(backend.epoll_fd, EPOLL_CTL_ADD, backend.listen_fd, &e) ||
        pthread_create(&thread, NULL, run_backend, NULL))
        die("backend");
    backend.port = ntohs(a.sin_port);
}

/* ---- clients ---- */

static int connect_to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
        die("connect");
    return no_delay(fd);
}

static void ask(int fd, int id, int n, int us)
{
    char body[512], out[1024];
    const int len =
        snprintf(body, sizeof body,
                 "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                 "\"content\":\"question %d\"}],\"seed\":%d,\"top_k\":%d}",
                 id, n, us);
    const int m =
        snprintf(out, sizeof out,
                 "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                 "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                 len, body);
    send_all(fd, out, (size_t)m);
}

struct late {
    double *us; // [EVENTS_MAX]
    int n;
};

/* Times of events in text [n], which is terminated; 0 if the answer is not over. */
static bool take_events(struct late *l, const char *text)
{
    const uint64_t now = now_ns();
    for (const char *p = text; (p = strstr(p, "\"t\":"));) {
        p += 4;
        if (l->n < EVENTS_MAX)
            l->us[l->n++] = (double)(now - strtoull(p, NULL, 10)) / 1e3;
    }
    return strstr(text, "\r\n0\r\n\r\n");
}

static int by_value(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double part(struct late *l, double p)
{
    qsort(l->us, (size_t)l->n, sizeof *l->us, by_value);
    return l->n ? l->us[(int)(p * (l->n - 1))] : 0;
}

/* From the request's first byte to the answer's, one after the other. */
static void first_bytes(struct late *l, int port, int n)
{
    char in[BUFFER];
    const int fd = connect_to(port);
    l->n = 0;
    for (int i = 0; i < n; i++) {
        const uint64_t start = now_ns();
        size_t have = 0;
        ask(fd, i, 1, 0);
        do {
            const ssize_t k = recv(fd, in + have, sizeof in - 1 - have, 0);
            if (k <= 0)
                die("recv");
            if (!have)
                l->us[l->n++] = (double)(now_ns() - start) / 1e3;
            have += (size_t)k;
            in[have] = 0;
        } while (!strstr(in, "\r\n0\r\n\r\n"));
    }
    close(fd);
}

struct client_conn {
    int fd;
    size_t n;
    char in[4096];
};

/* What is left of a piece is the beginning of an event. */
static bool read_events(struct client_conn *c, struct late *l)
{
    const ssize_t k = recv(c->fd, c->in + c->n, sizeof c->in - 1 - c->n, 0);
    if (k <= 0)
        return true;
    c->n += (size_t)k;
    c->in[c->n] = 0;
    char *end = NULL;
    for (char *p = c->in; (p = strstr(p, "\n\n")); p += 2)
        end = p + 2;
    if (!end)
        return strstr(c->in, "0\r\n\r\n") && c->n < 64;
    const char kept = *end;
    *end = 0;
    take_events(l, c->in);
    *end = kept;
    const bool over = strstr(c->in, "\r\n0\r\n\r\n");
    c->n -= (size_t)(end - c->in);
    memmove(c->in, end, c->n + 1);
    return over;
}

/* n_stream streams of n events, every us microseconds. */
static void many_streams(struct late *l, int port, int n_stream, int n, int us)
{
    struct client_conn *c = calloc((size_t)n_stream, sizeof *c);
    struct epoll_event events[256];
    const int epoll_fd = epoll_create1(0);
    int open = n_stream;
    l->n = 0;
    for (int i = 0; i < n_stream; i++) {
        c[i].fd = connect_to(port);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &c[i]};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c[i].fd, &e);
        ask(c[i].fd, i, n, us);
        const struct timespec gap = {0, us * 1000L / n_stream};
        nanosleep(&gap, NULL); // not all at the same moment
    }
    for (const uint64_t end = now_ns() + 60000000000u; open && now_ns() < end;) {
        const int k = epoll_wait(epoll_fd, events, 256, 1000);
        for (int i = 0; i < k; i++) {
            struct client_conn *x = events[i].data.ptr;
            if (!read_events(x, l))
                continue;
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, x->fd, NULL);
            close(x->fd);
            open--;
        }
    }
    if (open)
        printf("%d streams did not end\n", open);
    close(epoll_fd);
    free(c);
}

/* ---- the router ---- */

static pid_t start_router(const char *program, int *port)
{
    char url[64], line[256] = "";
    int pipe_fd[2];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", backend.port);
    if (pipe(pipe_fd))
        die("pipe");
    const pid_t pid = fork();
    if (!pid) {
        dup2(pipe_fd[1], 1);
        execl(program, program, "route", "--port", "0", "--short", url, "--quiet",
              (char *)NULL);
        _exit(127);
    }
    close(pipe_fd[1]);
    const ssize_t n = read(pipe_fd[0], line, sizeof line - 1);
    const char *colon = n > 0 ? strrchr(line, ':') : NULL;
    if (!colon) {
        fprintf(stderr, "%s does not start\n", program);
        exit(1);
    }
    *port = atoi(colon + 1);
    const struct timespec second = {1, 0};
    nanosleep(&second, NULL); // it gets to know the backend
    return pid;
}

/* Seconds of processor time. */
static double cpu_of(pid_t pid)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (f && fgets(text, sizeof text, f))
        sscanf(strrchr(text, ')') + 2,
               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    if (f)
        fclose(f);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static double resident_mib(pid_t pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kib);
    if (f)
        fclose(f);
    return (double)kib / 1024;
}

static void print_late(const char *what, struct late *l)
{
    printf(
        "%-28s %6d events: p50 %7.0f us, p99 %7.0f us, p99.9 %7.0f us, most %7.0f us\n",
        what, l->n, part(l, 0.5), part(l, 0.99), part(l, 0.999), part(l, 1));
}

static void *idle_streams(void *ctx)
{
    struct late l = {.us = calloc(EVENTS_MAX, sizeof(double))};
    many_streams(&l, *(int *)ctx, 1000, 4, 2000000);
    free(l.us);
    return NULL;
}

int main(int argc, char **argv)
{
    struct late direct = {.us = calloc(EVENTS_MAX, sizeof(double))};
    struct late routed = {.us = calloc(EVENTS_MAX, sizeof(double))};
    struct rlimit files = {8192, 8192};
    int port;
    pthread_t thread;
    if (argc > 1 && !strcmp(argv[1], "--bench"))
        argv[1] = NULL;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    open_backend();
    const pid_t pid =
        start_router(argc > 1 && argv[1] ? argv[1] : "build/turbine", &port);
    for (int round = 0; round < 3; round++) {
        first_bytes(&direct, backend.port, 1000);
        first_bytes(&routed, port, 1000);
        printf(
            "first byte: direct p50 %.0f us, routed %.0f us: %.0f us more; p99 %.0f and "
            "%.0f us\n",
            part(&direct, 0.5), part(&routed, 0.5),
            part(&routed, 0.5) - part(&direct, 0.5), part(&direct, 0.99),
            part(&routed, 0.99));
    }
    for (int round = 0; round < 3; round++) {
        many_streams(&direct, backend.port, 100, 250, 20000);
        print_late("direct, 100 x 50/s", &direct);
        const double before = cpu_of(pid);
        many_streams(&routed, port, 100, 250, 20000);
        const double used = cpu_of(pid) - before;
        print_late("routed, 100 x 50/s", &routed);
        printf("router: %.1f us of processor time an event, %.0f %% of a core\n",
               used * 1e6 / routed.n, used * 100 / (250 * 0.02));
    }
    if (!pthread_create(&thread, NULL, idle_streams, &port)) {
        const struct timespec wait = {5, 0};
        nanosleep(&wait, NULL);
        printf("1,000 streams: %.1f MiB resident\n", resident_mib(pid));
        pthread_join(thread, NULL);
        printf("behind them: %.1f MiB\n", resident_mib(pid));
    }
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    free(direct.us);
    free(routed.us);
    return 0;
}
