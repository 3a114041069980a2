/* cmd_man.c - turbine man: the manual page, made from the tables of commands and of the
 * environment. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/environment.h"

/* Text of a page: no request at the start of a line, '-' as it is typed. */
static void put_roff(const char *text)
{
    bool start = true;
    for (; *text; text++) {
        if (start && strchr(".'", *text))
            fputs("\\&", stdout);
        start = *text == '\n';
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\'')
            fputs("\\(aq", stdout);
        else if (*text == '`')
            fputs("\\(ga", stdout);
        else if (*text == '^')
            fputs("\\(ha", stdout);
        else if (*text == '~')
            fputs("\\(ti", stdout);
        else
            putchar(*text);
    }
}

/* A line that ends a sentence ends its paragraph, others are filled; lines that are
 * indented stay as they are. */
static void put_paragraphs(const char *text)
{
    char line[800];
    bool begin = true;
    while (*text) {
        const size_t n = strcspn(text, "\n"), indent = strspn(text, " ");
        snprintf(line, sizeof line, "%.*s",
                 (int)(n < sizeof line ? n - indent : sizeof line - 1), text + indent);
        fputs(indent ? ".br\n" : begin ? ".PP\n" : "", stdout);
        put_roff(line);
        putchar('\n');
        begin = indent || (n && strchr(".:", text[n - 1]));
        text += n + (text[n] == '\n');
    }
}

static void put_option(const struct cli_option *o)
{
    char value[48];
    const char *text = cli_option_text(o, value, sizeof value);
    fputs(".TP\n\\fB", stdout);
    put_roff(o->name);
    fputs("\\fR", stdout);
    if (*value) {
        fputs(" \\fI", stdout);
        put_roff(value);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    put_roff(text);
    putchar('\n');
}

static void put_man_command(void *ctx, const struct cli_command *c, const char *summary)
{
    (void)ctx;
    fputs(".SS turbine ", stdout);
    put_roff(c->name);
    if (*c->args) {
        putchar(' ');
        put_roff(c->args);
    }
    putchar('\n');
    put_roff(summary);
    fputs(".\n", stdout);
    if (strcmp(summary, c->summary) != 0)
        put_paragraphs(c->summary);
    for (const struct cli_option *o = c->options; o->name; o++) {
        if (o->kind == CLI_ENVIRONMENT)
            fputs(".PP\nThe section ENVIRONMENT has the variables that it reads.\n",
                  stdout);
        else
            put_option(o);
    }
}

static void put_variables(void)
{
    const struct environment_variable *v;
    for (int i = 0; (v = environment_row(i)); i++) {
        fputs(".TP\n\\fB", stdout);
        put_roff(v->name);
        if (v->twin) {
            fputs("\\fR, \\fB", stdout);
            put_roff(v->twin);
        }
        fputs("\\fR\n", stdout);
        put_roff(v->help);
        fputs(" (default ", stdout);
        put_roff(v->fallback);
        fputs(")\n", stdout);
    }
}

int cmd_man(int argc, char **argv)
{
    static const struct cli_option options[] = {{0}};
    static const struct cli_command c = {
        "man", "", "Print the manual page: turbine man | man -l -", options, 0, 0,
    };
    const int rc = cli_parse(&c, argc, argv, NULL);
    if (rc >= 0)
        return rc;
    fputs(".TH TURBINE 1 \"\" \"turbine\" \"User Commands\"\n"
          ".SH NAME\n"
          "turbine \\- run language models with a compressed key\\-value cache\n"
          ".SH SYNOPSIS\n"
          ".B turbine\n"
          ".I COMMAND\n"
          "[\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]\n"
          ".PP\n"
          "An option is written \\fB\\-\\-name\\fR \\fIVALUE\\fR or "
          "\\fB\\-\\-name=\\fR\\fIVALUE\\fR; \\fB\\-\\-\\fR ends the options, and "
          "\\fB\\-\\-help\\fR behind a command says what it takes.\n"
          ".SH COMMANDS\n",
          stdout);
    cli_each_command(put_man_command, NULL);
    fputs(".SH ENVIRONMENT\n"
          "The first of a line that is set counts; blanks and quotes around a value do "
          "not.  PARAMETERs of a Modelfile win over variables, options over both.\n",
          stdout);
    put_variables();
    fputs(
        ".SH EXIT STATUS\n"
        "0 if it was done, 1 if it failed (a line on standard error says why), 2 if the "
        "usage was wrong.\n",
        stdout);
    return CLI_OK;
}
