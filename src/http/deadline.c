/* deadline.c - connections that take too long are closed.
 *
 * Shutting the socket down makes libmicrohttpd notice and clean up by itself. */
#include "http/internal.h"

#include <sys/socket.h>

#include "base/clock.h"

const struct http_limits http_limits_default = {
    .n_connection = 10000,
    .n_keep = 1024, // libmicrohttpd holds 64 KiB for each that was used
    .body_bytes = 32 << 20,
    .all_bodies = 512 << 20,
    .url_bytes = 8 << 10,
    .header_bytes = 32 << 10,
    .n_header = 100,
    .body_rate = 1024,
    .header_us = 10000000,
    .body_idle_us = 30000000,
    .keep_alive_us = 75000000,
    .write_us = 60000000,
};

void http_conn_enter(struct http_conn *c, enum conn_state state)
{
    c->state = state;
    c->since_us = c->progress_us = clock_us();
    c->received = 0;
}

static bool is_answered(struct http_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    const bool begun = x->begun;
    pthread_mutex_unlock(&x->lock);
    return begun;
}

static uint64_t deadline(const struct http_conn *c)
{
    const struct http_limits *l = &c->server->o.limits;
    uint64_t idle, slow;
    /* libmicrohttpd may not notice: an end that came with the last bytes is no news to
     * its edge-triggered epoll. */
    if (c->closed && c->state <= CONN_BODY)
        return c->closed_us + HTTP_CLOSED_US;
    switch (c->state) {
    case CONN_HEADERS:
        return c->since_us + l->header_us;
    case CONN_IDLE:
        return c->since_us + l->keep_alive_us;
    case CONN_BODY:
        if (c->exchange && c->exchange->suspended) // for whoever takes the pieces
            return UINT64_MAX;
        idle = c->progress_us +
               (c->exchange && is_answered(c->exchange) ? HTTP_DROP_US : l->body_idle_us);
        slow = c->since_us + l->body_idle_us +
               (uint64_t)c->received * 1000000 / (uint64_t)l->body_rate;
        return idle < slow ? idle : slow;
    case CONN_WORK:
        return UINT64_MAX;
    case CONN_WRITE: // suspended: all was sent, and there is nothing new
        return c->exchange && c->exchange->suspended ? UINT64_MAX
                                                     : c->progress_us + l->write_us;
    }
    return UINT64_MAX;
}

void http_sweep(struct http_server *s)
{
    const uint64_t now = clock_us();
    if (now - s->swept_us < HTTP_SWEEP_US)
        return;
    s->swept_us = now;
    for (struct http_conn *c = s->conns; c; c = c->next) {
        struct http_exchange *x = c->exchange;
        if (now > deadline(c)) {
            c->closed = true;
            shutdown(c->fd, SHUT_RDWR);
            if (x)
                http_exchange_gone(x);
            continue;
        }
        uint64_t at = x ? atomic_load(&x->wake_us) : 0;
        if (at && now >= at && atomic_compare_exchange_strong(&x->wake_us, &at, 0))
            http_wake(x);
    }
    if (s->o.tick)
        s->o.tick(s->o.ctx);
}
