/* go_template_check.c - is a text a template of Go at all?
 *
 * The translation stops at the first thing that it does not know; behind that, actions,
 * strings, brackets and blocks are followed, which is what people get wrong. */
#include <ctype.h>
#include <string.h>

#include "text/go_template_impl.h"

enum { CHECK_BYTES = 4 << 20 };

static bool at_text(const struct go_pass *g, const char *text)
{
    const size_t len = strlen(text);
    return g->n - g->at >= len && !memcmp(g->s + g->at, text, len);
}

/* Behind the quote that ends what begins here; raw ones take lines and backslashes. */
static bool skip_quoted(struct go_pass *g)
{
    const char quote = g->s[g->at++];
    for (; g->at < g->n && g->s[g->at] != quote; g->at++) {
        if (quote != '`' && g->s[g->at] == '\n')
            break;
        if (quote != '`' && g->s[g->at] == '\\' && g->at + 1 < g->n)
            g->at++;
    }
    if (g->at >= g->n || g->s[g->at] != quote)
        return go_fail(g, STATUS_BAD_INPUT, "a string that does not end");
    g->at++;
    return true;
}

/* Up to the end of an action, and behind it. */
static bool skip_action(struct go_pass *g)
{
    int n_open = 0;
    while (g->at < g->n) {
        const char c = g->s[g->at];
        if (c == '"' || c == '`' || c == '\'') {
            if (!skip_quoted(g))
                return false;
            continue;
        }
        if (at_text(g, "}}")) {
            if (n_open)
                return go_fail(g, STATUS_BAD_INPUT, "')' is missing");
            g->at += 2;
            return true;
        }
        if (c == '{' || c == '}')
            break;
        n_open += (c == '(') - (c == ')');
        if (n_open < 0)
            return go_fail(g, STATUS_BAD_INPUT, "a ')' without '('");
        g->at++;
    }
    return go_fail(g, STATUS_BAD_INPUT, "'}}' is missing");
}

static bool skip_note(struct go_pass *g)
{
    while (g->at < g->n && !at_text(g, "*/"))
        g->at++;
    if (g->at >= g->n)
        return go_fail(g, STATUS_BAD_INPUT, "a comment that does not end");
    g->at += 2;
    return skip_action(g);
}

/* What the word in front of an action does to the blocks around it. */
static bool enter_blocks(struct go_pass *g, const char *word)
{
    static const char *const opens[] = {"if", "range", "with", "define", "block"};
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++)
        g->depth += !strcmp(word, opens[i]);
    if ((!strcmp(word, "else") || !strcmp(word, "end")) && !g->depth)
        return go_fail(g, STATUS_BAD_INPUT, "'else' or 'end' without a block");
    g->depth -= !strcmp(word, "end");
    return true;
}

static bool follow_actions(struct go_pass *g)
{
    char word[GO_NAME];
    while (g->at < g->n) {
        if (!at_text(g, "{{")) {
            g->at++;
            continue;
        }
        g->at += 2;
        if (at_text(g, "-"))
            g->at++;
        go_skip_blanks(g);
        if (at_text(g, "/*")) {
            if (!skip_note(g))
                return false;
            continue;
        }
        if (!go_word(g, word) || !enter_blocks(g, word) || !skip_action(g))
            return false;
    }
    return !g->depth || go_fail(g, STATUS_BAD_INPUT, "'end' is missing");
}

enum status go_template_check(const char *source, size_t n, struct error *err)
{
    struct buf jinja;
    struct error why = {0};
    struct go_pass g = {.s = source, .n = n, .err = &why};
    buf_init(&jinja, CHECK_BYTES);
    enum status s = go_template_translate(&jinja, source, n, &why);
    buf_release(&jinja);
    if (s && s != STATUS_BAD_INPUT && n <= GO_TEMPLATE_BYTES)
        s = follow_actions(&g) ? STATUS_OK : why.status;
    return s == STATUS_BAD_INPUT ? fail(err, s, "%s", why.text) : STATUS_OK;
}
