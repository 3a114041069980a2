/* modelfile_text.h - the text of Modelfiles: its encoding, and where a value ends. */
#ifndef STORE_MODELFILE_TEXT_H
#define STORE_MODELFILE_TEXT_H

#include "base/buf.h"
#include "base/status.h"

/* UTF-8, with or without a byte-order mark, or UTF-16 with one, as UTF-8 without.  A
 * wrong character is an error with its line. */
enum status modelfile_decode(struct buf *out, const char *s, size_t n, struct error *err);

/* The value at s[0..n), which goes on behind a keyword: *value [*value_n] is what it says
 * without blanks around it and without quotes.  Returns the bytes up to the line end
 * behind it (or n), or SIZE_MAX if its quotes do not end. */
size_t modelfile_value(const char *s, size_t n, const char **value, size_t *value_n);

#endif
