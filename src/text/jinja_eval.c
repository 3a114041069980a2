/* jinja_eval.c - the value of an expression. */
#include <string.h>

#include "text/jinja.h"

static bool eval_items(struct render *r, struct jinja_value *out,
                       const struct jinja_node *n)
{
    struct jinja_list *l =
        jinja_list_new(r, n->kind == JN_TUPLE ? JL_TUPLE : JL_LIST, n->n);
    struct jinja_value v;
    if (!l)
        return false;
    for (const struct jinja_node *c = n->a; c; c = c->next)
        if (!jinja_eval(r, &v, c) || !jinja_list_push(r, l, &v))
            return false;
    *out = jinja_listv(l);
    return true;
}

static bool eval_dict(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    struct jinja_dict *d = jinja_dict_new(r, n->n);
    struct jinja_value key, v;
    if (!d)
        return false;
    for (const struct jinja_node *c = n->a; c; c = c->next)
        if (!jinja_eval(r, &key, c->a) || !jinja_eval(r, &v, c->b) ||
            !jinja_hashable(r, &key) || !jinja_dict_set(r, d, &key, &v))
            return false;
    *out = (struct jinja_value){.type = J_DICT, .d = d};
    return true;
}

static bool eval_slice(struct render *r, struct jinja_value *out,
                       const struct jinja_node *n)
{
    struct jinja_value object, v[3];
    const struct jinja_node *const part[3] = {n->b, n->c, n->d};
    if (!jinja_eval(r, &object, n->a))
        return false;
    for (int i = 0; i < 3; i++)
        if (part[i] && !jinja_eval(r, &v[i], part[i]))
            return false;
    r->line = n->line;
    return jinja_slice(r, out, &object, n->b ? &v[0] : NULL, n->c ? &v[1] : NULL,
                       n->d ? &v[2] : NULL);
}

/* The arguments of a call, in the arena. */
static bool eval_args(struct render *r, struct jinja_args *args,
                      const struct jinja_node *list)
{
    int n_pos = 0, n_kw = 0;
    *args = (struct jinja_args){0};
    for (const struct jinja_node *c = list; c; c = c->next)
        *(c->kind == JN_KWARG ? &n_kw : &n_pos) += 1;
    if (!list)
        return true;
    struct jinja_value *v = jinja_alloc(r, (size_t)(n_pos + n_kw), sizeof *v);
    const struct jinja_str **name = jinja_alloc(r, (size_t)n_kw, sizeof *name);
    if (!v || !name)
        return false;
    int i = 0;
    for (const struct jinja_node *c = list; c; c = c->next, i++) {
        if (!jinja_eval(r, &v[i], c->kind == JN_KWARG ? c->a : c))
            return false;
        if (c->kind == JN_KWARG)
            name[i - n_pos] = c->name;
    }
    *args = (struct jinja_args){v, name, v + n_pos, n_pos, n_kw};
    return true;
}

static bool eval_call(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    struct jinja_value f;
    struct jinja_args args;
    if (!jinja_eval(r, &f, n->a) || !eval_args(r, &args, n->b))
        return false;
    r->line = n->line;
    return jinja_call(r, out, &f, &args);
}

/* Filters and tests. */
static bool eval_func(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    struct jinja_value self;
    struct jinja_args args;
    if (!jinja_eval(r, &self, n->a) || !eval_args(r, &args, n->b))
        return false;
    r->line = n->line;
    return jinja_invoke(r, out, n->func, &self, &args);
}

static bool eval_cond(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    if (!jinja_eval(r, out, n->a))
        return false;
    if (jinja_truth(out))
        return jinja_eval(r, out, n->b);
    if (n->c)
        return jinja_eval(r, out, n->c);
    return jinja_undef_hint(r, out,
                            "the inline if-expression evaluated to false and no else "
                            "section was defined.");
}

static bool eval_binary(struct render *r, struct jinja_value *out,
                        const struct jinja_node *n)
{
    struct jinja_value a, b;
    if (!jinja_eval(r, &a, n->a) || !jinja_eval(r, &b, n->b))
        return false;
    r->line = n->line;
    return jinja_binary(r, n->op, out, &a, &b);
}

static bool eval_concat(struct render *r, struct jinja_value *out,
                        const struct jinja_node *n)
{
    struct jinja_sink o;
    struct jinja_value v;
    bool ok = true;
    jinja_sink_init(r, &o);
    for (const struct jinja_node *c = n->a; ok && c; c = c->next)
        ok = jinja_eval(r, &v, c) && jinja_put_value(r, &o, &v);
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

/* a < b < c: each operand is evaluated once, and none behind a false comparison. */
static bool eval_compare(struct render *r, struct jinja_value *out,
                         const struct jinja_node *n)
{
    struct jinja_value a, b;
    bool hit = true;
    if (!jinja_eval(r, &a, n->a))
        return false;
    for (const struct jinja_node *c = n->b; c && hit; c = c->next) {
        if (!jinja_eval(r, &b, c->a))
            return false;
        r->line = n->line;
        if (!jinja_compare(r, c->op, &a, &b, &hit))
            return false;
        a = b;
    }
    *out = jinja_bool(hit);
    return true;
}

static bool eval_item(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    struct jinja_value a, b;
    if (!jinja_eval(r, &a, n->a) || !jinja_eval(r, &b, n->b))
        return false;
    r->line = n->line;
    return jinja_getitem(r, out, &a, &b);
}

static bool eval_attr(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    struct jinja_value a;
    if (!jinja_eval(r, &a, n->a))
        return false;
    r->line = n->line;
    return jinja_getattr(r, out, &a, n->name, n->func);
}

static bool eval_sign(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    int64_t i;
    if (!jinja_eval(r, out, n->a))
        return false;
    r->line = n->line;
    const struct jinja_value v = *out;
    if (n->kind == JN_NEG)
        return jinja_negate(r, out, &v);
    if (v.type == J_UNDEF)
        return jinja_undefined(r, &v);
    if (v.type == J_FLOAT)
        return true;
    if (!jinja_as_int(&v, &i))
        return jinja_fail(r, "bad operand type for unary +: '%s'", jinja_type_name(&v));
    *out = jinja_int(i);
    return true;
}

static bool eval_node(struct render *r, struct jinja_value *out,
                      const struct jinja_node *n)
{
    switch (n->kind) {
    case JN_CONST:
        *out = n->value;
        return true;
    case JN_NAME:
        return jinja_lookup(r, out, n->sym);
    case JN_LIST:
    case JN_TUPLE:
        return eval_items(r, out, n);
    case JN_DICT:
        return eval_dict(r, out, n);
    case JN_ATTR:
        return eval_attr(r, out, n);
    case JN_ITEM:
        return eval_item(r, out, n);
    case JN_SLICE:
        return eval_slice(r, out, n);
    case JN_CALL:
        return eval_call(r, out, n);
    case JN_FILTER:
    case JN_TEST:
        return eval_func(r, out, n);
    case JN_COND:
        return eval_cond(r, out, n);
    case JN_OR:
    case JN_AND:
        return jinja_eval(r, out, n->a) &&
               (jinja_truth(out) == (n->kind == JN_OR) || jinja_eval(r, out, n->b));
    case JN_NOT:
        if (!jinja_eval(r, out, n->a))
            return false;
        *out = jinja_bool(!jinja_truth(out));
        return true;
    case JN_NEG:
    case JN_POS:
        return eval_sign(r, out, n);
    case JN_BINARY:
        return eval_binary(r, out, n);
    case JN_CONCAT:
        return eval_concat(r, out, n);
    case JN_COMPARE:
        return eval_compare(r, out, n);
    case JN_CAPTURED:
        *out = r->captured;
        return true;
    default:
        return jinja_fail(r, "a statement in an expression"); // the parser makes none
    }
}

bool jinja_eval(struct render *r, struct jinja_value *out, const struct jinja_node *n)
{
    r->line = n->line;
    if (!jinja_charge(r, 1) || !jinja_enter_level(r))
        return false;
    const bool ok = eval_node(r, out, n);
    r->level--;
    return ok;
}

/* ---- loop.* ---- */

bool jinja_loop_attr(struct render *r, struct jinja_value *out,
                     const struct jinja_loop *loop, const struct jinja_str *name)
{
    static const char *const names[] = {"index",  "index0",   "revindex", "revindex0",
                                        "first",  "last",     "length",   "depth",
                                        "depth0", "previtem", "nextitem"};
    const int64_t i = (int64_t)loop->i, n = (int64_t)loop->n;
    size_t k = 0;
    while (k < sizeof names / sizeof *names &&
           (strlen(names[k]) != name->n || memcmp(names[k], name->s, name->n)))
        k++;
    const struct jinja_value object = {.type = J_LOOP, .loop = loop};
    const struct jinja_value key = {.type = J_STR, .s = name};
    switch (k) {
    case 0:
        *out = jinja_int(i + 1);
        return true;
    case 1:
        *out = jinja_int(i);
        return true;
    case 2:
        *out = jinja_int(n - i);
        return true;
    case 3:
        *out = jinja_int(n - i - 1);
        return true;
    case 4:
        *out = jinja_bool(i == 0);
        return true;
    case 5:
        *out = jinja_bool(i + 1 == n);
        return true;
    case 6:
        *out = jinja_int(n);
        return true;
    case 7:
    case 8: // recursive loops, which would be deeper, are refused
        *out = jinja_int(k == 7);
        return true;
    case 9:
        if (!i)
            return jinja_undef_hint(r, out, "there is no previous item");
        *out = jinja_iter_at(&loop->it, loop->i - 1);
        return true;
    case 10:
        if (i + 1 >= n)
            return jinja_undef_hint(r, out, "there is no next item");
        *out = jinja_iter_at(&loop->it, loop->i + 1);
        return true;
    default:
        return jinja_undef_member(r, out, &object, &key);
    }
}
