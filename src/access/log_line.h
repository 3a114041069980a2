/* log_line.h - lines of a log: a JSON object each, on stderr. */
#ifndef ACCESS_LOG_LINE_H
#define ACCESS_LOG_LINE_H

#include "base/buf.h"

enum { LOG_METHOD_BYTES = 32, LOG_PATH_BYTES = 512 };

/* b <- {"time":..., "event":...  More members are appended, each with its comma. */
void log_line_begin(struct buf *b, const char *event);
/* ,"name":"..." with at most so many bytes of s, which is a client's: no request is so
 * long that its line is none. */
void log_line_text(struct buf *b, const char *name, const char *s, size_t most);
/* Writes the line at once, so that lines do not mix, and releases b. */
void log_line_end(struct buf *b);

#endif
