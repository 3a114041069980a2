/* schema_keywords.c - which keywords there are, and whether they say something. */
#include <string.h>

#include "grammar/schema.h"

enum keyword_value {
    KEYWORD_COMMENT, // of no consequence, whatever it says
    KEYWORD_SCHEMA,
    KEYWORD_SCHEMAS, // an array of at least one
    KEYWORD_MAP,     // an object of schemas
    KEYWORD_ITEMS,   // a schema, or an array of them (before 2020-12)
    KEYWORD_COUNT,
    KEYWORD_NUMBER,
    KEYWORD_BOUND, // a number, or true or false (draft 4)
    KEYWORD_STRING,
    KEYWORD_STRINGS,
    KEYWORD_TYPE,
    KEYWORD_VALUES,
    KEYWORD_ANY,
    KEYWORD_REFUSED, // it restricts, and is not supported
};

/* Sources: JSON Schema 2020-12 core 8, 10, 11, validation 6 to 9; drafts 3 to 2019-09 for
 * those that were renamed. */
static const struct keyword {
    const char *name;
    enum keyword_value value;
} keywords[] = {
    {"type", KEYWORD_TYPE},
    {"enum", KEYWORD_VALUES},
    {"const", KEYWORD_ANY},
    {"properties", KEYWORD_MAP},
    {"required", KEYWORD_STRINGS},
    {"additionalProperties", KEYWORD_SCHEMA},
    {"propertyNames", KEYWORD_SCHEMA},
    {"minProperties", KEYWORD_COUNT},
    {"maxProperties", KEYWORD_COUNT},
    {"items", KEYWORD_ITEMS},
    {"prefixItems", KEYWORD_SCHEMAS},
    {"additionalItems", KEYWORD_SCHEMA},
    {"minItems", KEYWORD_COUNT},
    {"maxItems", KEYWORD_COUNT},
    {"pattern", KEYWORD_STRING},
    {"format", KEYWORD_STRING},
    {"minLength", KEYWORD_COUNT},
    {"maxLength", KEYWORD_COUNT},
    {"minimum", KEYWORD_NUMBER},
    {"maximum", KEYWORD_NUMBER},
    {"exclusiveMinimum", KEYWORD_BOUND},
    {"exclusiveMaximum", KEYWORD_BOUND},
    {"anyOf", KEYWORD_SCHEMAS},
    {"oneOf", KEYWORD_SCHEMAS},
    {"allOf", KEYWORD_SCHEMAS},
    {"$ref", KEYWORD_STRING},
    {"uniqueItems", KEYWORD_REFUSED},
    {"multipleOf", KEYWORD_REFUSED},
    {"not", KEYWORD_REFUSED},
    {"if", KEYWORD_REFUSED},
    {"then", KEYWORD_REFUSED},
    {"else", KEYWORD_REFUSED},
    {"contains", KEYWORD_REFUSED},
    {"minContains", KEYWORD_REFUSED},
    {"maxContains", KEYWORD_REFUSED},
    {"patternProperties", KEYWORD_REFUSED},
    {"dependentRequired", KEYWORD_REFUSED},
    {"dependentSchemas", KEYWORD_REFUSED},
    {"dependencies", KEYWORD_REFUSED},
    {"unevaluatedProperties", KEYWORD_REFUSED},
    {"unevaluatedItems", KEYWORD_REFUSED},
    {"$dynamicRef", KEYWORD_REFUSED},
    {"$recursiveRef", KEYWORD_REFUSED},
    {"divisibleBy", KEYWORD_REFUSED},
    {"disallow", KEYWORD_REFUSED},
    {"extends", KEYWORD_REFUSED},
};

static const struct keyword *keyword_find(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
        if (!strcmp(keywords[i].name, name))
            return &keywords[i];
    return NULL;
}

bool schema_is_comment(const char *keyword)
{
    return !keyword_find(keyword);
}

/* Values with which a keyword that is not supported does not restrict anything. */
static bool keyword_is_idle(const char *name, const json_t *v)
{
    if (!strcmp(name, "uniqueItems"))
        return json_is_false(v);
    if (!strcmp(name, "unevaluatedProperties") || !strcmp(name, "unevaluatedItems"))
        return json_is_true(v) || (json_is_object(v) && !json_object_size(v));
    if (!strcmp(name, "patternProperties") || !strcmp(name, "dependentRequired") ||
        !strcmp(name, "dependentSchemas") || !strcmp(name, "dependencies"))
        return json_is_object(v) && !json_object_size(v);
    return false;
}

static bool value_is_schema(const json_t *v)
{
    return json_is_object(v) || json_is_boolean(v);
}

static bool list_of_values(const json_t *list, bool (*is)(const json_t *v))
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (!is(v))
            return false;
    }
    return json_is_array(list);
}

static bool value_is_string(const json_t *v)
{
    return json_is_string(v);
}

static bool value_is_type(const json_t *v)
{
    static const char *const names[] = {"null",   "boolean", "object", "array",
                                        "number", "integer", "string"};
    for (size_t i = 0; json_is_string(v) && i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(names[i], json_string_value(v)))
            return true;
    return false;
}

static bool value_is_map(const json_t *v)
{
    const char *key;
    json_t *one;
    json_object_foreach((json_t *)v, key, one)
    {
        if (!value_is_schema(one))
            return false;
    }
    return json_is_object(v);
}

/* NULL if v may stand behind the keyword, else what must. */
static const char *keyword_wants(enum keyword_value value, const json_t *v)
{
    switch (value) {
    case KEYWORD_SCHEMA:
        return value_is_schema(v) ? NULL : "a schema (an object, true or false)";
    case KEYWORD_SCHEMAS:
        return list_of_values(v, value_is_schema) && json_array_size(v)
                   ? NULL
                   : "an array of schemas";
    case KEYWORD_MAP:
        return value_is_map(v) ? NULL : "an object of schemas";
    case KEYWORD_ITEMS:
        return value_is_schema(v) || list_of_values(v, value_is_schema) ? NULL
                                                                        : "a schema";
    case KEYWORD_COUNT:
        return (json_is_integer(v) && json_integer_value(v) >= 0) ||
                       (json_is_real(v) && json_real_value(v) >= 0 &&
                        json_real_value(v) < 1e9 &&
                        json_real_value(v) == (double)(int64_t)json_real_value(v))
                   ? NULL
                   : "an integer that is not negative";
    case KEYWORD_NUMBER:
        return json_is_number(v) ? NULL : "a number";
    case KEYWORD_BOUND:
        return json_is_number(v) || json_is_boolean(v) ? NULL : "a number";
    case KEYWORD_STRING:
        return json_is_string(v) ? NULL : "a string";
    case KEYWORD_STRINGS:
        return list_of_values(v, value_is_string) ? NULL : "an array of strings";
    case KEYWORD_TYPE:
        return value_is_type(v) ||
                       (list_of_values(v, value_is_type) && json_array_size(v))
                   ? NULL
                   : "the name of a type, or an array of them";
    case KEYWORD_VALUES:
        return json_is_array(v) && json_array_size(v) ? NULL : "an array of values";
    case KEYWORD_COMMENT:
    case KEYWORD_ANY:
    case KEYWORD_REFUSED:
        break;
    }
    return NULL;
}

void schema_check(struct schema *c, json_t *s, const struct schema_path *path)
{
    const char *key;
    json_t *v;
    json_object_foreach(s, key, v)
    {
        const struct keyword *k = keyword_find(key);
        if (!k)
            continue;
        const bool one =
            !strcmp(key, "multipleOf") && json_is_number(v) &&
            json_number_value(v) == 1 &&
            !strcmp("integer", json_is_string(json_object_get(s, "type"))
                                   ? json_string_value(json_object_get(s, "type"))
                                   : "");
        const char *want = keyword_wants(k->value, v);
        schema_at(c, path, key);
        if (k->value == KEYWORD_REFUSED && !one && !keyword_is_idle(key, v))
            builder_fail(c->b, STATUS_UNSUPPORTED,
                         "this keyword is not supported for constrained output");
        else if (want)
            builder_fail(c->b, STATUS_BAD_INPUT, "expected %s", want);
    }
}

uint32_t schema_count(json_t *flat, const char *keyword, uint32_t missing)
{
    const json_t *v = json_object_get(flat, keyword);
    if (!v)
        return missing;
    const double n = json_number_value(v);
    return n < 1e9 ? (uint32_t)n : GRAMMAR_FOREVER - 1;
}
