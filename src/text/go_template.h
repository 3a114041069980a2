/* go_template.h - chat templates in Go's text/template, the form of Ollama's TEMPLATE.
 *
 * Taken: text, comments, trim markers, fields, variables, literals, pipelines, if, else
 * if, else, range, with, break, continue, and the functions and, or, not, eq, ne, lt, le,
 * gt, ge, len, slice, index, print, json, currentDate.  Not: define, template, block,
 * printf, methods.  A template becomes one of this project's Jinja, so that its bounds
 * and its marks of input hold for both (template.h). */
#ifndef TEXT_GO_TEMPLATE_H
#define TEXT_GO_TEMPLATE_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"

enum {
    GO_TEMPLATE_BYTES = 1 << 18, // of a template, at most
    GO_TEMPLATE_DEPTH = 40,      // of blocks and of brackets
};

/* The Jinja template that prints the same.  STATUS_UNSUPPORTED: valid perhaps, and not in
 * the subset; STATUS_BAD_INPUT: no template.  Errors name the line.
 *
 * A template that says .Messages prints a whole chat.  Another prints one turn of
 * .System, .Prompt and .Response; it is repeated, and the last time ends behind
 * .Response, which is put at its end if it says none.  Source: Go, text/template; Ollama,
 * template/template.go. */
enum status go_template_translate(struct buf *out, const char *source, size_t n,
                                  struct error *err);

/* STATUS_BAD_INPUT, with the line, for what Go would not take as a template either.  What
 * is right, and more than is translated or larger, is STATUS_OK. */
enum status go_template_check(const char *source, size_t n, struct error *err);

/* The variables that such a template names, made from those of chat templates (messages,
 * tools, enable_thinking).  NULL: no memory. */
json_t *go_template_vars(const json_t *vars);

#endif
