/* client.h - one HTTP request of ours to a server, over libcurl. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/buf.h"
#include "base/status.h"

struct http_call {
    const char *method, *url; // http:// or https://; redirects are not followed
    const char *key;          // sent as a bearer token; NULL: none
    int timeout_ms;           // for everything; 0: none
    const char *json;         // the body, terminated; NULL: none
    /* The body of a good answer (HTTP status 200) as it comes, instead of into `body`;
     * false ends the call.  NULL: none. */
    bool (*take)(void *ctx, const char *data, size_t n);
    /* Asked ten times a second; true closes the connection.  NULL: never. */
    bool (*stopped)(void *ctx);
    void *ctx;
};

/* body (initialised by buf_init, whose maximum bounds it) <- what the server answered,
 * and *http_status, 0 where no answer came.  A server on this machine is never asked
 * through a proxy.  STATUS_IO: it cannot be reached, broke off, or the caller ended the
 * call; STATUS_LIMIT: the answer is larger than the maximum. */
enum status http_call(const struct http_call *c, int *http_status, struct buf *body,
                      struct error *err);

#endif
