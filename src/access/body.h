/* body.h - bytes of a client to JSON, with bounds. */
#ifndef ACCESS_BODY_H
#define ACCESS_BODY_H

#include <jansson.h>
#include <stddef.h>

#include "dialect/error.h"

/* An object, or NULL with err.  Nesting of at most 64 and 1 M values are checked before
 * parsing; members that come twice are refused.  Text that JSON can spell but no string
 * can hold (lone surrogates, U+0000) becomes U+FFFD.  text [n] is changed. */
json_t *body_parse(char *text, size_t n, struct api_error *err);

#endif
