/* transfers.c - all transfers of a host: libcurl's sockets and timer on epoll, what
 * readers ask for, news, deadlines. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/transfer_impl.h"

enum { SWEEP_US = 50000, EVENTS = 256, CONNECTIONS_KEPT = 256 };

/* ---- libcurl's callbacks ---- */

static int watch_socket(CURL *curl, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct http_transfers *ts = ctx;
    struct epoll_event e = {.data.fd = fd};
    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(ts->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        curl_multi_assign(ts->multi, fd, NULL);
        return 0;
    }
    e.events = (what & CURL_POLL_IN ? (unsigned)EPOLLIN : 0) |
               (what & CURL_POLL_OUT ? (unsigned)EPOLLOUT : 0);
    if (epoll_ctl(ts->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) &&
        epoll_ctl(ts->epoll_fd, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e))
        return -1;
    curl_multi_assign(ts->multi, fd, ts);
    return 0;
}

static int set_timer(CURLM *multi, long ms, void *ctx)
{
    struct http_transfers *ts = ctx;
    (void)multi;
    ts->timer_us = ms < 0 ? 0 : clock_us() + (uint64_t)ms * 1000;
    return 0;
}

/* ---- the list of transfers ---- */

static void detach(struct http_transfer *t)
{
    struct http_transfers *ts = t->owner;
    if (!t->added)
        return;
    curl_multi_remove_handle(ts->multi, t->curl);
    t->added = false;
    if (t->next)
        t->next->prev = t->prev;
    if (t->prev)
        t->prev->next = t->next;
    else
        ts->added = t->next;
}

static void forget_news(struct http_transfer *t)
{
    struct http_transfer **at = &t->owner->news;
    while (t->has_news && *at != t)
        at = &(*at)->news_next;
    if (t->has_news)
        *at = t->news_next;
    t->has_news = false;
}

static void attach(struct http_transfer *t)
{
    struct http_transfers *ts = t->owner;
    if (curl_multi_add_handle(ts->multi, t->curl) != CURLM_OK) {
        http_transfer_finish(t, HTTP_TRANSFER_FAILED, "no memory for a request");
        return;
    }
    t->added = true;
    t->prev = NULL;
    t->next = ts->added;
    if (t->next)
        t->next->prev = t;
    ts->added = t;
}

/* ---- what readers ask for ---- */

bool http_transfers_is_host(const struct http_transfers *ts)
{
    return pthread_equal(pthread_self(), ts->host);
}

void http_transfer_stop(struct http_transfer *t)
{
    detach(t);
    forget_news(t);
}

static void ring(struct http_transfers *ts)
{
    const uint64_t one = 1;
    const ssize_t n = write(ts->event_fd, &one, sizeof one);
    (void)n;
}

void http_transfer_ask(struct http_transfer *t, enum http_ask what)
{
    struct http_transfers *ts = t->owner;
    pthread_mutex_lock(&ts->lock);
    const bool first = !ts->asked;
    if (!t->asked) {
        t->asked_next = ts->asked;
        ts->asked = t;
    }
    t->asked |= (unsigned)what;
    const uint64_t round = ts->n_round_begun + 1; // the one that will find it
    if (first)
        ring(ts);
    while (what == HTTP_ASK_END && ts->n_round_done < round)
        pthread_cond_wait(&ts->ended, &ts->lock);
    pthread_mutex_unlock(&ts->lock);
}

static void answer_one(struct http_transfer *t, unsigned asked)
{
    if (asked & (HTTP_ASK_END | HTTP_ASK_FREE)) {
        http_transfer_stop(t);
        http_transfer_free(t);
        return;
    }
    if (asked & HTTP_ASK_START)
        attach(t);
    if (asked & HTTP_ASK_RESUME && t->added) {
        t->progress_us = clock_us();
        curl_easy_pause(t->curl, CURLPAUSE_CONT);
    }
}

/* All that was asked for, as one round: whoever waits for the end of a transfer waits for
 * the end of the round that has it. */
static void answer_asked(struct http_transfers *ts)
{
    pthread_mutex_lock(&ts->lock);
    struct http_transfer *t = ts->asked;
    ts->asked = NULL;
    ts->n_round_begun++;
    // Newest first; those that were asked for longest are to begin first.
    struct http_transfer *in_order = NULL;
    while (t) {
        struct http_transfer *next = t->asked_next;
        t->asked_next = in_order;
        in_order = t;
        t = next;
    }
    while (in_order) {
        t = in_order;
        in_order = t->asked_next;
        const unsigned asked = t->asked;
        t->asked = 0;
        pthread_mutex_unlock(&ts->lock);
        answer_one(t, asked);
        pthread_mutex_lock(&ts->lock);
    }
    ts->n_round_done = ts->n_round_begun;
    pthread_cond_broadcast(&ts->ended);
    pthread_mutex_unlock(&ts->lock);
}

/* ---- ends ---- */

static void take_ends(struct http_transfers *ts)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(ts->multi, &left));) {
        void *p = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p);
        struct http_transfer *t = p;
        detach(t);
        if (code == CURLE_ABORTED_BY_CALLBACK)
            snprintf(t->why, sizeof t->why,
                     "the connection was closed without an answer");
        http_transfer_finish(t, http_transfer_classify(code),
                             code == CURLE_OK ? NULL : curl_easy_strerror(code));
    }
}

static const char *what_is_late(struct http_transfer *t, uint64_t now)
{
    const char *late = NULL;
    pthread_mutex_lock(&t->lock);
    if (t->paused) // it is the reader who is slow
        t->progress_us = now;
    else if (!t->begun)
        late = now - t->start_us > t->first_us ? "no answer in time" : NULL;
    else if (now > t->progress_us && now - t->progress_us > t->idle_us)
        late = "the answer stalled";
    pthread_mutex_unlock(&t->lock);
    return late;
}

static void sweep_transfers(struct http_transfers *ts)
{
    const uint64_t now = clock_us();
    if (now - ts->swept_us < SWEEP_US)
        return;
    ts->swept_us = now;
    for (struct http_transfer *t = ts->added, *next; t; t = next) {
        next = t->next;
        const char *late = what_is_late(t, now);
        if (!late)
            continue;
        detach(t);
        http_transfer_finish(t, HTTP_TRANSFER_TIMEOUT, late);
    }
}

/* ---- news: outside of libcurl, which may not be called back from its callbacks ---- */

static void tell_one(struct http_transfer *t)
{
    pthread_mutex_lock(&t->lock);
    void (*notify)(void *) = t->notify;
    t->telling = notify;
    pthread_mutex_unlock(&t->lock);
    if (!notify)
        return;
    notify(t->ctx); // may close t, which lives until answer_asked
    pthread_mutex_lock(&t->lock);
    t->telling = false;
    pthread_cond_broadcast(&t->told_it);
    pthread_mutex_unlock(&t->lock);
}

static void tell_news(struct http_transfers *ts)
{
    while (ts->news) {
        struct http_transfer *t = ts->news;
        ts->news = t->news_next;
        t->has_news = false;
        tell_one(t);
    }
}

/* What is asked for can be news, and who hears news asks. */
static void settle_news(struct http_transfers *ts)
{
    do {
        tell_news(ts);
        answer_asked(ts);
    } while (ts->news);
}

/* ---- the host's turn ---- */

static int turn_ms(const struct http_transfers *ts)
{
    int ms = ts->added ? SWEEP_US / 1000 : 1000;
    if (ts->timer_us) {
        const uint64_t now = clock_us();
        const uint64_t left = ts->timer_us > now ? (ts->timer_us - now + 999) / 1000 : 0;
        ms = left < (uint64_t)ms ? (int)left : ms;
    }
    return ms;
}

static void handle_event(struct http_transfers *ts, const struct epoll_event *e)
{
    int running;
    if (e->data.fd == ts->event_fd) {
        uint64_t count;
        const ssize_t n = read(ts->event_fd, &count, sizeof count);
        (void)n;
        return;
    }
    const int mask = (e->events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
                     (e->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                     (e->events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(ts->multi, e->data.fd, mask, &running);
}

int http_transfers_fd(const struct http_transfers *ts)
{
    return ts->epoll_fd;
}

int http_transfers_turn(struct http_transfers *ts)
{
    struct epoll_event events[EVENTS];
    const int n = epoll_wait(ts->epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < n; i++)
        handle_event(ts, &events[i]);
    settle_news(ts);
    if (ts->timer_us && clock_us() >= ts->timer_us) {
        int running;
        ts->timer_us = 0;
        curl_multi_socket_action(ts->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    take_ends(ts);
    sweep_transfers(ts);
    settle_news(ts);
    return turn_ms(ts);
}

enum status http_transfers_open(struct http_transfers **out, struct error *err)
{
    struct http_transfers *ts = mem_array(1, sizeof *ts);
    *out = NULL;
    if (!ts)
        return fail(err, STATUS_NO_MEMORY, "no memory for transfers");
    pthread_mutex_init(&ts->lock, NULL);
    pthread_cond_init(&ts->ended, NULL);
    ts->host = pthread_self();
    ts->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ts->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = ts->event_fd};
    curl_global_init(CURL_GLOBAL_DEFAULT);
    ts->multi = curl_multi_init();
    if (!ts->multi || ts->epoll_fd < 0 || ts->event_fd < 0 ||
        epoll_ctl(ts->epoll_fd, EPOLL_CTL_ADD, ts->event_fd, &e)) {
        const enum status s = fail(err, STATUS_IO, "transfers: %s", strerror(errno));
        http_transfers_close(ts);
        return s;
    }
    curl_multi_setopt(ts->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    curl_multi_setopt(ts->multi, CURLMOPT_SOCKETDATA, ts);
    curl_multi_setopt(ts->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(ts->multi, CURLMOPT_TIMERDATA, ts);
    curl_multi_setopt(ts->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    *out = ts;
    return STATUS_OK;
}

void http_transfers_close(struct http_transfers *ts)
{
    if (!ts)
        return;
    if (ts->multi && ts->asked)
        settle_news(ts);
    if (ts->multi)
        curl_multi_cleanup(ts->multi);
    if (ts->epoll_fd >= 0)
        close(ts->epoll_fd);
    if (ts->event_fd >= 0)
        close(ts->event_fd);
    pthread_cond_destroy(&ts->ended);
    pthread_mutex_destroy(&ts->lock);
    mem_free(ts);
}

int http_transfers_active(const struct http_transfers *ts)
{
    return atomic_load(&ts->n_active);
}
