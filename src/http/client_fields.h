/* client_fields.h - what a server's header says, as far as transfers need it.  Text in,
 * values out; nothing here trusts the server. */
#ifndef HTTP_CLIENT_FIELDS_H
#define HTTP_CLIENT_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A demand for a bearer token (RFC 6750, and the realm, service and scope of the token
 * protocol of Docker registries).  Missing parameters are empty. */
struct http_challenge {
    char realm[2048], service[256], scope[1024];
};

/* text[n]: the value of one WWW-Authenticate field, several challenges perhaps (RFC 9110,
 * 11.6.1).  NOT_FOUND: there is no Bearer with a realm; BAD_INPUT: malformed, a parameter
 * twice, a control character, or too long. */
enum status http_challenge_parse(struct http_challenge *c, const char *text, size_t n,
                                 struct error *err);

/* "bytes 0-9/100" (RFC 9110, 14.4). */
struct http_range {
    uint64_t first, last; // first <= last < total
    uint64_t total;
};
/* false: another unit, no total, or numbers that contradict each other. */
bool http_range_parse(struct http_range *r, const char *text);

/* "bytes", a blank, "*", a slash and a number (answers 416): the size of what there is.
 */
bool http_range_parse_size(uint64_t *total, const char *text);

/* Decimal digits alone, at most 2^63 - 1. */
bool http_number_parse(uint64_t *v, const char *text);

/* lines: "Name: value\n" each, as they came.  out <- the value of the i-th line with this
 * name (of any case); false: there is none, or it does not fit. */
bool http_field(char *out, size_t n, const char *lines, const char *name, int i);

#endif
