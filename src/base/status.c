#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

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
