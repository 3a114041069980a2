/* completion_zsh.c - a function for zsh's compsys. */
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"

/* text where ':' and brackets mean something; a quote inside single quotes. */
static void put_zsh(const char *text)
{
    for (; *text; text++) {
        if (strchr(":[]\\", *text))
            putchar('\\');
        if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text == '\n' ? ' ' : *text);
    }
}

static void put_zsh_action(const struct completion *c)
{
    static const char *const actions[] = {
        [COMPLETE_MODEL] = "_turbine_models",
        [COMPLETE_FILE] = "_files",
        [COMPLETE_NONE] = " ",
    };
    if (c->kind == COMPLETE_WORDS)
        printf("(%s)", c->words);
    else
        fputs(actions[c->kind], stdout);
}

static void put_zsh_name(void *ctx, const struct cli_command *c, const char *summary)
{
    (void)ctx;
    printf("            '%s:", c->name);
    put_zsh(summary);
    fputs("'\n", stdout);
}

static void put_zsh_command(void *ctx, const struct cli_command *c, const char *summary)
{
    struct completion what;
    char value[32];
    (void)ctx;
    (void)summary;
    printf("    %s)\n        _arguments '--help[say what it takes]'", c->name);
    for (const struct cli_option *o = c->options; o->name; o++) {
        if (o->kind == CLI_ENVIRONMENT)
            continue;
        const char *text = cli_option_text(o, value, sizeof value);
        const bool wide = o->name[1] == '-';
        printf(" \\\n            '%s%s[", o->name,
               o->kind == CLI_FLAG ? ""
               : wide              ? "="
                                   : "+");
        put_zsh(text);
        putchar(']');
        if (o->kind != CLI_FLAG) {
            completion_of_option(&what, o);
            putchar(':');
            put_zsh(*value ? value : "value");
            putchar(':');
            put_zsh_action(&what);
        }
        putchar('\'');
    }
    completion_of_args(&what, c);
    if (what.kind != COMPLETE_NONE) {
        fputs(" \\\n            '*:argument:", stdout);
        put_zsh_action(&what);
        putchar('\'');
    }
    fputs("\n        ;;\n", stdout);
}

void completion_zsh(void)
{
    fputs("#compdef turbine\n"
          "_turbine_models()\n{\n"
          "    local -a models\n"
          "    models=(${(f)\"$(turbine list 2>/dev/null | awk 'NR > 1 {print $1}')\"})\n"
          "    _alternative \"models:model:compadd -a models\" 'files:file:_files'\n"
          "}\n\n"
          "_turbine()\n{\n"
          "    local -a commands\n"
          "    if (( CURRENT == 2 )); then\n"
          "        commands=(\n",
          stdout);
    cli_each_command(put_zsh_name, NULL);
    fputs("        )\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    local command=${words[2]}\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n",
          stdout);
    cli_each_command(put_zsh_command, NULL);
    fputs("    esac\n"
          "}\n\n"
          "if [[ ${zsh_eval_context[-1]} == loadautofunc ]]; then\n"
          "    _turbine \"$@\"\n"
          "else\n"
          "    compdef _turbine turbine\n"
          "fi\n",
          stdout);
}
