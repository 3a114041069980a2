/* client.h - one HTTP request of ours to a server, over libcurl. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/buf.h"
#include "base/status.h"

struct http_call {
    const char *method, *url; // http:// or https://; redirects are not followed
    const char *key;          // sent as a bearer token; NULL: none
    int timeout_ms;           // for everything
};

/* body (initialised by buf_init, whose maximum bounds it) <- what the server answered,
 * and *http_status.  STATUS_IO: it cannot be reached, or broke off; STATUS_LIMIT: the
 * answer is larger than the maximum. */
enum status http_call(const struct http_call *c, int *http_status, struct buf *body,
                      struct error *err);

#endif
