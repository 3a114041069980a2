/* schema_merge.c - flat forms of schemas, and what two of them have in common. */
#include <string.h>

#include "grammar/schema.h"

/* Types that a keyword is about: where no type is said, they are. */
static const struct about {
    const char *keyword, *type;
} abouts[] = {
    {"properties", "object"},
    {"required", "object"},
    {"additionalProperties", "object"},
    {"propertyNames", "object"},
    {"minProperties", "object"},
    {"maxProperties", "object"},
    {"items", "array"},
    {"prefixItems", "array"},
    {"minItems", "array"},
    {"maxItems", "array"},
    {"pattern", "string"},
    {"minLength", "string"},
    {"maxLength", "string"},
    {"format", "string"},
    {"minimum", "number"},
    {"maximum", "number"},
    {"exclusiveMinimum", "number"},
    {"exclusiveMaximum", "number"},
};

static void member_set(struct schema *c, json_t *o, const char *key, json_t *new_value)
{
    if (json_object_set_new(o, key, new_value))
        builder_fail(c->b, STATUS_NO_MEMORY, "no memory for the schema");
}

static void list_add(struct schema *c, json_t *list, json_t *new_value)
{
    if (json_array_append_new(list, new_value))
        builder_fail(c->b, STATUS_NO_MEMORY, "no memory for the schema");
}

static bool value_listed(json_t *list, const json_t *v)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_equal(one, v) || (json_is_number(one) && json_is_number(v) &&
                                   json_number_value(one) == json_number_value(v)))
            return true;
    }
    return false;
}

static void flat_types(struct schema *c, json_t *s, json_t *flat)
{
    json_t *type = json_object_get(s, "type"), *list = json_array();
    if (json_is_string(type))
        list_add(c, list, json_incref(type));
    size_t i;
    json_t *v;
    json_array_foreach(type, i, v)
    {
        if (!value_listed(list, v))
            list_add(c, list, json_incref(v));
    }
    for (i = 0; !type && i < sizeof abouts / sizeof abouts[0]; i++) {
        json_t *name = json_string(abouts[i].type);
        if (json_object_get(flat, abouts[i].keyword) && !value_listed(list, name))
            list_add(c, list, json_incref(name));
        json_decref(name);
    }
    if (json_array_size(list))
        member_set(c, flat, "type", list);
    else
        json_decref(list);
}

/* Tuples as they were written before 2020-12. */
static void flat_items(struct schema *c, json_t *s, json_t *flat)
{
    json_t *items = json_object_get(s, "items"), *more;
    if (!json_is_array(items))
        return;
    more = json_object_get(s, "additionalItems");
    json_object_del(flat, "items");
    if (json_array_size(items))
        member_set(c, flat, "prefixItems", json_incref(items));
    if (more)
        member_set(c, flat, "items", json_incref(more));
}

/* Draft 4: whether the bound itself is left out. */
static void flat_bound(struct schema *c, json_t *s, json_t *flat, const char *open,
                       const char *bound)
{
    json_t *v = json_object_get(s, open);
    if (!json_is_boolean(v))
        return;
    json_object_del(flat, open);
    json_t *value = json_object_get(s, bound);
    if (json_is_true(v) && value) {
        member_set(c, flat, open, json_incref(value));
        json_object_del(flat, bound);
    }
}

/* What s itself says, references and lists of schemas apart. */
static json_t *flat_own(struct schema *c, json_t *s)
{
    static const char *const apart[] = {"$ref", "allOf",           "anyOf",      "oneOf",
                                        "type", "additionalItems", "const",      "enum",
                                        "not",  "multipleOf",      "uniqueItems"};
    json_t *flat = schema_own(c, json_object());
    const char *key;
    json_t *v;
    json_object_foreach(s, key, v)
    {
        bool other = schema_is_comment(key);
        for (size_t i = 0; !other && i < sizeof apart / sizeof apart[0]; i++)
            other = !strcmp(key, apart[i]);
        if (!other && flat)
            member_set(c, flat, key, json_incref(v));
    }
    if (!flat)
        return NULL;
    flat_items(c, s, flat);
    flat_bound(c, s, flat, "exclusiveMinimum", "minimum");
    flat_bound(c, s, flat, "exclusiveMaximum", "maximum");
    flat_types(c, s, flat);
    json_t *values = json_object_get(s, "enum"), *one = json_object_get(s, "const");
    if (one && values && !value_listed(values, one))
        return json_false();
    if (one)
        member_set(c, flat, "enum", json_pack("[O]", one));
    else if (values)
        member_set(c, flat, "enum", json_incref(values));
    static const char *const lists[][2] = {{"pattern", "patterns"},
                                           {"format", "formats"}};
    for (int i = 0; i < 2; i++)
        if ((v = json_object_get(flat, lists[i][0]))) {
            member_set(c, flat, lists[i][1], json_pack("[O]", v));
            json_object_del(flat, lists[i][0]);
        }
    static const char *const alternatives[] = {"anyOf", "oneOf"};
    for (int i = 0; i < 2; i++)
        if ((v = json_object_get(s, alternatives[i]))) {
            if (!json_object_get(flat, "groups"))
                member_set(c, flat, "groups", json_array());
            list_add(c, json_object_get(flat, "groups"), json_incref(v));
        }
    return flat;
}

static json_t *flat_all(struct schema *c, json_t *s, const struct schema_path *path)
{
    if (json_is_boolean(s))
        return json_is_true(s) ? schema_own(c, json_object()) : json_false();
    schema_at(c, path, NULL);
    if (!json_is_object(s)) {
        builder_fail(c->b, STATUS_BAD_INPUT, "a schema is an object, true or false");
        return NULL;
    }
    schema_check(c, s, path);
    json_t *flat = c->b->status ? NULL : flat_own(c, s);
    json_t *ref = json_object_get(s, "$ref"), *parts = json_object_get(s, "allOf"), *v;
    if (flat && ref) {
        const struct schema_path at = {path, json_string_value(ref), -1};
        json_t *target = schema_target(c, json_string_value(ref), path);
        json_t *part = target ? schema_flat(c, target, &at) : NULL;
        flat = part ? schema_merge(c, flat, part, path) : NULL;
    }
    size_t i;
    json_array_foreach(parts, i, v)
    {
        const struct schema_path at = {path, "allOf", (int)i};
        json_t *part = flat ? schema_flat(c, v, &at) : NULL;
        flat = part ? schema_merge(c, flat, part, path) : NULL;
    }
    return flat;
}

json_t *schema_flat(struct schema *c, json_t *s, const struct schema_path *path)
{
    json_t *flat = schema_enter(c, path) ? flat_all(c, s, path) : NULL;
    c->depth--;
    return c->b->status ? NULL : flat;
}

/* The schema of what x and y both take; either may be NULL: anything. */
static json_t *both_of(json_t *x, json_t *y)
{
    if (!x || !y || json_equal(x, y))
        return json_incref(x ? x : y);
    if (json_is_false(x) || json_is_false(y))
        return json_false();
    return json_pack("{s:[O,O]}", "allOf", x, y);
}

static void merge_properties(struct schema *c, json_t *out, json_t *x, json_t *y)
{
    json_t *xs = json_object_get(x, "properties"), *ys = json_object_get(y, "properties");
    json_t *more_x = json_object_get(x, "additionalProperties"),
           *more_y = json_object_get(y, "additionalProperties");
    json_t *merged = json_object();
    const char *key;
    json_t *v;
    json_object_foreach(xs, key, v)
    {
        json_t *other = json_object_get(ys, key);
        member_set(c, merged, key, both_of(v, other ? other : more_y));
    }
    json_object_foreach(ys, key, v)
    {
        if (!json_object_get(xs, key))
            member_set(c, merged, key, both_of(more_x, v));
    }
    if (xs || ys)
        member_set(c, out, "properties", merged);
    else
        json_decref(merged);
    if (more_x || more_y)
        member_set(c, out, "additionalProperties", both_of(more_x, more_y));
}

static void merge_items(struct schema *c, json_t *out, json_t *x, json_t *y)
{
    json_t *px = json_object_get(x, "prefixItems"),
           *py = json_object_get(y, "prefixItems");
    json_t *ix = json_object_get(x, "items"), *iy = json_object_get(y, "items");
    const size_t nx = json_array_size(px), ny = json_array_size(py);
    if (px || py) {
        json_t *list = json_array();
        for (size_t i = 0; i < nx || i < ny; i++) {
            json_t *one = both_of(i < nx ? json_array_get(px, i) : ix,
                                  i < ny ? json_array_get(py, i) : iy);
            list_add(c, list, one ? one : json_true());
        }
        member_set(c, out, "prefixItems", list);
    }
    if (ix || iy)
        member_set(c, out, "items", both_of(ix, iy));
}

/* Types of both; integers are numbers too. */
static json_t *merge_types(struct schema *c, json_t *x, json_t *y)
{
    json_t *out = json_array(), *lists[] = {x, y}, *v;
    size_t i;
    for (int k = 0; k < 2; k++)
        json_array_foreach(lists[k], i, v)
        {
            json_t *number = json_string("number");
            const bool both =
                value_listed(lists[!k], v) || (!strcmp(json_string_value(v), "integer") &&
                                               value_listed(lists[!k], number));
            if (both && !value_listed(out, v))
                list_add(c, out, json_incref(v));
            json_decref(number);
        }
    return out;
}

static json_t *merge_values(struct schema *c, json_t *x, json_t *y)
{
    json_t *out = json_array(), *v;
    size_t i;
    json_array_foreach(x, i, v)
    {
        if (builder_work(c->b, (uint32_t)json_array_size(y)) && value_listed(y, v))
            list_add(c, out, json_incref(v));
    }
    return out;
}

static json_t *merge_lists(struct schema *c, json_t *x, json_t *y)
{
    json_t *out = json_copy(x), *v;
    size_t i;
    json_array_foreach(y, i, v)
    {
        if (builder_work(c->b, (uint32_t)json_array_size(x)) && !value_listed(x, v))
            list_add(c, out, json_incref(v));
    }
    return out;
}

/* The value of a keyword that both have. */
static json_t *merge_keyword(struct schema *c, const char *key, json_t *x, json_t *y,
                             const struct schema_path *path)
{
    if (!strcmp(key, "type"))
        return merge_types(c, x, y);
    if (!strcmp(key, "enum"))
        return merge_values(c, x, y);
    if (!strcmp(key, "propertyNames"))
        return both_of(x, y);
    if (json_is_array(x))
        return merge_lists(c, x, y);
    if (json_is_number(x)) {
        const bool low = !strncmp(key, "min", 3) || !strcmp(key, "exclusiveMinimum");
        const bool first = json_number_value(x) > json_number_value(y);
        return json_incref(first == low ? x : y);
    }
    schema_at(c, path, key);
    builder_fail(c->b, STATUS_UNSUPPORTED, "stands in two parts that cannot be merged");
    return NULL;
}

json_t *schema_merge(struct schema *c, json_t *x, json_t *y,
                     const struct schema_path *path)
{
    static const char *const together[] = {"properties", "additionalProperties", "items",
                                           "prefixItems"};
    if (c->b->status || json_is_false(x) || json_is_false(y))
        return json_false();
    json_t *out = schema_own(c, json_copy(x));
    const char *key;
    json_t *v;
    if (!out ||
        !builder_work(c->b, (uint32_t)(json_object_size(x) + json_object_size(y))))
        return NULL;
    json_object_foreach(y, key, v)
    {
        json_t *mine = json_object_get(x, key);
        bool apart = false;
        for (int i = 0; i < 4; i++)
            apart = apart || !strcmp(key, together[i]);
        if (apart)
            continue;
        member_set(c, out, key,
                   mine ? merge_keyword(c, key, mine, v, path) : json_incref(v));
    }
    merge_properties(c, out, x, y);
    merge_items(c, out, x, y);
    static const char *const never[][2] = {
        {"type", "its parts have no type in common"},
        {"enum", "its parts have no value of enum in common"}};
    for (int i = 0; i < 2; i++)
        if ((v = json_object_get(out, never[i][0])) && !json_array_size(v)) {
            schema_never(c, path, never[i][1]);
            return json_false();
        }
    return c->b->status ? NULL : out;
}
