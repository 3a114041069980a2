/* schema.c - alternatives, references and types of a schema. */
#include "grammar/schema.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SCHEMA_FLAT = 20000 }; // flat schemas of one compilation

static void path_text(const struct schema_path *path, char *dst, size_t cap)
{
    const struct schema_path *parts[GRAMMAR_DEPTH * 4];
    size_t n = 0, at = 0;
    for (; path && n < sizeof parts / sizeof parts[0]; path = path->up)
        parts[n++] = path;
    dst[0] = 0;
    while (n-- > 0 && at < cap) {
        const char *dot = at ? "." : "";
        const int wrote =
            parts[n]->index < 0
                ? snprintf(dst + at, cap - at, "%s%.80s", dot, parts[n]->key)
                : snprintf(dst + at, cap - at, "%s%.80s[%d]", dot, parts[n]->key,
                           parts[n]->index);
        at += wrote > 0 ? (size_t)wrote : 0;
    }
}

void schema_at(struct schema *c, const struct schema_path *path, const char *keyword)
{
    const struct schema_path last = {path, keyword, -1};
    char text[256];
    if (c->b->status)
        return;
    path_text(keyword ? &last : path, text, sizeof text);
    snprintf(c->b->where, sizeof c->b->where, "%.40s: %s", c->name, text);
}

uint32_t schema_never(struct schema *c, const struct schema_path *path, const char *why)
{
    char text[256];
    path_text(path, text, sizeof text);
    snprintf(c->never, sizeof c->never, "%s: %s", text, why);
    return GRAMMAR_NONE;
}

json_t *schema_own(struct schema *c, json_t *v)
{
    if (!v || json_array_append_new(c->made, v)) {
        builder_fail(c->b, STATUS_NO_MEMORY, "no memory for the schema");
        return NULL;
    }
    return v;
}

bool schema_enter(struct schema *c, const struct schema_path *path)
{
    if (++c->depth > GRAMMAR_DEPTH || ++c->n_flat > SCHEMA_FLAT) {
        schema_at(c, path, NULL);
        builder_fail(c->b, STATUS_LIMIT,
                     c->depth > GRAMMAR_DEPTH
                         ? "schemas are nested more than 64 deep"
                         : "the schema has too many parts or alternatives");
    }
    return !c->b->status;
}

/* One part of a JSON pointer, escapes of pointers and of URIs resolved, into dst. */
static bool pointer_part(const char *s, size_t n, char *dst, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = (unsigned char)s[i];
        if (at + 1 >= cap)
            return false;
        if (c == '%') {
            const char hex[] = {i + 1 < n ? s[i + 1] : 'x', i + 2 < n ? s[i + 2] : 'x',
                                0};
            if (sscanf(hex, "%2x", &c) != 1 || c == 0)
                return false;
            i += 2;
        } else if (c == '~') {
            if (++i == n || (s[i] != '0' && s[i] != '1'))
                return false;
            c = s[i] == '0' ? '~' : '/';
        }
        dst[at++] = (char)c;
    }
    dst[at] = 0;
    return true;
}

static json_t *pointer_step(json_t *v, const char *part)
{
    if (json_is_object(v))
        return json_object_get(v, part);
    size_t index = 0;
    for (const char *s = part; *s; s++) {
        if (*s < '0' || *s > '9' || index > 1000000)
            return NULL;
        index = index * 10 + (size_t)(*s - '0');
    }
    return *part ? json_array_get(v, index) : NULL;
}

json_t *schema_target(struct schema *c, const char *ref, const struct schema_path *path)
{
    schema_at(c, path, "$ref");
    if (ref[0] != '#' || (ref[1] && ref[1] != '/')) {
        builder_fail(c->b, STATUS_UNSUPPORTED,
                     "only references inside of the schema (#/...) are followed, not "
                     "\"%.100s\"",
                     ref);
        return NULL;
    }
    json_t *v = c->root;
    for (const char *s = ref + 1; v && *s;) {
        char part[512];
        const size_t n = strcspn(s + 1, "/");
        v = pointer_part(s + 1, n, part, sizeof part) ? pointer_step(v, part) : NULL;
        s += n + 1;
    }
    if (!json_is_object(v) && !json_is_boolean(v)) {
        builder_fail(c->b, STATUS_BAD_INPUT,
                     "\"%.100s\" is not a schema of this document", ref);
        return NULL;
    }
    return v;
}

/* The rule of a reference; built later, so that schemas may contain themselves. */
static uint32_t ref_rule(struct schema *c, const char *ref,
                         const struct schema_path *path)
{
    json_t *known = json_object_get(c->refs, ref);
    if (known)
        return (uint32_t)json_integer_value(known);
    if (!schema_target(c, ref, path))
        return 0;
    char name[160];
    snprintf(name, sizeof name, "%.40s: %.100s", c->name, ref);
    const uint32_t rule = build_rule(c->b, name, strlen(name));
    if (json_object_set_new(c->refs, ref, json_integer(rule)) ||
        json_array_append_new(c->queue, json_string(ref)))
        builder_fail(c->b, STATUS_NO_MEMORY, "no memory for the schema");
    return rule;
}

/* The only keyword of s that restricts, if it is one of these; else NULL. */
static json_t *only_keyword(json_t *s, const char *name)
{
    const char *key;
    json_t *v, *found = NULL;
    json_object_foreach(s, key, v)
    {
        if (!strcmp(key, name))
            found = v;
        else if (!schema_is_comment(key))
            return NULL;
    }
    return found;
}

static bool type_listed(json_t *flat, const char *type)
{
    json_t *types = json_object_get(flat, "type");
    size_t i;
    json_t *v;
    json_array_foreach(types, i, v)
    {
        if (!strcmp(json_string_value(v), type))
            return true;
    }
    return !types;
}

static bool value_has_type(json_t *flat, const json_t *v)
{
    if (json_is_number(v))
        return type_listed(flat, "number") ||
               (type_listed(flat, "integer") &&
                (json_is_integer(v) || json_real_value(v) == floor(json_real_value(v))));
    const char *name = json_is_string(v)    ? "string"
                       : json_is_object(v)  ? "object"
                       : json_is_array(v)   ? "array"
                       : json_is_boolean(v) ? "boolean"
                                            : "null";
    return type_listed(flat, name);
}

static bool within(json_t *flat, double v, const char *least, const char *most)
{
    const json_t *lo = json_object_get(flat, least), *hi = json_object_get(flat, most);
    return (!lo || v >= json_number_value(lo)) && (!hi || v <= json_number_value(hi));
}

/* Whether a value of enum meets the keywords beside it.  Those that would take a text to
 * be matched are refused; format is a comment where the values are listed. */
static bool value_fits(struct schema *c, json_t *flat, const json_t *v,
                       const struct schema_path *path)
{
    static const char *const refused[] = {
        "patterns",      "items",         "prefixItems",  "minItems",
        "maxItems",      "required",      "properties",   "additionalProperties",
        "propertyNames", "minProperties", "maxProperties"};
    const size_t first = json_is_string(v)  ? 0
                         : json_is_array(v) ? 1
                                            : 5,
                 end = json_is_string(v)  ? 1
                       : json_is_array(v) ? 5
                                          : 11;
    const bool text = json_is_string(v) || json_is_array(v) || json_is_object(v);
    for (size_t i = first; text && i < end; i++)
        if (json_object_get(flat, refused[i])) {
            schema_at(c, path, i ? refused[i] : "pattern");
            builder_fail(c->b, STATUS_UNSUPPORTED,
                         "not supported together with enum or const");
        }
    if (json_is_string(v)) {
        size_t chars = 0;
        for (const char *s = json_string_value(v); *s; s++)
            chars += (*s & 0xc0) != 0x80;
        return within(flat, (double)chars, "minLength", "maxLength");
    }
    const double n = json_number_value(v);
    const json_t *lo = json_object_get(flat, "exclusiveMinimum"),
                 *hi = json_object_get(flat, "exclusiveMaximum");
    return !json_is_number(v) ||
           (within(flat, n, "minimum", "maximum") && (!lo || n > json_number_value(lo)) &&
            (!hi || n < json_number_value(hi)));
}

static uint32_t build_enum(struct schema *c, json_t *flat, const struct schema_path *path,
                           uint32_t next)
{
    json_t *values = json_object_get(flat, "enum"), *v;
    const size_t n = json_array_size(values);
    size_t i, n_string = 0;
    uint32_t n_node = 0;
    json_t **strings = builder_array(c->b, n, sizeof *strings);
    uint32_t *nodes = builder_array(c->b, n + 1, sizeof *nodes);
    if (!strings || !nodes)
        return GRAMMAR_NONE;
    json_array_foreach(values, i, v)
    {
        if (!value_has_type(flat, v) || !value_fits(c, flat, v, path))
            continue;
        if (json_is_string(v))
            strings[n_string++] = v;
        else
            nodes[n_node++] = build_json_const(c->b, c->json, v, next);
    }
    if (n_string)
        nodes[n_node++] = build_json_strings(c->b, strings, n_string, next);
    return n_node
               ? build_split(c->b, nodes, n_node)
               : schema_never(c, path, "no value of enum or const is valid by the rest");
}

static uint32_t build_types(struct schema *c, json_t *flat,
                            const struct schema_path *path, uint32_t next)
{
    struct builder *b = c->b;
    uint32_t nodes[8], n = 0;
    if (json_object_size(flat) == 0)
        return build_call(b, c->json->value, next);
    if (type_listed(flat, "null"))
        nodes[n++] = build_text(b, "null", 4, next);
    if (type_listed(flat, "boolean")) {
        nodes[n++] = build_text(b, "true", 4, next);
        nodes[n++] = build_text(b, "false", 5, next);
    }
    if (type_listed(flat, "number") || type_listed(flat, "integer"))
        nodes[n++] =
            schema_build_number(c, flat, !type_listed(flat, "number"), path, next);
    if (type_listed(flat, "string"))
        nodes[n++] = schema_build_string(c, flat, path, next);
    if (type_listed(flat, "array"))
        nodes[n++] = schema_build_array(c, flat, path, next);
    if (type_listed(flat, "object"))
        nodes[n++] = schema_build_object(c, flat, path, next);
    return build_split(b, nodes, n);
}

/* The alternatives of the first group, each narrowed by all that is left. */
static uint32_t build_group(struct schema *c, json_t *flat,
                            const struct schema_path *path, uint32_t next)
{
    json_t *groups = json_object_get(flat, "groups");
    json_t *group = json_array_get(groups, 0);
    json_t *rest = schema_own(c, json_copy(flat));
    const size_t n = json_array_size(group);
    uint32_t *nodes = builder_array(c->b, n, sizeof *nodes);
    if (!rest || !nodes)
        return GRAMMAR_NONE;
    json_object_del(rest, "groups");
    if (json_array_size(groups) > 1) {
        json_t *more = json_copy(groups);
        json_array_remove(more, 0);
        json_object_set_new(rest, "groups", more);
    }
    for (size_t i = 0; i < n && !c->b->status; i++) {
        const struct schema_path at = {path, "anyOf", (int)i};
        json_t *branch = json_array_get(group, i);
        if (!json_object_size(rest)) {
            nodes[i] = schema_build(c, branch, &at, next);
            continue;
        }
        json_t *one = schema_flat(c, branch, &at);
        json_t *both = one ? schema_merge(c, rest, one, &at) : NULL;
        nodes[i] = both ? schema_build_flat(c, both, &at, next) : GRAMMAR_NONE;
    }
    return c->b->status ? GRAMMAR_NONE : build_split(c->b, nodes, (uint32_t)n);
}

uint32_t schema_build_flat(struct schema *c, json_t *flat, const struct schema_path *path,
                           uint32_t next)
{
    uint32_t node = GRAMMAR_NONE;
    if (!schema_enter(c, path))
        node = GRAMMAR_NONE;
    else if (json_is_false(flat))
        node = c->never[0] ? GRAMMAR_NONE : schema_never(c, path, "nothing is allowed");
    else if (json_object_get(flat, "groups"))
        node = build_group(c, flat, path, next);
    else if (json_object_get(flat, "enum"))
        node = build_enum(c, flat, path, next);
    else
        node = build_types(c, flat, path, next);
    c->depth--;
    return c->b->status ? GRAMMAR_NONE : node;
}

uint32_t schema_build(struct schema *c, json_t *s, const struct schema_path *path,
                      uint32_t next)
{
    uint32_t node = GRAMMAR_NONE;
    if (!schema_enter(c, path)) {
        c->depth--;
        return node;
    }
    json_t *ref = json_is_object(s) ? only_keyword(s, "$ref") : NULL;
    json_t *all = json_is_object(s) ? only_keyword(s, "allOf") : NULL;
    if (json_is_string(ref)) {
        node = build_call(c->b, ref_rule(c, json_string_value(ref), path), next);
    } else if (json_is_array(all) && json_array_size(all) == 1) {
        const struct schema_path at = {path, "allOf", 0};
        node = schema_build(c, json_array_get(all, 0), &at, next);
    } else {
        json_t *flat = schema_flat(c, s, path);
        if (flat)
            node = schema_build_flat(c, flat, path, next);
    }
    c->depth--;
    return c->b->status ? GRAMMAR_NONE : node;
}

static void build_rule_of(struct schema *c, json_t *s, const char *root, uint32_t rule)
{
    const struct schema_path path = {NULL, root, -1};
    c->never[0] = 0;
    const uint32_t node = schema_build(c, s, &path, 0);
    schema_at(c, &path, NULL);
    if (node == GRAMMAR_NONE)
        builder_fail(c->b, STATUS_BAD_INPUT, "no value is valid (%s)", c->never);
    if (!c->b->status)
        c->b->p->rules[rule].entry = node;
}

enum status schema_compile(struct builder *b, const struct json_rules *json, json_t *root,
                           const char *name, uint32_t rule)
{
    struct schema c = {.b = b,
                       .json = json,
                       .root = root,
                       .name = name,
                       .rule = rule,
                       .refs = json_object(),
                       .made = json_array(),
                       .queue = json_array()};
    if (!c.refs || !c.made || !c.queue ||
        json_object_set_new(c.refs, "#", json_integer(rule)))
        builder_fail(b, STATUS_NO_MEMORY, "no memory for the schema");
    if (!b->status)
        build_rule_of(&c, root, "$", rule);
    for (size_t i = 0; !b->status && i < json_array_size(c.queue); i++) {
        const char *ref = json_string_value(json_array_get(c.queue, i));
        json_t *target = schema_target(&c, ref, NULL);
        if (target)
            build_rule_of(&c, target, ref,
                          (uint32_t)json_integer_value(json_object_get(c.refs, ref)));
    }
    json_decref(c.refs);
    json_decref(c.made);
    json_decref(c.queue);
    b->where[0] = 0;
    return b->status;
}
