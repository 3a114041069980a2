/* jinja_stmt.c - statements. */
#include <stdio.h>
#include <string.h>

#include "text/jinja.h"

/* Statements up to a block that starts with one of the names; it is the current token
 * then.  *out is NULL for an empty body. */
static bool stmt_body(struct jinja_parser *p, const char *const *end,
                      struct jinja_node **out);

static bool stmt_at_end(const struct jinja_parser *p, const char *const *end)
{
    for (; *end; end++)
        if (jinja_is_name(p, *end))
            return true;
    return false;
}

/* The body of a statement: what follows its head, up to end; takes the name. */
static const char *stmt_block(struct jinja_parser *p, const char *const *end,
                              struct jinja_node **out)
{
    jinja_skip_op(p, ':');
    if (!jinja_expect(p, JT_BLOCK_END) || !stmt_body(p, end, out))
        return NULL;
    for (; *end; end++)
        if (jinja_skip_name(p, *end))
            return *end;
    jinja_unexpected(p, "an end tag");
    return NULL;
}

struct jinja_node *jinja_parse_target(struct jinja_parser *p, bool ns, bool stop_in)
{
    const struct jinja_token *t = jinja_tok(p);
    struct jinja_node *first = NULL, **tail = &first, *tuple;
    size_t n = 0;
    bool comma = false;
    for (;;) {
        struct jinja_node *item;
        if (n && !jinja_skip_op(p, ','))
            break;
        comma |= n > 0;
        if (n && ((stop_in && jinja_is_name(p, "in")) || jinja_is_op(p, ')') ||
                  jinja_tok(p)->type == JT_BLOCK_END))
            break;
        const struct jinja_token *name = jinja_tok(p);
        if (jinja_skip_op(p, '(')) {
            if (!jinja_enter(p))
                return NULL;
            item = jinja_parse_target(p, ns, stop_in);
            if (!item || !jinja_expect_op(p, ')'))
                return NULL;
            jinja_leave(p);
        } else {
            if (!jinja_expect(p, JT_NAME) ||
                !(item = jinja_node_new(p, JN_NAME, name->line)) ||
                (item->sym = jinja_symbol(p, name->s, name->n)) < 0)
                return NULL;
            if (ns && jinja_skip_op(p, '.')) {
                item->kind = JN_NSREF;
                if (!(item->name = jinja_token_str(p, jinja_tok(p))) ||
                    !jinja_expect(p, JT_NAME))
                    return NULL;
            }
        }
        *tail = item;
        tail = &item->next;
        n++;
    }
    if (!comma)
        return first;
    tuple = jinja_node_new(p, JN_TUPLE, t->line);
    if (!tuple)
        return NULL;
    tuple->a = first;
    tuple->n = n;
    return jinja_node_close(p, tuple) ? tuple : NULL;
}

static bool stmt_if(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct jinja_node **tail = &s->a;
    for (;;) {
        struct jinja_node *branch = jinja_node_new(p, JN_BRANCH, jinja_tok(p)->line);
        if (!branch || !(branch->a = jinja_parse_tuple(p, JP_NO_COND)))
            return false;
        *tail = branch;
        tail = &branch->next;
        const char *end = stmt_block(p, ends, &branch->b);
        if (!end)
            return false;
        if (!strcmp(end, "endif"))
            return true;
        if (!strcmp(end, "else"))
            return stmt_block(p, ends + 2, &s->b);
    }
}

static bool stmt_for(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    s->a = jinja_parse_target(p, false, true);
    if (!s->a)
        return false;
    if (!jinja_skip_name(p, "in"))
        return jinja_unexpected(p, "'in'");
    if (!(s->b = jinja_parse_tuple(p, JP_NO_COND | JP_STOP_RECURSIVE)))
        return false;
    if (jinja_skip_name(p, "if") && !(s->e = jinja_parse_expr(p)))
        return false;
    if (jinja_is_name(p, "recursive"))
        return jinja_syntax(p, s->line, "recursive loops are not supported");
    p->n_loop++;
    const char *end = stmt_block(p, ends, &s->c);
    p->n_loop--;
    if (!end)
        return false;
    return strcmp(end, "else") != 0 || stmt_block(p, ends + 1, &s->d);
}

static bool stmt_set(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"endset", NULL};
    s->a = jinja_parse_target(p, true, false);
    if (!s->a)
        return false;
    if (jinja_skip_op(p, '=')) {
        s->kind = JN_SET;
        s->b = jinja_parse_tuple(p, 0);
        return s->b;
    }
    s->kind = JN_SET_BLOCK;
    s->b = jinja_node_new(p, JN_CAPTURED, s->line);
    s->b = s->b ? jinja_parse_filters(p, s->b, false) : NULL;
    return s->b && stmt_block(p, ends, &s->c);
}

static bool stmt_filter(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"endfilter", NULL};
    s->b = jinja_node_new(p, JN_CAPTURED, s->line);
    s->b = s->b ? jinja_parse_filters(p, s->b, true) : NULL;
    return s->b && stmt_block(p, ends, &s->c);
}

/* param->name: what is wrong where a parameter without default is missing. */
static bool stmt_param_hint(struct jinja_parser *p, struct jinja_node *param)
{
    char text[120];
    const struct jinja_str *name = p->t->sym[param->sym];
    snprintf(text, sizeof text, "parameter '%.*s' was not provided",
             name->n > 60 ? 60 : (int)name->n, name->s);
    const char *hint = arena_strndup(&p->t->arena, text, strlen(text));
    const struct jinja_token t = {.s = hint, .n = strlen(text)};
    if (!hint)
        p->status = fail(p->err, STATUS_NO_MEMORY, "out of memory for the template");
    return hint && (param->name = jinja_token_str(p, &t));
}

static bool stmt_params(struct jinja_parser *p, struct jinja_node *s)
{
    struct jinja_node **tail = &s->a;
    bool defaults = false;
    if (!jinja_expect_op(p, '('))
        return false;
    for (; !jinja_is_op(p, ')'); s->n++) {
        if (s->n && !jinja_expect_op(p, ','))
            return false;
        const struct jinja_token *t = jinja_tok(p);
        struct jinja_node *param = jinja_node_new(p, JN_PARAM, t->line);
        if (!param || !jinja_expect(p, JT_NAME) ||
            (param->sym = jinja_symbol(p, t->s, t->n)) < 0)
            return false;
        if (jinja_skip_op(p, '=')) {
            defaults = true;
            if (!(param->a = jinja_parse_expr(p)))
                return false;
        } else if (!stmt_param_hint(p, param)) {
            return false;
        } else if (defaults) {
            return jinja_syntax(p, t->line,
                                "non-default argument follows default argument");
        }
        *tail = param;
        tail = &param->next;
    }
    p->pos++;
    return true;
}

static bool stmt_macro(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"endmacro", NULL};
    const struct jinja_token *t = jinja_tok(p);
    const bool varargs = p->varargs, kwargs = p->kwargs;
    const int n_loop = p->n_loop;
    if (!jinja_expect(p, JT_NAME) || (s->sym = jinja_symbol(p, t->s, t->n)) < 0 ||
        !(s->name = jinja_token_str(p, t)))
        return false;
    p->varargs = p->kwargs = false;
    p->n_loop = 0;
    if (!stmt_params(p, s) || !stmt_block(p, ends, &s->c))
        return false;
    s->varargs = p->varargs;
    s->kwargs = p->kwargs;
    p->varargs = varargs;
    p->kwargs = kwargs;
    p->n_loop = n_loop;
    return true;
}

static bool stmt_with(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"endwith", NULL};
    struct jinja_node **tail = &s->a;
    while (jinja_tok(p)->type != JT_BLOCK_END) {
        struct jinja_node *set = jinja_node_new(p, JN_SET, jinja_tok(p)->line);
        if (!set || (s->a && !jinja_expect_op(p, ',')))
            return false;
        /* A plain name here: a tuple would take the comma between two of them. */
        const struct jinja_token *t = jinja_tok(p);
        if (!jinja_expect(p, JT_NAME) ||
            !(set->a = jinja_node_new(p, JN_NAME, t->line)) ||
            (set->a->sym = jinja_symbol(p, t->s, t->n)) < 0 || !jinja_expect_op(p, '=') ||
            !(set->b = jinja_parse_expr(p)))
            return false;
        *tail = set;
        tail = &set->next;
    }
    return stmt_block(p, ends, &s->c);
}

/* {% generation %}: text of the assistant; a scope as jinja2's call block. */
static bool stmt_generation(struct jinja_parser *p, struct jinja_node *s)
{
    static const char *const ends[] = {"endgeneration", NULL};
    return stmt_block(p, ends, &s->c);
}

static bool stmt_jump(struct jinja_parser *p, struct jinja_node *s)
{
    if (p->n_loop)
        return true;
    return jinja_syntax(p, s->line, "'%s' outside of a loop",
                        s->kind == JN_BREAK ? "break" : "continue");
}

static bool stmt_print(struct jinja_parser *p, struct jinja_node *s)
{
    struct jinja_node **tail = &s->a;
    while (jinja_tok(p)->type != JT_BLOCK_END) {
        if (s->a && !jinja_expect_op(p, ','))
            return false;
        if (!(*tail = jinja_parse_expr(p)))
            return false;
        tail = &(*tail)->next;
    }
    return true;
}

static const struct {
    const char *name;
    enum jinja_kind kind;
    bool (*parse)(struct jinja_parser *p, struct jinja_node *s);
} stmt_table[] = {
    {"if", JN_IF, stmt_if},
    {"for", JN_FOR, stmt_for},
    {"set", JN_SET, stmt_set},
    {"macro", JN_MACRO, stmt_macro},
    {"filter", JN_FILTER_BLOCK, stmt_filter},
    {"with", JN_WITH, stmt_with},
    {"generation", JN_WITH, stmt_generation},
    {"break", JN_BREAK, stmt_jump},
    {"continue", JN_CONTINUE, stmt_jump},
    {"print", JN_OUTPUT, stmt_print},
};

static struct jinja_node *stmt_tag(struct jinja_parser *p)
{
    static const char *const refused[] = {"include", "import", "from",       "extends",
                                          "block",   "call",   "autoescape", "do",
                                          "trans",   NULL};
    const struct jinja_token *t = jinja_tok(p);
    const int len = t->n > 40 ? 40 : (int)t->n;
    if (t->type != JT_NAME) {
        jinja_syntax(p, t->line, "tag name expected");
        return NULL;
    }
    for (size_t i = 0; i < sizeof stmt_table / sizeof *stmt_table; i++) {
        if (!jinja_skip_name(p, stmt_table[i].name))
            continue;
        struct jinja_node *s = jinja_node_new(p, stmt_table[i].kind, t->line);
        return s && stmt_table[i].parse(p, s) ? s : NULL;
    }
    if (stmt_at_end(p, refused))
        jinja_syntax(p, t->line, "statement '%.*s' is not supported in chat templates",
                     len, t->s);
    else
        jinja_syntax(p, t->line, "Encountered unknown tag '%.*s'.", len, t->s);
    return NULL;
}

static struct jinja_node *stmt_text(struct jinja_parser *p)
{
    const struct jinja_token *t = jinja_tok(p);
    struct jinja_node *n = jinja_node_new(p, JN_TEXT, t->line);
    p->pos++;
    return n && (n->name = jinja_token_str(p, t)) ? n : NULL;
}

static bool stmt_body(struct jinja_parser *p, const char *const *end,
                      struct jinja_node **out)
{
    struct jinja_node **tail = out;
    *out = NULL;
    if (!jinja_enter(p))
        return false;
    for (;;) {
        const struct jinja_token *t = jinja_tok(p);
        struct jinja_node *n = NULL;
        if (t->type == JT_EOF) {
            if (end)
                return jinja_syntax(p, t->line,
                                    "Unexpected end of template. '%s' was expected.",
                                    end[1] ? end[1] : end[0]);
            jinja_leave(p);
            return true;
        } else if (t->type == JT_DATA) {
            n = stmt_text(p);
        } else if (t->type == JT_VAR_BEGIN) {
            p->pos++;
            n = jinja_node_new(p, JN_OUTPUT, t->line);
            if (n && !((n->a = jinja_parse_tuple(p, 0)) && jinja_expect(p, JT_VAR_END)))
                return false;
        } else {
            p->pos++;
            if (end && stmt_at_end(p, end)) {
                jinja_leave(p);
                return true;
            }
            n = stmt_tag(p);
            if (n && !jinja_expect(p, JT_BLOCK_END))
                return false;
        }
        if (!n)
            return false;
        *tail = n;
        tail = &n->next;
    }
}

enum status jinja_parse(struct template *t, const struct jinja_token *tok,
                        struct error *err)
{
    struct jinja_parser p = {.t = t, .tok = tok, .err = err, .status = STATUS_OK};
    t->sym = arena_array(&t->arena, JINJA_SYMBOL_MAX, sizeof *t->sym);
    if (!t->sym)
        return fail(err, STATUS_NO_MEMORY, "out of memory for the template");
    if (jinja_symbol(&p, "loop", 4) == JINJA_SYM_LOOP &&
        jinja_symbol(&p, "varargs", 7) == JINJA_SYM_VARARGS &&
        jinja_symbol(&p, "kwargs", 6) == JINJA_SYM_KWARGS)
        stmt_body(&p, NULL, &t->body);
    return p.status;
}
