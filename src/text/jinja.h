/* jinja.h - what the parts of the template interpreter share.
 *
 * Source text -> tokens (jinja_lex.c) -> tree (jinja_parse.c, jinja_stmt.c) in the arena
 * of the template, which is then immutable.  A render walks the tree (jinja_exec.c,
 * jinja_eval.c) with values in an arena of its own.  Semantics are those of jinja2 3.1
 * on Python values.  Functions that can fail return false and leave the first error in
 * the render.  All strings are UTF-8; lengths and indexes seen by a template count code
 * points.  The depths below keep a render within 768 KiB of stack. */
#ifndef TEXT_JINJA_H
#define TEXT_JINJA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "text/template.h"

enum {
    JINJA_SOURCE_MAX = 1 << 20,
    JINJA_PARSE_DEPTH = 100, // of brackets, operators without end and statements
    JINJA_TREE_HEIGHT = 400, // of one expression: a + b + ... makes a tall tree
    JINJA_LEVEL_MAX = 1600,  // of the walk over the tree, all calls together
    JINJA_VALUE_DEPTH = 100, // of nested lists and dicts
    JINJA_SYMBOL_MAX = 1000, // names of variables in a template
    JINJA_RANGE_MAX = 100000,
    JINJA_ARGS_MAX = 6, // parameters of a built-in function
};

/* ---- values ---- */
enum jinja_type {
    J_UNDEF,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_STR,
    J_LIST, // list, tuple, dict view or generator
    J_DICT,
    J_RANGE,
    J_NAMESPACE,
    J_LOOP,
    J_MACRO,
    J_FUNC,   // a built-in global
    J_METHOD, // bound to its object
    J_JOINER,
};

/* Where the bytes come from: NULL if all are the template's, jinja_input if all are
 * input, else one byte a byte, 1 for input. */
struct jinja_str {
    const char *s;
    size_t n;
    const uint8_t *mark;
};
extern const uint8_t jinja_input[1];

struct jinja_value {
    enum jinja_type type;
    union {
        bool b;
        int64_t i;
        double f;
        const struct jinja_str *s;
        struct jinja_list *l;
        struct jinja_dict *d; // of a namespace too
        const struct jinja_range *range;
        const struct jinja_undef *u;
        const struct jinja_loop *loop;
        const struct jinja_macro *macro;
        const struct jinja_func *func;
        const struct jinja_bound *bound;
        struct jinja_joiner *joiner;
    };
};

enum jinja_list_kind { JL_LIST, JL_TUPLE, JL_KEYS, JL_VALUES, JL_ITEMS, JL_GENERATOR };
struct jinja_list {
    enum jinja_list_kind kind;
    struct jinja_value *v; // [cap]
    size_t n, cap;
};

struct jinja_pair {
    struct jinja_value key, value;
};
struct jinja_dict {
    struct jinja_pair *p; // [cap], in order of insertion
    size_t n, cap;
};

struct jinja_range {
    int64_t start, stop, step;
    size_t n;
};

/* Why there is no value: a hint, a member that `object` does not have, or a name. */
struct jinja_undef {
    const char *hint;
    const char *object; // type of the object, as Python would call it
    struct jinja_value name;
};

struct jinja_joiner {
    struct jinja_value sep;
    bool used;
};

/* ---- the tree ---- */
enum jinja_kind {
    JN_CONST,
    JN_NAME,
    JN_LIST,  // a: items
    JN_TUPLE, // a: items
    JN_DICT,  // a: JN_PAIR
    JN_PAIR,  // a: key, b: value
    JN_ATTR,  // a.name
    JN_ITEM,  // a[b]
    JN_SLICE, // a[b:c:d], NULL if left out
    JN_CALL,  // a(b: args)
    JN_KWARG, // name=a
    JN_FILTER,
    JN_TEST, // a is func(b: args)
    JN_COND, // b if a else c
    JN_OR,
    JN_AND,
    JN_NOT,
    JN_NEG,
    JN_POS,
    JN_BINARY,   // a op b
    JN_CONCAT,   // a: items
    JN_COMPARE,  // a, b: JN_CMP
    JN_CMP,      // op a
    JN_CAPTURED, // the text that a filter chain of a block starts from
    JN_NSREF,    // target: sym.name
    JN_TEXT,
    JN_OUTPUT, // a: items
    JN_IF,     // a: JN_BRANCH, b: else
    JN_BRANCH, // a: test, b: body
    JN_FOR,    // a: target, b: iterable, c: body, d: else, e: test
    JN_SET,    // a: target, b: value
    JN_SET_BLOCK,
    JN_FILTER_BLOCK, // a: target (set only), b: chain, c: body
    JN_MACRO,        // a: JN_PARAM, c: body
    JN_PARAM,        // sym, a: default
    JN_WITH,         // a: JN_SET, c: body
    JN_BREAK,
    JN_CONTINUE,
};

enum jinja_op {
    JO_ADD,
    JO_SUB,
    JO_MUL,
    JO_DIV,
    JO_FLOORDIV,
    JO_MOD,
    JO_POW,
    JO_EQ,
    JO_NE,
    JO_LT,
    JO_LE,
    JO_GT,
    JO_GE,
    JO_IN,
    JO_NOT_IN,
};

struct jinja_node {
    enum jinja_kind kind;
    enum jinja_op op;
    int line, height, sym;
    bool varargs; // of a macro: its body uses varargs, kwargs
    bool kwargs;
    size_t n; // items of a
    struct jinja_node *a, *b, *c, *d, *e;
    struct jinja_node *next; // in a list
    struct jinja_value value;
    const struct jinja_str *name;
    const struct jinja_func *func; // filter, test, or first method called `name`
};

/* Symbols that every template has. */
enum { JINJA_SYM_LOOP, JINJA_SYM_VARARGS, JINJA_SYM_KWARGS };

struct template
{
    struct arena arena;
    struct jinja_node *body;
    const struct jinja_str **sym; // [n_sym]
    int n_sym;
    bool go; // from a template of Go: its variables are those of go_template_vars
};

/* ---- built-in functions ---- */
struct render;
struct jinja_args {
    const struct jinja_value *pos;       // [n_pos]
    const struct jinja_str *const *name; // [n_kw]
    const struct jinja_value *kw;        // [n_kw]
    int n_pos, n_kw;
};

/* self is what a filter, test or method works on.  arg[i] is NULL if the i-th parameter
 * was not given. */
typedef bool jinja_fn(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg);
typedef bool jinja_raw_fn(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self, const struct jinja_args *args);
struct jinja_func {
    const char *name;
    const char *params; // "width,first"; those before a ';' are required
    jinja_fn *fn;
    jinja_raw_fn *raw; // instead of fn: takes any arguments
    unsigned types;    // methods: bit set of enum jinja_type
};

struct jinja_bound {
    const struct jinja_func *func;
    struct jinja_value self;
};

const struct jinja_func *jinja_filter_find(const char *name, size_t n);
const struct jinja_func *jinja_test_find(const char *name, size_t n);
const struct jinja_func *jinja_global_find(const char *name, size_t n);
/* The first method of that name of any type; NULL if there is none. */
const struct jinja_func *jinja_method_find(const char *name, size_t n);
/* The one for a value of type t among f and its namesakes behind it. */
const struct jinja_func *jinja_method_for(const struct jinja_func *f,
                                          const struct jinja_value *v);
bool jinja_invoke(struct render *r, struct jinja_value *out, const struct jinja_func *f,
                  const struct jinja_value *self, const struct jinja_args *args);
/* Call any value. */
bool jinja_call(struct render *r, struct jinja_value *out, const struct jinja_value *f,
                const struct jinja_args *args);

/* ---- compilation ---- */
enum jinja_token_type {
    JT_DATA,
    JT_VAR_BEGIN,
    JT_VAR_END,
    JT_BLOCK_BEGIN,
    JT_BLOCK_END,
    JT_NAME,
    JT_STR,
    JT_INT,
    JT_FLOAT,
    JT_OP,
    JT_EOF,
};
#define JINJA_OP2(a, b) ((a) | (b) << 8)

struct jinja_token {
    enum jinja_token_type type;
    int line;
    int op; // character, or JINJA_OP2 of two
    const char *s;
    size_t n;
    int64_t i;
    double f;
};

struct jinja_tokens {
    struct jinja_token *t; // [n], the last one is JT_EOF
    size_t n, cap;
};

/* Tokens of source, which must live as long as they; freed by mem_free(out->t), after
 * an error too.  Strings go to the arena. */
enum status jinja_lex(struct jinja_tokens *out, struct arena *arena, const char *source,
                      size_t n, struct error *err);

struct jinja_parser {
    struct template *t;
    const struct jinja_token *tok;
    size_t pos;
    int depth, n_loop;
    bool varargs, kwargs; // seen in the macro that is parsed
    struct error *err;
    enum status status;
};

#define jinja_tok(p) (&(p)->tok[(p)->pos])
enum status jinja_parse(struct template *t, const struct jinja_token *tok,
                        struct error *err);
bool jinja_syntax(struct jinja_parser *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool jinja_unexpected(struct jinja_parser *p, const char *expected);
bool jinja_enter(struct jinja_parser *p);
void jinja_leave(struct jinja_parser *p);
struct jinja_node *jinja_node_new(struct jinja_parser *p, enum jinja_kind kind, int line);
/* Height from the children of n; false if it is too tall. */
bool jinja_node_close(struct jinja_parser *p, struct jinja_node *n);
int jinja_symbol(struct jinja_parser *p, const char *s, size_t n); // -1 after an error
const struct jinja_str *jinja_token_str(struct jinja_parser *p,
                                        const struct jinja_token *t);
bool jinja_token_is(const struct jinja_token *t, const char *name);
bool jinja_is_name(const struct jinja_parser *p, const char *name);
bool jinja_is_op(const struct jinja_parser *p, int op);
bool jinja_skip_name(struct jinja_parser *p, const char *name);
bool jinja_skip_op(struct jinja_parser *p, int op);
bool jinja_expect_op(struct jinja_parser *p, int op);
bool jinja_expect(struct jinja_parser *p, enum jinja_token_type type);

enum { JP_NO_COND = 1, JP_PARENS = 2, JP_STOP_RECURSIVE = 4 };
struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, unsigned flags);
struct jinja_node *jinja_parse_expr(struct jinja_parser *p);
/* Filters applied to n; with inline_first, the first has no '|' before it. */
struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *n,
                                       bool inline_first);
/* Names, tuples of names, NAME.attr if ns.  Ends before `in` if stop_in. */
struct jinja_node *jinja_parse_target(struct jinja_parser *p, bool ns, bool stop_in);

/* ---- rendering ---- */
struct jinja_sink {
    struct buf text, mark;
};

struct jinja_binding {
    int sym;
    struct jinja_value value;
};
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_binding *b; // [n]
    size_t n, cap;
    bool captured; // a macro refers to it: not to be reused
};

struct jinja_macro {
    const struct jinja_node *node;
    struct jinja_scope *scope;
};

struct jinja_iter {
    struct jinja_list *l; // or
    const struct jinja_range *range;
};

struct jinja_loop {
    struct jinja_iter it;
    size_t i, n;
    int depth;
    struct jinja_value *changed; // last arguments of loop.changed()
};

struct render {
    const struct template *t;
    struct template_limits limits;
    struct arena arena;
    uint64_t steps;
    int line, level, calls, loop_depth;
    struct jinja_sink *out, *base;
    size_t sink_bytes; // in all sinks but the base
    struct jinja_scope *scope;
    struct jinja_value *root; // [n_sym]
    bool *root_set;           // [n_sym]
    struct jinja_value captured;
    time_t now;
    struct error *err;
    enum status status;
};

/* errors; all return false */
bool jinja_fail(struct render *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool jinja_limit(struct render *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool jinja_raise(struct render *r, const struct jinja_str *message);
bool jinja_undefined(struct render *r, const struct jinja_value *v);

/* n more steps */
bool jinja_charge(struct render *r, size_t n);
void *jinja_alloc(struct render *r, size_t n, size_t size);

/* jinja_value.c: making values */
struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool b);
struct jinja_value jinja_int(int64_t i);
struct jinja_value jinja_float(double f);
struct jinja_value jinja_listv(struct jinja_list *l);
bool jinja_str_view(struct render *r, struct jinja_value *out, const char *s, size_t n,
                    const uint8_t *mark); // does not copy
bool jinja_cstr(struct render *r, struct jinja_value *out, const char *s);
/* bytes [from, to) of s */
bool jinja_sub(struct render *r, struct jinja_value *out, const struct jinja_str *s,
               size_t from, size_t to);
bool jinja_concat(struct render *r, struct jinja_value *out, const struct jinja_str *a,
                  const struct jinja_str *b);
bool jinja_undef_member(struct render *r, struct jinja_value *out,
                        const struct jinja_value *object, const struct jinja_value *name);
bool jinja_undef_name(struct render *r, struct jinja_value *out,
                      const struct jinja_str *name);
bool jinja_undef_hint(struct render *r, struct jinja_value *out, const char *hint);
struct jinja_list *jinja_list_new(struct render *r, enum jinja_list_kind kind,
                                  size_t cap);
bool jinja_list_push(struct render *r, struct jinja_list *l, const struct jinja_value *v);
struct jinja_dict *jinja_dict_new(struct render *r, size_t cap);
struct jinja_value *jinja_dict_get(struct render *r, const struct jinja_dict *d,
                                   const struct jinja_value *key); // NULL if missing
struct jinja_value *jinja_dict_str(const struct jinja_dict *d, const char *s, size_t n);
bool jinja_dict_set(struct render *r, struct jinja_dict *d, const struct jinja_value *key,
                    const struct jinja_value *v);
/* A dict key can be hashed in Python. */
bool jinja_hashable(struct render *r, const struct jinja_value *v);
const uint8_t *jinja_mark_at(const uint8_t *mark, size_t off);
bool jinja_is_input(const struct jinja_str *s); // some byte of it is
const char *jinja_type_name(const struct jinja_value *v);
const char *jinja_object_name(const struct jinja_value *v);

/* sinks */
void jinja_sink_init(struct render *r, struct jinja_sink *o);
void jinja_sink_release(struct render *r, struct jinja_sink *o);
bool jinja_put(struct render *r, struct jinja_sink *o, const char *s, size_t n,
               const uint8_t *mark);
bool jinja_puts(struct render *r, struct jinja_sink *o, const char *s);
bool jinja_put_str(struct render *r, struct jinja_sink *o, const struct jinja_str *s);
bool jinja_sink_str(struct render *r, struct jinja_value *out,
                    const struct jinja_sink *o);

/* jinja_utf8.c */
/* The code point at s[0..n), n > 0; *len gets its bytes.  A bad byte is U+FFFD. */
uint32_t jinja_utf8_get(const char *s, size_t n, size_t *len);
size_t jinja_utf8_put(char out[4], uint32_t c);
bool jinja_utf8_valid(const char *s, size_t n);
size_t jinja_utf8_len(const char *s, size_t n);              // code points
size_t jinja_utf8_offset(const char *s, size_t n, size_t i); // byte of code point i
bool jinja_is_space(uint32_t c);
bool jinja_is_printable(uint32_t c);
bool jinja_is_alpha(uint32_t c);
uint32_t jinja_upper(uint32_t c);
uint32_t jinja_lower(uint32_t c);
/* Narrow [*from, *to) of s by the characters of set (white space if NULL). */
void jinja_strip(const struct jinja_str *s, const struct jinja_str *set, bool left,
                 bool right, size_t *from, size_t *to);

/* jinja_text.c: values as text */
bool jinja_put_value(struct render *r, struct jinja_sink *o, const struct jinja_value *v);
bool jinja_repr(struct render *r, struct jinja_sink *o, const struct jinja_value *v,
                int depth);
bool jinja_to_str(struct render *r, struct jinja_value *out, const struct jinja_value *v);
void jinja_float_text(char out[40], double f);

struct jinja_json_style {
    struct jinja_str indent, item_sep, key_sep;
    bool pretty, ascii, sort;
};
bool jinja_json(struct render *r, struct jinja_sink *o, const struct jinja_value *v,
                const struct jinja_json_style *style);

/* jinja_ops.c */
bool jinja_truth(const struct jinja_value *v);
bool jinja_number(const struct jinja_value *v, double *out);  // bool, int, float
bool jinja_as_int(const struct jinja_value *v, int64_t *out); // bool, int
bool jinja_eq(struct render *r, const struct jinja_value *a, const struct jinja_value *b,
              bool *out);
bool jinja_compare(struct render *r, enum jinja_op op, const struct jinja_value *a,
                   const struct jinja_value *b, bool *out);
bool jinja_contains(struct render *r, const struct jinja_value *item,
                    const struct jinja_value *in, bool *out);
bool jinja_binary(struct render *r, enum jinja_op op, struct jinja_value *out,
                  const struct jinja_value *a, const struct jinja_value *b);
bool jinja_negate(struct render *r, struct jinja_value *out, const struct jinja_value *v);

/* jinja_access.c */
/* o.name; first is jinja_method_find of the name */
bool jinja_getattr(struct render *r, struct jinja_value *out, const struct jinja_value *o,
                   const struct jinja_str *name, const struct jinja_func *first);
bool jinja_getitem(struct render *r, struct jinja_value *out, const struct jinja_value *o,
                   const struct jinja_value *key);
/* start, stop, step may be NULL */
bool jinja_slice(struct render *r, struct jinja_value *out, const struct jinja_value *o,
                 const struct jinja_value *start, const struct jinja_value *stop,
                 const struct jinja_value *step);
bool jinja_length(struct render *r, const struct jinja_value *v, size_t *out);
/* Items of any iterable; a generator is used up. */
bool jinja_iterate(struct render *r, struct jinja_iter *it, const struct jinja_value *v);
size_t jinja_iter_n(const struct jinja_iter *it);
struct jinja_value jinja_iter_at(const struct jinja_iter *it, size_t i);
/* A new list with them. */
struct jinja_list *jinja_to_list(struct render *r, const struct jinja_value *v,
                                 enum jinja_list_kind kind);

/* jinja_exec.c */
bool jinja_exec(struct render *r, const struct jinja_node *body);
bool jinja_call_macro(struct render *r, struct jinja_value *out,
                      const struct jinja_macro *m, const struct jinja_args *args);
bool jinja_lookup(struct render *r, struct jinja_value *out, int sym);
bool jinja_enter_level(struct render *r);

/* jinja_eval.c */
bool jinja_eval(struct render *r, struct jinja_value *out, const struct jinja_node *n);
bool jinja_loop_attr(struct render *r, struct jinja_value *out,
                     const struct jinja_loop *loop, const struct jinja_str *name);

/* jinja_strings.c: methods of str, most of them filters too */
jinja_fn jinja_str_upper, jinja_str_lower, jinja_str_capitalize, jinja_str_title,
    jinja_str_title_filter, jinja_str_swapcase, jinja_str_strip, jinja_str_lstrip,
    jinja_str_rstrip, jinja_str_replace, jinja_str_isupper, jinja_str_islower;
/* jinja_search.c */
jinja_fn jinja_str_startswith, jinja_str_endswith, jinja_str_find, jinja_str_rfind,
    jinja_str_index, jinja_str_count, jinja_str_split, jinja_str_rsplit,
    jinja_str_splitlines, jinja_str_join, jinja_str_partition, jinja_str_rpartition,
    jinja_str_removeprefix, jinja_str_removesuffix;
/* First place of needle in hay at or behind byte from; SIZE_MAX if there is none. */
bool jinja_find(struct render *r, const struct jinja_str *hay,
                const struct jinja_str *needle, size_t from, size_t *at);
struct jinja_list *jinja_split_lines(struct render *r, const struct jinja_str *s,
                                     bool keep_ends);
/* What joins the items as text; those that are not strings are an error if strict. */
bool jinja_join(struct render *r, struct jinja_value *out, const struct jinja_str *sep,
                const struct jinja_list *l, bool strict);

/* jinja_sort.c: stable, ascending (descending if reverse) by key[i] */
bool jinja_less(struct render *r, const struct jinja_value *a,
                const struct jinja_value *b, bool *out);
bool jinja_sort(struct render *r, struct jinja_value *v, struct jinja_value *key,
                size_t n, bool reverse);

/* template.c: JSON into a value; strings get mark and stay in j unless copied. */
bool jinja_from_json(struct render *r, struct jinja_value *out, json_t *j,
                     const uint8_t *mark, bool copy);

#endif
