/* cli.h - what the commands share: the table of commands, options, messages.
 *
 * Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "cpu/cpu.h"

enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_INTERRUPTED = 130, // 128 + SIGINT, as shells have it
};

enum cli_kind {
    CLI_FLAG,        // bool *
    CLI_INT,         // int *, [min, max]
    CLI_FLOAT,       // double *, [min, max]
    CLI_STRING,      // const char **
    CLI_CPU,         // enum cpu_isa *
    CLI_BYTES,       // size_t *, "16G", [1 MiB, 1 PiB]
    CLI_ENVIRONMENT, // no option: the help has the table of environment.def
};

struct cli_option {
    const char *name; // "--ctx"
    enum cli_kind kind;
    void *out; // keeps its value if the option is not given
    double min, max;
    const char *help; // "N  tokens of context"
};

struct cli_command {
    const char *name, *args, *summary;
    const struct cli_option *options; // terminated by a NULL name
    int min_args, max_args;
};

/* Parse argv[1..]: options "--name value" or "--name=value" anywhere, "--" ends them.
 * Positional arguments go to arg[max_args], the rest is NULL.  Returns -1 to go on, or
 * an exit code after printing what was wrong (or the help of the command). */
int cli_parse(const struct cli_command *c, int argc, char **argv, const char **arg);

/* Each command of the table in its order, with its summary and what it gives to
 * cli_parse, which then ends it before it does anything.  c is valid during the call. */
typedef void cli_visit(void *ctx, const struct cli_command *c, const char *summary);
void cli_each_command(cli_visit *visit, void *ctx);

/* Until it is NULL again, cli_parse calls this and does nothing else. */
void cli_capture(void (*see)(void *ctx, const struct cli_command *c), void *ctx);

/* The help of an option is "VALUE  text", "text" for a flag.  value [value_n] <- "VALUE"
 * or
 * ""; returns the text. */
const char *cli_option_text(const struct cli_option *o, char *value, size_t value_n);

/* Print "turbine COMMAND: text" on stderr, as one line whatever names of files are in it:
 * line ends become spaces, other controls '?'. */
void cli_message(const struct cli_command *c, const char *text);

/* The same without "turbine COMMAND: ". */
void cli_step(const char *text);

/* cli_message with the text of err; returns CLI_FAILED. */
int cli_fail(const struct cli_command *c, const struct error *err);

/* One line of token ids on standard output. */
struct tokens;
enum status cli_print_tokens(const struct tokens *ids, struct error *err);

#define COMMAND(name, summary) int cmd_##name(int argc, char **argv);
#include "cli/commands.def"
#undef COMMAND

#endif
