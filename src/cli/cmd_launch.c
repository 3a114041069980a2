/* cmd_launch.c - turbine launch: a coding agent on the local server, in one command. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/agent.h"
#include "cli/claude.h"
#include "cli/environment.h"
#include "cli/launch.h"

/* One line a program; sources of what it reads belong to its variables. */
static const struct launch_program programs[] = {
    {"claude", "Claude Code", "npm install -g @anthropic-ai/claude-code", AGENT_CTX_LEAST,
     claude_variables, claude_check},
};

enum { N_PROGRAM = sizeof programs / sizeof *programs };

static int print_programs(void)
{
    char path[EXECUTABLE_PATH_BYTES];
    for (int i = 0; i < N_PROGRAM; i++) {
        const bool there =
            executable_find(path, programs[i].name, environment_foreign("PATH"));
        printf("%-10s %s: %s\n", programs[i].name, programs[i].title,
               there ? path : programs[i].install);
    }
    return CLI_OK;
}

static enum status find_program(struct launch *l, const char *name, char *path,
                                struct error *err)
{
    for (int i = 0; i < N_PROGRAM; i++)
        if (!strcmp(programs[i].name, name))
            l->program = &programs[i];
    if (!l->program)
        return fail(err, STATUS_BAD_ARG,
                    "'%.60s' cannot be launched; 'turbine launch' lists what can", name);
    if (!l->print && !executable_find(path, name, environment_foreign("PATH")))
        return fail(err, STATUS_NOT_FOUND,
                    "no %s in the folders of PATH; install %s with: %s", name,
                    l->program->title, l->program->install);
    return STATUS_OK;
}

/* The program takes the place of this one, so that its exit code is ours. */
static enum status become(const struct launch *l, char *path, int argc, char **rest,
                          struct error *err)
{
    char **argv = mem_array((size_t)argc + 2, sizeof *argv);
    if (!argv)
        return fail(err, STATUS_NO_MEMORY, "no memory for arguments");
    argv[0] = (char *)l->program->name;
    for (int i = 0; i < argc; i++)
        argv[i + 1] = rest[i];
    fflush(NULL);
    execv(path, argv);
    mem_free(argv);
    return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
}

static enum status launch(struct launch *l, const char *name, bool json, int argc,
                          char **rest, struct error *err)
{
    char path[EXECUTABLE_PATH_BYTES];
    enum status s = environment_check(err);
    if (s || (s = find_program(l, name, path, err)) || (s = l->program->check(l, err)) ||
        (s = launch_find_server(l, err)))
        return s;
    if ((s = launch_choose_served(l, err))) {
        launch_end_server(l);
        return s;
    }
    if (l->print)
        return launch_print_environment(l, json, err);
    if ((s = launch_set_environment(l, err)))
        return s;
    return become(l, path, argc, rest, err);
}

int cmd_launch(int argc, char **argv)
{
    const char *host = NULL, *model = NULL, *arg[2];
    bool json = false;
    struct launch l = {.wait_s = 600, .server = {0, -1}};
    const struct cli_option options[] = {
        {"--model", CLI_STRING, &model, 0, 0, "NAME  the same as the argument MODEL"},
        {"--small", CLI_STRING, &l.small_arg, 0, 0,
         "NAME  of another model for titles and other short work"},
        {"--host", CLI_STRING, &host, 0, 0, SERVER_LINK_HELP},
        {"--wait", CLI_INT, &l.wait_s, 1, 86400,
         "S  seconds that a server may take to start (default 600)"},
        {"--print", CLI_FLAG, &l.print, 0, 0,
         "the environment as commands of sh; nothing is started"},
        {"--json", CLI_FLAG, &json, 0, 0, "with --print: as a list of JSON objects"},
        {NULL, CLI_FLAG, NULL, 0, 0, NULL},
    };
    const struct cli_command c = {
        "launch",
        "[claude [MODEL]] [-- ARGUMENTS]",
        "A coding agent on the local server, which is started if none runs, and stays.\n"
        "MODEL: else the one that is loaded, else the only one there is.  What is behind "
        "'--' is for\nthe program.  Without arguments: the programs that can be "
        "launched.",
        options,
        0,
        2,
    };
    int own = 1; // arguments in front of "--"
    while (own < argc && strcmp(argv[own], "--"))
        own++;
    const int rc = cli_parse(&c, own, argv, arg);
    if (rc >= 0)
        return rc;
    if (!arg[0] && !l.print)
        return print_programs();
    struct error err;
    l.command = &c;
    l.arg = arg[1] ? arg[1] : model;
    if (arg[1] && model && strcmp(arg[1], model)) {
        cli_message(&c, "two models: give MODEL or --model");
        return CLI_USAGE;
    }
    if (json && !l.print) {
        cli_message(&c, "--json goes with --print");
        return CLI_USAGE;
    }
    if (!server_link_url(l.url, sizeof l.url, host)) {
        cli_message(&c, "--host is too long");
        return CLI_USAGE;
    }
    char **rest = own < argc ? argv + own + 1 : argv + argc;
    if (launch(&l, arg[0] ? arg[0] : programs[0].name, json, (int)(argv + argc - rest),
               rest, &err))
        return cli_fail(&c, &err);
    return CLI_OK;
}
