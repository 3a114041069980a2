#include "dialect/error.h"

#include <stdarg.h>
#include <stdio.h>

enum status api_fail(struct api_error *e, enum status s, enum api_error_kind kind,
                     const char *param, const char *fmt, ...)
{
    *e = (struct api_error){.kind = kind};
    if (param)
        snprintf(e->param, sizeof e->param, "%s", param);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    return s;
}

enum status api_no_memory(struct api_error *e)
{
    return api_fail(e, STATUS_NO_MEMORY, API_ERROR_INTERNAL, NULL, "out of memory");
}

int api_error_retry_s(const struct api_error *e)
{
    if (e->retry_after_s > 0)
        return e->retry_after_s;
    return e->kind == API_ERROR_BUSY || e->kind == API_ERROR_DRAINING ||
           e->kind == API_ERROR_RATE_LIMIT;
}

bool api_error_may_retry(const struct api_error *e)
{
    return api_error_retry_s(e) > 0 || e->kind == API_ERROR_BACKEND;
}

int api_error_http(enum api_error_kind kind)
{
    static const int http[] = {
#define X(id, status) [API_ERROR_##id] = status,
        API_ERROR_MAP(X)
#undef X
    };
    return http[kind];
}
