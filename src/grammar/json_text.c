/* json_text.c - rules of JSON without a schema, and values that are given. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "grammar/charset.h"
#include "grammar/json.h"

static uint32_t build_space(struct builder *b)
{
    uint32_t spaces = 0, tabs = 0;
    for (int i = 0; i < JSON_INDENT_SPACES - 1; i++)
        spaces = build_either(b, build_byte(b, ' ', ' ', spaces), 0);
    for (int i = 0; i < JSON_INDENT_TABS - 1; i++)
        tabs = build_either(b, build_byte(b, '\t', '\t', tabs), 0);
    const uint32_t indent[] = {build_byte(b, ' ', ' ', spaces),
                               build_byte(b, '\t', '\t', tabs), 0};
    return build_split(
        b,
        (const uint32_t[]){build_byte(b, ' ', ' ', 0),
                           build_byte(b, '\n', '\n', build_split(b, indent, 3)), 0},
        3);
}

/* At least one digit, at most n. */
static uint32_t build_digits(struct builder *b, int n, uint32_t next)
{
    uint32_t node = build_byte(b, '0', '9', next);
    for (int i = 1; i < n; i++)
        node = build_byte(b, '0', '9', build_either(b, node, next));
    return node;
}

static uint32_t build_integer(struct builder *b, uint32_t next)
{
    const uint32_t more = build_either(b, build_digits(b, JSON_DIGITS - 1, next), next);
    const struct edge digits[] = {{next, '0', '0'}, {more, '1', '9'}};
    const uint32_t magnitude = build_bytes(b, digits, 2);
    return build_either(b, magnitude, build_byte(b, '-', '-', magnitude));
}

static uint32_t build_number(struct builder *b)
{
    const uint32_t power = build_digits(b, JSON_EXPONENT_DIGITS, 0);
    const struct edge sign[] = {{power, '+', '+'}, {power, '-', '-'}};
    const uint32_t behind = build_either(b, build_bytes(b, sign, 2), power);
    const struct edge mark[] = {{behind, 'E', 'E'}, {behind, 'e', 'e'}};
    const uint32_t exponent = build_either(b, build_bytes(b, mark, 2), 0);
    const uint32_t fraction =
        build_byte(b, '.', '.', build_digits(b, JSON_DIGITS, exponent));
    return build_integer(b, build_either(b, fraction, exponent));
}

static uint32_t build_free_string(struct builder *b)
{
    const uint32_t loop = build_loop(b);
    const uint32_t to[] = {build_json_char(b, loop), build_byte(b, '"', '"', 0)};
    build_loop_close(b, loop, to, 2);
    return build_byte(b, '"', '"', loop);
}

/* item, then any number of further ones behind commas, between two brackets. */
static uint32_t build_free_list(struct builder *b, const struct json_rules *r,
                                const char *open, const char *close, bool members)
{
    const uint32_t loop = build_loop(b);
    uint32_t item = build_call(b, r->value, loop);
    if (members)
        item = build_call(b, r->string, build_json_punct(b, r, ":", item));
    const uint32_t more[] = {build_json_punct(b, r, ",", item),
                             build_json_close(b, r, close, 0)};
    build_loop_close(b, loop, more, 2);
    const uint32_t none = build_text(b, close, 1, 0);
    return build_json_punct(b, r, open, build_either(b, none, item));
}

static uint32_t build_free_value(struct builder *b, const struct json_rules *r)
{
    const uint32_t any[] = {build_call(b, r->string, 0), build_call(b, r->number, 0),
                            build_call(b, r->object, 0), build_call(b, r->array, 0),
                            build_text(b, "true", 4, 0), build_text(b, "false", 5, 0),
                            build_text(b, "null", 4, 0)};
    return build_split(b, any, 7);
}

static void rule_set(struct builder *b, uint32_t rule, uint32_t entry)
{
    if (!b->status)
        b->p->rules[rule].entry = entry;
}

void json_rules_build(struct builder *b, struct json_rules *r)
{
    r->space = build_rule(b, "JSON space", 10);
    r->string = build_rule(b, "JSON string", 11);
    r->integer = build_rule(b, "JSON integer", 12);
    r->number = build_rule(b, "JSON number", 11);
    r->array = build_rule(b, "JSON array", 10);
    r->object = build_rule(b, "JSON object", 11);
    r->value = build_rule(b, "JSON value", 10);
    rule_set(b, r->space, build_space(b));
    rule_set(b, r->string, build_free_string(b));
    rule_set(b, r->integer, build_integer(b, 0));
    rule_set(b, r->number, build_number(b));
    rule_set(b, r->array, build_free_list(b, r, "[", "]", false));
    rule_set(b, r->object, build_free_list(b, r, "{", "}", true));
    rule_set(b, r->value, build_free_value(b, r));
}

uint32_t build_json_punct(struct builder *b, const struct json_rules *r, const char *text,
                          uint32_t next)
{
    return build_text(b, text, strlen(text), build_call(b, r->space, next));
}

uint32_t build_json_close(struct builder *b, const struct json_rules *r, const char *text,
                          uint32_t next)
{
    return build_call(b, r->space, build_text(b, text, strlen(text), next));
}

/* s [n] as JSON writes it, quotes and all; of the arena.  *len <- its bytes. */
static char *json_string_text(struct builder *b, const char *s, size_t n, size_t *len)
{
    static const char letters[] = "\"\"\\\\b\bf\fn\nr\rt\t", hex[] = "0123456789abcdef";
    char *out = builder_array(b, 6 * n + 3, 1), *o = out;
    if (!out)
        return NULL;
    *o++ = '"';
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        const char *l = letters;
        while (*l && (unsigned char)l[1] != c)
            l += 2;
        if (*l) {
            *o++ = '\\', *o++ = *l;
        } else if (c < 0x20) {
            memcpy(o, "\\u00", 4);
            o[4] = hex[c >> 4], o[5] = hex[c & 15];
            o += 6;
        } else {
            *o++ = (char)c;
        }
    }
    *o++ = '"';
    *len = (size_t)(o - out);
    return out;
}

uint32_t build_json_string(struct builder *b, const char *s, size_t n, uint32_t next)
{
    size_t len = 0;
    const char *text = json_string_text(b, s, n, &len);
    return text ? build_text(b, text, len, next) : 0;
}

static uint32_t const_list(struct builder *b, const struct json_rules *r, const json_t *v,
                           uint32_t next)
{
    const bool members = json_is_object(v);
    const size_t n = members ? json_object_size(v) : json_array_size(v);
    const char *brackets = members ? "{}" : "[]";
    const char open[] = {brackets[0], 0}, close[] = {brackets[1], 0};
    if (n == 0)
        return build_text(b, brackets, 2, next);
    const json_t **items = builder_array(b, n, sizeof *items);
    const char **keys = builder_array(b, n, sizeof *keys);
    if (!items || !keys)
        return 0;
    size_t i = 0;
    if (members)
        for (void *it = json_object_iter((json_t *)v); it;
             it = json_object_iter_next((json_t *)v, it), i++)
            keys[i] = json_object_iter_key(it), items[i] = json_object_iter_value(it);
    else
        for (; i < n; i++)
            items[i] = json_array_get(v, i);
    next = build_json_close(b, r, close, next);
    while (i-- > 0) {
        next = build_json_const(b, r, items[i], next);
        if (members)
            next = build_json_string(b, keys[i], strlen(keys[i]),
                                     build_json_punct(b, r, ":", next));
        next = build_json_punct(b, r, i ? "," : open, next);
    }
    return next;
}

uint32_t build_json_const(struct builder *b, const struct json_rules *r, const json_t *v,
                          uint32_t next)
{
    if (json_is_object(v) || json_is_array(v))
        return const_list(b, r, v, next);
    if (json_is_string(v))
        return build_json_string(b, json_string_value(v), json_string_length(v), next);
    char text[64];
    size_t n = 0;
    // The fewest digits that are this number again.
    for (unsigned digits = 1; digits <= 17; digits++) {
        n = json_dumpb(v, text, sizeof text - 1,
                       JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        text[n < sizeof text ? n : 0] = 0;
        if (!json_is_real(v) || strtod(text, NULL) == json_real_value(v))
            break;
    }
    return build_text(b, text, n, next);
}

struct text_span {
    const char *s;
    size_t n;
};

static int span_order(const void *x, const void *y)
{
    const struct text_span *a = x, *b = y;
    const size_t n = a->n < b->n ? a->n : b->n;
    const int c = memcmp(a->s, b->s, n);
    return c ? c : (a->n > b->n) - (a->n < b->n);
}

/* Texts in rising order, none the beginning of another.  From the left, each is compared
 * with the one before; what they do not share of that one is finished, and built from its
 * end.  open[d] is the byte behind d shared ones that is not finished yet. */
struct text_tree {
    struct builder *b;
    struct edge *edges; // of all nodes that are not finished, outer ones first
    uint32_t *first;    // [depth] their first edges
    uint32_t n_edge;
};

static void tree_close(struct text_tree *t, const struct text_span *s, size_t from,
                       uint32_t next)
{
    for (size_t d = s->n; d-- > from && !t->b->status;) {
        const uint8_t byte = (uint8_t)s->s[d];
        if (d + 1 < s->n) {
            next = build_bytes(t->b, t->edges + t->first[d + 1],
                               t->n_edge - t->first[d + 1]);
            t->n_edge = t->first[d + 1];
        }
        t->edges[t->n_edge++] = (struct edge){next, byte, byte};
    }
}

uint32_t build_json_strings(struct builder *b, json_t *const *values, size_t n,
                            uint32_t next)
{
    struct text_span *s = builder_array(b, n, sizeof *s);
    size_t total = 0, longest = 0;
    for (size_t i = 0; s && i < n; i++) {
        s[i].s = json_string_text(b, json_string_value(values[i]),
                                  json_string_length(values[i]), &s[i].n);
        if (!s[i].s)
            return 0;
        total += s[i].n;
        longest = longest > s[i].n ? longest : s[i].n;
    }
    // No more edges are open than one for each text and byte of the longest.
    struct text_tree t = {.b = b,
                          .edges = builder_array(b, n + longest + 1, sizeof *t.edges),
                          .first = builder_array(b, longest + 1, sizeof *t.first)};
    if (!s || !t.edges || !t.first || !builder_work(b, (uint32_t)(total >> 2)))
        return 0;
    qsort(s, n, sizeof *s, span_order);
    for (size_t i = 0; i < n && !b->status; i++) {
        size_t same = 0;
        if (i) {
            while (same < s[i].n && same < s[i - 1].n && s[i].s[same] == s[i - 1].s[same])
                same++;
            if (same == s[i].n)
                continue; // the same text again
            tree_close(&t, &s[i - 1], same, next);
        }
        for (size_t d = i ? same + 1 : 0; d < s[i].n; d++)
            t.first[d] = t.n_edge;
    }
    tree_close(&t, &s[n - 1], 0, next);
    return build_bytes(b, t.edges, t.n_edge);
}
