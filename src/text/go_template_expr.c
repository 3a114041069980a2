/* go_template_expr.c - pipelines of Go as expressions of Jinja. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/go_template_impl.h"

bool go_fail(struct go_pass *g, enum status s, const char *what)
{
    int line = 1;
    for (size_t i = 0; i < g->at && i < g->n; i++)
        line += g->s[i] == '\n';
    (void)!fail(g->err, s, "line %d: %s", line, what);
    return false;
}

const char *go_format(struct go_pass *g, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *to =
        n < 0 || n > GO_TEMPLATE_BYTES ? NULL : arena_array(g->arena, (size_t)n + 1, 1);
    if (!to) {
        go_fail(g, STATUS_LIMIT, "too large an expression");
        return NULL;
    }
    va_start(ap, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return to;
}

static char peek(const struct go_pass *g)
{
    return g->at < g->n ? g->s[g->at] : 0;
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

void go_skip_blanks(struct go_pass *g)
{
    while (g->at < g->n && strchr(" \t\r\n", g->s[g->at]))
        g->at++;
}

bool go_word(struct go_pass *g, char word[GO_NAME])
{
    size_t n = 0;
    while (is_word_char(peek(g)) && n + 1 < GO_NAME)
        word[n++] = g->s[g->at++];
    word[n] = 0;
    return !is_word_char(peek(g)) || go_fail(g, STATUS_LIMIT, "too long a name");
}

/* ---- variables ---- */

int go_find(const struct go_pass *g, const char *name)
{
    for (int i = g->n_variable; i-- > 0;)
        if (!strcmp(g->variables[i].name, name))
            return g->variables[i].id;
    return -1;
}

int go_declare(struct go_pass *g, const char *name)
{
    if (g->n_variable == GO_VARIABLES) {
        go_fail(g, STATUS_LIMIT, "too many variables");
        return -1;
    }
    snprintf(g->variables[g->n_variable].name, GO_NAME, "%s", name);
    return g->variables[g->n_variable++].id = g->n_id++;
}

/* ---- operands ---- */

/* "ToolCalls" and "ToolCallID" as JSON has them: tool_calls, tool_call_id. */
static void json_name(char out[2 * GO_NAME], const char *name)
{
    size_t n = 0;
    for (size_t i = 0; name[i]; i++) {
        if (i && isupper((unsigned char)name[i]) && islower((unsigned char)name[i - 1]))
            out[n++] = '_';
        out[n++] = (char)tolower((unsigned char)name[i]);
    }
    out[n] = 0;
}

/* A member of the root: what a chat has, else nothing. */
static const char *root_field(struct go_pass *g, const char *name)
{
    enum { OF_TURN = 3 };
    static const char *const chat[] = {"System", "Prompt", "Response",   "Messages",
                                       "Tools",  "Think",  "IsThinkSet", "ThinkLevel"};
    g->uses_messages |= !strcmp(name, "Messages");
    if (!strcmp(name, "Response"))
        g->response = g->uses_response = true;
    for (size_t i = 0; i < sizeof chat / sizeof *chat; i++)
        if (!strcmp(name, chat[i]))
            return go_format(g, g->turns && i < OF_TURN ? "turn['%s']" : "%s", name);
    return "none";
}

/* ".A.B" behind e, which is NULL for the root; the dot is there. */
static const char *fields(struct go_pass *g, const char *e)
{
    char name[GO_NAME], key[2 * GO_NAME];
    while (peek(g) == '.') {
        g->at++;
        if (!go_word(g, name))
            return NULL;
        if (!*name) {
            go_fail(g, STATUS_BAD_INPUT, "a name is missing behind '.'");
            return NULL;
        }
        json_name(key, name);
        e = e ? go_format(g, "(%s or {})['%s']", e, key) : root_field(g, name);
        if (!e)
            return NULL;
    }
    return e;
}

static const char *operand_dot(struct go_pass *g)
{
    if (g->at + 1 < g->n && is_word_char(g->s[g->at + 1]))
        return fields(g, g->dot);
    g->at++;
    if (!g->dot)
        go_fail(g, STATUS_UNSUPPORTED, "'.' of the whole template");
    return g->dot;
}

static const char *operand_variable(struct go_pass *g)
{
    char name[GO_NAME];
    g->at++;
    if (!go_word(g, name))
        return NULL;
    if (!*name) {
        if (peek(g) == '.')
            return fields(g, NULL);
        go_fail(g, STATUS_UNSUPPORTED, "'$' of the whole template");
        return NULL;
    }
    const int id = go_find(g, name);
    if (id < 0) {
        go_fail(g, STATUS_BAD_INPUT, "a variable that is not declared");
        return NULL;
    }
    const char *e = go_format(g, "g.v%d", id);
    return e ? fields(g, e) : NULL;
}

/* One character of a string behind a backslash, as UTF-8 text of Jinja. */
static bool put_escape(struct go_pass *g, struct buf *b)
{
    static const char from[] = "abfnrtv\\'\"";
    static const char to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *at = peek(g) ? strchr(from, peek(g)) : NULL;
    if (!at)
        return go_fail(g, STATUS_UNSUPPORTED, "an escape in a string");
    g->at++;
    const char c = to[at - from];
    if (c == '\\' || c == '\'')
        buf_puts(b, "\\");
    if (c == '\n')
        buf_puts(b, "\\n");
    else if (c == '\r')
        buf_puts(b, "\\r");
    else
        buf_append(b, &c, 1);
    return true;
}

/* A string in quotes or backquotes as one of Jinja. */
static const char *operand_string(struct go_pass *g)
{
    const char quote = g->s[g->at++];
    struct buf b;
    bool ok = true;
    buf_init(&b, GO_TEMPLATE_BYTES);
    buf_puts(&b, "'");
    while (ok && g->at < g->n && g->s[g->at] != quote) {
        const char c = g->s[g->at++];
        if (quote == '"' && c == '\n')
            ok = go_fail(g, STATUS_BAD_INPUT, "a string that does not end");
        else if (quote == '"' && c == '\\')
            ok = put_escape(g, &b);
        else if (c == '\\' || c == '\'')
            buf_printf(&b, "\\%c", c);
        else if (c == '\n')
            buf_puts(&b, "\\n");
        else if (c != '\r')
            buf_append(&b, &c, 1);
    }
    buf_puts(&b, "'");
    if (ok && g->at++ >= g->n)
        ok = go_fail(g, STATUS_BAD_INPUT, "a string that does not end");
    if (ok && b.failed)
        ok = go_fail(g, STATUS_LIMIT, "too long a string");
    const char *e = ok ? arena_strndup(g->arena, b.data, b.len) : NULL;
    buf_release(&b);
    return e;
}

static const char *operand_number(struct go_pass *g)
{
    const size_t start = g->at;
    g->at += g->s[g->at] == '-' || g->s[g->at] == '+';
    for (bool point = false;
         isdigit((unsigned char)peek(g)) || (peek(g) == '.' && !point); g->at++)
        point |= peek(g) == '.';
    const size_t n = g->at - start;
    if (n > 18 || is_word_char(peek(g)) || peek(g) == '.' ||
        !isdigit((unsigned char)g->s[g->at - 1])) {
        go_fail(g, STATUS_UNSUPPORTED, "a number of this form");
        return NULL;
    }
    return go_format(g, "(%.*s)", (int)n, g->s + start);
}

static const char *operand_bracket(struct go_pass *g)
{
    if (++g->depth > GO_TEMPLATE_DEPTH) {
        go_fail(g, STATUS_LIMIT, "too deep");
        return NULL;
    }
    g->at++;
    const char *e = go_pipeline(g);
    g->depth--;
    if (!e)
        return NULL;
    go_skip_blanks(g);
    if (peek(g) != ')') {
        go_fail(g, STATUS_BAD_INPUT, "')' is missing");
        return NULL;
    }
    g->at++;
    return fields(g, e);
}

static bool ends_command(const struct go_pass *g)
{
    const char c = peek(g);
    return !c || c == '|' || c == ')' || c == '}' ||
           (c == '-' && g->at + 1 < g->n && g->s[g->at + 1] == '}');
}

static const char *call(struct go_pass *g, const char *name, const char **args, int n);

static const char *operand(struct go_pass *g)
{
    char name[GO_NAME];
    const char c = peek(g);
    if (c == '.')
        return operand_dot(g);
    if (c == '$')
        return operand_variable(g);
    if (c == '"' || c == '`')
        return operand_string(g);
    if (c == '(')
        return operand_bracket(g);
    if (isdigit((unsigned char)c) || c == '-' || c == '+')
        return operand_number(g);
    if (c == '\'') {
        go_fail(g, STATUS_UNSUPPORTED, "a character as a number");
        return NULL;
    }
    if (!go_word(g, name))
        return NULL;
    if (!strcmp(name, "true") || !strcmp(name, "false"))
        return *name == 't' ? "true" : "false";
    if (!strcmp(name, "nil"))
        return "none";
    if (*name)
        return call(g, name, NULL, 0);
    go_fail(g, STATUS_BAD_INPUT, "an expression is missing");
    return NULL;
}

/* ---- functions ---- */

/* a op b; eq takes several b, one of which is enough. */
static const char *call_compare(struct go_pass *g, const char *op, const char **args,
                                int n)
{
    const char *e = go_format(g, "(%s %s %s)", args[0], op, args[1]);
    for (int i = 2; e && i < n; i++)
        e = go_format(g, "(%s or %s %s %s)", e, args[0], op, args[i]);
    return e;
}

static const char *call_join(struct go_pass *g, const char *op, const char **args, int n)
{
    const char *e = args[0];
    for (int i = 1; e && i < n; i++)
        e = go_format(g, "(%s %s %s)", e, op, args[i]);
    return e;
}

static const char *call_print(struct go_pass *g, const char **args, int n)
{
    const char *e = "''";
    for (int i = 0; e && i < n; i++)
        e = go_format(g, "(%s ~ go_print(%s))", e, args[i]);
    return e;
}

const char *go_list(struct go_pass *g, const char *e)
{
    static const char type[] = "['type']";
    const size_t n = e ? strlen(e) : 0, n_type = sizeof type - 1;
    if (n < n_type || strcmp(e + n - n_type, type) != 0)
        return e;
    return go_format(g, "([%s] if %s is string else %s)", e, e, e);
}

static const char *call_slice(struct go_pass *g, const char **args, int n)
{
    return go_format(g, "(%s or [])[%s:%s]", args[0], n > 1 ? args[1] : "",
                     n > 2 ? args[2] : "");
}

static const char *call_index(struct go_pass *g, const char **args, int n)
{
    const char *e = go_list(g, args[0]);
    for (int i = 1; e && i < n; i++)
        e = go_format(g, "(%s or {})[%s]", e, args[i]);
    return e;
}

static const char *call(struct go_pass *g, const char *name, const char **args, int n)
{
    static const struct {
        const char *name, *op;
        int min, max;
    } functions[] = {
        {"eq", "==", 2, GO_ARGS},    {"ne", "!=", 2, 2},
        {"lt", "<", 2, 2},           {"le", "<=", 2, 2},
        {"gt", ">", 2, 2},           {"ge", ">=", 2, 2},
        {"and", NULL, 1, GO_ARGS},   {"or", NULL, 1, GO_ARGS},
        {"not", NULL, 1, 1},         {"len", NULL, 1, 1},
        {"slice", NULL, 1, 3},       {"index", NULL, 1, GO_ARGS},
        {"json", NULL, 1, 1},        {"print", NULL, 1, GO_ARGS},
        {"currentDate", NULL, 0, 0},
    };
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(name, functions[i].name) != 0)
            continue;
        if (n < functions[i].min || n > functions[i].max) {
            go_fail(g, STATUS_UNSUPPORTED, "a wrong number of arguments");
            return NULL;
        }
        if (functions[i].op)
            return call_compare(g, functions[i].op, args, n);
        switch (*name) {
        case 'a':
        case 'o':
            return call_join(g, name, args, n);
        case 'n':
            return go_format(g, "(not %s)", args[0]);
        case 'l':
            args[0] = go_list(g, args[0]);
            return args[0] ? go_format(g, "((%s or [])|length)", args[0]) : NULL;
        case 's':
            return call_slice(g, args, n);
        case 'i':
            return call_index(g, args, n);
        case 'j':
            return go_format(g, "go_json(%s)", args[0]);
        case 'p':
            return call_print(g, args, n);
        default:
            return "strftime_now('%Y-%m-%d')";
        }
    }
    char what[GO_NAME + 32];
    snprintf(what, sizeof what, "function '%s'", name);
    go_fail(g, STATUS_UNSUPPORTED, what);
    return NULL;
}

/* FUNCTION OPERAND... or OPERAND; piped (or NULL) is a last argument. */
static const char *command(struct go_pass *g, const char *piped)
{
    const char *args[GO_ARGS + 1];
    char name[GO_NAME] = "";
    int n = 0;
    go_skip_blanks(g);
    const size_t start = g->at;
    if (isalpha((unsigned char)peek(g))) {
        if (!go_word(g, name))
            return NULL;
        if (!strcmp(name, "true") || !strcmp(name, "false") || !strcmp(name, "nil")) {
            g->at = start;
            *name = 0;
        }
    }
    for (go_skip_blanks(g); !ends_command(g); go_skip_blanks(g)) {
        if (n == GO_ARGS) {
            go_fail(g, STATUS_LIMIT, "too many arguments");
            return NULL;
        }
        if (!(args[n++] = operand(g)))
            return NULL;
    }
    if (piped)
        args[n++] = piped;
    if (*name)
        return call(g, name, args, n);
    if (n != 1) // arguments are of methods, which Go finds out when it prints
        go_fail(g, n ? STATUS_UNSUPPORTED : STATUS_BAD_INPUT,
                n ? "an argument of what is no function" : "an expression is missing");
    return n == 1 ? args[0] : NULL;
}

/* "$x :=" or "$x =" at the place: *name and whether it is new; else the place stays. */
static bool take_assignment(struct go_pass *g, char name[GO_NAME], bool *is_new)
{
    const size_t start = g->at;
    if (peek(g) == '$') {
        g->at++;
        if (go_word(g, name) && *name) {
            go_skip_blanks(g);
            *is_new = peek(g) == ':';
            g->at += *is_new;
            if (peek(g) == '=') {
                g->at++;
                return true;
            }
        }
    }
    g->at = start;
    return false;
}

const char *go_pipeline(struct go_pass *g)
{
    char name[GO_NAME];
    bool is_new = false;
    go_skip_blanks(g);
    const bool assigns = take_assignment(g, name, &is_new);
    const char *e = command(g, NULL);
    for (go_skip_blanks(g); e && peek(g) == '|'; go_skip_blanks(g)) {
        g->at++;
        e = command(g, e);
    }
    if (!e || !assigns)
        return e;
    const int id = is_new ? go_declare(g, name) : go_find(g, name);
    if (id < 0) {
        if (!is_new)
            go_fail(g, STATUS_BAD_INPUT, "a variable that is not declared");
        return NULL;
    }
    if (!g->silent)
        buf_printf(g->out, "{%% set g.v%d = %s %%}", id, e);
    return go_format(g, "g.v%d", id);
}
