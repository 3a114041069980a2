/* output_impl.h - what the parser of answers and the formats share.
 *
 * The parser takes one byte at a time, so that its result cannot depend on how an answer
 * is cut into pieces.  In text and reasoning it looks for the marks of its format; a mark
 * that may open a call hands the bytes to a reader.  A reader keeps the raw bytes until
 * the call is announced (TOOL_BEGIN); if it turns out to be none, they are text.  A call
 * is announced when its name and the first value of its arguments, or their end, have
 * been read; from then on its arguments are always brought to an end. */
#ifndef TEXT_OUTPUT_IMPL_H
#define TEXT_OUTPUT_IMPL_H

#include "text/output.h"
#include "text/output_json.h"

enum {
    OUTPUT_MARK_MAX = 64,  // bytes of a mark, and of white space that may be dropped
    OUTPUT_NAME_MAX = 256, // bytes of a tool's name
    OUTPUT_SPACE_MAX = 4096,
    OUTPUT_CHUNK = 4096, // bytes of an event's text
};

struct output_parser;

/* What a reader did with a byte. */
enum output_read {
    OUTPUT_TAKEN,
    OUTPUT_AGAIN, // the mode changed: the byte is the new mode's
};

struct output_reader {
    enum output_read (*byte)(struct output_parser *p, char c);
    void (*end)(struct output_parser *p); // the answer ends in it
};

enum output_mark_flags {
    OUTPUT_FIRST = 1,     // only where nothing but white space was said
    OUTPUT_KNOWN = 2,     // only tools that there are: the text may mean something else
    OUTPUT_BRACE = 4,     // the mark's last byte belongs to the call
    OUTPUT_NAMED = 8,     // the name follows
    OUTPUT_THINKING = 16, // in reasoning too, at the start of a line
    OUTPUT_FRAME = 32,    // is there without tools too
};

struct output_mark {
    const char *text;
    const struct output_reader *reader; // NULL: the mark is dropped, text begins
    unsigned flags;
    const char *tail;      // what may follow the call and is dropped
    const char *separator; // between a name and its arguments
};

struct output_format {
    const char *name;
    const char *needs[3]; // strings of the template's source, all of them; NULL: any
    const char *think[2]; // around reasoning; NULL: by marks
    const char *frame[2]; // around a call that is a message; NULL: it is not
    const struct output_mark *marks; // up to one without text
    const struct output_mark *first; // the answer begins behind it; NULL: as text
    const char *triggers[4];         // behind which the rule `lazy` follows
    const char *said; // GBNF in front of a text without calls; NULL: nothing is
    /* Append the rules `calls` and `lazy`. */
    void (*grammar)(struct output_grammar *g, json_t *tools, const char *name,
                    bool parallel);
};

#define OUTPUT_FORMAT(id) extern const struct output_format output_format_##id;
#include "text/formats.def"
#undef OUTPUT_FORMAT

enum output_mode { OUTPUT_IN_TEXT, OUTPUT_IN_REASONING, OUTPUT_IN_CALL };

struct output_parser {
    struct output_options o;
    enum output_mode mode;
    size_t n_fed, answer_start;

    /* Text that is to be emitted with the end of the piece. */
    char out[OUTPUT_CHUNK];
    size_t n_out;
    enum output_kind out_kind;

    /* In text and reasoning. */
    char match[OUTPUT_MARK_MAX]; // the start of a mark
    size_t n_match;
    struct buf space; // white space that is dropped if nothing follows in this mode
    bool blank;       // nothing but white space since the answer or a call began
    bool trim;        // white space in front is dropped
    bool line_start;
    bool said;        // any text, call or reasoning came
    const char *tail; // closes the call that ended, may come and is dropped
    bool in_list;     // the call is in a list of calls
    bool stray_close; // reasoning ended without its mark, which may still come

    /* In a call. */
    const struct output_mark *mark;
    const struct output_reader *reader;
    size_t mark_at; // in what was fed
    enum output_mode from;
    int state;       // of the reader
    int member;      // of the call's object: which is being read
    struct buf held; // raw bytes, if it is not a call
    struct buf name; // [OUTPUT_NAME_MAX]
    struct buf raw;  // of a value, a header
    struct buf json; // arguments that were not emitted; around them, their call
    struct output_json scan;
    bool announced, in_args, ended;
    size_t args_at; // in json: where the arguments begin
    int n_param;
    json_t *schema; // of the arguments, of the parameter
    json_t *param;
    bool is_string; // the parameter can be nothing else
};

/* ---- output.c ---- */

/* Text or reasoning begins, without the white space around the border. */
void output_set_mode(struct output_parser *p, enum output_mode mode);
/* Bytes as text or reasoning, whatever marks are in them. */
void output_plain(struct output_parser *p, const char *s, size_t n);
/* A byte at the border of the piece. */
void output_put(struct output_parser *p, char c);
void output_emit(struct output_parser *p, enum output_kind kind, const char *s, size_t n);
/* Add to the text that is emitted with the end of the piece. */
void output_add(struct output_parser *p, enum output_kind kind, char c);
bool output_is_space(char c);

enum output_match { OUTPUT_NO, OUTPUT_PART, OUTPUT_WHOLE };
/* s [n] against a string: different, its start, or all of it. */
enum output_match output_match(const char *s, size_t n, const char *text);

/* ---- output_call.c ---- */

/* Begin a call at this mark, or without one (NULL) where `mark` says what follows. */
void output_call_start(struct output_parser *p, const struct output_mark *mark);
/* It is not a call: what was held back is text. */
enum output_read output_not_a_call(struct output_parser *p);
/* A byte that a reader took: it is held back until the call is announced. */
enum output_read output_taken(struct output_parser *p, char c);
/* The name in p->name is the model's; false: it cannot be announced. */
bool output_name_ok(struct output_parser *p);
void output_announce(struct output_parser *p);
/* Emit p->json from args_at on. */
void output_send_args(struct output_parser *p);
/* Emit what is left of the arguments, and their end; text follows. */
void output_call_end(struct output_parser *p);
/* From here on the bytes are the arguments of the tool in p->name. */
void output_direct_args(struct output_parser *p);

/* p->name <- the name without what families put around it. */
void output_set_name(struct output_parser *p, const char *s, size_t n);

/* A call as JSON, alone or in a list, with its name and arguments as members. */
extern const struct output_reader output_reader_json;
/* NAME separator {arguments}, or a call as JSON. */
extern const struct output_reader output_reader_named;
/* {arguments} */
extern const struct output_reader output_reader_args;

/* ---- output_xml.c ---- */

/* A call as JSON, or <function=NAME> and then {arguments} or <parameter=KEY>value
 * </parameter> ...; with OUTPUT_NAMED from NAME on. */
extern const struct output_reader output_reader_xml;

/* Marks of calls as JSON: the tag that prompts ask for, and what models write instead,
 * where it can only be meant as a call. */
#define OUTPUT_JSON_MARKS                                                               \
    {"<tool_call>", &output_reader_xml, OUTPUT_THINKING, "</tool_call>", NULL},         \
        {"```json\n", &output_reader_json, OUTPUT_FIRST | OUTPUT_KNOWN, "```", NULL},   \
        {"```tool_call\n", &output_reader_json, 0, "```", NULL},                        \
    {                                                                                   \
        "{", &output_reader_json, OUTPUT_FIRST | OUTPUT_KNOWN | OUTPUT_BRACE, ";", NULL \
    }

/* ---- output_value.c ---- */

/* Append a parameter's raw text as the JSON value that the schema asks for. */
void output_value(struct buf *out, json_t *root, json_t *schema, const char *s, size_t n);
/* Whether it can be nothing but a string. */
bool output_value_is_string(json_t *root, json_t *schema);
/* The schema of a property, NULL if there is none. */
json_t *output_value_property(json_t *root, const char *name, size_t n);

/* ---- output_grammar.c ---- */

/* The parts of a call in GBNF, each a sequence of its items; "" for none. */
struct output_gbnf_call {
    const char *head; // in front of each call, or of the list of calls
    const char *open; // up to the name
    bool json_name;   // in quotation marks
    const char *middle, *close;
    const char *join; // between calls; NULL: there is one call an answer
    bool list;
    const char *list_open, *list_close;
};

/* Append the rules `calls` and `lazy` (without the head) and all that they need, and the
 * schemas. */
void output_gbnf_calls(struct output_grammar *g, const struct output_gbnf_call *c,
                       json_t *tools, const char *name, bool parallel);
/* The same for calls as JSON in <tool_call>. */
void output_gbnf_tagged(struct output_grammar *g, json_t *tools, const char *name,
                        bool parallel);
/* The rules from `call-N` on, of n of them. */
void output_gbnf_join(struct output_grammar *g, const struct output_gbnf_call *c, int n,
                      bool parallel);
/* Append a text as a literal; json: as the JSON string that it is. */
void output_gbnf_literal(struct buf *g, const char *text, bool json);
/* Append the rule of texts up to and with `end`, whose first byte comes in it once. */
void output_gbnf_until(struct buf *g, const char *rule, const char *end);
/* The next function of those that are asked for from *i on; NULL: there is none. */
json_t *output_gbnf_tool(json_t *tools, const char *name, size_t *i);
/* Append a schema and return its number. */
int output_gbnf_schema(struct output_grammar *g, json_t *schema);

#endif
