/* edit.c - one member of a JSON object gets another value; all other bytes stay. */
#include <string.h>

#include "json/print.h"
#include "router/internal.h"

/* Behind the string whose quote is before p. */
static const char *behind_string(const char *p, const char *end)
{
    while (p < end && *p != '"')
        p += *p == '\\' ? 2 : 1;
    return p < end ? p + 1 : end;
}

/* Of a valid object.  The member's name may not be spelled with escapes. */
static bool find_value(const char *text, size_t n, const char *member, const char **from,
                       const char **to)
{
    const char *const end = text + n;
    const size_t len = strlen(member);
    int depth = 0;
    for (const char *p = text; p < end;) {
        const char c = *p++;
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (c != '"')
            continue;
        const char *s = p;
        p = behind_string(p, end);
        if (depth != 1 || (size_t)(p - s) != len + 1 || memcmp(s, member, len))
            continue;
        const char *v = p + strspn(p, " \t\r\n");
        if (v >= end || *v != ':') // it was a value
            continue;
        v++;
        v += strspn(v, " \t\r\n");
        if (v >= end || *v != '"')
            return false;
        *from = v;
        *to = behind_string(v + 1, end);
        return true;
    }
    return false;
}

bool edit_member(struct buf *out, const char *text, size_t n, const char *member,
                 const char *value)
{
    const char *from, *to;
    if (!find_value(text, n, member, &from, &to))
        return false;
    buf_append(out, text, (size_t)(from - text));
    json_print_string(out, value);
    buf_append(out, to, (size_t)(text + n - to));
    return !out->failed;
}
