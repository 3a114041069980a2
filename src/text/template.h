/* template.h - chat templates: a Jinja subset without host objects.
 *
 * A template is compiled once and immutable.  Rendering is bounded in steps, depth,
 * output and memory.  Values are JSON, strings and loop state; an unknown filter, test or
 * statement is an error of compilation. */
#ifndef TEXT_TEMPLATE_H
#define TEXT_TEMPLATE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/status.h"

struct template;

enum status template_compile(struct template **out, const char *source, size_t n,
                             struct error *err);
/* The same of Go's text/template, Ollama's TEMPLATE (go_template.h). */
enum status template_compile_go(struct template **out, const char *source, size_t n,
                                struct error *err);
void template_close(struct template *t);

struct template_limits {
    uint64_t steps;      // expressions and statements evaluated
    size_t output_bytes; // of the result
    size_t memory_bytes; // of all values
    int depth;           // of nested calls and of recursion
};
extern const struct template_limits template_limits_default;

struct template_output {
    struct buf text;
    struct buf mark; // one byte for each byte of text: 1 is input
};
void template_output_release(struct template_output *o);

/* Render with the members of the object vars as global variables.  All their strings are
 * input, which is marked in the output so that it cannot become special tokens; but for
 * bos_token, eos_token and their like, which the caller takes from the vocabulary, and
 * for the known roles of messages.  now is what strftime_now sees, in UTC. */
enum status template_render(const struct template *t, json_t *vars, time_t now,
                            const struct template_limits *limits,
                            struct template_output *out, struct error *err);

#endif
