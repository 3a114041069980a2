/* log_line.h - lines of a log: a JSON object each, on stderr. */
#ifndef ACCESS_LOG_LINE_H
#define ACCESS_LOG_LINE_H

#include "base/buf.h"

/* b <- {"time":..., "event":...  More members are appended, each with its comma. */
void log_line_begin(struct buf *b, const char *event);
/* Writes the line at once, so that lines do not mix, and releases b. */
void log_line_end(struct buf *b);

#endif
