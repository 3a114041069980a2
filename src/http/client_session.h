/* client_session.h - what the transfers of one pull have in common, and small documents.
 *
 * A token belongs to an origin (scheme, host and port) and goes nowhere else: redirects
 * are followed by this module, hop by hop, each with the headers of its own origin. Where
 * an origin demands a bearer token and has none yet, its token server is asked, which
 * must be the origin's own host, or one that was allowed for it, and encrypted if the
 * origin is.  Proxies and certificates are libcurl's business (its environment
 * variables). Used by one thread at a time. */
#ifndef HTTP_CLIENT_SESSION_H
#define HTTP_CLIENT_SESSION_H

#include "base/buf.h"
#include "http/client_url.h"

enum {
    HTTP_FIELDS_BYTES = 64 << 10, // of all fields of an answer
    HTTP_TOKEN_BYTES = 16 << 10,
    HTTP_REDIRECTS = 10,
};

struct http_policy {
    bool insecure; // http:// for other machines than this one
    /* Public addresses alone, wherever a name, a redirect or a token server leads: for
     * hosts that somebody from outside chose.  proxied: connections go to a proxy, whose
     * own address is no concern; then hosts are looked at only where they are addresses.
     */
    bool public_only, proxied;
    int retries; // failures without progress before it ends, >= 0
    int stall_s; // a transfer slower than 1 KiB/s for so long has failed
    /* Asked several times a second; true ends everything with STATUS_IO "stopped".  NULL:
     * never.  note (NULL: silence) gets a line on what is tried again. */
    bool (*stopped)(void *ctx);
    void (*note)(void *ctx, const char *text);
    void *ctx;
};

struct http_session;

enum status http_session_open(struct http_session **s, const struct http_policy *policy,
                              struct error *err);
void http_session_close(struct http_session *s);

/* The token (visible ASCII) for the origin of url. */
enum status http_session_credential(struct http_session *s, const char *url,
                                    const char *token, struct error *err);
/* `host` may name `realm` as the host of its token server; lower case, both copied. */
enum status http_session_allow(struct http_session *s, const char *host,
                               const char *realm, struct error *err);

struct http_answer {
    int status;
    struct http_url url;   // that answered, after redirects
    struct buf fields;     // of the last answer: http_field
    struct buf own_fields; // of all answers of the origin that was asked
    struct buf body;
    size_t body_max;
};

/* body_max bounds the body of a success; of redirects and errors, whose bodies are the
 * server's own words, the beginning is kept.  Released by http_answer_release. */
void http_answer_init(struct http_answer *a, size_t body_max);
void http_answer_release(struct http_answer *a);

struct http_get {
    const char *url, *accept; // accept NULL: anything
    /* Ask for the first byte alone, and stop after the header where a server sends all:
     * what is wanted is where the bytes lie and how many. */
    bool probe;
};

/* The answer to a GET, whatever its status: redirects are followed, a demanded token is
 * fetched, 408, 429, 5xx and broken connections are tried again. */
enum status http_session_get(struct http_session *s, struct http_answer *a,
                             const struct http_get *g, struct error *err);

/* "URL: HTTP status N: what the body says". */
enum status http_answer_fail(const struct http_answer *a, enum status s,
                             struct error *err);

/* What the policy's functions say and get. */
bool http_session_stopped(const struct http_session *s);
void http_session_note(const struct http_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Sleep; STATUS_IO "stopped" where the policy wants it. */
enum status http_session_wait(const struct http_session *s, int ms, struct error *err);

#endif
