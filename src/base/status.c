#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *status_text(enum status s)
{
    static const char *const text[] = {
#define X(id, text) text,
        STATUS_MAP(X)
#undef X
    };
    return text[s];
}

enum status fail(struct error *err, enum status s, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
        err->status = s;
    }
    return s;
}
