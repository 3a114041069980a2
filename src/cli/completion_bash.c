/* completion_bash.c - a function for bash's `complete`.
 *
 * bash splits a line at ':' and '=', which names of models have: the word that is
 * completed is taken from the line, and what bash keeps of it is cut off the answers. */
#include <stdio.h>

#include "cli/completion.h"

static void put_action(const struct completion *c)
{
    static const char *const actions[] = {
        [COMPLETE_MODEL] = "models=1 files=1",
        [COMPLETE_FILE] = "files=1",
        [COMPLETE_NONE] = ":",
    };
    if (c->kind == COMPLETE_WORDS)
        printf("words='%s'", c->words);
    else
        fputs(actions[c->kind], stdout);
}

static void put_name(void *ctx, const struct cli_command *c, const char *summary)
{
    (void)ctx;
    (void)summary;
    printf(" %s", c->name);
}

/* The options of a command, and which of them take a value of what kind. */
static void put_command(void *ctx, const struct cli_command *c, const char *summary)
{
    struct completion what;
    (void)ctx;
    (void)summary;
    printf("    %s)\n        options='--help", c->name);
    for (const struct cli_option *o = c->options; o->name; o++)
        if (o->kind != CLI_ENVIRONMENT)
            printf(" %s", o->name);
    fputs("'\n        case $option in\n", stdout);
    for (const struct cli_option *o = c->options; o->name; o++) {
        if (o->kind == CLI_ENVIRONMENT || o->kind == CLI_FLAG)
            continue;
        completion_of_option(&what, o);
        printf("        %s) ", o->name);
        put_action(&what);
        fputs(" ;;\n", stdout);
    }
    completion_of_args(&what, c);
    fputs("        *) ", stdout);
    put_action(&what);
    fputs(" ;;\n        esac\n        ;;\n", stdout);
}

void completion_bash(void)
{
    fputs(
        "# bash completion of turbine: source it, or put it where bash-completion looks\n"
        "_turbine()\n{\n"
        "    local line=${COMP_LINE:0:COMP_POINT} cur option= options= words= models= "
        "files= head reply\n"
        "    local command=${COMP_WORDS[1]} IFS=$' \\t\\n'\n"
        "    cur=${line##*[[:blank:]]}\n"
        "    COMPREPLY=()\n"
        "    if [[ $COMP_CWORD -eq 1 ]]; then\n"
        "        COMPREPLY=($(compgen -W '--help",
        stdout);
    cli_each_command(put_name, NULL);
    fputs("' -- \"$cur\"))\n        return\n    fi\n"
          "    head=${line%\"$cur\"}\n"
          "    head=${head%\"${head##*[![:blank:]]}\"}\n"
          "    option=${head##*[[:blank:]]}\n"
          "    reply=$cur\n"
          "    case $cur in\n"
          "    --*=*) option=${cur%%=*} cur=${cur#*=} ;;\n"
          "    esac\n"
          "    case $command in\n",
          stdout);
    cli_each_command(put_command, NULL);
    fputs("    esac\n"
          "    if [[ $cur == -* && $cur == \"$reply\" ]]; then\n"
          "        words=$options models= files=\n"
          "    fi\n"
          "    [[ $models ]] && words=$(turbine list 2>/dev/null | awk 'NR > 1 {print "
          "$1}')\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    head=${cur%\"${cur##*[:=]}\"}\n"
          "    COMPREPLY=(\"${COMPREPLY[@]#\"$head\"}\")\n"
          "    if [[ $files ]]; then\n"
          "        while IFS= read -r reply; do\n"
          "            COMPREPLY+=(\"${reply#\"$head\"}\")\n"
          "        done < <(compgen -f -- \"$cur\")\n"
          "        compopt -o filenames 2>/dev/null\n"
          "    fi\n"
          "}\n"
          "complete -F _turbine turbine\n",
          stdout);
}
