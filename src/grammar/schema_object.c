/* schema_object.c - objects: declared members in their order, then others.
 *
 * Member i can follow the opening brace or a comma, so what reads it is built once and
 * reached from both: at[i].first and at[i].more stand before it, the one behind {, the
 * other behind a comma; at[i].behind stands behind a member and before the comma. */
#include <stdlib.h>
#include <string.h>

#include "grammar/schema.h"

struct member {
    const char *key;
    json_t *schema;
    bool required;
};

struct place {
    uint32_t first, more, behind;
};

/* Whether a keyword of a schema of names leaves some strings out. */
static bool is_narrower(const char *key, const json_t *v)
{
    return !schema_is_comment(key) && (strcmp(key, "type") || !json_is_string(v) ||
                                       strcmp(json_string_value(v), "string"));
}

/* The names that propertyNames lists, where no others are declared: they are members like
 * declared ones, so that each comes once. */
static json_t *listed_names(json_t *flat)
{
    json_t *names = json_object_get(flat, "propertyNames"), *v;
    const char *key;
    if (json_object_size(json_object_get(flat, "properties")))
        return NULL;
    json_object_foreach(names, key, v)
    {
        if (strcmp(key, "enum") && is_narrower(key, v))
            return NULL;
    }
    return json_object_get(names, "enum");
}

static struct member *object_members(struct schema *c, json_t *flat,
                                     const struct schema_path *path, uint32_t *n)
{
    json_t *properties = json_object_get(flat, "properties"), *v;
    json_t *required = json_object_get(flat, "required");
    json_t *other = json_object_get(flat, "additionalProperties");
    json_t *names = json_object(); // key -> its place
    json_t *listed = listed_names(flat);
    const size_t cap = json_object_size(properties) + json_array_size(required) +
                       json_array_size(listed);
    struct member *m = builder_array(c->b, cap, sizeof *m);
    const char *key;
    size_t i;
    *n = 0;
    if (m)
        json_object_foreach(properties, key, v)
        {
            json_object_set_new(names, key, json_integer(*n));
            m[(*n)++] = (struct member){key, v, false};
        }
    if (m)
        json_array_foreach(listed, i, v)
        {
            key = json_string_value(v);
            if (!key || json_object_get(names, key))
                continue;
            json_object_set_new(names, key, json_integer(*n));
            m[(*n)++] = (struct member){key, other ? other : json_true(), false};
        }
    if (m)
        json_array_foreach(required, i, v)
        {
            key = json_string_value(v);
            json_t *place = json_object_get(names, key);
            if (place) {
                m[json_integer_value(place)].required = true;
                continue;
            }
            if (listed) {
                schema_at(c, path, "propertyNames");
                builder_fail(c->b, STATUS_UNSUPPORTED,
                             "a name that is required is missing");
            }
            json_object_set_new(names, key, json_integer(*n));
            m[(*n)++] = (struct member){key, other ? other : json_true(), true};
        }
    json_decref(names);
    return m;
}

static int key_order(const void *x, const void *y)
{
    const char *a, *b;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    return strcmp(a, b);
}

/* A key that is none of m [n]. */
static uint32_t build_other_key(struct schema *c, const struct member *m, uint32_t n,
                                uint32_t next)
{
    if (n == 0)
        return build_call(c->b, c->json->string, next);
    const char **keys = builder_array(c->b, n, sizeof *keys);
    if (!keys)
        return GRAMMAR_NONE;
    for (uint32_t i = 0; i < n; i++)
        keys[i] = m[i].key;
    qsort(keys, n, sizeof *keys, key_order);
    const struct chars x = chars_except(c->b, keys, n);
    const uint32_t inside =
        chars_build(c->b, &x, 0, GRAMMAR_FOREVER, build_byte(c->b, '"', '"', next));
    return build_byte(c->b, '"', '"', inside);
}

/* Keys by propertyNames, which is a schema of strings. */
static uint32_t build_named_key(struct schema *c, json_t *names,
                                const struct schema_path *path, uint32_t next)
{
    const struct schema_path at = {path, "propertyNames", -1};
    json_t *text = json_pack("{s:s}", "type", "string");
    json_t *strings = schema_own(c, text), *flat = schema_flat(c, names, &at);
    json_t *both = flat && strings ? schema_merge(c, strings, flat, &at) : NULL;
    return both ? schema_build_flat(c, both, &at, next) : GRAMMAR_NONE;
}

/* Whether names takes any string. */
static bool names_are_free(json_t *names)
{
    const char *key;
    json_t *v;
    if (!json_is_object(names))
        return !json_is_false(names);
    json_object_foreach(names, key, v)
    {
        if (is_narrower(key, v))
            return false;
    }
    return true;
}

/* Members of their own, n of them, beside a schema of names. */
static void check_names(struct schema *c, json_t *flat, const struct schema_path *path,
                        uint32_t n)
{
    json_t *names = json_object_get(flat, "propertyNames");
    if (!names || !n || listed_names(flat) || names_are_free(names))
        return;
    schema_at(c, path, "propertyNames");
    builder_fail(c->b, STATUS_UNSUPPORTED, "not supported together with properties");
}

/* Members that are not declared, in p->first and p->more, if there may be any. */
static void build_others(struct schema *c, json_t *flat, const struct schema_path *path,
                         const struct member *m, uint32_t n, uint32_t close,
                         struct place *p)
{
    struct builder *b = c->b;
    const struct schema_path at = {path, "additionalProperties", -1};
    json_t *other = json_object_get(flat, "additionalProperties"),
           *names = json_object_get(flat, "propertyNames");
    *p = (struct place){GRAMMAR_NONE, GRAMMAR_NONE, close};
    if (json_is_false(other) || listed_names(flat))
        return;
    const uint32_t loop = build_loop(b);
    const uint32_t value = schema_build(c, other ? other : json_true(), &at, loop);
    if (value == GRAMMAR_NONE)
        return;
    const uint32_t colon = build_json_punct(b, c->json, ":", value);
    uint32_t member;
    if (names && !names_are_free(names))
        member = build_named_key(c, names, path, colon);
    else
        member = build_other_key(c, m, n, colon);
    if (member == GRAMMAR_NONE)
        return;
    p->first = p->more = member;
    p->behind = loop;
    build_loop_close(
        b, loop, (const uint32_t[]){build_json_punct(b, c->json, ",", member), close}, 2);
}

/* Bounds of how many members there are that the declared ones meet by themselves, and a
 * least number of one. */
static void check_counts(struct schema *c, json_t *flat, const struct schema_path *path,
                         uint32_t n, uint32_t n_required, bool others)
{
    const uint32_t min = schema_count(flat, "minProperties", 0),
                   max = schema_count(flat, "maxProperties", GRAMMAR_FOREVER);
    schema_at(c, path, "minProperties");
    if (min > 1 && min > n_required)
        builder_fail(c->b, STATUS_UNSUPPORTED,
                     "more than one, and more than are required, is not supported");
    schema_at(c, path, "maxProperties");
    if (max < GRAMMAR_FOREVER && (max < n || others))
        builder_fail(c->b, STATUS_UNSUPPORTED,
                     "fewer than there may be members is not supported");
}

/* Members i .. of m, from the last one on; false if one that is required has no value. */
static bool build_members(struct schema *c, const struct member *m, uint32_t n,
                          const struct schema_path *path, struct place *p, uint32_t close)
{
    struct builder *b = c->b;
    for (uint32_t i = n; i-- > 0 && !b->status;) {
        const struct schema_path properties = {path, "properties", -1};
        const struct schema_path at = {&properties, m[i].key, -1};
        uint32_t member = schema_build(c, m[i].schema, &at, p->behind);
        if (member != GRAMMAR_NONE)
            member = build_json_string(b, m[i].key, strlen(m[i].key),
                                       build_json_punct(b, c->json, ":", member));
        if (m[i].required && member == GRAMMAR_NONE)
            return false;
        p->first = m[i].required ? member : build_either(b, member, p->first);
        p->more = m[i].required ? member : build_either(b, member, p->more);
        if (m[i].required)
            close = GRAMMAR_NONE;
        const uint32_t comma = p->more == GRAMMAR_NONE
                                   ? GRAMMAR_NONE
                                   : build_json_punct(b, c->json, ",", p->more);
        p->behind = build_either(b, comma, close);
    }
    return !b->status;
}

uint32_t schema_build_object(struct schema *c, json_t *flat,
                             const struct schema_path *path, uint32_t next)
{
    struct builder *b = c->b;
    uint32_t n = 0, n_required = 0;
    const struct member *m = object_members(c, flat, path, &n);
    for (uint32_t i = 0; m && i < n; i++)
        n_required += m[i].required;
    if (b->status)
        return GRAMMAR_NONE;
    const uint32_t close = build_json_close(b, c->json, "}", next);
    struct place p;
    check_names(c, flat, path, n);
    build_others(c, flat, path, m, n, close, &p);
    check_counts(c, flat, path, n, n_required, p.first != GRAMMAR_NONE);
    if (schema_count(flat, "minProperties", 0) == 0)
        p.first = build_either(b, p.first, build_text(b, "}", 1, next));
    if (b->status || !build_members(c, m, n, path, &p, close) || p.first == GRAMMAR_NONE)
        return c->never[0]
                   ? GRAMMAR_NONE
                   : schema_never(c, path, "no object has the members it must have");
    return build_json_punct(b, c->json, "{", p.first);
}
