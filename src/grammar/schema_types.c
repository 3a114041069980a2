/* schema_types.c - strings, numbers and arrays of a schema. */
#include <string.h>

#include "grammar/schema.h"

/* Formats that are followed, as patterns; others are comments.  Sources: RFC 3339 (years
 * from 1000 on), RFC 4122, RFC 5321 and 1123 without their rarer forms, RFC 2673, RFC
 * 4291, RFC 3986. */
#define YEAR_LEAP \
    "([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"
#define DATE                                                     \
    "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|" \
    "(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|" YEAR_LEAP "-02-29)"
#define CLOCK "([01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME CLOCK ":[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]" CLOCK ")"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define BYTE "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define HEX4 "[0-9A-Fa-f]{1,4}"

static const struct format {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "T" TIME "$"},
    {"duration", "^P([0-9]{1,9}W|([0-9]{1,9}D|[0-9]{1,9}M([0-9]{1,9}D)?|"
                 "[0-9]{1,9}Y([0-9]{1,9}M([0-9]{1,9}D)?)?)(T([0-9]{1,9}S|"
                 "[0-9]{1,9}M([0-9]{1,9}S)?|[0-9]{1,9}H([0-9]{1,9}M([0-9]{1,9}S)?)?))?|"
                 "T([0-9]{1,9}S|[0-9]{1,9}M([0-9]{1,9}S)?|"
                 "[0-9]{1,9}H([0-9]{1,9}M([0-9]{1,9}S)?)?))$"},
    {"uuid", "^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$"},
    {"email", "^[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@" LABEL "(\\." LABEL ")+$"},
    {"hostname", "^" LABEL "(\\." LABEL ")*$"},
    {"ipv4", "^(" BYTE "\\.){3}" BYTE "$"},
    {"ipv6", "^((" HEX4 ":){7}" HEX4 "|(" HEX4 ":){1,6}:" HEX4 "|::(" HEX4 "(:" HEX4
             "){0,6})?|" HEX4 "::)$"},
    {"uri",
     "^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$"},
};

/* Patterns and known formats of flat in out [cap]; how many. */
static uint32_t string_exprs(struct schema *c, json_t *flat,
                             const struct schema_path *path, struct expr **out,
                             uint32_t cap)
{
    uint32_t n = 0;
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(flat, "patterns"), i, v)
    {
        schema_at(c, path, "pattern");
        if (n < cap)
            out[n++] = pattern_parse(c->b, json_string_value(v), json_string_length(v));
    }
    json_array_foreach(json_object_get(flat, "formats"), i, v)
    {
        for (size_t k = 0; k < sizeof formats / sizeof formats[0]; k++)
            if (n < cap && !strcmp(formats[k].name, json_string_value(v)))
                out[n++] =
                    pattern_parse(c->b, formats[k].pattern, strlen(formats[k].pattern));
    }
    return n;
}

/* Several patterns, or one with lengths. */
static uint32_t build_together(struct schema *c, struct expr **e, uint32_t n,
                               uint32_t min, uint32_t max, uint32_t next)
{
    struct chars all = chars_of_expr(c->b, e[0], &c->expr_work);
    for (uint32_t i = 1; i < n && !c->b->status; i++) {
        const struct chars one = chars_of_expr(c->b, e[i], &c->expr_work);
        all = chars_and(c->b, &all, &one);
    }
    return chars_build(c->b, &all, min, max, next);
}

uint32_t schema_build_string(struct schema *c, json_t *flat,
                             const struct schema_path *path, uint32_t next)
{
    struct builder *b = c->b;
    const uint32_t min = schema_count(flat, "minLength", 0),
                   max = schema_count(flat, "maxLength", GRAMMAR_FOREVER);
    const size_t cap = json_array_size(json_object_get(flat, "patterns")) +
                       json_array_size(json_object_get(flat, "formats"));
    if (min > max)
        return schema_never(c, path, "minLength is above maxLength");
    struct expr **e = builder_array(b, cap, sizeof *e);
    const uint32_t n = e ? string_exprs(c, flat, path, e, (uint32_t)cap) : 0;
    const bool lengths = min > 0 || max < GRAMMAR_FOREVER;
    const struct expr_target t = {.b = b, .alphabet = EXPR_JSON, .work = &c->expr_work};
    if (b->status)
        return GRAMMAR_NONE;
    if (!n && !lengths)
        return build_call(b, c->json->string, next);
    uint32_t node = build_byte(b, '"', '"', next);
    schema_at(c, path, n ? "pattern" : "maxLength");
    if (!n)
        node =
            expr_build(&t, expr_repeat(b, expr_leaf(b, EXPR_JSON_CHAR), min, max), node);
    else if (n == 1 && !lengths)
        node = expr_build(&t, e[0], node);
    else
        node = build_together(c, e, n, min, max, node);
    if (node == GRAMMAR_NONE)
        return schema_never(c, path,
                            "no string meets pattern, format and lengths together");
    return build_byte(b, '"', '"', node);
}

/* The tighter one of two bounds, which may be missing. */
static const json_t *tighter(json_t *flat, const char *closed, const char *open, bool low,
                             bool *is_open)
{
    const json_t *x = json_object_get(flat, closed), *y = json_object_get(flat, open);
    const double a = json_number_value(x), z = json_number_value(y);
    *is_open = y && (!x || (low ? z >= a : z <= a));
    return *is_open ? y : x;
}

uint32_t schema_build_number(struct schema *c, json_t *flat, bool integer,
                             const struct schema_path *path, uint32_t next)
{
    struct number_range r = {.integer = integer};
    r.lo = tighter(flat, "minimum", "exclusiveMinimum", true, &r.lo_open);
    r.hi = tighter(flat, "maximum", "exclusiveMaximum", false, &r.hi_open);
    if (!r.lo && !r.hi)
        return build_call(c->b, integer ? c->json->integer : c->json->number, next);
    schema_at(c, path, r.lo ? "minimum" : "maximum");
    const uint32_t node = build_json_range(c->b, &r, next);
    return node == GRAMMAR_NONE
               ? schema_never(c, path, "no number lies between minimum and maximum")
               : node;
}

/* Items behind the first `at` ones, of which at least one stands in front if at > 0; min
 * and max count those that are left.  item is built once, whatever the counts. */
static uint32_t build_rest(struct schema *c, json_t *items,
                           const struct schema_path *path, bool first, uint32_t min,
                           uint32_t max, uint32_t next)
{
    struct builder *b = c->b;
    const struct schema_path at = {path, "items", -1};
    const uint32_t close = build_json_close(b, c->json, "]", next);
    const uint32_t none = first ? build_text(b, "]", 1, next) : close;
    const bool counted = min > 1 || (min == 1 && !first) || max != GRAMMAR_FOREVER;
    if (max == 0 || min > max)
        return min ? GRAMMAR_NONE : none;
    const uint32_t loop = build_loop(b);
    const uint32_t counter = counted ? build_counter(b) : 0;
    const uint32_t item =
        schema_build(c, items, &at, counted ? build_step(b, counter, loop) : loop);
    if (item == GRAMMAR_NONE)
        return min ? GRAMMAR_NONE : none;
    uint32_t more = build_json_punct(b, c->json, ",", item), leave = close;
    if (counted) {
        if (max != GRAMMAR_FOREVER)
            more = build_test(b, counter, 0, max - 1, more);
        leave =
            build_test(b, counter, min, GRAMMAR_FOREVER, build_pop(b, counter, close));
    }
    build_loop_close(b, loop, (const uint32_t[]){more, leave}, 2);
    if (!first)
        return counted ? build_push(b, counter, loop) : loop;
    const uint32_t enter = counted ? build_push(b, counter, item) : item;
    return min ? enter : build_either(b, enter, none);
}

uint32_t schema_build_array(struct schema *c, json_t *flat,
                            const struct schema_path *path, uint32_t next)
{
    struct builder *b = c->b;
    json_t *prefix = json_object_get(flat, "prefixItems"),
           *items = json_object_get(flat, "items");
    const uint32_t n = (uint32_t)json_array_size(prefix);
    const uint32_t min = schema_count(flat, "minItems", 0),
                   max = schema_count(flat, "maxItems", GRAMMAR_FOREVER);
    if (min > max)
        return schema_never(c, path, "minItems is above maxItems");
    uint32_t left = max == GRAMMAR_FOREVER ? max : max > n ? max - n : 0;
    if (json_is_false(items))
        left = 0;
    const uint32_t close = build_json_close(b, c->json, "]", next);
    // node: behind item i; those in front are built with it as their end.
    uint32_t node = build_rest(c, items ? items : json_true(), path, n == 0,
                               min > n ? min - n : 0, left, next);
    for (uint32_t i = n; i-- > 0 && !b->status;) {
        const struct schema_path at = {path, "prefixItems", (int)i};
        uint32_t item = GRAMMAR_NONE;
        if (i < max && node != GRAMMAR_NONE)
            item = schema_build(c, json_array_get(prefix, i), &at, node);
        if (item != GRAMMAR_NONE && i)
            item = build_json_punct(b, c->json, ",", item);
        const uint32_t end =
            i >= min ? (i ? close : build_text(b, "]", 1, next)) : GRAMMAR_NONE;
        node = build_either(b, item, end);
    }
    if (b->status || node == GRAMMAR_NONE)
        return schema_never(c, path, "no array has such items and lengths");
    return build_json_punct(b, c->json, "[", node);
}
