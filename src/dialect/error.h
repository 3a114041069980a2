/* error.h - what goes wrong with an API request, before a dialect puts it into words.
 *
 * The kind decides status and type in each dialect (reliability of clients depends on
 * them); the message is one sentence for a person. */
#ifndef DIALECT_ERROR_H
#define DIALECT_ERROR_H

#include <stdbool.h>

#include "base/status.h"

#define API_ERROR_MAP(X)                                                    \
    X(INVALID, 400)      /* a field is missing, of a wrong type or range */ \
    X(TOO_LONG, 400)     /* the prompt does not fit into the context */     \
    X(UNAUTHORIZED, 401) /* no key, or a wrong one */                       \
    X(FORBIDDEN, 403)    /* Host or Origin */                               \
    X(NO_MODEL, 404)     /* the model is not here */                        \
    X(NO_ROUTE, 404)     /* nothing at this path */                         \
    X(METHOD, 405)       /* not with this method */                         \
    X(TOO_LARGE, 413)    /* the body */                                     \
    X(UNSUPPORTED, 400)  /* valid, but not for this model or server */      \
    X(RATE_LIMIT, 429)   /* of a backend, for its user; Retry-After */      \
    X(BUSY, 503)         /* queue full, or its deadline; Retry-After */     \
    X(DRAINING, 503)     /* the server is about to end */                   \
    X(CANCELLED, 499)    /* the client is gone */                           \
    X(NO_ROOM, 503)      /* no memory for the model */                      \
    X(BACKEND, 502)      /* another server's reply is none, or garbage */   \
    X(INTERNAL, 500)     /* numeric failure, out of memory */

enum api_error_kind {
#define X(id, http) API_ERROR_##id,
    API_ERROR_MAP(X)
#undef X
};

struct api_error {
    enum api_error_kind kind;
    char message[800];
    char param[64]; // the field at fault, "" for none: "messages[3].content"
    int n_prompt,
        n_ctx;         // TOO_LONG: tokens of the prompt, and what would fit; 0: not known
    int retry_after_s; // BUSY, DRAINING, RATE_LIMIT
};

/* Fill e and return s, which is not STATUS_OK; param may be NULL. */
enum status api_fail(struct api_error *e, enum status s, enum api_error_kind kind,
                     const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6), warn_unused_result));

/* The same for no memory, INTERNAL. */
enum status api_no_memory(struct api_error *e) __attribute__((warn_unused_result));

/* Seconds after which the same request may work, at least 1, for Retry-After; 0: nobody
 * can say that it ever will. */
int api_error_retry_s(const struct api_error *e);
/* What the official clients ask by x-should-retry: whether it is worth while to try
 * again, now or later. */
bool api_error_may_retry(const struct api_error *e);

/* The status that HTTP gives a kind; Anthropic's 529 is its dialect's own. */
int api_error_http(enum api_error_kind kind);

#endif
