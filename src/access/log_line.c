#include "access/log_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "json/print.h"

enum { LOG_LINE_MAX = 16 << 10 };

void log_line_begin(struct buf *b, const char *event)
{
    struct timespec now;
    struct tm tm;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_init(b, LOG_LINE_MAX);
    buf_printf(b, "{\"time\":\"%s.%03ldZ\",\"event\":\"%s\"", text, now.tv_nsec / 1000000,
               event);
}

void log_line_text(struct buf *b, const char *name, const char *s, size_t most)
{
    buf_printf(b, ",\"%s\":", name);
    json_print_text(b, s, strnlen(s, most));
}

void log_line_end(struct buf *b)
{
    buf_puts(b, "}\n");
    if (!b->failed)
        fwrite(b->data, 1, b->len, stderr); // one write: lines do not mix
    buf_release(b);
}
