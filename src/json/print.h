/* print.h - JSON text into a buf, without a tree in between: what streams are made
 * of.  Out of memory, or past the maximum, buf.failed says so. */
#ifndef JSON_PRINT_H
#define JSON_PRINT_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"

/* "s[0..n)" with quotes and escapes.  Bytes that are no UTF-8 become U+FFFD, one for each
 * maximal piece of a character (Unicode 15.0, 3.9, table 3-8). */
void json_print_text(struct buf *out, const char *s, size_t n);
void json_print_string(struct buf *out, const char *s);
/* The same without quotes. */
void json_print_escaped(struct buf *out, const char *s, size_t n);

/* With as many digits as are needed at most (digits of %g); null if it is not finite. */
void json_print_number(struct buf *out, double v, int digits);

/* Compact, members in their order.  v may be any value but NULL. */
void json_print_value(struct buf *out, const json_t *v);

#endif
