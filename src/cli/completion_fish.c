/* completion_fish.c - commands of fish's `complete`. */
#include <stdio.h>

#include "cli/completion.h"

static void put_fish_action(const struct completion *c)
{
    switch (c->kind) {
    case COMPLETE_MODEL:
        fputs(" -F -a '(__turbine_models)'", stdout);
        break;
    case COMPLETE_FILE:
        fputs(" -F", stdout);
        break;
    case COMPLETE_WORDS:
        printf(" -a '%s'", c->words);
        break;
    case COMPLETE_NONE:
        break;
    }
}

static void put_fish_command(void *ctx, const struct cli_command *c, const char *summary)
{
    struct completion what;
    char value[32];
    (void)ctx;
    printf("complete -c turbine -n __fish_use_subcommand -a %s -d ", c->name);
    completion_quote(summary, true);
    printf("\ncomplete -c turbine -n '__fish_seen_subcommand_from %s' -l help "
           "-d 'say what it takes'\n",
           c->name);
    for (const struct cli_option *o = c->options; o->name; o++) {
        if (o->kind == CLI_ENVIRONMENT)
            continue;
        const char *text = cli_option_text(o, value, sizeof value);
        const bool wide = o->name[1] == '-';
        completion_of_option(&what, o);
        printf("complete -c turbine -n '__fish_seen_subcommand_from %s' -%c %s%s -d ",
               c->name, wide ? 'l' : 's', o->name + (wide ? 2 : 1),
               o->kind == CLI_FLAG                                         ? ""
               : what.kind == COMPLETE_MODEL || what.kind == COMPLETE_FILE ? " -r"
                                                                           : " -x");
        completion_quote(text, true);
        if (o->kind != CLI_FLAG)
            put_fish_action(&what);
        putchar('\n');
    }
    completion_of_args(&what, c);
    if (what.kind != COMPLETE_NONE) {
        printf("complete -c turbine -n '__fish_seen_subcommand_from %s'", c->name);
        put_fish_action(&what);
        putchar('\n');
    }
}

void completion_fish(void)
{
    fputs("# fish completion of turbine\n"
          "function __turbine_models\n"
          "    turbine list 2>/dev/null | awk 'NR > 1 {print $1}'\n"
          "end\n"
          "complete -c turbine -f\n",
          stdout);
    cli_each_command(put_fish_command, NULL);
}
