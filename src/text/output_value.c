/* output_value.c - raw text of a parameter to the JSON value that its schema asks for. */
#include <string.h>

#include "json/parse.h"
#include "text/output_impl.h"

enum { SCHEMA_DEPTH = 16, SCHEMA_WORK = 1000 }; // of references and alternatives

/* Kinds of JSON values, as a set. */
enum { T_STRING = 1, T_NUMBER = 2, T_BOOLEAN = 4, T_NULL = 8, T_OTHER = 16, T_ANY = 31 };

static unsigned type_of_name(const char *s)
{
    static const struct {
        const char *name;
        unsigned type;
    } types[] = {{"string", T_STRING},   {"number", T_NUMBER}, {"integer", T_NUMBER},
                 {"boolean", T_BOOLEAN}, {"null", T_NULL},     {"object", T_OTHER},
                 {"array", T_OTHER}};
    for (size_t i = 0; s && i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(types[i].name, s))
            return types[i].type;
    return T_ANY;
}

static unsigned type_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        return T_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return T_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return T_BOOLEAN;
    case JSON_NULL:
        return T_NULL;
    default:
        return T_OTHER;
    }
}

/* What "#/$defs/name" and the like refer to; NULL: elsewhere, or nothing. */
static json_t *follow(json_t *root, const char *ref)
{
    if (!ref || strncmp(ref, "#/", 2) != 0)
        return NULL;
    for (ref += 2; root;) {
        const size_t n = strcspn(ref, "/");
        root = json_is_object(root) ? json_object_getn(root, ref, n) : NULL;
        if (!ref[n])
            return root;
        ref += n + 1;
    }
    return NULL;
}

static unsigned types(json_t *root, json_t *schema, int depth, int *work);

static unsigned types_of_list(json_t *root, json_t *list, int depth, int *work)
{
    unsigned set = 0;
    size_t i;
    json_t *s;
    json_array_foreach(list, i, s) set |= types(root, s, depth, work);
    return set;
}

/* The kinds of value that a schema allows; what is not understood allows all. */
static unsigned types(json_t *root, json_t *schema, int depth, int *work)
{
    static const char *const alternatives[] = {"anyOf", "oneOf"};
    json_t *v, *item;
    size_t i;
    unsigned set = T_ANY;
    if (depth > SCHEMA_DEPTH || ++*work > SCHEMA_WORK || !json_is_object(schema))
        return T_ANY;
    if ((v = json_object_get(schema, "$ref"))) {
        json_t *to = follow(root, json_string_value(v));
        return to ? types(root, to, depth + 1, work) : T_ANY;
    }
    if (json_is_string(v = json_object_get(schema, "type")))
        set &= type_of_name(json_string_value(v));
    if (json_is_array(v)) {
        unsigned any = 0;
        json_array_foreach(v, i, item) any |= type_of_name(json_string_value(item));
        set &= any;
    }
    if (json_is_array(v = json_object_get(schema, "enum"))) {
        unsigned any = 0;
        json_array_foreach(v, i, item) any |= type_of_value(item);
        set &= any;
    }
    if ((v = json_object_get(schema, "const")))
        set &= type_of_value(v);
    for (i = 0; i < 2; i++)
        if (json_is_array(v = json_object_get(schema, alternatives[i])))
            set &= types_of_list(root, v, depth + 1, work);
    return set;
}

/* A parameter that the tool does not have is the text that it is. */
static unsigned types_of(json_t *root, json_t *schema)
{
    int work = 0;
    return schema ? types(root, schema, 0, &work) : T_STRING;
}

json_t *output_value_property(json_t *root, const char *name, size_t n)
{
    return json_object_getn(json_object_get(root, "properties"), name, n);
}

bool output_value_is_string(json_t *root, json_t *schema)
{
    const unsigned set = types_of(root, schema);
    return set == T_STRING || !set;
}

void output_value(struct buf *out, json_t *root, json_t *schema, const char *s, size_t n)
{
    const unsigned set = types_of(root, schema);
    const size_t before = out->len;
    struct output_json j;
    bool ok = true;
    output_json_init(&j, out, out->max);
    for (size_t i = 0; ok && i < n; i++)
        ok = output_json_byte(&j, s[i]);
    ok = ok && output_json_byte(&j, ' ') && j.state == OUTPUT_JSON_DONE;
    output_json_release(&j);
    if (ok) {
        json_t *v =
            json_parse(out->data + before, out->len - before,
                       JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        ok = v && type_of_value(v) & set;
        json_decref(v);
    }
    if (ok)
        return;
    out->len = before;
    out->failed = false;
    buf_puts(out, "\"");
    output_json_quote(out, s, n);
    buf_puts(out, "\"");
}
