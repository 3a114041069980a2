/* client_impl.h - one hop of a transfer: what client_session.c and download.c share. */
#ifndef HTTP_CLIENT_IMPL_H
#define HTTP_CLIENT_IMPL_H

#include <curl/curl.h>
#include <stdint.h>

#include "http/client_session.h"

enum { HTTP_CREDENTIALS = 8, HTTP_REALMS = 32 };

struct http_session {
    struct http_policy policy;
    CURL *curl; // of small documents; keeps its connection
    struct {
        struct http_url origin;
        char *token;
        bool given; // by the user, not by a token server
    } credentials[HTTP_CREDENTIALS];
    int n_credential;
    struct {
        char host[HTTP_HOST_BYTES], realm[HTTP_HOST_BYTES];
    } realms[HTTP_REALMS];
    int n_realm;
    bool refused_address; // of the last transfer that failed: policy.public_only
};

/* client_address.c */
bool http_address_is_public(const void *sockaddr);
/* An address that is not public, or a name of this machine. */
bool http_host_is_private(const char *host);
/* CURLOPT_OPENSOCKETFUNCTION: no socket goes to a program that is started, which would
 * keep the connection open when we close it. */
int http_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a);
/* The same for public addresses alone. */
int http_open_public(void *session, curlsocktype purpose, struct curl_sockaddr *a);
/* Fill err: the host is none that may be asked. */
enum status http_private_fail(const struct http_url *u, struct error *err);

/* A GET of url with this session's options, on a handle that was reset: no redirects.
 * headers <- a list that the caller frees after the transfer.  fields <- lines of the
 * header.  range: "0-9" or NULL; if_range: an ETag or "". */
struct http_hop {
    const struct http_url *url;
    const char *accept, *range, *if_range;
    struct buf *fields;
    char why[CURL_ERROR_SIZE];
    struct curl_slist *headers;
};
enum status http_hop_prepare(struct http_session *s, CURL *curl, struct http_hop *h,
                             struct error *err);

/* h->why <- why the transfer of h failed, in words that help. */
void http_hop_explain(struct http_hop *h, CURLcode rc);
/* Worth another try: the network's or the server's passing trouble; a certificate or a
 * protocol is not. */
bool http_hop_is_passing(const struct http_hop *h, CURLcode rc, long status);

/* Milliseconds to wait before try number `failures` (from 1): 250 ms, doubled each time
 * up to 30 s, give or take a quarter; at least retry_after_s, of which a minute counts.
 */
int http_backoff_ms(int failures, uint64_t retry_after_s);
/* What Retry-After says in seconds, 0 where it says none. */
uint64_t http_retry_after(const struct buf *fields);

#endif
