/* output.h - the text of an answer into reasoning, text and tool calls, as it comes.
 *
 * A model family writes calls in its own syntax; a format knows one family's: how to read
 * it in a stream, and which grammar produces it.  Formats are found by the chat template
 * and the vocabulary, one file format_*.c each and a line in formats.def. */
#ifndef TEXT_OUTPUT_H
#define TEXT_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/status.h"
#include "text/tokenizer.h"

struct output_format; // of a family

/* From the template's source (NULL: none) and the vocabulary.  Never NULL: the plain
 * format, with <think> blocks where the template or the vocabulary knows them, is what is
 * left; its calls are JSON objects as `generic` asks for them in the prompt.  The format
 * of an engine is engine->chat.format: what its prompts ask for. */
const struct output_format *output_format_find(const char *template_source, size_t n,
                                               const struct tokenizer *t);
const char *output_format_name(const struct output_format *f);

/* The strings around reasoning; false: the format has none. */
bool output_format_thinks(const struct output_format *f, const char **open,
                          const char **close);

/* The strings around a call that is a message of its own, behind its author and where it
 * ends; false: calls are part of the answer's text. */
bool output_format_frame(const struct output_format *f, const char **author,
                         const char **end);

/* Whether the text of a control token is part of the format's syntax.  For a grammar such
 * tokens are text, not hidden. */
bool output_format_knows(const struct output_format *f, const char *text, size_t n);

enum output_kind {
    OUTPUT_REASONING,  // text
    OUTPUT_TEXT,       // text
    OUTPUT_TOOL_BEGIN, // name in text
    OUTPUT_TOOL_ARGS,  // a piece of the JSON object of arguments
    OUTPUT_TOOL_END,   // all pieces together were a valid JSON object
};

struct output_event {
    enum output_kind kind;
    const char *text;
    size_t n;
};

typedef void output_fn(void *ctx, const struct output_event *e);

struct output_parser;

struct output_options {
    const struct output_format *format;
    json_t *tools;    // canonical (dialect/request.h), borrowed; NULL: calls are text
    bool reasoning;   // the prompt ends inside of reasoning (it opened <think>)
    size_t max_bytes; // of what is held back (a call that is not finished)
    output_fn *emit;
    void *ctx;
};

enum status output_parser_open(struct output_parser **out, const struct output_options *o,
                               struct error *err);
void output_parser_close(struct output_parser *p);

/* The next piece of the answer: valid UTF-8 in whole characters, or (special) the text of
 * one control token.  What cannot be decided yet is held back.  The events do not depend
 * on how an answer is cut into pieces, but for the cuts of their texts. */
void output_parser_feed(struct output_parser *p, const char *text, size_t n,
                        bool special);
/* The answer is over: what is held back comes out as text.  A call that was begun
 * (TOOL_BEGIN) is brought to its end: what was not finished of its arguments is left out.
 */
void output_parser_end(struct output_parser *p);

/* Bytes of all that was fed up to the end of the reasoning and the white space behind it:
 * what follows is the answer that replay_keep wants.  0: there was no reasoning. */
size_t output_parser_answer_start(const struct output_parser *p);

/* The grammar of an answer with calls, for grammar_open: GBNF in *gbnf, whose rule
 * schema-N is the schema of the arguments of the N-th tool in *schemas (a new array, of
 * borrowed references), and the trigger strings (static).  required: the answer is calls
 * and nothing else (behind reasoning, where the model reasons); else text is free until a
 * trigger.  answer (with required): or, as the model likes, JSON of this schema instead
 * of calls; NULL: there is no such choice.  name: only this tool; NULL: any.
 * STATUS_UNSUPPORTED: the format has none. */
struct output_grammar {
    struct buf gbnf;
    json_t *schemas; // array
    const char *triggers[4];
    int n_trigger;
    bool once;
};
enum status output_grammar(struct output_grammar *out, const struct output_format *f,
                           json_t *tools, const char *name, bool required, bool parallel,
                           bool reasoning, json_t *answer, struct error *err);
void output_grammar_release(struct output_grammar *g);

#endif
