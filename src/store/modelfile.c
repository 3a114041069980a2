/* modelfile.c - Modelfiles from text, and back. */
#include "store/modelfile.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "store/modelfile_text.h"

static const char *const keywords[] = {
#define X(id, text) text,
    MODELFILE_MAP(X)
#undef X
};

struct modelfile_reader {
    struct modelfile *f;
    const char *s;
    size_t n, at;
    int line;
};

static enum status at_line(int line, const char *what, struct error *err)
{
    return fail(err, STATUS_BAD_INPUT, "(line %d): %s", line, what);
}

static bool ends_line(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_letter(char c)
{
    const char lower = (char)(c | 32);
    return lower >= 'a' && lower <= 'z';
}

/* Up to `to`; "\r\n" is one line end. */
static void go_on(struct modelfile_reader *r, size_t to)
{
    for (; r->at < to; r->at++)
        if (r->s[r->at] == '\n' ||
            (r->s[r->at] == '\r' && (r->at + 1 == r->n || r->s[r->at + 1] != '\n')))
            r->line++;
}

static void skip_blanks(struct modelfile_reader *r)
{
    while (r->at < r->n && (r->s[r->at] == ' ' || r->s[r->at] == '\t'))
        r->at++;
}

/* A word of letters (names: of digits and '_', too) and the blank behind it, which must
 * be there. */
static const char *take_word(struct modelfile_reader *r, bool name)
{
    size_t i = r->at;
    while (i < r->n && (is_letter(r->s[i]) ||
                        (name && ((r->s[i] >= '0' && r->s[i] <= '9') || r->s[i] == '_'))))
        i++;
    if (i == r->at || i == r->n || (r->s[i] != ' ' && r->s[i] != '\t'))
        return NULL;
    const char *word = arena_strndup(&r->f->arena, r->s + r->at, i - r->at);
    r->at = i;
    skip_blanks(r);
    return word;
}

static enum status take_keyword(struct modelfile_reader *r, struct modelfile_command *c,
                                struct error *err)
{
    const char *word = take_word(r, false);
    for (int k = 0; word && k < MODELFILE_KEYWORDS; k++)
        if (!strcasecmp(word, keywords[k])) {
            c->keyword = (enum modelfile_keyword)k;
            return STATUS_OK;
        }
    return at_line(r->line,
                   "command must be one of \"from\", \"license\", \"template\", "
                   "\"system\", \"adapter\", \"draft\", \"renderer\", \"parser\", "
                   "\"parameter\", \"message\", or \"requires\", and a value behind it",
                   err);
}

static enum status take_subject(struct modelfile_reader *r, struct modelfile_command *c,
                                struct error *err)
{
    const bool message = c->keyword == MODELFILE_MESSAGE;
    if (!message && c->keyword != MODELFILE_PARAMETER)
        return STATUS_OK;
    const char *name = take_word(r, !message);
    if (message && (!name || (strcmp(name, "system") && strcmp(name, "user") &&
                              strcmp(name, "assistant"))))
        return at_line(r->line,
                       "message role must be one of \"system\", \"user\", or "
                       "\"assistant\"",
                       err);
    if (!name)
        return at_line(r->line, "a parameter has a name, a blank and a value", err);
    c->name = name;
    return STATUS_OK;
}

static enum status take_command(struct modelfile_reader *r, struct modelfile_command *c,
                                struct error *err)
{
    const char *value;
    size_t n;
    c->line = r->line;
    enum status s = take_keyword(r, c, err);
    if (s || (s = take_subject(r, c, err)))
        return s;
    const size_t len = modelfile_value(r->s + r->at, r->n - r->at, &value, &n);
    if (len == SIZE_MAX)
        return at_line(c->line, "unexpected EOF: the quotes that begin here do not end",
                       err);
    if (!(c->value = arena_strndup(&r->f->arena, value, n)))
        return fail(err, STATUS_NO_MEMORY, "no memory for a Modelfile");
    go_on(r, r->at + len);
    if (!n && c->keyword != MODELFILE_SYSTEM && c->keyword != MODELFILE_TEMPLATE &&
        c->keyword != MODELFILE_LICENSE && c->keyword != MODELFILE_MESSAGE)
        return at_line(c->line, "the value is missing", err);
    return STATUS_OK;
}

static enum status take_all(struct modelfile_reader *r, struct error *err)
{
    enum status s = STATUS_OK;
    while (!s && r->at < r->n) {
        const char c = r->s[r->at];
        if (c == '#') {
            size_t i = r->at;
            while (i < r->n && !ends_line(r->s[i]))
                i++;
            r->at = i;
        } else if (c == ' ' || c == '\t' || ends_line(c)) {
            go_on(r, r->at + 1);
        } else if (r->f->n == MODELFILE_COMMANDS) {
            s = fail(err, STATUS_LIMIT, "(line %d): more than %d commands", r->line,
                     MODELFILE_COMMANDS);
        } else if (!(s = take_command(r, &r->f->commands[r->f->n], err))) {
            r->f->n++;
        }
    }
    if (!s && !modelfile_last(r->f, MODELFILE_FROM))
        s = fail(err, STATUS_BAD_INPUT, "no FROM line");
    return s;
}

enum status modelfile_parse(struct modelfile *out, const char *text, size_t n,
                            struct error *err)
{
    struct buf utf8;
    *out = (struct modelfile){0};
    arena_init(&out->arena, 2 * MODELFILE_BYTES + MODELFILE_COMMANDS * 64);
    if (n > MODELFILE_BYTES)
        return fail(err, STATUS_LIMIT, "a Modelfile of more than %d MiB",
                    MODELFILE_BYTES >> 20);
    buf_init(&utf8, MODELFILE_BYTES * 3 / 2 + 1); // UTF-16 grows by half at most
    out->commands = arena_array(&out->arena, MODELFILE_COMMANDS, sizeof *out->commands);
    enum status s = out->commands ? modelfile_decode(&utf8, text, n, err)
                                  : fail(err, STATUS_NO_MEMORY, "no memory");
    struct modelfile_reader r = {out, utf8.data ? utf8.data : "", utf8.len, 0, 1};
    if (!s)
        s = take_all(&r, err);
    buf_release(&utf8);
    return s;
}

void modelfile_release(struct modelfile *f)
{
    arena_release(&f->arena);
    *f = (struct modelfile){0};
}

const struct modelfile_command *modelfile_last(const struct modelfile *f,
                                               enum modelfile_keyword k)
{
    for (int i = f->n; i-- > 0;)
        if (f->commands[i].keyword == k)
            return &f->commands[i];
    return NULL;
}

/* ---- printing ---- */

/* Does quotes + value + quotes and a line end give the value back? */
static bool survives(const char *value, const char *quotes)
{
    struct buf b;
    const char *v;
    size_t n;
    buf_init(&b, (size_t)MODELFILE_BYTES * 2);
    buf_puts(&b, quotes);
    buf_puts(&b, value);
    buf_puts(&b, quotes);
    const size_t len = b.len;
    buf_puts(&b, "\n");
    const bool same = !b.failed && modelfile_value(b.data, b.len, &v, &n) == len &&
                      n == strlen(value) && !memcmp(v, value, n);
    buf_release(&b);
    return same;
}

bool modelfile_print(struct buf *out, enum modelfile_keyword k, const char *name,
                     const char *value)
{
    static const char *const quotes[] = {"", "\"", "\"\"\""};
    /* As Ollama chooses; then whatever gives the value back. */
    const size_t n = strlen(value), best = strchr(value, '"') ? 2 : 1;
    const size_t order[] = {0, best, 3 - best};
    const bool needs =
        n == 0 || strpbrk(value, "\r\n") || value[0] == ' ' || value[n - 1] == ' ';
    size_t i = needs;
    while (i < 3 && !survives(value, quotes[order[i]]))
        i++;
    if (i == 3)
        return false;
    const size_t q = order[i];
    buf_printf(out, "%s %s%s%s", keywords[k], name ? name : "", name ? " " : "",
               quotes[q]);
    buf_puts(out, value);
    buf_puts(out, quotes[q]);
    buf_puts(out, "\n");
    return !out->failed;
}
