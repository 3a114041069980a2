/* guard.h - who may call: API key, Host, Origin.  Pure but for opening. */
#ifndef ACCESS_GUARD_H
#define ACCESS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { GUARD_LIST_MAX = 64 };

struct guard {
    bool has_key;
    uint8_t key[32]; // SHA-256
    char **hosts;    // [n_host] that Host may name, without port
    int n_host;
    char **origins; // [n_origin]
    int n_origin;
    bool any_origin;
};

/* key NULL: none; hosts and origins are lists with commas, or NULL; bound is the host
 * that was asked for. */
enum status guard_open(struct guard *g, const char *key, const char *bound,
                       const char *hosts, const char *origins, struct error *err);
void guard_close(struct guard *g);

/* From Authorization and x-api-key, either may be NULL.  Takes as long whatever is
 * wrong. */
bool guard_key(const struct guard *g, const char *authorization, const char *x_api_key);
/* host is the header; local the address of this end of the connection, which no name of
 * somebody else's can stand for. */
bool guard_host(const struct guard *g, const char *host, const char *local);
/* A page of this server itself (same host), of this machine or of a desktop program, or
 * one that is listed: exactly, or with one * that stands for anything. */
bool guard_origin(const struct guard *g, const char *origin, const char *host);

/* Whether an address or name is this machine alone. */
bool guard_is_loopback(const char *address);

/* A list with commas as strings: *out [n], to be freed by guard_list_free. */
enum status guard_list(char ***out, int *n, const char *text, struct error *err);
void guard_list_free(char **list, int n);

#endif
