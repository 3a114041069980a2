/* cmd_completion.c - turbine completion: scripts for shells. */
#include <stdio.h>
#include <string.h>

#include "cli/completion.h"

int cmd_completion(int argc, char **argv)
{
    static const struct cli_option options[] = {{0}};
    static const struct cli_command c = {
        "completion",
        "SHELL",
        "Print what makes bash, zsh or fish complete turbine's commands, options and "
        "models:\n"
        "  bash  source <(turbine completion bash)\n"
        "  zsh   source <(turbine completion zsh)\n"
        "  fish  turbine completion fish | source\n"
        "`make install` puts all three where the shells look.",
        options,
        1,
        1,
    };
    static const struct {
        const char *name;
        void (*print)(void);
    } shells[] = {
        {"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (!strcmp(arg[0], shells[i].name)) {
            shells[i].print();
            return CLI_OK;
        }
    fputs("turbine completion: SHELL is bash, zsh or fish\n", stderr);
    return CLI_USAGE;
}
