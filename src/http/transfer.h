/* transfer.h - many requests of ours to other servers at a time, with answers that come
 * in pieces: libcurl on epoll, in the loop of one thread, their host.
 *
 * Each transfer has a bounded buffer of what came; a server that sends faster than it is
 * read is not listened to until there is room.  Connections are kept for 4 seconds (less
 * than servers keep them) and used again; a request but GET is never sent twice.
 * Redirects are not followed, no proxy is used that was not asked for, HTTP/1.1 alone is
 * spoken, TLS is verified. */
#ifndef HTTP_TRANSFER_H
#define HTTP_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct http_transfers; // all of a host
struct http_transfer;  // one request and its answer

struct http_transfer_options {
    const char *method, *url;
    const char *const *headers; // [n_header] "Name: value"
    int n_header;
    const void *body; // [n_body], until http_transfer_close; not sent with GET
    size_t n_body;
    const char *proxy;   // URL of a proxy, NULL: none
    const char *ca_file; // certificates to trust, NULL: the system's
    uint64_t connect_us; // for name, connection and TLS
    uint64_t first_us;   // from the start to the first byte behind the header
    uint64_t idle_us;    // between two pieces of the answer
    size_t max_header;   // bytes of the answer's header; 0: 64 KiB
    size_t buffer;       // bytes that wait to be read; 0: 64 KiB
    /* There is something new since the last http_transfer_see.  By the host, in its
     * http_transfers_turn; may read, close and start transfers, but must not wait: all
     * others wait with it. */
    void (*notify)(void *ctx);
    void *ctx;
};

/* How it ended, as far as a caller must tell: */
enum http_transfer_end {
    HTTP_TRANSFER_RUNS,
    HTTP_TRANSFER_DONE,    // all of the answer came, as far as HTTP can tell
    HTTP_TRANSFER_CONNECT, // no address, refused, no route, TLS
    HTTP_TRANSFER_TIMEOUT, // connect_us, first_us or idle_us is over
    HTTP_TRANSFER_CUT,     // reset or closed before the end
    HTTP_TRANSFER_GARBAGE, // not HTTP
    HTTP_TRANSFER_FAILED,  // memory, limits
};

struct http_transfer_state {
    int status;       // 0 until the header is there
    size_t n_waiting; // bytes to read
    bool ended;       // and nothing comes behind them
    enum http_transfer_end end;
};

/* The caller's thread is the host. */
enum status http_transfers_open(struct http_transfers **out, struct error *err);
/* Behind the close of every transfer. */
void http_transfers_close(struct http_transfers *ts);
/* The host calls turn whenever this file descriptor is readable, and after so many
 * milliseconds as turn returned. */
int http_transfers_fd(const struct http_transfers *ts);
int http_transfers_turn(struct http_transfers *ts);
/* Transfers that were started and not closed. */
int http_transfers_active(const struct http_transfers *ts);

/* NULL without memory.  All of o but the body is copied. */
struct http_transfer *http_transfer_start(struct http_transfers *ts,
                                          const struct http_transfer_options *o);
/* Any time, by any thread; those that are not the host wait for its next turn while the
 * transfer runs.  It ends at once, its connection with it.  notify is not called any more
 * when this returns, and but for the one that closes, none is running. */
void http_transfer_close(struct http_transfer *t);

void http_transfer_see(struct http_transfer *t, struct http_transfer_state *out);
/* Take at most max bytes; 0: none there now. */
size_t http_transfer_read(struct http_transfer *t, void *dst, size_t max);
/* Append all that is there now to body, and see the state then.  true: that was all, or
 * more than body takes (body->failed). */
bool http_transfer_collect(struct http_transfer *t, struct buf *body,
                           struct http_transfer_state *out);
/* When the header is there (status): lines "Name: value\n"; see http_field. */
const char *http_transfer_fields(const struct http_transfer *t);
/* When it ended badly: why, for a person. */
const char *http_transfer_why(const struct http_transfer *t);
#endif
