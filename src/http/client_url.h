/* client_url.h - addresses that a client of ours may ask, and where they lead it.
 *
 * Everything is read by libcurl's own parser, so what is checked here is what libcurl
 * will connect to. */
#ifndef HTTP_CLIENT_URL_H
#define HTTP_CLIENT_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { HTTP_URL_BYTES = 8192, HTTP_HOST_BYTES = 300 };

struct http_url {
    char text[HTTP_URL_BYTES];  // normalised, without a fragment
    char host[HTTP_HOST_BYTES]; // lower case; an IPv6 address has its brackets
    bool tls;                   // https
    int port;                   // that of the scheme where the text has none
};

/* An absolute http:// or https:// URL without a user name.  BAD_INPUT names what is
 * wrong. */
enum status http_url_parse(struct http_url *u, const char *text, struct error *err);

/* Where `location` (relative or absolute) leads from `from`: refused are other schemes,
 * user names, https to http, http where http_url_check refuses it, and this machine
 * unless `from` is on it already. */
enum status http_url_redirect(struct http_url *to, const struct http_url *from,
                              const char *location, bool insecure, struct error *err);

/* Plain http is for this machine alone, unless `insecure`. */
enum status http_url_check(const struct http_url *u, bool insecure, struct error *err);

/* Same scheme, host and port: what credentials are bound to. */
bool http_url_same_origin(const struct http_url *a, const struct http_url *b);

/* localhost, 127.0.0.0/8, ::1. */
bool http_url_is_loopback(const struct http_url *u);

/* "scheme://host" and, where it is not the scheme's own, ":port". */
void http_url_origin(char *out, size_t n, const struct http_url *u);

/* For "%.*s": the length of the text without its query, which may hold a signature. */
int http_url_shown(const char *text);
#define HTTP_SHOWN(text) http_url_shown(text), (text)

/* Appends ?name=value, or &name=value, with value escaped.  false: no room. */
bool http_url_add(struct http_url *u, const char *name, const char *value);

#endif
