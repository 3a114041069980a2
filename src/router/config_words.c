#include "router/config_words.h"

#include <stdbool.h>
#include <string.h>

/* Behind the closing quote; NULL if there is none.  The text moves to the front. */
static char *end_of_quoted(char *p)
{
    char *out = p;
    while (*p && *p != '"') {
        if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        *out++ = *p++;
    }
    if (!*p)
        return NULL;
    *out = 0;
    return p + 1;
}

const char *config_words_split(struct config_words *w, char *line)
{
    static const char blanks[] = " \t\r";
    w->n = 0;
    for (char *p = line;;) {
        p += strspn(p, blanks);
        if (!*p || *p == '#')
            return NULL;
        if (w->n == CONFIG_WORDS_MAX)
            return "too many words";
        if (*p == '"') {
            w->word[w->n++] = p + 1;
            p = end_of_quoted(p + 1);
            if (!p)
                return "a quote is not closed";
            if (*p && !strchr(blanks, *p))
                return "no blank behind a closing quote";
            continue;
        }
        w->word[w->n++] = p;
        p += strcspn(p, blanks);
        if (*p)
            *p++ = 0;
    }
}
