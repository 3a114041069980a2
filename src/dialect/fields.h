/* fields.h - tables of request fields: one line states name, type, range, default and
 * meaning of a field, checks it, and prints its row of docs/api.md.
 *
 * Handlers see a struct of checked values; no other code looks at a scalar of a body. */
#ifndef DIALECT_FIELDS_H
#define DIALECT_FIELDS_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "dialect/error.h"

enum field_type {
    FIELD_BOOL,   // bool
    FIELD_INT,    // int, min .. max
    FIELD_SEED,   // of a struct api_sampling: seed, has_seed; any integer, -1 is any_seed
    FIELD_FLOAT,  // float, min .. max, finite
    FIELD_STRING, // const char *, at most max bytes
    FIELD_STRINGS, // const char *[API_STOP_MAX] and an int behind it, their number: a
                   // string or an array of them, each of 1 to max bytes
    FIELD_CHOICE,  // int: index into choices
    FIELD_JSON,    // taken by code of the dialect: the row is documentation
    FIELD_IGNORED, // known, without effect here
    FIELD_REFUSED, // any value but null, false, "", [] and {} is an error: help says why
};

struct field {
    const char *name; // of the member: "temperature"
    enum field_type type;
    size_t offset; // in struct api_request, or wherever the base points
    double min, max;
    const char *choices;  // "low|medium|high"
    const char *standard; // the default, as docs show it: "1", "none"
    const char *help;     // one line
};

struct field_table {
    const char *title; // "POST /v1/chat/completions"
    const struct field *fields;
    int n;
};

/* Check all fields of the table in the object and store them at base.  null counts as
 * absent; absent fields leave what is there.  A number without a fraction (3.0) is an
 * integer.  Strings are those of the object, which must outlive them.  Members that no
 * row names are ignored, as the APIs do. path is what errors put in front of a name
 * ("options."), or "". */
enum status fields_read(const struct field_table *t, const json_t *object, void *base,
                        const char *path, struct api_error *err);

/* A Markdown table of name, type, range, default, meaning. */
void fields_print(struct buf *out, const struct field_table *t);

#endif
