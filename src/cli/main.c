/* main.c - the command table. */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cli/cli.h"

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
#define COMMAND(name, summary) {#name, summary, cmd_##name},
#include "cli/commands.def"
#undef COMMAND
    {NULL, NULL, NULL},
};

struct visit {
    cli_visit *visit;
    void *ctx;
    const char *summary;
};

static void visit_one(void *ctx, const struct cli_command *c)
{
    const struct visit *v = ctx;
    v->visit(v->ctx, c, v->summary);
}

void cli_each_command(cli_visit *visit, void *ctx)
{
    struct visit v = {visit, ctx, NULL};
    cli_capture(visit_one, &v);
    for (int i = 0; commands[i].name; i++) {
        char name[32];
        char *argv[] = {name, NULL};
        snprintf(name, sizeof name, "%s", commands[i].name);
        v.summary = commands[i].summary;
        commands[i].run(1, argv);
    }
    cli_capture(NULL, NULL);
}

static int print_usage(FILE *to, int rc)
{
    fputs("turbine COMMAND [ARGUMENTS]; 'turbine COMMAND --help' says more\n", to);
    for (int i = 0; commands[i].name; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    return rc;
}

/* What a command printed may still be in the buffer: a full disk shows up here. */
static int finish(const char *name, int rc)
{
    if ((fflush(stdout) || ferror(stdout)) && rc == CLI_OK) {
        fprintf(stderr, "turbine %s: cannot write to standard output\n", name);
        rc = CLI_FAILED;
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return print_usage(stderr, CLI_USAGE);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return finish("help", print_usage(stdout, CLI_OK));
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-v"))
        return finish("--version",
                      printf("turbine version is " TURBINE_VERSION "\n") < 0);
    for (int i = 0; commands[i].name; i++)
        if (!strcmp(argv[1], commands[i].name))
            return finish(argv[1], commands[i].run(argc - 1, argv + 1));
    fprintf(stderr, "turbine: unknown command '%s'\n", argv[1]);
    return print_usage(stderr, CLI_USAGE);
}
