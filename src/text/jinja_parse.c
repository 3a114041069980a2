/* jinja_parse.c - expressions, with jinja2's precedence:
 * if-else < or < and < not < comparisons < + - < ~ < * / // % < ** < unary < postfix,
 * filters and tests. */
#include <string.h>

#include "text/jinja.h"

/* A node with up to two children; takes NULL children as an error that was reported. */
static struct jinja_node *parse_join(struct jinja_parser *p, enum jinja_kind kind,
                                     int line, struct jinja_node *a, struct jinja_node *b)
{
    struct jinja_node *n = p->status == STATUS_OK ? jinja_node_new(p, kind, line) : NULL;
    if (!n)
        return NULL;
    n->a = a;
    n->b = b;
    return jinja_node_close(p, n) ? n : NULL;
}

static struct jinja_node *parse_primary(struct jinja_parser *p);
static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *n);

/* name(.name)* as one string for filters and tests. */
static bool parse_func_name(struct jinja_parser *p, char name[64], size_t *n)
{
    *n = 0;
    do {
        const struct jinja_token *t = jinja_tok(p);
        if (!jinja_expect(p, JT_NAME))
            return false;
        if (*n + t->n + 2 > 64)
            return jinja_syntax(p, t->line, "no filter or test is named '%.40s...'",
                                t->s);
        if (*n)
            name[(*n)++] = '.';
        memcpy(name + *n, t->s, t->n);
        *n += t->n;
    } while (jinja_skip_op(p, '.'));
    name[*n] = 0;
    return true;
}

/* "(" arguments ")": a list of nodes, keyword ones as JN_KWARG. */
static bool parse_args(struct jinja_parser *p, struct jinja_node **out)
{
    struct jinja_node **tail = out;
    bool keyword = false;
    *out = NULL;
    if (!jinja_expect_op(p, '(') || !jinja_enter(p))
        return false;
    while (!jinja_is_op(p, ')')) {
        if (*out && !jinja_expect_op(p, ','))
            return false;
        if (jinja_is_op(p, ')'))
            break;
        const struct jinja_token *t = jinja_tok(p);
        struct jinja_node *n;
        if (jinja_is_op(p, '*') || jinja_is_op(p, JINJA_OP2('*', '*')))
            return jinja_syntax(p, t->line, "* and ** arguments are not supported");
        if (t->type == JT_NAME && t[1].type == JT_OP && t[1].op == '=') {
            keyword = true;
            p->pos += 2;
            n = parse_join(p, JN_KWARG, t->line, jinja_parse_expr(p), NULL);
            if (n && !(n->name = jinja_token_str(p, t)))
                return false;
        } else if (keyword) {
            return jinja_syntax(p, t->line,
                                "a positional argument follows a keyword argument");
        } else {
            n = jinja_parse_expr(p);
        }
        if (!n)
            return false;
        *tail = n;
        tail = &n->next;
    }
    p->pos++;
    jinja_leave(p);
    return true;
}

static struct jinja_node *parse_call(struct jinja_parser *p, struct jinja_node *f)
{
    const int line = jinja_tok(p)->line;
    struct jinja_node *args;
    if (!f || !parse_args(p, &args))
        return NULL;
    return parse_join(p, JN_CALL, line, f, args);
}

struct jinja_node *jinja_parse_filters(struct jinja_parser *p, struct jinja_node *n,
                                       bool inline_first)
{
    while (n && (inline_first || jinja_is_op(p, '|'))) {
        const int line = jinja_tok(p)->line;
        char name[64];
        size_t len;
        struct jinja_node *args = NULL;
        if (!inline_first)
            p->pos++;
        inline_first = false;
        if (!parse_func_name(p, name, &len))
            return NULL;
        const struct jinja_func *f = jinja_filter_find(name, len);
        if (!f) {
            jinja_syntax(p, line, "No filter named '%s'.", name);
            return NULL;
        }
        if (jinja_is_op(p, '(') && !parse_args(p, &args))
            return NULL;
        n = parse_join(p, JN_FILTER, line, n, args);
        if (n)
            n->func = f;
    }
    return n;
}

static bool parse_starts_test_arg(const struct jinja_parser *p)
{
    const struct jinja_token *t = jinja_tok(p);
    if (t->type == JT_NAME)
        return !jinja_is_name(p, "else") && !jinja_is_name(p, "or") &&
               !jinja_is_name(p, "and");
    return t->type == JT_STR || t->type == JT_INT || t->type == JT_FLOAT ||
           (t->type == JT_OP && (t->op == '[' || t->op == '{'));
}

static struct jinja_node *parse_test(struct jinja_parser *p, struct jinja_node *n)
{
    const int line = jinja_tok(p)->line;
    char name[64];
    size_t len;
    struct jinja_node *args = NULL;
    p->pos++;
    const bool negated = jinja_skip_name(p, "not");
    if (!parse_func_name(p, name, &len))
        return NULL;
    const struct jinja_func *f = jinja_test_find(name, len);
    if (!f) {
        jinja_syntax(p, line, "No test named '%s'.", name);
        return NULL;
    }
    if (jinja_is_op(p, '(')) {
        if (!parse_args(p, &args))
            return NULL;
    } else if (parse_starts_test_arg(p)) {
        if (jinja_is_name(p, "is")) {
            jinja_syntax(p, line, "You cannot chain multiple tests with is");
            return NULL;
        }
        args = parse_postfix(p, parse_primary(p));
        if (!args)
            return NULL;
    }
    n = parse_join(p, JN_TEST, line, n, args);
    if (n)
        n->func = f;
    return n && negated ? parse_join(p, JN_NOT, line, n, NULL) : n;
}

/* Filters, tests and calls behind an operand. */
static struct jinja_node *parse_filter_expr(struct jinja_parser *p, struct jinja_node *n)
{
    while (n) {
        if (jinja_is_op(p, '|'))
            n = jinja_parse_filters(p, n, false);
        else if (jinja_is_name(p, "is"))
            n = parse_test(p, n);
        else if (jinja_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

static struct jinja_node *parse_const(struct jinja_parser *p, struct jinja_value v,
                                      int line)
{
    struct jinja_node *n = jinja_node_new(p, JN_CONST, line);
    if (n)
        n->value = v;
    return n;
}

/* One part of "[...]": an expression or a slice, whose object is set by the caller. */
static struct jinja_node *parse_subscript(struct jinja_parser *p)
{
    const int line = jinja_tok(p)->line;
    struct jinja_node *part[3] = {NULL};
    int n = 0;
    bool slice = false;
    while (!jinja_is_op(p, ']') && !jinja_is_op(p, ',')) {
        if (jinja_is_op(p, ':')) {
            slice = true;
            p->pos++;
            if (++n == 3)
                break;
        } else if (part[n]) {
            break;
        } else if (!(part[n] = jinja_parse_expr(p))) {
            return NULL;
        }
    }
    if (!slice)
        return part[0] ? part[0] : (jinja_unexpected(p, "an expression"), NULL);
    struct jinja_node *s = jinja_node_new(p, JN_SLICE, line);
    if (!s)
        return NULL;
    s->b = part[0];
    s->c = part[1];
    s->d = part[2];
    return s;
}

static struct jinja_node *parse_item(struct jinja_parser *p, struct jinja_node *object)
{
    const int line = jinja_tok(p)->line;
    p->pos++;
    if (!jinja_enter(p))
        return NULL;
    struct jinja_node *first = parse_subscript(p), **tail;
    if (!first)
        return NULL;
    if (jinja_is_op(p, ',')) { // a[1, 2]: a tuple as key
        struct jinja_node *tuple = jinja_node_new(p, JN_TUPLE, line);
        if (!tuple)
            return NULL;
        tuple->a = first;
        tuple->n = 1;
        tail = &first->next;
        while (jinja_skip_op(p, ',')) {
            if (!(*tail = jinja_parse_expr(p)))
                return NULL;
            tail = &(*tail)->next;
            tuple->n++;
        }
        if (first->kind == JN_SLICE) {
            jinja_syntax(p, line, "a slice in a tuple is not supported");
            return NULL;
        }
        if (!jinja_node_close(p, tuple))
            return NULL;
        first = tuple;
    }
    if (!jinja_expect_op(p, ']'))
        return NULL;
    jinja_leave(p);
    if (first->kind == JN_SLICE && !first->a) {
        first->a = object;
        return jinja_node_close(p, first) ? first : NULL;
    }
    return parse_join(p, JN_ITEM, line, object, first);
}

static struct jinja_node *parse_member(struct jinja_parser *p, struct jinja_node *object)
{
    p->pos++;
    const struct jinja_token *t = jinja_tok(p);
    if (t->type == JT_INT) {
        p->pos++;
        return parse_join(p, JN_ITEM, t->line, object,
                          parse_const(p, jinja_int(t->i), t->line));
    }
    if (!jinja_expect(p, JT_NAME))
        return NULL;
    struct jinja_node *n = parse_join(p, JN_ATTR, t->line, object, NULL);
    if (!n || !(n->name = jinja_token_str(p, t)))
        return NULL;
    n->func = jinja_method_find(t->s, t->n);
    return n;
}

static struct jinja_node *parse_postfix(struct jinja_parser *p, struct jinja_node *n)
{
    while (n) {
        if (jinja_is_op(p, '.'))
            n = parse_member(p, n);
        else if (jinja_is_op(p, '['))
            n = parse_item(p, n);
        else if (jinja_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

static struct jinja_node *parse_name(struct jinja_parser *p)
{
    static const struct {
        const char *name;
        struct jinja_value v;
    } consts[] = {
        {"true", {.type = J_BOOL, .b = true}},
        {"True", {.type = J_BOOL, .b = true}},
        {"false", {.type = J_BOOL, .b = false}},
        {"False", {.type = J_BOOL, .b = false}},
        {"none", {.type = J_NONE}},
        {"None", {.type = J_NONE}},
    };
    const struct jinja_token *t = jinja_tok(p);
    p->pos++;
    for (size_t i = 0; i < sizeof consts / sizeof *consts; i++)
        if (jinja_token_is(t, consts[i].name))
            return parse_const(p, consts[i].v, t->line);
    p->varargs |= jinja_token_is(t, "varargs");
    p->kwargs |= jinja_token_is(t, "kwargs");
    struct jinja_node *n = jinja_node_new(p, JN_NAME, t->line);
    if (n && (n->sym = jinja_symbol(p, t->s, t->n)) < 0)
        return NULL;
    return n;
}

/* Adjacent string literals are one string. */
static struct jinja_node *parse_string(struct jinja_parser *p)
{
    const struct jinja_token *first = jinja_tok(p);
    size_t n = 0, at = 0;
    for (const struct jinja_token *t = first; t->type == JT_STR; t++)
        n += t->n;
    struct jinja_str *s = arena_array(&p->t->arena, 1, sizeof *s);
    char *text = arena_array(&p->t->arena, n + 1, 1);
    if (!s || !text) {
        p->status = fail(p->err, STATUS_NO_MEMORY, "out of memory for the template");
        return NULL;
    }
    for (; jinja_tok(p)->type == JT_STR; p->pos++) {
        memcpy(text + at, jinja_tok(p)->s, jinja_tok(p)->n);
        at += jinja_tok(p)->n;
    }
    *s = (struct jinja_str){text, n, NULL};
    return parse_const(p, (struct jinja_value){.type = J_STR, .s = s}, first->line);
}

/* [a, b] or {k: v}: items up to the closing bracket. */
static struct jinja_node *parse_display(struct jinja_parser *p, int close)
{
    const int line = jinja_tok(p)->line;
    struct jinja_node *n = jinja_node_new(p, close == ']' ? JN_LIST : JN_DICT, line);
    p->pos++;
    if (!n || !jinja_enter(p))
        return NULL;
    struct jinja_node **tail = &n->a;
    while (!jinja_is_op(p, close)) {
        if (n->n && !jinja_expect_op(p, ','))
            return NULL;
        if (jinja_is_op(p, close))
            break;
        const int at = jinja_tok(p)->line;
        struct jinja_node *item = jinja_parse_expr(p);
        if (item && close == '}')
            item = jinja_expect_op(p, ':')
                       ? parse_join(p, JN_PAIR, at, item, jinja_parse_expr(p))
                       : NULL;
        if (!item)
            return NULL;
        *tail = item;
        tail = &item->next;
        n->n++;
    }
    p->pos++;
    jinja_leave(p);
    return jinja_node_close(p, n) ? n : NULL;
}

static struct jinja_node *parse_primary(struct jinja_parser *p)
{
    const struct jinja_token *t = jinja_tok(p);
    struct jinja_node *n;
    switch (t->type) {
    case JT_NAME:
        return parse_name(p);
    case JT_STR:
        return parse_string(p);
    case JT_INT:
        p->pos++;
        return parse_const(p, jinja_int(t->i), t->line);
    case JT_FLOAT:
        p->pos++;
        return parse_const(p, jinja_float(t->f), t->line);
    case JT_OP:
        if (t->op == '[' || t->op == '{')
            return parse_display(p, t->op == '[' ? ']' : '}');
        if (t->op != '(')
            break;
        p->pos++;
        if (!jinja_enter(p))
            return NULL;
        n = jinja_parse_tuple(p, JP_PARENS);
        if (!n || !jinja_expect_op(p, ')'))
            return NULL;
        jinja_leave(p);
        return n;
    default:
        break;
    }
    jinja_unexpected(p, "an expression");
    return NULL;
}

static struct jinja_node *parse_unary(struct jinja_parser *p, bool with_filter)
{
    const int line = jinja_tok(p)->line;
    struct jinja_node *n;
    if (jinja_is_op(p, '-') || jinja_is_op(p, '+')) {
        const enum jinja_kind kind = jinja_is_op(p, '-') ? JN_NEG : JN_POS;
        p->pos++;
        if (!jinja_enter(p))
            return NULL;
        n = parse_join(p, kind, line, parse_unary(p, false), NULL);
        jinja_leave(p);
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    return n && with_filter ? parse_filter_expr(p, n) : n;
}

static const struct {
    int token;
    enum jinja_op op;
    int level; // 0: + -, 1: ~, 2: * / // %, 3: **
} parse_ops[] = {
    {'+', JO_ADD, 0},
    {'-', JO_SUB, 0},
    {'*', JO_MUL, 2},
    {'/', JO_DIV, 2},
    {'%', JO_MOD, 2},
    {JINJA_OP2('/', '/'), JO_FLOORDIV, 2},
    {JINJA_OP2('*', '*'), JO_POW, 3},
};

static bool parse_op_at(struct jinja_parser *p, int level, enum jinja_op *op)
{
    for (size_t i = 0; i < sizeof parse_ops / sizeof *parse_ops; i++)
        if (parse_ops[i].level == level && jinja_is_op(p, parse_ops[i].token)) {
            *op = parse_ops[i].op;
            p->pos++;
            return true;
        }
    return false;
}

static struct jinja_node *parse_concat(struct jinja_parser *p);

/* Left-associative operators of one level; ** too, as in jinja2. */
static struct jinja_node *parse_math(struct jinja_parser *p, int level)
{
    struct jinja_node *n = level == 0   ? parse_concat(p)
                           : level == 2 ? parse_math(p, 3)
                                        : parse_unary(p, true);
    enum jinja_op op;
    while (n) {
        const int line = jinja_tok(p)->line;
        if (!parse_op_at(p, level, &op))
            break;
        struct jinja_node *right = level == 0   ? parse_concat(p)
                                   : level == 2 ? parse_math(p, 3)
                                                : parse_unary(p, true);
        n = parse_join(p, JN_BINARY, line, n, right);
        if (n)
            n->op = op;
    }
    return n;
}

static struct jinja_node *parse_concat(struct jinja_parser *p)
{
    struct jinja_node *n = parse_math(p, 2), *list, **tail;
    if (!n || !jinja_is_op(p, '~'))
        return n;
    list = jinja_node_new(p, JN_CONCAT, jinja_tok(p)->line);
    if (!list)
        return NULL;
    list->a = n;
    tail = &n->next;
    for (list->n = 1; jinja_skip_op(p, '~'); list->n++) {
        if (!(*tail = parse_math(p, 2)))
            return NULL;
        tail = &(*tail)->next;
    }
    return jinja_node_close(p, list) ? list : NULL;
}

static bool parse_compare_op(struct jinja_parser *p, enum jinja_op *op)
{
    static const struct {
        int token;
        enum jinja_op op;
    } ops[] = {
        {JINJA_OP2('=', '='), JO_EQ},
        {JINJA_OP2('!', '='), JO_NE},
        {'<', JO_LT},
        {JINJA_OP2('<', '='), JO_LE},
        {'>', JO_GT},
        {JINJA_OP2('>', '='), JO_GE},
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (jinja_skip_op(p, ops[i].token)) {
            *op = ops[i].op;
            return true;
        }
    *op = JO_IN;
    if (jinja_skip_name(p, "in"))
        return true;
    *op = JO_NOT_IN;
    if (!jinja_is_name(p, "not") || !jinja_token_is(jinja_tok(p) + 1, "in"))
        return false;
    p->pos += 2;
    return true;
}

static struct jinja_node *parse_compare(struct jinja_parser *p)
{
    struct jinja_node *n = parse_math(p, 0), *list = NULL, **tail = NULL;
    enum jinja_op op;
    while (n) {
        const int line = jinja_tok(p)->line;
        if (!parse_compare_op(p, &op))
            break;
        if (!list) {
            list = parse_join(p, JN_COMPARE, line, n, NULL);
            if (!list)
                return NULL;
            tail = &list->b;
        }
        struct jinja_node *c = parse_join(p, JN_CMP, line, parse_math(p, 0), NULL);
        if (!c)
            return NULL;
        c->op = op;
        *tail = c;
        tail = &c->next;
    }
    if (!n || !list)
        return n;
    return jinja_node_close(p, list) ? list : NULL;
}

static struct jinja_node *parse_not(struct jinja_parser *p)
{
    const int line = jinja_tok(p)->line;
    if (!jinja_skip_name(p, "not"))
        return parse_compare(p);
    if (!jinja_enter(p))
        return NULL;
    struct jinja_node *n = parse_join(p, JN_NOT, line, parse_not(p), NULL);
    jinja_leave(p);
    return n;
}

static struct jinja_node *parse_and(struct jinja_parser *p)
{
    struct jinja_node *n = parse_not(p);
    while (n && jinja_is_name(p, "and")) {
        const int line = jinja_tok(p)->line;
        p->pos++;
        n = parse_join(p, JN_AND, line, n, parse_not(p));
    }
    return n;
}

static struct jinja_node *parse_or(struct jinja_parser *p)
{
    struct jinja_node *n = parse_and(p);
    while (n && jinja_is_name(p, "or")) {
        const int line = jinja_tok(p)->line;
        p->pos++;
        n = parse_join(p, JN_OR, line, n, parse_and(p));
    }
    return n;
}

struct jinja_node *jinja_parse_expr(struct jinja_parser *p)
{
    struct jinja_node *n = parse_or(p);
    while (n && jinja_is_name(p, "if")) {
        const int line = jinja_tok(p)->line;
        p->pos++;
        struct jinja_node *test = parse_or(p), *other = NULL;
        if (test && jinja_skip_name(p, "else")) {
            if (!jinja_enter(p))
                return NULL;
            other = jinja_parse_expr(p);
            if (!other)
                return NULL;
            jinja_leave(p);
        }
        struct jinja_node *cond = jinja_node_new(p, JN_COND, line);
        if (!test || !cond)
            return NULL;
        cond->a = test;
        cond->b = n;
        cond->c = other;
        n = jinja_node_close(p, cond) ? cond : NULL;
    }
    return n;
}

static bool parse_tuple_end(const struct jinja_parser *p, unsigned flags)
{
    const enum jinja_token_type t = jinja_tok(p)->type;
    return t == JT_VAR_END || t == JT_BLOCK_END || jinja_is_op(p, ')') ||
           ((flags & JP_STOP_RECURSIVE) && jinja_is_name(p, "recursive"));
}

struct jinja_node *jinja_parse_tuple(struct jinja_parser *p, unsigned flags)
{
    const int line = jinja_tok(p)->line;
    struct jinja_node *list = NULL, *first = NULL, **tail = &first;
    size_t n = 0;
    bool tuple = false;
    for (;;) {
        if (n && !jinja_expect_op(p, ','))
            return NULL;
        if (parse_tuple_end(p, flags))
            break;
        *tail = flags & JP_NO_COND ? parse_or(p) : jinja_parse_expr(p);
        if (!*tail)
            return NULL;
        tail = &(*tail)->next;
        n++;
        if (!jinja_is_op(p, ','))
            break;
        tuple = true;
    }
    if (!tuple && n)
        return first;
    if (!tuple && !(flags & JP_PARENS)) {
        jinja_unexpected(p, "an expression");
        return NULL;
    }
    list = jinja_node_new(p, JN_TUPLE, line);
    if (!list)
        return NULL;
    list->a = first;
    list->n = n;
    return jinja_node_close(p, list) ? list : NULL;
}
