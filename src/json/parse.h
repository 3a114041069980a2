/* parse.h - JSON text to values, also when memory runs short.
 *
 * jansson (up to 2.14 at least) keeps the token that it reads in a buffer, and a byte
 * that this buffer has no memory for is dropped: if that is the quote that ends a string,
 * the end is looked for behind the buffer.  Here the buffer can always grow. */
#ifndef JSON_PARSE_H
#define JSON_PARSE_H

#include <jansson.h>
#include <stddef.h>

/* jansson's memory comes from mem.h from here on, so that mem_failures() knows of it.
 * Once, before other threads use jansson. */
void json_use_memory(void);

/* As json_loadb(s, n, flags, why); why may be NULL.  Where memory was short the result is
 * NULL and json_error_code(why) json_error_out_of_memory, if json_use_memory() was called
 * before. */
json_t *json_parse(const char *s, size_t n, size_t flags, json_error_t *why);

#endif
