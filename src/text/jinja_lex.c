/* jinja_lex.c - source text to tokens, with trim_blocks and lstrip_blocks.
 *
 * The whitespace rules are those of jinja2's lexer: "-" strips on that side, "+" keeps;
 * without a sign a block or comment tag alone on its line takes the indentation before
 * it and the line end behind it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "text/jinja.h"

struct lexer {
    const char *s;
    size_t n, pos;
    size_t counted; // newlines before it are in line
    int line;
    bool line_start; // the last tag ended with a newline (or there was none yet)
    struct jinja_tokens *out;
    struct arena *arena;
    struct error *err;
    enum status status;
    char open[JINJA_PARSE_DEPTH]; // closing brackets that are due
    int n_open;
};

static bool lex_fail(struct lexer *x, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static bool lex_fail(struct lexer *x, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    x->status = fail(x->err, STATUS_BAD_INPUT, "line %d: %s", x->line, text);
    return false;
}

static bool lex_no_memory(struct lexer *x)
{
    x->status = fail(x->err, STATUS_NO_MEMORY, "out of memory for the template");
    return false;
}

static void lex_count_lines(struct lexer *x, size_t to)
{
    for (; x->counted < to; x->counted++)
        x->line += x->s[x->counted] == '\n';
}

static struct jinja_token *lex_push(struct lexer *x, enum jinja_token_type type,
                                    const char *s, size_t n)
{
    struct jinja_tokens *o = x->out;
    if (o->n == o->cap) {
        const size_t cap = o->cap ? o->cap * 2 : 256;
        struct jinja_token *t = mem_resize(o->t, cap, sizeof *t);
        if (!t) {
            lex_no_memory(x);
            return NULL;
        }
        o->t = t;
        o->cap = cap;
    }
    o->t[o->n] = (struct jinja_token){.type = type, .line = x->line, .s = s, .n = n};
    return &o->t[o->n++];
}

static bool lex_at(const struct lexer *x, size_t pos, const char *what)
{
    const size_t n = strlen(what);
    return x->n - pos >= n && !memcmp(x->s + pos, what, n);
}

static size_t lex_spaces(const struct lexer *x, size_t pos)
{
    size_t len;
    while (pos < x->n && jinja_is_space(jinja_utf8_get(x->s + pos, x->n - pos, &len)))
        pos += len;
    return pos;
}

/* The end of a tag "%}" or "#}" at pos, with the whitespace that it takes; 0 if none. */
static size_t lex_tag_end(const struct lexer *x, size_t pos, const char *end, bool plus)
{
    if (plus && pos < x->n && x->s[pos] == '+' && lex_at(x, pos + 1, end))
        return pos + 3;
    if (pos < x->n && x->s[pos] == '-' && lex_at(x, pos + 1, end))
        return lex_spaces(x, pos + 3);
    if (!lex_at(x, pos, end))
        return 0;
    pos += 2;
    return plus && pos < x->n && x->s[pos] == '\n' ? pos + 1 : pos;
}

/* Text [from, to) before a tag with this sign. */
static bool lex_data(struct lexer *x, size_t from, size_t to, char sign, bool variable)
{
    if (sign == '-') {
        const struct jinja_str s = {x->s, to, NULL};
        jinja_strip(&s, NULL, false, true, &from, &to);
    } else if (sign != '+' && !variable) {
        size_t at = to;
        while (at > from && x->s[at - 1] != '\n')
            at--;
        if ((at > from || x->line_start) && lex_spaces(x, at) >= to)
            to = at;
    }
    return to <= from || lex_push(x, JT_DATA, x->s + from, to - from);
}

/* "raw" or "endraw" and spaces around it at pos; returns what follows, 0 if it is not. */
static size_t lex_raw_word(const struct lexer *x, size_t pos, const char *word)
{
    pos = lex_spaces(x, pos);
    return lex_at(x, pos, word) ? lex_spaces(x, pos + strlen(word)) : 0;
}

static char lex_sign(const struct lexer *x, size_t pos)
{
    return pos < x->n && (x->s[pos] == '-' || x->s[pos] == '+') ? x->s[pos] : 0;
}

/* The body of a raw block up to and with its end tag. */
static bool lex_raw(struct lexer *x)
{
    for (size_t at = x->pos; at + 1 < x->n; at++) {
        if (!lex_at(x, at, "{%"))
            continue;
        const char sign = lex_sign(x, at + 2);
        const size_t word = lex_raw_word(x, at + 2 + (sign != 0), "endraw");
        const size_t end = word ? lex_tag_end(x, word, "%}", true) : 0;
        if (!end)
            continue;
        if (!lex_data(x, x->pos, at, sign, false))
            return false;
        x->pos = end;
        x->line_start = x->s[end - 1] == '\n';
        return true;
    }
    return lex_fail(x, "missing end of raw block");
}

static bool lex_comment(struct lexer *x)
{
    for (size_t at = x->pos; at < x->n; at++) {
        const size_t end = lex_tag_end(x, at, "#}", true);
        if (!end)
            continue;
        x->pos = end;
        x->line_start = x->s[end - 1] == '\n';
        return true;
    }
    return lex_fail(x, "missing end of comment tag");
}

static int lex_hex(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Digits of an escape, base 8 or 16, at most max of them; -1 without min. */
static long lex_escape_digits(const char *s, size_t n, size_t *pos, int base, int min,
                              int max)
{
    long v = 0;
    int k = 0;
    for (; k < max && *pos < n; k++, ++*pos) {
        const int d = lex_hex(s[*pos]);
        if (d < 0 || d >= base)
            break;
        v = v * base + d;
    }
    return k < min ? -1 : v;
}

/* Python's escapes, \N{...} excepted.  out has room for n + 1 bytes: no escape is
 * shorter than its UTF-8. */
static bool lex_unescape(struct lexer *x, const char *s, size_t n, char *out, size_t *len)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        if (s[i] != '\\' || i + 1 == n) {
            out[k++] = s[i++];
            continue;
        }
        const char c = s[i + 1];
        const char *simple = c ? strchr(from, c) : NULL;
        i += 2;
        if (simple) {
            out[k++] = to[simple - from];
        } else if (c == 'x' || c == 'u' || c == 'U' || (c >= '0' && c <= '7')) {
            const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
            if (!digits)
                i--;
            const long v = digits ? lex_escape_digits(s, n, &i, 16, digits, digits)
                                  : lex_escape_digits(s, n, &i, 8, 1, 3);
            if (v < 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
                return lex_fail(x, "bad escape in a string: \\%c", c);
            k += jinja_utf8_put(out + k, (uint32_t)v);
        } else if (c == 'N') {
            return lex_fail(x, "\\N in a string is not supported");
        } else if (c != '\n') {
            out[k++] = '\\';
            out[k++] = c;
        }
    }
    *len = k;
    return true;
}

static bool lex_string(struct lexer *x)
{
    const char quote = x->s[x->pos];
    const size_t from = ++x->pos;
    size_t at = from;
    while (at < x->n && x->s[at] != quote)
        at += x->s[at] == '\\' ? 2 : 1;
    if (at >= x->n)
        return lex_fail(x, "a string without its end quote");
    char *s = arena_array(x->arena, at - from + 1, 1);
    size_t n = 0;
    if (!s)
        return lex_no_memory(x);
    if (!lex_unescape(x, x->s + from, at - from, s, &n))
        return false;
    x->pos = at + 1;
    return lex_push(x, JT_STR, s, n);
}

static bool lex_is_digit(const struct lexer *x, size_t at, int base)
{
    const int d = at < x->n ? lex_hex(x->s[at]) : -1;
    return d >= 0 && d < base;
}

/* Digits with single underscores between them; returns the end. */
static size_t lex_digits(const struct lexer *x, size_t at, int base)
{
    while (lex_is_digit(x, at, base) ||
           (at < x->n && x->s[at] == '_' && lex_is_digit(x, at + 1, base)))
        at++;
    return at;
}

static bool lex_float(struct lexer *x, size_t end)
{
    char text[64];
    size_t k = 0;
    for (size_t i = x->pos; i < end; i++) {
        if (x->s[i] == '_')
            continue;
        if (k + 1 == sizeof text)
            return lex_fail(x, "a number is too long");
        text[k++] = x->s[i];
    }
    text[k] = 0;
    struct jinja_token *t = lex_push(x, JT_FLOAT, x->s + x->pos, end - x->pos);
    if (t)
        t->f = strtod(text, NULL);
    x->pos = end;
    return t;
}

static bool lex_integer(struct lexer *x)
{
    const char mark = x->pos + 1 < x->n ? (char)(x->s[x->pos + 1] | 32) : 0;
    int base = x->s[x->pos] != '0' ? 10 : mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
    size_t at = x->pos;
    if (x->s[at] == '0' && (mark == 'x' || mark == 'o' || mark == 'b') &&
        lex_digits(x, at + 2, base) > at + 2)
        at += 2;
    else
        base = 10;
    const size_t end = lex_digits(x, at, base);
    int64_t v = 0;
    for (; at < end; at++)
        if (x->s[at] != '_' && (__builtin_mul_overflow(v, base, &v) ||
                                __builtin_add_overflow(v, lex_hex(x->s[at]), &v)))
            return lex_fail(x, "an integer needs more than 64 bits");
    struct jinja_token *t = lex_push(x, JT_INT, x->s + x->pos, end - x->pos);
    if (t)
        t->i = v;
    x->pos = end;
    return t;
}

static bool lex_number(struct lexer *x)
{
    const bool member = x->pos && x->s[x->pos - 1] == '.';
    size_t end = lex_digits(x, x->pos, 10);
    const size_t whole = end;
    if (!member) {
        if (end < x->n && x->s[end] == '.' && lex_is_digit(x, end + 1, 10))
            end = lex_digits(x, end + 1, 10);
        size_t e = end;
        if (e < x->n && (x->s[e] | 32) == 'e') {
            e++;
            if (e < x->n && (x->s[e] == '+' || x->s[e] == '-'))
                e++;
            if (lex_is_digit(x, e, 10))
                end = lex_digits(x, e, 10);
        }
    }
    return end > whole ? lex_float(x, end) : lex_integer(x);
}

static bool lex_word_byte(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
           (unsigned char)c >= 0x80;
}

static bool lex_bracket(struct lexer *x, char c)
{
    const char *open = strchr("([{", c), *close = strchr(")]}", c);
    if (open) {
        if (x->n_open == JINJA_PARSE_DEPTH)
            return lex_fail(x, "brackets nest deeper than %d", JINJA_PARSE_DEPTH);
        x->open[x->n_open++] = ")]}"[open - "([{"];
    } else if (close) {
        if (!x->n_open)
            return lex_fail(x, "unexpected '%c'", c);
        if (x->open[--x->n_open] != c)
            return lex_fail(x, "unexpected '%c', expected '%c'", c, x->open[x->n_open]);
    }
    return true;
}

static bool lex_operator(struct lexer *x)
{
    static const char two[][3] = {"**", "//", "==", "!=", ">=", "<="};
    const char c = x->s[x->pos];
    int op = 0;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (lex_at(x, x->pos, two[i]))
            op = JINJA_OP2(two[i][0], two[i][1]);
    if (!op && c && strchr("+-/*%~[](){}><=.:|,;", c))
        op = c;
    if (!op)
        return lex_fail(x, "unexpected character '%.*s'", (unsigned char)c < 0x80, &c);
    if (op == c && !lex_bracket(x, c))
        return false;
    struct jinja_token *t = lex_push(x, JT_OP, x->s + x->pos, op == c ? 1 : 2);
    if (t)
        t->op = op;
    x->pos += op == c ? 1 : 2;
    return t;
}

/* The tokens of a tag up to and with its end. */
static bool lex_tag(struct lexer *x, bool variable)
{
    x->n_open = 0;
    for (;;) {
        lex_count_lines(x, x->pos);
        if (x->pos >= x->n)
            return lex_fail(x, "missing end of the tag, '%s'", variable ? "}}" : "%}");
        const size_t end = x->n_open  ? 0
                           : variable ? lex_tag_end(x, x->pos, "}}", false)
                                      : lex_tag_end(x, x->pos, "%}", true);
        const char c = x->s[x->pos];
        size_t at = lex_spaces(x, x->pos);
        bool ok = true;
        if (end) {
            x->pos = end;
            x->line_start = x->s[end - 1] == '\n';
            return lex_push(x, variable ? JT_VAR_END : JT_BLOCK_END, "", 0);
        } else if (at > x->pos) {
            x->pos = at;
        } else if (c >= '0' && c <= '9') {
            ok = lex_number(x);
        } else if (lex_word_byte(c)) {
            while (at < x->n && lex_word_byte(x->s[at]))
                at++;
            ok = lex_push(x, JT_NAME, x->s + x->pos, at - x->pos);
            x->pos = at;
        } else if (c == '"' || c == '\'') {
            ok = lex_string(x);
        } else {
            ok = lex_operator(x);
        }
        if (!ok)
            return false;
    }
}

/* One stretch of text and the tag behind it. */
static bool lex_step(struct lexer *x)
{
    size_t at = x->pos;
    while (at < x->n &&
           !(x->s[at] == '{' && at + 1 < x->n && memchr("{%#", x->s[at + 1], 3)))
        at++;
    if (at >= x->n) {
        const size_t from = x->pos;
        x->pos = x->n;
        return from == x->n || lex_push(x, JT_DATA, x->s + from, x->n - from);
    }
    const char kind = x->s[at + 1], sign = lex_sign(x, at + 2);
    if (!lex_data(x, x->pos, at, sign, kind == '{'))
        return false;
    x->line_start = false;
    x->pos = at + 2 + (sign != 0);
    lex_count_lines(x, x->pos);
    if (kind == '#')
        return lex_comment(x);
    const size_t word = kind == '%' ? lex_raw_word(x, x->pos, "raw") : 0;
    const size_t end =
        word && !lex_at(x, word, "+") ? lex_tag_end(x, word, "%}", false) : 0;
    if (end) {
        x->pos = end;
        x->line_start = x->s[end - 1] == '\n';
        return lex_raw(x);
    }
    return lex_push(x, kind == '{' ? JT_VAR_BEGIN : JT_BLOCK_BEGIN, "", 0) &&
           lex_tag(x, kind == '{');
}

enum status jinja_lex(struct jinja_tokens *out, struct arena *arena, const char *source,
                      size_t n, struct error *err)
{
    struct lexer x = {.s = source,
                      .n = n,
                      .line = 1,
                      .line_start = true,
                      .out = out,
                      .arena = arena,
                      .err = err,
                      .status = STATUS_OK};
    *out = (struct jinja_tokens){0};
    while (x.pos < n) {
        lex_count_lines(&x, x.pos);
        if (!lex_step(&x))
            return x.status;
    }
    lex_count_lines(&x, n);
    lex_push(&x, JT_EOF, "", 0);
    return x.status;
}
