/* template.c - compile and render. */
#include "text/template.h"

#include <string.h>

#include "base/mem.h"
#include "text/go_template.h"
#include "text/jinja.h"

const struct template_limits template_limits_default = {
    .steps = 10000000, // a second at most; gpt-oss takes some 5 n^2 for n messages
    .output_bytes = 16 << 20,
    .memory_bytes = 128 << 20,
    .depth = 64,
};

/* jinja2 reads all line ends as "\n" and drops one at the end. */
static char *source_copy(struct arena *a, const char *s, size_t n, size_t *len)
{
    char *to = arena_array(a, n + 1, 1);
    size_t k = 0;
    for (size_t i = 0; to && i < n; i++) {
        if (s[i] == '\r' && i + 1 < n && s[i + 1] == '\n')
            continue;
        to[k++] = s[i] == '\r' ? '\n' : s[i];
    }
    *len = k && to[k - 1] == '\n' ? k - 1 : k;
    return to;
}

enum status template_compile(struct template **out, const char *source, size_t n,
                             struct error *err)
{
    struct jinja_tokens tok = {0};
    enum status s;
    size_t len = 0;
    *out = NULL;
    if (n > JINJA_SOURCE_MAX)
        return fail(err, STATUS_LIMIT, "the template is longer than %d bytes",
                    JINJA_SOURCE_MAX);
    if (!jinja_utf8_valid(source, n))
        return fail(err, STATUS_BAD_INPUT, "the template is not valid UTF-8");
    struct template *t = mem_array(1, sizeof *t);
    if (!t)
        return fail(err, STATUS_NO_MEMORY, "out of memory for the template");
    arena_init(&t->arena, (size_t)1 << 30);
    char *copy = source_copy(&t->arena, source, n, &len);
    if (!copy)
        s = fail(err, STATUS_NO_MEMORY, "out of memory for the template");
    else
        s = jinja_lex(&tok, &t->arena, copy, len, err);
    if (s == STATUS_OK)
        s = jinja_parse(t, tok.t, err);
    mem_free(tok.t);
    if (s == STATUS_OK)
        *out = t;
    else
        template_close(t);
    return s;
}

enum status template_compile_go(struct template **out, const char *source, size_t n,
                                struct error *err)
{
    struct buf jinja;
    *out = NULL;
    if (!jinja_utf8_valid(source, n))
        return fail(err, STATUS_BAD_INPUT, "the template is not valid UTF-8");
    buf_init(&jinja, JINJA_SOURCE_MAX);
    enum status s = go_template_translate(&jinja, source, n, err);
    if (!s)
        s = template_compile(out, jinja.data, jinja.len, err);
    buf_release(&jinja);
    if (!s)
        (*out)->go = true;
    return s;
}

void template_close(struct template *t)
{
    if (!t)
        return;
    arena_release(&t->arena);
    mem_free(t);
}

void template_output_release(struct template_output *o)
{
    buf_release(&o->text);
    buf_release(&o->mark);
}

static bool json_to_str(struct render *r, struct jinja_value *out, const char *s,
                        size_t n, const uint8_t *mark, bool copy)
{
    if (copy) {
        char *to = jinja_alloc(r, n, 1);
        if (!to)
            return false;
        if (n)
            memcpy(to, s, n);
        s = to;
    }
    return jinja_str_view(r, out, s, n, mark);
}

static bool json_to_value(struct render *r, struct jinja_value *out, json_t *j,
                          const uint8_t *mark, bool copy, int depth);

static bool json_to_list(struct render *r, struct jinja_value *out, json_t *j,
                         const uint8_t *mark, bool copy, int depth)
{
    struct jinja_list *l = jinja_list_new(r, JL_LIST, json_array_size(j));
    for (size_t i = 0; l && i < json_array_size(j); i++)
        if (!json_to_value(r, &l->v[l->n++], json_array_get(j, i), mark, copy, depth + 1))
            return false;
    *out = jinja_listv(l);
    return l;
}

static bool json_to_dict(struct render *r, struct jinja_value *out, json_t *j,
                         const uint8_t *mark, bool copy, int depth)
{
    struct jinja_dict *d = jinja_dict_new(r, json_object_size(j));
    for (void *it = json_object_iter(j); d && it; it = json_object_iter_next(j, it)) {
        struct jinja_pair *p = &d->p[d->n++];
        const char *key = json_object_iter_key(it);
        if (!json_to_str(r, &p->key, key, strlen(key), mark, copy) ||
            !json_to_value(r, &p->value, json_object_iter_value(it), mark, copy,
                           depth + 1))
            return false;
    }
    *out = (struct jinja_value){.type = J_DICT, .d = d};
    return d;
}

static bool json_to_value(struct render *r, struct jinja_value *out, json_t *j,
                          const uint8_t *mark, bool copy, int depth)
{
    if (depth > JINJA_VALUE_DEPTH)
        return jinja_limit(r, "the JSON nests deeper than %d", JINJA_VALUE_DEPTH);
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return json_to_dict(r, out, j, mark, copy, depth);
    case JSON_ARRAY:
        return json_to_list(r, out, j, mark, copy, depth);
    case JSON_STRING:
        return json_to_str(r, out, json_string_value(j), json_string_length(j), mark,
                           copy);
    case JSON_INTEGER:
        *out = jinja_int(json_integer_value(j));
        return true;
    case JSON_REAL:
        *out = jinja_float(json_real_value(j));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = jinja_bool(json_is_true(j));
        return true;
    case JSON_NULL:
        *out = jinja_none();
        return true;
    }
    return jinja_fail(r, "unknown kind of JSON value");
}

bool jinja_from_json(struct render *r, struct jinja_value *out, json_t *j,
                     const uint8_t *mark, bool copy)
{
    return json_to_value(r, out, j, mark, copy, 0);
}

static bool is_one_of(const char *const *list, const char *s, size_t n)
{
    for (; *list; list++)
        if (strlen(*list) == n && !memcmp(*list, s, n))
            return true;
    return false;
}

/* Some templates write '<|' + role + '|>' for a special token.  The roles there are may
 * become one; whatever else stands in their place is input like the rest. */
static bool trust_roles(struct render *r, const struct jinja_value *messages)
{
    static const char *const roles[] = {"system",  "user",      "assistant",
                                        "tool",    "developer", "function",
                                        "ipython", "model",     NULL};
    for (size_t i = 0; messages->type == J_LIST && i < messages->l->n; i++) {
        const struct jinja_value *m = &messages->l->v[i];
        struct jinja_value *role =
            m->type == J_DICT ? jinja_dict_str(m->d, "role", 4) : NULL;
        if (role && role->type == J_STR && is_one_of(roles, role->s->s, role->s->n) &&
            !jinja_str_view(r, role, role->s->s, role->s->n, NULL))
            return false;
    }
    return true;
}

/* The members of vars that the template names become its variables. */
static bool render_vars(struct render *r, json_t *vars)
{
    static const char *const tokens[] = {"bos_token",  "eos_token", "unk_token",
                                         "pad_token",  "sep_token", "cls_token",
                                         "mask_token", NULL};
    static const char *const messages[] = {"messages", "Messages", NULL};
    const struct template *t = r->t;
    r->root = jinja_alloc(r, (size_t)t->n_sym, sizeof *r->root);
    r->root_set = jinja_alloc(r, (size_t)t->n_sym, sizeof *r->root_set);
    if (!r->root || !r->root_set)
        return false;
    for (int i = 0; i < t->n_sym; i++) {
        char name[64];
        if (t->sym[i]->n >= sizeof name)
            continue;
        memcpy(name, t->sym[i]->s, t->sym[i]->n);
        name[t->sym[i]->n] = 0;
        json_t *j = json_object_get(vars, name);
        if (!j)
            continue;
        const bool trusted = is_one_of(tokens, name, t->sym[i]->n);
        if (!jinja_from_json(r, &r->root[i], j, trusted ? NULL : jinja_input, false) ||
            (is_one_of(messages, name, t->sym[i]->n) && !trust_roles(r, &r->root[i])))
            return false;
        r->root_set[i] = true;
    }
    return true;
}

enum status template_render(const struct template *t, json_t *vars, time_t now,
                            const struct template_limits *limits,
                            struct template_output *out, struct error *err)
{
    struct jinja_sink sink;
    struct render r = {.t = t,
                       .limits = limits ? *limits : template_limits_default,
                       .line = 1,
                       .out = &sink,
                       .base = &sink,
                       .now = now,
                       .err = err,
                       .status = STATUS_OK};
    buf_init(&sink.text, r.limits.output_bytes);
    buf_init(&sink.mark, r.limits.output_bytes);
    arena_init(&r.arena, r.limits.memory_bytes);
    json_t *own = NULL;
    *out = (struct template_output){0};
    if (t->go && (!vars || json_is_object(vars))) {
        vars = own = go_template_vars(vars);
        if (!own)
            r.status = fail(err, STATUS_NO_MEMORY, "no memory for the variables");
    }
    if (vars && !json_is_object(vars))
        r.status = fail(err, STATUS_BAD_ARG, "the variables must be a JSON object");
    else if (!r.status && render_vars(&r, vars) && jinja_exec(&r, t->body))
        *out = (struct template_output){sink.text, sink.mark};
    if (r.status != STATUS_OK) {
        buf_release(&sink.text);
        buf_release(&sink.mark);
    }
    arena_release(&r.arena);
    json_decref(own);
    return r.status;
}
