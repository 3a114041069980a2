/* http.h - a server of HTTP/1.1 that knows nothing of what it serves.
 *
 * One thread does input and output (libmicrohttpd on epoll); it never waits for anything
 * else.  A few workers run `step` for an exchange, one at a time each: first when the
 * request is there, then whenever somebody woke it, until it was answered.  Slow clients
 * meet bounded buffers and deadlines, never a worker. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct http_server;
struct http_exchange; // one request and its reply

struct http_limits {
    int n_connection;
    int n_keep;        // with more connections than this none is kept behind its reply
    size_t body_bytes; // of a body
    size_t all_bodies; // of those that are held at a time
    size_t url_bytes, header_bytes;
    int n_header;
    int body_rate;          // least bytes a second of a body, after body_idle_us
    uint64_t header_us;     // to send all headers
    uint64_t body_idle_us;  // between two pieces of a body
    uint64_t keep_alive_us; // between two requests
    uint64_t write_us;      // in which a client must take something
};

extern const struct http_limits http_limits_default;

/* Why a body is not read on. */
enum http_no_room {
    HTTP_BODY_TOO_LARGE,
    HTTP_BODIES_TOO_MANY, // together; later there may be room
    HTTP_BODY_NO_MEMORY,
};

struct http_options {
    const char *host; // name or address, with or without [] for IPv6
    int port;         // 0: any that is free
    int n_worker;
    struct http_limits limits;
    /* By the I/O thread when the headers are there, before the body: true to read it and
     * go on to `step`, or http_reply and false.  Must not wait.  It refuses what
     * http_content_length says is too large; no_room replies to a body that turns out
     * to be, or that there is no room for. */
    bool (*admit)(void *ctx, struct http_exchange *x);
    void (*no_room)(void *ctx, struct http_exchange *x, enum http_no_room why);
    /* By a worker; see above.  After http_reply or http_stream_end it is not called any
     * more, and x must not be used any more when it returns. */
    void (*step)(void *ctx, struct http_exchange *x);
    /* By any thread, when x ends: the last use of http_data. */
    void (*release)(void *ctx, struct http_exchange *x);
    /* By the I/O thread, at least every second; may call http_server_stop. */
    void (*tick)(void *ctx);
    /* Other work of the I/O thread, or NULL: when turn_fd is readable, and after so many
     * milliseconds as it returned.  Until http_server_close returns. */
    int (*turn)(void *ctx);
    int turn_fd;
    void *ctx;
};

/* Listens on return.  The limit of open files is raised as far as it may. */
enum status http_server_open(struct http_server **out, const struct http_options *o,
                             struct error *err);
/* Behind http_server_run: exchanges that are not answered are released. */
void http_server_close(struct http_server *s);

/* "127.0.0.1", "::1": the address that is bound, and the port. */
const char *http_server_address(const struct http_server *s);
int http_server_port(const struct http_server *s);

/* Serve until http_server_stop: the I/O thread is the caller's. */
void http_server_run(struct http_server *s);
void http_server_stop(struct http_server *s); // any thread or signal handler
/* New connections are refused from now on (by the I/O thread: in tick). */
void http_server_quiesce(struct http_server *s);
/* Make the I/O thread call tick now: any thread or signal handler. */
void http_server_poke(struct http_server *s);
/* Wake all exchanges that are not answered. */
void http_server_wake_all(struct http_server *s);

/* Requests whose replies are not all sent, and open connections. */
int http_server_active(const struct http_server *s);
int http_server_connections(const struct http_server *s);

/* ---- the request ----
 * Headers and query until the reply begins, the rest as long as the exchange. */
const char *http_method(const struct http_exchange *x);
const char *http_path(const struct http_exchange *x); // decoded, without the query
/* NULL if there is none; names of headers in any case. */
const char *http_header(const struct http_exchange *x, const char *name);
const char *http_query(const struct http_exchange *x, const char *name);
uint64_t http_content_length(const struct http_exchange *x); // as stated, 0 if not
char *http_body(struct http_exchange *x, size_t *n);         // terminated; may be changed
/* The local address of the connection, as "127.0.0.1" or "::1"; the peer's. */
const char *http_local(const struct http_exchange *x);
const char *http_peer(const struct http_exchange *x);
uint64_t http_start_us(const struct http_exchange *x); // its headers were there

/* ---- a body in pieces, for those that memory should not hold ---- */

/* In admit: body_bytes does not bound this body, http_body is empty, and `step` runs at
 * once.  Nothing is read (and no 100 Continue sent) before the first http_body_read, so
 * a reply may come instead.  After that, a reply before the end waits for the end: what
 * still comes is dropped.  There is no http_query.  false: no memory. */
bool http_body_stream(struct http_exchange *x);

enum http_body {
    HTTP_BODY_WAIT,  // nothing new: the step is woken when there is
    HTTP_BODY_PIECE, // of at most HTTP_PIECE_BYTES
    HTTP_BODY_END,   // all of it was taken
    HTTP_BODY_CUT,   // the client has gone
};
enum { HTTP_PIECE_BYTES = 1 << 20 };
/* What came since the last call, in place of what piece (initialised) has.  While nobody
 * calls, the connection is not read.  Any one thread at a time, while the exchange is not
 * answered. */
enum http_body http_body_read(struct http_exchange *x, struct buf *piece);

void http_set_data(struct http_exchange *x, void *data);
void *http_data(const struct http_exchange *x);

/* The client has gone, or takes nothing: nobody will see an answer.  A reply is still
 * owed, to end the exchange. */
bool http_is_gone(const struct http_exchange *x);

/* ---- waking: any thread, while the exchange is not answered; never waits ---- */
void http_wake(struct http_exchange *x);
/* The same for a short step, in turn: the I/O thread runs it itself if nobody else does.
 * x may be gone when it returns. */
void http_step_here(struct http_exchange *x);
/* Once, at this time of clock_us (to about half a second); 0: no more. */
void http_wake_at(struct http_exchange *x, uint64_t at_us);

/* ---- the reply ---- */

/* A header of the reply, before it begins; copied. */
void http_add_header(struct http_exchange *x, const char *name, const char *value);
/* The whole reply.  body is taken over and left empty (NULL: none). */
void http_reply(struct http_exchange *x, int status, const char *content_type,
                struct buf *body);
/* The same with bytes [n] that live as long as the server. */
void http_reply_static(struct http_exchange *x, int status, const char *content_type,
                       const void *body, size_t n);

/* A reply in pieces, which are buffered.  The step is woken when there is room again. */
void http_stream_begin(struct http_exchange *x, int status, const char *content_type);
bool http_stream_has_room(struct http_exchange *x);
/* Past the bound (which is far above "no room") the stream breaks off. */
void http_stream_write(struct http_exchange *x, const void *p, size_t n);
void http_stream_end(struct http_exchange *x);
/* The end of a stream that is not whole: the connection breaks off. */
void http_stream_break(struct http_exchange *x);

#endif
