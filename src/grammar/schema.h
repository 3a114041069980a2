/* schema.h - a JSON Schema to a rule of a program.
 *
 * A schema is first made flat: $ref, allOf and keywords beside each other become one set
 * of keywords, in which each part only narrows the others.  anyOf and oneOf stay as
 * groups of alternatives.  A flat schema is then built, type by type. */
#ifndef GRAMMAR_SCHEMA_H
#define GRAMMAR_SCHEMA_H

#include <jansson.h>

#include "grammar/json.h"
#include "grammar/pattern.h"

/* Where in a schema; the outermost has its text in key. */
struct schema_path {
    const struct schema_path *up;
    const char *key;
    int index; // -1: none
};

struct schema {
    struct builder *b;
    const struct json_rules *json;
    json_t *root;
    const char *name; // "schema-0"
    uint32_t rule;    // of root
    json_t *refs;     // what a $ref says -> its rule
    json_t *made;     // array: owns flat schemas
    json_t *queue;    // $refs whose rules are not built yet
    uint32_t expr_work;
    int depth, n_flat;
    char never[320]; // why the last place has no value
};

/* Sets the entry of `rule`, which is named `name`. */
enum status schema_compile(struct builder *b, const struct json_rules *json, json_t *root,
                           const char *name, uint32_t rule);

/* The parts, which share a struct schema. */

/* Messages begin with this place from now on; keyword may be NULL. */
void schema_at(struct schema *c, const struct schema_path *path, const char *keyword);
/* GRAMMAR_NONE, with the reason. */
uint32_t schema_never(struct schema *c, const struct schema_path *path, const char *why);
/* A new value, kept until the end of compilation; NULL is a failure. */
json_t *schema_own(struct schema *c, json_t *v);
bool schema_enter(struct schema *c, const struct schema_path *path);

/* Keywords: one that comments, or one that is checked (schema_keywords.c). */
bool schema_is_comment(const char *keyword);
void schema_check(struct schema *c, json_t *s, const struct schema_path *path);

/* The schema that "#/..." names. */
json_t *schema_target(struct schema *c, const char *ref, const struct schema_path *path);
/* The flat form of s (json_false: nothing is valid), or NULL after a failure:
 * type [names], properties {}, required [], additionalProperties, propertyNames,
 * minProperties, maxProperties, items, prefixItems [], minItems, maxItems, patterns [],
 * formats [], minLength, maxLength, minimum ..., enum [], groups [[schemas]]; what does
 * not restrict is not there. */
json_t *schema_flat(struct schema *c, json_t *s, const struct schema_path *path);
/* Values that both take (schema_merge.c). */
json_t *schema_merge(struct schema *c, json_t *x, json_t *y,
                     const struct schema_path *path);

/* The node that reads a value of s and goes to next; GRAMMAR_NONE: there is none. */
uint32_t schema_build(struct schema *c, json_t *s, const struct schema_path *path,
                      uint32_t next);
uint32_t schema_build_flat(struct schema *c, json_t *flat, const struct schema_path *path,
                           uint32_t next);
uint32_t schema_build_string(struct schema *c, json_t *flat,
                             const struct schema_path *path, uint32_t next);
uint32_t schema_build_number(struct schema *c, json_t *flat, bool integer,
                             const struct schema_path *path, uint32_t next);
uint32_t schema_build_array(struct schema *c, json_t *flat,
                            const struct schema_path *path, uint32_t next);
uint32_t schema_build_object(struct schema *c, json_t *flat,
                             const struct schema_path *path, uint32_t next);

/* A count among the keywords; clamped to GRAMMAR_FOREVER, `missing` if it is not there.
 */
uint32_t schema_count(json_t *flat, const char *keyword, uint32_t missing);

#endif
