/* jinja_tree.c - what the parsers of expressions and statements share: tokens, nodes,
 * errors. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja.h"

bool jinja_syntax(struct jinja_parser *p, int line, const char *fmt, ...)
{
    char text[160];
    if (p->status != STATUS_OK)
        return false;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    p->status = fail(p->err, STATUS_BAD_INPUT, "line %d: %s", line, text);
    return false;
}

bool jinja_unexpected(struct jinja_parser *p, const char *expected)
{
    static const char *const names[] = {
        [JT_DATA] = "text",
        [JT_VAR_BEGIN] = "'{{'",
        [JT_VAR_END] = "end of print statement",
        [JT_BLOCK_BEGIN] = "'{%'",
        [JT_BLOCK_END] = "end of statement block",
        [JT_EOF] = "end of template",
    };
    const struct jinja_token *t = jinja_tok(p);
    if (names[t->type < JT_NAME || t->type == JT_EOF ? t->type : JT_DATA] &&
        (t->type < JT_NAME || t->type == JT_EOF))
        return jinja_syntax(p, t->line, "expected %s, got %s", expected, names[t->type]);
    return jinja_syntax(p, t->line, "expected %s, got '%.*s'", expected,
                        t->n > 40 ? 40 : (int)t->n, t->s);
}

bool jinja_enter(struct jinja_parser *p)
{
    if (++p->depth <= JINJA_PARSE_DEPTH)
        return true;
    return jinja_syntax(p, jinja_tok(p)->line, "the template nests deeper than %d",
                        JINJA_PARSE_DEPTH);
}

void jinja_leave(struct jinja_parser *p)
{
    p->depth--;
}

struct jinja_node *jinja_node_new(struct jinja_parser *p, enum jinja_kind kind, int line)
{
    struct jinja_node *n = arena_array(&p->t->arena, 1, sizeof *n);
    if (!n) {
        if (p->status == STATUS_OK)
            p->status = fail(p->err, STATUS_NO_MEMORY, "out of memory for the template");
        return NULL;
    }
    n->kind = kind;
    n->line = line;
    return n;
}

bool jinja_node_close(struct jinja_parser *p, struct jinja_node *n)
{
    const struct jinja_node *const child[] = {n->a, n->b, n->c, n->d, n->e};
    for (size_t i = 0; i < sizeof child / sizeof *child; i++)
        for (const struct jinja_node *c = child[i]; c; c = c->next)
            if (c->height >= n->height)
                n->height = c->height + 1;
    if (n->height <= JINJA_TREE_HEIGHT)
        return true;
    return jinja_syntax(p, n->line, "an expression is longer than %d operations",
                        JINJA_TREE_HEIGHT);
}

int jinja_symbol(struct jinja_parser *p, const char *s, size_t n)
{
    struct template *t = p->t;
    for (int i = 0; i < t->n_sym; i++)
        if (t->sym[i]->n == n && !memcmp(t->sym[i]->s, s, n))
            return i;
    if (t->n_sym == JINJA_SYMBOL_MAX) {
        jinja_syntax(p, jinja_tok(p)->line, "more than %d names", JINJA_SYMBOL_MAX);
        return -1;
    }
    struct jinja_str *str = arena_array(&t->arena, 1, sizeof *str);
    if (!str) {
        p->status = fail(p->err, STATUS_NO_MEMORY, "out of memory for the template");
        return -1;
    }
    *str = (struct jinja_str){s, n, NULL};
    t->sym[t->n_sym] = str;
    return t->n_sym++;
}

const struct jinja_str *jinja_token_str(struct jinja_parser *p,
                                        const struct jinja_token *t)
{
    struct jinja_str *s = arena_array(&p->t->arena, 1, sizeof *s);
    if (!s) {
        p->status = fail(p->err, STATUS_NO_MEMORY, "out of memory for the template");
        return NULL;
    }
    *s = (struct jinja_str){t->s, t->n, NULL};
    return s;
}

bool jinja_token_is(const struct jinja_token *t, const char *name)
{
    return t->type == JT_NAME && t->n == strlen(name) && !memcmp(t->s, name, t->n);
}

bool jinja_is_name(const struct jinja_parser *p, const char *name)
{
    return jinja_token_is(jinja_tok(p), name);
}

bool jinja_is_op(const struct jinja_parser *p, int op)
{
    return jinja_tok(p)->type == JT_OP && jinja_tok(p)->op == op;
}

bool jinja_skip_name(struct jinja_parser *p, const char *name)
{
    const bool hit = jinja_is_name(p, name);
    p->pos += hit;
    return hit;
}

bool jinja_skip_op(struct jinja_parser *p, int op)
{
    const bool hit = jinja_is_op(p, op);
    p->pos += hit;
    return hit;
}

bool jinja_expect_op(struct jinja_parser *p, int op)
{
    const char text[] = {'\'', (char)(op & 0xff), '\'', 0};
    return jinja_skip_op(p, op) || jinja_unexpected(p, text);
}

bool jinja_expect(struct jinja_parser *p, enum jinja_token_type type)
{
    if (jinja_tok(p)->type != type)
        return jinja_unexpected(p, type == JT_NAME      ? "a name"
                                   : type == JT_VAR_END ? "end of print statement"
                                                        : "end of statement block");
    p->pos++;
    return true;
}
