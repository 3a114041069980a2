#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "model/model.h"

static bool starts(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

void completion_of_args(struct completion *out, const struct cli_command *c)
{
    *out = (struct completion){.kind = COMPLETE_FILE};
    if (!c->max_args)
        out->kind = COMPLETE_NONE;
    else if (!strcmp(c->name, "completion"))
        *out = (struct completion){COMPLETE_WORDS, "bash zsh fish"};
    else if (!strcmp(c->name, "launch"))
        *out = (struct completion){COMPLETE_WORDS, "claude"};
    else if (strstr(c->args, "MODEL") || starts(c->args, "NAME") ||
             starts(c->args, "FROM") || starts(c->args, "[PREFIX]"))
        out->kind = COMPLETE_MODEL;
}

static void put_kv_types(struct completion *out)
{
    static const char presets[] = "near-lossless balanced small tiny";
    out->kind = COMPLETE_WORDS;
    snprintf(out->words, sizeof out->words, "%s", presets);
    for (int t = 0; t < TQ_TYPE_COUNT; t++) {
        const size_t n = strlen(out->words);
        snprintf(out->words + n, sizeof out->words - n, " %s",
                 tq_type_name((enum tq_type)t));
    }
}

/* "c|avx2|avx512" with blanks. */
static void put_cpus(struct completion *out)
{
    size_t n = 0;
    out->kind = COMPLETE_WORDS;
    for (const char *p = cpu_isa_names(); *p && n + 1 < sizeof out->words; p++)
        out->words[n++] = *p == '|' ? ' ' : *p;
    out->words[n] = 0;
}

void completion_of_option(struct completion *out, const struct cli_option *o)
{
    char value[32];
    cli_option_text(o, value, sizeof value);
    *out = (struct completion){.kind = COMPLETE_NONE};
    if (o->kind == CLI_CPU)
        put_cpus(out);
    else if (!strcmp(o->name, "--kv"))
        put_kv_types(out);
    else if (strstr(value, "FILE") || strstr(value, "DIR") || strstr(value, "FOLDER"))
        out->kind = COMPLETE_FILE;
    else if (starts(value, "MODEL"))
        out->kind = COMPLETE_MODEL;
}

void completion_quote(const char *text, bool fish)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\n')
            putchar(' ');
        else if (fish && strchr("'\\", *text))
            printf("\\%c", *text);
        else if (*text == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*text);
    }
    putchar('\'');
}
