/* go_template_impl.h - what the parts of the translation share. */
#ifndef TEXT_GO_TEMPLATE_IMPL_H
#define TEXT_GO_TEMPLATE_IMPL_H

#include <stdbool.h>

#include "base/arena.h"
#include "text/go_template.h"

enum { GO_VARIABLES = 100, GO_ARGS = 16, GO_NAME = 64 };

/* A pass over the source.  Expressions are Jinja text in the arena; one that is not a
 * name, a literal or in brackets gets brackets where it is made. */
struct go_pass {
    const char *s;
    size_t n, at;
    struct arena *arena;
    struct buf *out;
    struct error *err;
    bool turns;  // of one turn's .System, .Prompt, .Response
    bool cut;    // nothing behind .Response
    bool silent; // it was there
    bool uses_messages, uses_response;
    bool response;   // the pipeline that is read says .Response
    const char *dot; // NULL: the root
    struct {
        char name[GO_NAME];
        int id;
    } variables[GO_VARIABLES];
    int n_variable, n_id, depth, n_loop;
};

bool go_fail(struct go_pass *g, enum status s, const char *what);
const char *go_format(struct go_pass *g, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void go_skip_blanks(struct go_pass *g);
/* A word of letters, digits and '_' at the place, "" for none; goes on behind it. */
bool go_word(struct go_pass *g, char word[GO_NAME]);

/* PIPELINE, or "$x := PIPELINE" or "$x = PIPELINE", which also put out what sets it.
 * NULL: failed. */
const char *go_pipeline(struct go_pass *g);
/* e where a list is meant: the type of a parameter, a list in Ollama's structure, is a
 * string in most tools.  NULL: failed. */
const char *go_list(struct go_pass *g, const char *e);
/* The id of a variable, which is the member v<id> of g; below 0: failed, not there. */
int go_declare(struct go_pass *g, const char *name);
int go_find(const struct go_pass *g, const char *name);

#endif
