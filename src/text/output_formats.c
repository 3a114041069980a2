/* output_formats.c - which format a model has. */
#include <string.h>

#include "text/output_impl.h"

static const struct output_format *const formats[] = {
#define OUTPUT_FORMAT(id) &output_format_##id,
#include "text/formats.def"
#undef OUTPUT_FORMAT
};
enum { N_FORMAT = sizeof formats / sizeof formats[0] };

static bool contains(const char *s, size_t n, const char *text)
{
    const size_t len = strlen(text);
    for (; n >= len; s++, n--) {
        const char *at = memchr(s, text[0], n - len + 1);
        if (!at)
            return false;
        n -= (size_t)(at - s);
        s = at;
        if (!memcmp(s, text, len))
            return true;
    }
    return false;
}

static bool in_vocabulary(const struct tokenizer *t, const char *text)
{
    for (int32_t id = 0; t && id < tokenizer_n_vocab(t); id++) {
        size_t n;
        const char *s = tokenizer_text(t, id, &n);
        if (n == strlen(text) && !memcmp(s, text, n))
            return true;
    }
    return false;
}

/* Without a template, only what shapes all answers is looked for. */
static bool fits(const struct output_format *f, const char *source, size_t n,
                 const struct tokenizer *t)
{
    if (!source)
        return f == &output_format_harmony && in_vocabulary(t, f->needs[0]) &&
               in_vocabulary(t, f->needs[1]);
    /* A template that does not write tools gets them with a description of `generic`. */
    if (f != &output_format_harmony && !contains(source, n, "tools"))
        return false;
    for (int i = 0; i < 3 && f->needs[i]; i++)
        if (!contains(source, n, f->needs[i]))
            return false;
    return true;
}

const struct output_format *output_format_find(const char *template_source, size_t n,
                                               const struct tokenizer *t)
{
    for (int i = 0; i < N_FORMAT - 1; i++)
        if (fits(formats[i], template_source, n, t))
            return formats[i];
    return formats[N_FORMAT - 1];
}

const char *output_format_name(const struct output_format *f)
{
    return f->name;
}

bool output_format_thinks(const struct output_format *f, const char **open,
                          const char **close)
{
    *open = f->think[0];
    *close = f->think[1];
    return f->think[0];
}

bool output_format_frame(const struct output_format *f, const char **author,
                         const char **end)
{
    *author = f->frame[0];
    *end = f->frame[1];
    return f->frame[0];
}

static bool same(const char *a, const char *s, size_t n)
{
    return a && strlen(a) == n && !memcmp(a, s, n);
}

bool output_format_knows(const struct output_format *f, const char *text, size_t n)
{
    if (same(f->think[0], text, n) || same(f->think[1], text, n))
        return true;
    for (const struct output_mark *m = f->marks; m->text; m++)
        if (same(m->text, text, n) || same(m->tail, text, n) ||
            same(m->separator, text, n))
            return true;
    return false;
}
