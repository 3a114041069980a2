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

/* "start" is Ollama's other name of serve. */
static int find_command(const char *name)
{
    name = strcmp(name, "start") ? name : "serve";
    for (int i = 0; commands[i].name; i++)
        if (!strcmp(name, commands[i].name))
            return i;
    return -1;
}

static int unknown_command(const char *name)
{
    static const char *const account[] = {"push", "signin", "signout", "login", "logout"};
    for (size_t i = 0; i < sizeof account / sizeof *account; i++)
        if (!strcmp(name, account[i])) {
            fprintf(stderr,
                    "turbine: no '%s': there are no accounts, and no model is sent to "
                    "anybody\n",
                    name);
            return CLI_USAGE;
        }
    fprintf(stderr, "turbine: unknown command '%.80s'; 'turbine help' lists them\n",
            name);
    return CLI_USAGE;
}

/* help, or help COMMAND */
static int say_help(int argc, char **argv)
{
    char option[] = "--help";
    if (argc < 3)
        return finish("help", print_usage(stdout, CLI_OK));
    const int at = find_command(argv[2]);
    if (at < 0)
        return unknown_command(argv[2]);
    return finish(argv[2], commands[at].run(2, (char *[]){argv[2], option, NULL}));
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return print_usage(stderr, CLI_USAGE);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return say_help(argc, argv);
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-v"))
        return finish("--version",
                      printf("turbine version is " TURBINE_VERSION "\n") < 0);
    const int at = find_command(argv[1]);
    return at < 0 ? unknown_command(argv[1])
                  : finish(argv[1], commands[at].run(argc - 1, argv + 1));
}
