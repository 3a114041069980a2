/* modelfile.h - Modelfiles: parsed, checked, printed.
 *
 *   # comment
 *   FROM model, path or "path"
 *   PARAMETER name value
 *   TEMPLATE, SYSTEM, LICENSE """text over lines"""
 *   MESSAGE role text
 *
 * Source: Ollama's parser/parser.go. */
#ifndef STORE_MODELFILE_H
#define STORE_MODELFILE_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"

#define MODELFILE_MAP(X)      \
    X(FROM, "FROM")           \
    X(LICENSE, "LICENSE")     \
    X(TEMPLATE, "TEMPLATE")   \
    X(SYSTEM, "SYSTEM")       \
    X(ADAPTER, "ADAPTER")     \
    X(DRAFT, "DRAFT")         \
    X(RENDERER, "RENDERER")   \
    X(PARSER, "PARSER")       \
    X(PARAMETER, "PARAMETER") \
    X(MESSAGE, "MESSAGE")     \
    X(REQUIRES, "REQUIRES")

enum modelfile_keyword {
#define X(id, text) MODELFILE_##id,
    MODELFILE_MAP(X)
#undef X
        MODELFILE_KEYWORDS
};

enum {
    MODELFILE_BYTES = 4 << 20, // of a file, at most
    MODELFILE_COMMANDS = 4096, // of a file, at most
};

struct modelfile_command {
    enum modelfile_keyword keyword;
    const char *name;  // of a PARAMETER; the role of a MESSAGE; else NULL
    const char *value; // terminated; has no 0 inside
    int line;          // its first, from 1
};

struct modelfile {
    struct arena arena;
    struct modelfile_command *commands; // [n], in the order of the file
    int n;
};

/* text[0..n): UTF-8, with or without a byte-order mark, or UTF-16 with one.  Errors start
 * with "(line N): ".  A file without FROM is refused.  Release is right after any
 * outcome. */
enum status modelfile_parse(struct modelfile *out, const char *text, size_t n,
                            struct error *err);
void modelfile_release(struct modelfile *f);

/* One command, quoted so that modelfile_parse gives it back; a line end behind it.
 * false (and nothing printed) for a value that no quoting can carry: one that has """ in
 * it and needs quotes.  name as in struct modelfile_command. */
bool modelfile_print(struct buf *out, enum modelfile_keyword k, const char *name,
                     const char *value);

/* The last command of a kind, or NULL. */
const struct modelfile_command *modelfile_last(const struct modelfile *f,
                                               enum modelfile_keyword k);

/* PARAMETERs into an object with the types that the API knows: {"num_ctx":4096,
 * "temperature":0.5,"stop":["a","b"]}.  Later ones win; stops pile up.  A name nobody
 * knows or a value of the wrong type is STATUS_BAD_INPUT with its line.  *notes (may be
 * NULL) gets a line for each parameter that is accepted and has no effect. */
enum status modelfile_params(json_t **out, const struct modelfile *f, struct buf *notes,
                             struct error *err);

/* PARAMETER number i, from 0, of those that have an effect; false behind the last. */
struct modelfile_param_help {
    const char *name, *type, *text; // "top_k", "int", what it is
};
bool modelfile_param_help(int i, struct modelfile_param_help *out);

#endif
