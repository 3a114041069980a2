/* jinja_exec.c - statements, scopes and macros.
 *
 * A for body, a macro, a with and a block that is captured have a scope of their own; if
 * has none.  The scope of a macro lies in the one that it was defined in. */
#include <string.h>

#include "text/jinja.h"

enum exec_flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_ERROR };

static enum exec_flow exec_body(struct render *r, const struct jinja_node *body);

bool jinja_enter_level(struct render *r)
{
    if (r->level < JINJA_LEVEL_MAX) {
        r->level++;
        return true;
    }
    return jinja_limit(r, "the template nests deeper than the limit of %d levels",
                       JINJA_LEVEL_MAX);
}

static enum exec_flow flow_of(bool ok)
{
    return ok ? FLOW_NEXT : FLOW_ERROR;
}

/* ---- scopes ---- */

static struct jinja_scope *scope_new(struct render *r, struct jinja_scope *parent)
{
    struct jinja_scope *s = jinja_alloc(r, 1, sizeof *s);
    if (s)
        s->parent = parent;
    return s;
}

static bool scope_set(struct render *r, struct jinja_scope *s, int sym,
                      const struct jinja_value *v)
{
    if (!s) {
        r->root[sym] = *v;
        r->root_set[sym] = true;
        return true;
    }
    for (size_t i = 0; i < s->n; i++)
        if (s->b[i].sym == sym) {
            s->b[i].value = *v;
            return true;
        }
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 4;
        struct jinja_binding *b = jinja_alloc(r, cap, sizeof *b);
        if (!b)
            return false;
        if (s->n)
            memcpy(b, s->b, s->n * sizeof *b);
        s->b = b;
        s->cap = cap;
    }
    s->b[s->n++] = (struct jinja_binding){sym, *v};
    return true;
}

bool jinja_lookup(struct render *r, struct jinja_value *out, int sym)
{
    for (const struct jinja_scope *s = r->scope; s; s = s->parent) {
        for (size_t i = 0; i < s->n; i++)
            if (s->b[i].sym == sym) {
                *out = s->b[i].value;
                return true;
            }
        if (!jinja_charge(r, s->n / 16))
            return false;
    }
    if (r->root_set[sym]) {
        *out = r->root[sym];
        return true;
    }
    const struct jinja_str *name = r->t->sym[sym];
    const struct jinja_func *f = jinja_global_find(name->s, name->n);
    *out = (struct jinja_value){.type = J_FUNC, .func = f};
    return f || jinja_undef_name(r, out, name);
}

/* ---- assignment ---- */

static bool exec_assign_tuple(struct render *r, struct jinja_scope *scope,
                              const struct jinja_node *target,
                              const struct jinja_value *v);

static bool exec_assign(struct render *r, struct jinja_scope *scope,
                        const struct jinja_node *target, const struct jinja_value *v)
{
    if (target->kind == JN_TUPLE)
        return exec_assign_tuple(r, scope, target, v);
    if (target->kind == JN_NAME)
        return scope_set(r, scope, target->sym, v);
    struct jinja_value ns;
    if (!jinja_lookup(r, &ns, target->sym))
        return false;
    if (ns.type == J_UNDEF)
        return jinja_undefined(r, &ns);
    if (ns.type != J_NAMESPACE)
        return jinja_fail(r, "cannot assign attribute on non-namespace object");
    const struct jinja_value key = {.type = J_STR, .s = target->name};
    return jinja_dict_set(r, ns.d, &key, v);
}

static bool exec_assign_tuple(struct render *r, struct jinja_scope *scope,
                              const struct jinja_node *target,
                              const struct jinja_value *v)
{
    struct jinja_iter it;
    if (v->type == J_NONE || v->type == J_BOOL || v->type == J_INT || v->type == J_FLOAT)
        return jinja_fail(r, "cannot unpack non-iterable %s object", jinja_type_name(v));
    if (!jinja_iterate(r, &it, v))
        return false;
    const size_t n = jinja_iter_n(&it);
    if (n > target->n)
        return jinja_fail(r, "too many values to unpack (expected %zu)", target->n);
    if (n < target->n)
        return jinja_fail(r, "not enough values to unpack (expected %zu, got %zu)",
                          target->n, n);
    size_t i = 0;
    for (const struct jinja_node *c = target->a; c; c = c->next) {
        const struct jinja_value item = jinja_iter_at(&it, i++);
        if (!exec_assign(r, scope, c, &item))
            return false;
    }
    return true;
}

/* ---- text ---- */

static bool exec_output(struct render *r, const struct jinja_node *n)
{
    struct jinja_value v;
    for (const struct jinja_node *c = n->a; c; c = c->next)
        if (!jinja_eval(r, &v, c) || !jinja_put_value(r, r->out, &v))
            return false;
    return true;
}

/* The text of body, run in scope. */
static enum exec_flow exec_capture(struct render *r, struct jinja_value *out,
                                   const struct jinja_node *body,
                                   struct jinja_scope *scope)
{
    struct jinja_sink o, *const out_saved = r->out;
    struct jinja_scope *const scope_saved = r->scope;
    jinja_sink_init(r, &o);
    r->out = &o;
    r->scope = scope;
    enum exec_flow flow = exec_body(r, body);
    r->out = out_saved;
    r->scope = scope_saved;
    if (flow == FLOW_NEXT)
        flow = flow_of(jinja_sink_str(r, out, &o));
    jinja_sink_release(r, &o);
    return flow;
}

/* {% set x %}...{% endset %} and {% filter f %}...{% endfilter %} */
static enum exec_flow exec_block(struct render *r, const struct jinja_node *n)
{
    struct jinja_scope *scope = scope_new(r, r->scope);
    const struct jinja_value saved = r->captured;
    struct jinja_value v;
    const enum exec_flow flow = scope ? exec_capture(r, &v, n->c, scope) : FLOW_ERROR;
    if (flow != FLOW_NEXT)
        return flow;
    r->captured = v;
    const bool ok = jinja_eval(r, &v, n->b);
    r->captured = saved;
    if (!ok)
        return FLOW_ERROR;
    return flow_of(n->a ? exec_assign(r, r->scope, n->a, &v)
                        : jinja_put_value(r, r->out, &v));
}

static enum exec_flow exec_if(struct render *r, const struct jinja_node *n)
{
    struct jinja_value v;
    for (const struct jinja_node *b = n->a; b; b = b->next) {
        if (!jinja_eval(r, &v, b->a))
            return FLOW_ERROR;
        if (jinja_truth(&v))
            return exec_body(r, b->b);
    }
    return exec_body(r, n->b);
}

static enum exec_flow exec_with(struct render *r, const struct jinja_node *n)
{
    struct jinja_scope *scope = scope_new(r, r->scope), *const saved = r->scope;
    struct jinja_value v;
    if (!scope)
        return FLOW_ERROR;
    for (const struct jinja_node *s = n->a; s; s = s->next)
        if (!jinja_eval(r, &v, s->b) || !exec_assign(r, scope, s->a, &v))
            return FLOW_ERROR;
    r->scope = scope;
    const enum exec_flow flow = exec_body(r, n->c);
    r->scope = saved;
    return flow;
}

/* ---- for ---- */

/* The items for which the test of the loop holds. */
static bool exec_loop_filter(struct render *r, const struct jinja_node *n,
                             struct jinja_iter *it)
{
    struct jinja_scope *scope = scope_new(r, r->scope), *const saved = r->scope;
    struct jinja_list *l = jinja_list_new(r, JL_LIST, 0);
    const size_t count = jinja_iter_n(it);
    struct jinja_value hit;
    bool ok = scope && l;
    for (size_t i = 0; ok && i < count; i++) {
        const struct jinja_value v = jinja_iter_at(it, i);
        ok = exec_assign(r, scope, n->a, &v);
        r->scope = scope;
        ok = ok && jinja_eval(r, &hit, n->e) &&
             (!jinja_truth(&hit) || jinja_list_push(r, l, &v));
        r->scope = saved;
    }
    *it = (struct jinja_iter){.l = l};
    return ok;
}

static struct jinja_scope *exec_loop_scope(struct render *r, struct jinja_scope *last,
                                           struct jinja_scope *parent)
{
    if (!last || last->captured)
        return scope_new(r, parent);
    last->n = 0;
    return last;
}

/* One turn: bind the item and `loop`, run the body. */
static enum exec_flow exec_turn(struct render *r, const struct jinja_node *n,
                                struct jinja_loop *loop, struct jinja_scope *scope)
{
    const struct jinja_value v = jinja_iter_at(&loop->it, loop->i);
    const struct jinja_value lv = {.type = J_LOOP, .loop = loop};
    struct jinja_scope *const saved = r->scope;
    if (!exec_assign(r, scope, n->a, &v) || !scope_set(r, scope, JINJA_SYM_LOOP, &lv))
        return FLOW_ERROR;
    r->scope = scope;
    const enum exec_flow flow = exec_body(r, n->c);
    r->scope = saved;
    return flow;
}

static enum exec_flow exec_for(struct render *r, const struct jinja_node *n)
{
    struct jinja_value v;
    struct jinja_loop *loop = jinja_alloc(r, 1, sizeof *loop);
    struct jinja_scope *scope = NULL, *const saved = r->scope;
    bool done = false; // a turn came to the end of its body
    if (!loop || !(loop->changed = jinja_alloc(r, 1, sizeof *loop->changed)) ||
        !jinja_eval(r, &v, n->b) || !jinja_iterate(r, &loop->it, &v))
        return FLOW_ERROR;
    r->line = n->line;
    if (n->e && !exec_loop_filter(r, n, &loop->it))
        return FLOW_ERROR;
    loop->n = jinja_iter_n(&loop->it);
    /* An item that is appended meanwhile is seen, as in Python. */
    for (; loop->i < jinja_iter_n(&loop->it); loop->i++) {
        scope = exec_loop_scope(r, scope, saved);
        if (!scope || !jinja_charge(r, 1))
            return FLOW_ERROR;
        const enum exec_flow flow = exec_turn(r, n, loop, scope);
        if (flow == FLOW_ERROR)
            return flow;
        if (flow == FLOW_BREAK)
            break;
        done |= flow == FLOW_NEXT;
    }
    if (done || !n->d)
        return FLOW_NEXT;
    /* As in jinja2, else also runs if every turn was cut short. */
    r->scope = scope_new(r, saved);
    const enum exec_flow flow = r->scope ? exec_body(r, n->d) : FLOW_ERROR;
    r->scope = saved;
    return flow;
}

/* ---- macros ---- */

static bool exec_macro(struct render *r, const struct jinja_node *n)
{
    struct jinja_macro *m = jinja_alloc(r, 1, sizeof *m);
    if (!m)
        return false;
    *m = (struct jinja_macro){n, r->scope};
    for (struct jinja_scope *s = r->scope; s; s = s->parent)
        s->captured = true;
    const struct jinja_value v = {.type = J_MACRO, .macro = m};
    return scope_set(r, r->scope, n->sym, &v);
}

static bool sym_is(const struct render *r, int sym, const struct jinja_str *name)
{
    const struct jinja_str *s = r->t->sym[sym];
    return s->n == name->n && !memcmp(s->s, name->s, s->n);
}

/* varargs and kwargs: what the parameters did not take. */
static bool macro_extra(struct render *r, struct jinja_scope *scope,
                        const struct jinja_node *n, const struct jinja_args *args,
                        const bool *used)
{
    struct jinja_list *rest = jinja_list_new(r, JL_TUPLE, 0);
    struct jinja_dict *named = jinja_dict_new(r, 0);
    if (!rest || !named)
        return false;
    const int name_len = n->name->n > 60 ? 60 : (int)n->name->n;
    for (int i = (int)n->n; i < args->n_pos; i++)
        if (!jinja_list_push(r, rest, &args->pos[i]))
            return false;
    for (int i = 0; i < args->n_kw; i++) {
        const struct jinja_value key = {.type = J_STR, .s = args->name[i]};
        if (!used[i] && !jinja_dict_set(r, named, &key, &args->kw[i]))
            return false;
        if (!used[i] && !n->kwargs)
            return jinja_fail(r, "macro '%.*s' takes no keyword argument '%.*s'",
                              name_len, n->name->s, key.s->n > 60 ? 60 : (int)key.s->n,
                              key.s->s);
    }
    if (rest->n && !n->varargs)
        return jinja_fail(r, "macro '%.*s' takes not more than %zu argument(s)", name_len,
                          n->name->s, n->n);
    const struct jinja_value list = jinja_listv(rest);
    const struct jinja_value dict = {.type = J_DICT, .d = named};
    return (!n->varargs || scope_set(r, scope, JINJA_SYM_VARARGS, &list)) &&
           (!n->kwargs || scope_set(r, scope, JINJA_SYM_KWARGS, &dict));
}

/* Bind the parameters; defaults see the parameters before them. */
static bool macro_bind(struct render *r, struct jinja_scope *scope,
                       const struct jinja_node *n, const struct jinja_args *args)
{
    bool *used = jinja_alloc(r, (size_t)args->n_kw, sizeof *used);
    struct jinja_value v;
    int i = 0;
    if (!used || !jinja_charge(r, (size_t)args->n_kw * n->n / 8))
        return false;
    for (const struct jinja_node *p = n->a; p; p = p->next, i++) {
        int k = args->n_kw - 1;
        while (k >= 0 && !sym_is(r, p->sym, args->name[k]))
            k--;
        if (i < args->n_pos) {
            v = args->pos[i];
        } else if (k >= 0) {
            v = args->kw[k];
            used[k] = true;
        } else if (p->a) {
            if (!jinja_eval(r, &v, p->a))
                return false;
        } else if (!jinja_undef_hint(r, &v, p->name->s)) {
            return false;
        }
        if (!scope_set(r, scope, p->sym, &v))
            return false;
    }
    return macro_extra(r, scope, n, args, used);
}

bool jinja_call_macro(struct render *r, struct jinja_value *out,
                      const struct jinja_macro *m, const struct jinja_args *args)
{
    if (r->calls >= r->limits.depth)
        return jinja_limit(r, "macros call each other deeper than the limit of %d",
                           r->limits.depth);
    struct jinja_scope *scope = scope_new(r, m->scope), *const saved = r->scope;
    if (!scope)
        return false;
    r->calls++;
    r->scope = scope;
    bool ok = macro_bind(r, scope, m->node, args);
    r->scope = saved;
    ok = ok && exec_capture(r, out, m->node->c, scope) == FLOW_NEXT;
    r->calls--;
    return ok;
}

/* ---- bodies ---- */

static enum exec_flow exec_node(struct render *r, const struct jinja_node *n)
{
    struct jinja_value v;
    switch (n->kind) {
    case JN_TEXT:
        return flow_of(jinja_put(r, r->out, n->name->s, n->name->n, NULL));
    case JN_OUTPUT:
        return flow_of(exec_output(r, n));
    case JN_IF:
        return exec_if(r, n);
    case JN_FOR:
        return exec_for(r, n);
    case JN_SET:
        return flow_of(jinja_eval(r, &v, n->b) && exec_assign(r, r->scope, n->a, &v));
    case JN_SET_BLOCK:
    case JN_FILTER_BLOCK:
        return exec_block(r, n);
    case JN_MACRO:
        return flow_of(exec_macro(r, n));
    case JN_WITH:
        return exec_with(r, n);
    case JN_BREAK:
        return FLOW_BREAK;
    default:
        return FLOW_CONTINUE;
    }
}

static enum exec_flow exec_body(struct render *r, const struct jinja_node *body)
{
    if (!jinja_enter_level(r))
        return FLOW_ERROR;
    enum exec_flow flow = FLOW_NEXT;
    for (const struct jinja_node *n = body; n && flow == FLOW_NEXT; n = n->next) {
        r->line = n->line;
        flow = jinja_charge(r, 1) ? exec_node(r, n) : FLOW_ERROR;
    }
    r->level--;
    return flow;
}

bool jinja_exec(struct render *r, const struct jinja_node *body)
{
    return exec_body(r, body) != FLOW_ERROR;
}
