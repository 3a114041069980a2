/* go_template.c - the blocks of a template of Go as those of Jinja.
 *
 * Variables are members of the namespace g, so that a block can change those outside of
 * it, as in Go.  Text is put out as string literals: Jinja's rules about white space
 * never see it. */
#include "text/go_template.h"

#include <ctype.h>
#include <string.h>

#include "text/go_template_impl.h"

/* What Go prints of a value; objects and lists as JSON, which Ollama's types do; nothing
 * of nothing. */
static const char prelude[] =
    "{% set g = namespace() %}"
    "{% macro go_json(v) %}{{ (v if v is defined else none)|tojson(separators=(',',':'))"
    "|replace('&','\\\\u0026')|replace('<','\\\\u003c')|replace('>','\\\\u003e') }}"
    "{% endmacro %}"
    "{% macro go_print(v) %}{% if v is string %}{{ v }}"
    "{% elif v is undefined or v is none %}{% elif v is boolean %}"
    "{{ 'true' if v else 'false' }}{% elif v is number %}{{ v }}"
    "{% else %}{{ go_json(v) }}{% endif %}{% endmacro %}";

enum go_end { GO_EOF, GO_ELSE, GO_END, GO_FAILED };

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void put_literal(struct go_pass *g, const char *s, size_t n)
{
    if (!n || g->silent)
        return;
    buf_puts(g->out, "{{ '");
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\' || s[i] == '\'')
            buf_puts(g->out, "\\");
        if (s[i] == '\n')
            buf_puts(g->out, "\\n");
        else if (s[i] == '\r')
            buf_puts(g->out, "\\r");
        else
            buf_append(g->out, s + i, 1);
    }
    buf_puts(g->out, "' }}");
}

/* Behind an action: "}}" or " -}}", which takes the white space that follows. */
static bool close_action(struct go_pass *g)
{
    go_skip_blanks(g);
    bool trim = false;
    if (g->at < g->n && g->s[g->at] == '-' && g->at && is_space(g->s[g->at - 1])) {
        trim = true;
        g->at++;
    }
    if (g->n - g->at < 2 || memcmp(g->s + g->at, "}}", 2) != 0)
        return go_fail(g, STATUS_BAD_INPUT, "'}}' is missing");
    g->at += 2;
    if (trim)
        go_skip_blanks(g);
    return true;
}

/* The text up to the next action, and what opens that: true if there is one. */
static bool open_action(struct go_pass *g)
{
    const size_t start = g->at;
    size_t i = start;
    while (i + 1 < g->n && memcmp(g->s + i, "{{", 2) != 0)
        i++;
    if (i + 1 >= g->n) {
        put_literal(g, g->s + start, g->n - start);
        g->at = g->n;
        return false;
    }
    g->at = i + 2;
    if (g->at + 1 < g->n && g->s[g->at] == '-' && is_space(g->s[g->at + 1])) {
        g->at++;
        while (i > start && is_space(g->s[i - 1]))
            i--;
    }
    put_literal(g, g->s + start, i - start);
    go_skip_blanks(g);
    return true;
}

static bool skip_comment(struct go_pass *g)
{
    for (g->at += 2; g->at + 1 < g->n; g->at++)
        if (g->s[g->at] == '*' && g->s[g->at + 1] == '/') {
            g->at += 2;
            return close_action(g);
        }
    return go_fail(g, STATUS_BAD_INPUT, "a comment that does not end");
}

static enum go_end parse_blocks(struct go_pass *g);

/* ---- blocks ---- */

/* The contents of a block with its own dot and scope; *n_variable is that outside. */
static enum go_end parse_inside(struct go_pass *g, const char *dot)
{
    const char *outside = g->dot;
    const int n = g->n_variable;
    g->dot = dot;
    const enum go_end end = parse_blocks(g);
    g->dot = outside;
    g->n_variable = n;
    return end;
}

static bool parse_if(struct go_pass *g, bool with);

/* The rest of a block behind its first part: else parts, then the end of an if of Jinja.
 * `first` closes the first part before that; `shown` is false where the whole block is
 * left out. */
static bool finish_go_block(struct go_pass *g, enum go_end end, bool shown,
                            const char *first)
{
    char name[GO_NAME];
    if (shown)
        buf_puts(g->out, first);
    if (end == GO_ELSE) {
        if (shown)
            buf_puts(g->out, "{% else %}");
        go_skip_blanks(g);
        if (g->at < g->n && isalpha((unsigned char)g->s[g->at])) {
            /* "else if" is an else with an if inside that has the same end. */
            if (!go_word(g, name))
                return false;
            if (strcmp(name, "if") != 0 && strcmp(name, "with") != 0)
                return go_fail(g, STATUS_BAD_INPUT, "a word behind 'else'");
            if (!parse_if(g, *name == 'w'))
                return false;
            end = GO_END;
        } else {
            if (!close_action(g))
                return false;
            end = parse_inside(g, g->dot);
            if (end == GO_END && !close_action(g))
                return false;
        }
    } else if (end == GO_END && !close_action(g)) {
        return false;
    }
    if (end == GO_FAILED)
        return false;
    if (end != GO_END)
        return go_fail(g, STATUS_BAD_INPUT, "'end' is missing");
    if (shown)
        buf_puts(g->out, "{% endif %}");
    return true;
}

static bool parse_if(struct go_pass *g, bool with)
{
    const bool shown = !g->silent;
    const int n = g->n_variable, id = g->n_id++;
    if (++g->depth > GO_TEMPLATE_DEPTH)
        return go_fail(g, STATUS_LIMIT, "too deep");
    const char *e = go_pipeline(g), *dot = g->dot;
    if (!e || !close_action(g))
        return false;
    if (with) {
        if (!(dot = go_format(g, "g.v%d", id)))
            return false;
        if (shown)
            buf_printf(g->out, "{%% set %s = %s %%}", dot, e);
        e = dot;
    }
    if (shown)
        buf_printf(g->out, "{%% if %s %%}", e);
    const enum go_end end = parse_inside(g, dot);
    const bool ok = finish_go_block(g, end, shown, "");
    g->n_variable = n;
    g->depth--;
    return ok;
}

/* "$i, $x :=" or "$x :=" before what a range goes over: the names that are there. */
static bool take_range_names(struct go_pass *g, char names[2][GO_NAME], int *n)
{
    const size_t start = g->at;
    *n = 0;
    while (g->at < g->n && g->s[g->at] == '$' && *n < 2) {
        g->at++;
        if (!go_word(g, names[(*n)++]))
            return false;
        go_skip_blanks(g);
        if (g->at < g->n && g->s[g->at] == ',') {
            g->at++;
            go_skip_blanks(g);
        } else if (g->n - g->at >= 2 && !memcmp(g->s + g->at, ":=", 2)) {
            g->at += 2;
            return true;
        } else {
            break;
        }
    }
    g->at = start;
    *n = 0;
    return true;
}

static bool parse_range(struct go_pass *g)
{
    const bool shown = !g->silent;
    const int n = g->n_variable, id = g->n_id++;
    char names[2][GO_NAME];
    int n_name;
    if (++g->depth > GO_TEMPLATE_DEPTH)
        return go_fail(g, STATUS_LIMIT, "too deep");
    go_skip_blanks(g);
    if (!take_range_names(g, names, &n_name))
        return false;
    const char *e = go_list(g, go_pipeline(g));
    if (!e || !close_action(g))
        return false;
    const char *dot = go_format(g, "g.v%d", id);
    if (!dot)
        return false;
    /* Go goes over an object by its sorted names.  An else of Jinja's for is not that of
     * Go's range: it is also done where the last round ended early. */
    if (shown)
        buf_printf(g->out,
                   "{%% set g.m%d = %s is mapping %%}"
                   "{%% set g.l%d = (%s|dictsort(true) if g.m%d else %s) or [] %%}"
                   "{%% if g.l%d %%}{%% for t%d in g.l%d %%}"
                   "{%% set %s = t%d[1] if g.m%d else t%d %%}",
                   id, e, id, e, id, e, id, id, id, dot, id, id, id);
    for (int i = 0; i < n_name; i++) {
        const int v = go_declare(g, names[i]);
        if (v < 0)
            return false;
        if (!shown)
            continue;
        if (i == n_name - 1)
            buf_printf(g->out, "{%% set g.v%d = %s %%}", v, dot);
        else
            buf_printf(g->out, "{%% set g.v%d = t%d[0] if g.m%d else loop.index0 %%}", v,
                       id, id);
    }
    g->n_loop++;
    const enum go_end end = parse_inside(g, dot);
    g->n_loop--;
    g->n_variable = n;
    const bool ok = finish_go_block(g, end, shown, "{% endfor %}");
    g->depth--;
    return ok;
}

static bool parse_jump(struct go_pass *g, const char *word)
{
    if (!g->n_loop)
        return go_fail(g, STATUS_BAD_INPUT, "break or continue outside of a range");
    if (!g->silent)
        buf_printf(g->out, "{%% %s %%}", word);
    return close_action(g);
}

static bool parse_output(struct go_pass *g)
{
    g->response = false;
    const size_t start = g->at;
    const char *e = go_pipeline(g);
    if (!e || !close_action(g))
        return false;
    bool assigns = g->s[start] == '$';
    if (assigns) {
        size_t i = start + 1;
        while (isalnum((unsigned char)g->s[i]) || g->s[i] == '_')
            i++;
        while (is_space(g->s[i]))
            i++;
        assigns = g->s[i] == '=' || (g->s[i] == ':' && g->s[i + 1] == '=');
    }
    if (!assigns && !g->silent)
        buf_printf(g->out, "{{ go_print(%s) }}", e);
    if (g->cut && g->response)
        g->silent = true;
    return true;
}

/* Up to "else" or "end" of the block that this is in; the word is read, not its end. */
static enum go_end parse_blocks(struct go_pass *g)
{
    char word[GO_NAME];
    while (open_action(g)) {
        bool ok;
        if (g->n - g->at >= 2 && !memcmp(g->s + g->at, "/*", 2)) {
            if (!skip_comment(g))
                return GO_FAILED;
            continue;
        }
        const size_t start = g->at;
        if (!go_word(g, word))
            return GO_FAILED;
        if (!strcmp(word, "end"))
            return GO_END;
        if (!strcmp(word, "else"))
            return GO_ELSE;
        if (!strcmp(word, "if") || !strcmp(word, "with")) {
            ok = parse_if(g, *word == 'w');
        } else if (!strcmp(word, "range")) {
            ok = parse_range(g);
        } else if (!strcmp(word, "break") || !strcmp(word, "continue")) {
            ok = parse_jump(g, word);
        } else if (!strcmp(word, "define") || !strcmp(word, "template") ||
                   !strcmp(word, "block")) {
            ok = go_fail(g, STATUS_UNSUPPORTED, "define, template and block");
        } else {
            g->at = start;
            ok = parse_output(g);
        }
        if (!ok)
            return GO_FAILED;
    }
    return GO_EOF;
}

/* ---- passes ---- */

static bool run_translation(struct go_pass *g)
{
    switch (parse_blocks(g)) {
    case GO_EOF:
        break;
    case GO_ELSE:
    case GO_END:
        return go_fail(g, STATUS_BAD_INPUT, "'else' or 'end' without a block");
    case GO_FAILED:
        return false;
    }
    return !g->out->failed || go_fail(g, STATUS_LIMIT, "too large a template");
}

/* Translate once; messages: whether it says .Messages. */
static bool translate(struct buf *out, const char *s, size_t n, struct arena *arena,
                      bool turns, bool cut, bool *messages, struct error *err)
{
    struct go_pass g = {.s = s,
                        .n = n,
                        .arena = arena,
                        .out = out,
                        .err = err,
                        .turns = turns,
                        .cut = cut};
    if (!run_translation(&g))
        return false;
    if (turns && !g.uses_response)
        buf_puts(out, "{{ turn['Response'] }}");
    if (messages)
        *messages = g.uses_messages;
    return true;
}

enum status go_template_translate(struct buf *out, const char *source, size_t n,
                                  struct error *err)
{
    struct arena arena;
    bool messages = false;
    if (n > GO_TEMPLATE_BYTES)
        return fail(err, STATUS_LIMIT, "the template is longer than %d bytes",
                    GO_TEMPLATE_BYTES);
    if (memchr(source, 0, n))
        return fail(err, STATUS_BAD_INPUT, "a byte 0 in the template");
    const size_t start = out->len;
    arena_init(&arena, (size_t)64 << 20);
    struct error why = {0};
    buf_puts(out, prelude);
    bool ok = translate(out, source, n, &arena, false, false, &messages, &why);
    if (ok && !messages) {
        out->len = start;
        buf_puts(out, prelude);
        buf_puts(out, "{% for turn in go_turns %}");
        ok = translate(out, source, n, &arena, true, false, NULL, &why);
        buf_puts(out, "{% endfor %}{% set turn = go_last %}");
        ok = ok && translate(out, source, n, &arena, true, true, NULL, &why);
    }
    arena_release(&arena);
    if (ok && out->failed)
        return fail(err, STATUS_LIMIT, "the template is too large");
    if (!ok && !why.status)
        return fail(err, STATUS_NO_MEMORY, "no memory for the template");
    return ok ? STATUS_OK : fail(err, why.status, "%s", why.text);
}
