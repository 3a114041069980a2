/* completion.h - scripts by which shells complete commands, made from the table of
 * commands. */
#ifndef CLI_COMPLETION_H
#define CLI_COMPLETION_H

#include "cli/cli.h"

void completion_bash(void);
void completion_zsh(void);
void completion_fish(void);

/* What an argument or a value of an option is. */
enum completion_kind {
    COMPLETE_MODEL, // what `turbine list` says, or a file
    COMPLETE_FILE,
    COMPLETE_WORDS, // of a list
    COMPLETE_NONE,
};
struct completion {
    enum completion_kind kind;
    char words[400]; // with blanks
};
void completion_of_args(struct completion *out, const struct cli_command *c);
void completion_of_option(struct completion *out, const struct cli_option *o);

/* text as one word of a shell, in single quotes; for fish with its own escapes. */
void completion_quote(const char *text, bool fish);

#endif
