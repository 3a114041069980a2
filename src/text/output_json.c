#include "text/output_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char replacement[] = "\xef\xbf\xbd"; // U+FFFD

void output_json_init(struct output_json *j, struct buf *out, size_t max)
{
    *j = (struct output_json){.out = out};
    buf_init(&j->wait, max);
}

void output_json_release(struct output_json *j)
{
    buf_release(&j->wait);
}

static bool json_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool in_list(const struct output_json *j)
{
    const int at = j->depth - 1;
    return j->depth && j->list[at / 64] >> (at % 64) & 1;
}

/* What was kept back is certain now. */
static void settle(struct output_json *j)
{
    buf_append(j->out, j->wait.data, j->wait.len);
    buf_clear(&j->wait);
}

static void value_end(struct output_json *j)
{
    j->state = j->depth ? OUTPUT_JSON_AFTER : OUTPUT_JSON_DONE;
}

/* ---- strings ---- */

bool output_json_quote(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        static const char plain[] = "\b\t\n\f\r", letter[] = "btnfr";
        const char *at = c ? memchr(plain, c, sizeof plain - 1) : NULL;
        if (!c)
            buf_puts(out, replacement);
        else if (at)
            buf_append(out, (char[]){'\\', letter[at - plain]}, 2);
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            buf_append(out, (char[]){'\\', (char)c}, 2);
        else
            buf_append(out, s + i, 1);
    }
    return !out->failed;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 32);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static unsigned hex4(const char *s)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (unsigned)hex_value(s[i]);
    return v;
}

static bool is_surrogate(unsigned v, unsigned base)
{
    return (v & 0xfc00) == base;
}

/* A string's byte that belongs to no escape. */
static void string_byte(struct output_json *j, struct buf *to, char c)
{
    if (c == '\\')
        j->escape[j->n_escape++] = c;
    else
        output_json_quote(to, &c, 1);
}

/* The escape turned out to be none, or half of a pair: what it stands for instead. */
static void mend_escape(struct output_json *j, struct buf *to)
{
    const int n = j->n_escape;
    const bool half = n >= 6;
    j->n_escape = 0;
    if (half)
        buf_puts(to, replacement);
    for (int i = half ? 6 : 0; i < n; i++)
        if (j->escape[i] == '\\')
            buf_puts(to, "\\\\"); // a backslash that was meant as one
        else
            output_json_quote(to, &j->escape[i], 1);
}

static void unicode_escape(struct output_json *j, struct buf *to)
{
    const unsigned first = hex4(j->escape + 2);
    if (j->n_escape == 6 && is_surrogate(first, 0xd800))
        return; // the second half must follow
    if (j->n_escape == 12 && !is_surrogate(hex4(j->escape + 8), 0xdc00)) {
        /* Two escapes; the second may begin a pair of its own. */
        buf_puts(to, replacement);
        memmove(j->escape, j->escape + 6, 6);
        j->n_escape = 6;
        unicode_escape(j, to);
        return;
    }
    if (j->n_escape == 6 && (is_surrogate(first, 0xdc00) || !first))
        buf_puts(to, replacement);
    else
        buf_append(to, j->escape, (size_t)j->n_escape);
    j->n_escape = 0;
}

/* A byte behind a backslash.  false: it does not belong to the escape. */
static bool escape_byte(struct output_json *j, struct buf *to, char c)
{
    const int at = j->n_escape % 6; // a pair is two of the same form
    if (at == 0 && c != '\\') {     // behind the first half of a pair
        mend_escape(j, to);
        return false;
    }
    if (at == 1 && c != 'u') {
        const bool second = j->n_escape > 6;
        if (second) {
            j->n_escape = 6;
            mend_escape(j, to);
            j->escape[0] = '\\';
            j->n_escape = 1;
        }
        if (c && strchr("\"\\/bfnrt", c)) {
            buf_append(to, (char[]){'\\', c}, 2);
            j->n_escape = 0;
        } else if (c == '\'') {
            buf_append(to, &c, 1);
            j->n_escape = 0;
        } else {
            mend_escape(j, to);
            return false;
        }
        return true;
    }
    if (at >= 2 && hex_value(c) < 0) {
        mend_escape(j, to);
        return false;
    }
    j->escape[j->n_escape++] = c;
    if (j->n_escape % 6 == 0)
        unicode_escape(j, to);
    return true;
}

static bool in_string_byte(struct output_json *j, char c)
{
    const bool name = j->state == OUTPUT_JSON_NAME;
    struct buf *to = name ? &j->wait : j->out;
    if (name && j->wait.len + 16 > j->wait.max)
        return false; // a name without end
    if (j->n_escape && escape_byte(j, to, c))
        return true;
    if (c != '"') {
        string_byte(j, to, c);
        return true;
    }
    buf_append(to, "\"", 1);
    if (name)
        j->state = OUTPUT_JSON_COLON;
    else
        value_end(j);
    return true;
}

/* ---- numbers and words ---- */

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

static bool is_number(const char *s)
{
    const char *p = s + (*s == '-');
    size_t n = digits(p);
    if (!n || (n > 1 && *p == '0'))
        return false;
    p += n;
    if (*p == '.') {
        if (!(n = digits(p + 1)))
            return false;
        p += n + 1;
    }
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '+' || p[1] == '-');
        if (!(n = digits(p)))
            return false;
        p += n;
    }
    return !*p && isfinite(strtod(s, NULL));
}

/* How JSON writes this word, NULL if it does not. */
static const char *json_word(const char *s)
{
    static const char *const words[][2] = {{"true", "true"},   {"false", "false"},
                                           {"null", "null"},   {"True", "true"},
                                           {"False", "false"}, {"None", "null"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(words[i][0], s))
            return words[i][1];
    return is_number(s) ? s : NULL;
}

/* The literal is at the end of wait, behind a comma and a name. */
static bool literal_end(struct output_json *j)
{
    char text[OUTPUT_JSON_LITERAL + 1];
    const size_t n = j->wait.len - j->name_at;
    memcpy(text, j->wait.data + j->name_at, n);
    text[n] = 0;
    const char *word = json_word(text);
    if (!word)
        return false;
    j->wait.len = j->name_at;
    settle(j);
    buf_puts(j->out, word);
    value_end(j);
    return true;
}

static bool literal_byte(struct output_json *j, char c)
{
    const bool alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    if (!alnum && (!c || !strchr("+-.", c)))
        return false;
    if (j->wait.len - j->name_at >= OUTPUT_JSON_LITERAL)
        return false;
    return buf_append(&j->wait, &c, 1);
}

/* ---- structure ---- */

static bool open_value(struct output_json *j, char c)
{
    if (c == '"') {
        if (j->depth == 1)
            j->value_at = j->out->len + j->wait.len;
        settle(j);
        buf_append(j->out, &c, 1);
        j->state = OUTPUT_JSON_STRING;
        return true;
    }
    if (c == '{' || c == '[') {
        if (j->depth == OUTPUT_JSON_DEPTH)
            return false;
        if (j->depth == 1)
            j->value_at = j->out->len + j->wait.len;
        settle(j);
        buf_append(j->out, &c, 1);
        const uint64_t bit = (uint64_t)1 << (j->depth % 64);
        uint64_t *word = &j->list[j->depth / 64];
        *word = c == '[' ? *word | bit : *word & ~bit;
        j->depth++;
        j->state = OUTPUT_JSON_FIRST;
        return true;
    }
    const size_t at = j->wait.len;
    if (c != '-' && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z'))
        return false;
    if (j->depth == 1)
        j->value_at = j->out->len + at;
    j->name_at = at;
    j->state = OUTPUT_JSON_LITERAL_RUN;
    return buf_append(&j->wait, &c, 1);
}

static bool close_value(struct output_json *j, char c)
{
    if (c != (in_list(j) ? ']' : '}'))
        return false;
    buf_clear(&j->wait); // a comma with nothing behind it
    buf_append(j->out, &c, 1);
    j->depth--;
    value_end(j);
    return true;
}

/* Behind a bracket or a comma. */
static bool open_member(struct output_json *j, char c)
{
    if (c == ']' || c == '}')
        return close_value(j, c);
    if (in_list(j))
        return open_value(j, c);
    if (c != '"')
        return false;
    j->name_at = j->wait.len;
    j->state = OUTPUT_JSON_NAME;
    return buf_append(&j->wait, &c, 1);
}

static bool after_byte(struct output_json *j, char c)
{
    if (c != ',')
        return close_value(j, c);
    j->state = OUTPUT_JSON_NEXT;
    return buf_append(&j->wait, &c, 1);
}

bool output_json_byte(struct output_json *j, char c)
{
    if (j->state == OUTPUT_JSON_NAME || j->state == OUTPUT_JSON_STRING)
        return in_string_byte(j, c);
    if (j->state == OUTPUT_JSON_LITERAL_RUN) {
        if (literal_byte(j, c))
            return true;
        if (!literal_end(j))
            return false;
    }
    if (json_space(c))
        return true;
    switch (j->state) {
    case OUTPUT_JSON_VALUE:
        return open_value(j, c);
    case OUTPUT_JSON_FIRST:
    case OUTPUT_JSON_NEXT:
        return open_member(j, c);
    case OUTPUT_JSON_COLON:
        j->state = c == ':' ? OUTPUT_JSON_VALUE : j->state;
        return c == ':' && buf_append(&j->wait, &c, 1);
    case OUTPUT_JSON_AFTER:
        return after_byte(j, c);
    default:
        return false;
    }
}

bool output_json_is_name(const struct output_json *j, const char *name)
{
    const size_t n = strlen(name), at = j->name_at + 1;
    return j->wait.len >= at + n + 1 && !memcmp(j->wait.data + at, name, n) &&
           j->wait.data[at + n] == '"';
}

void output_json_close(struct output_json *j, int depth)
{
    /* What was not finished is left out: a number may have had more digits. */
    if (j->state == OUTPUT_JSON_STRING)
        buf_append(j->out, "\"", 1);
    j->n_escape = 0;
    buf_clear(&j->wait);
    while (j->depth > depth) {
        buf_append(j->out, in_list(j) ? "]" : "}", 1);
        j->depth--;
    }
    value_end(j);
}
