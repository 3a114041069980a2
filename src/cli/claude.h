/* claude.h - the variables of Claude Code that matter to a local server, and the files
 * whose settings win over them.
 *
 * Source: names and effects were tried with Claude Code 2.1.330 against this server
 * (tests/claude). */
#ifndef CLI_CLAUDE_H
#define CLI_CLAUDE_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/launch.h"

/* Terminated by a NULL name. */
extern const struct launch_variable claude_variables[];
const struct launch_variable *claude_find(const char *name); // NULL: none of them

/* Whether two URLs of a server mean the same: /v1 and '/' at their ends do not count. */
bool claude_same_url(const char *a, const char *b);

enum { CLAUDE_FILES_MAX = 4, CLAUDE_FILE_BYTES = 4096, CLAUDE_SETTINGS_MAX = 64 };

/* A variable that a file of settings sets, or "apiKeyHelper". */
struct claude_setting {
    char file[CLAUDE_FILE_BYTES];
    const char *name;
    bool elsewhere;
};

/* The files that Claude Code would read if it began in the current folder: of the system,
 * of the user (CLAUDE_CONFIG_DIR, else ~/.claude), of the project.  Returns how many. */
int claude_files(char out[CLAUDE_FILES_MAX][CLAUDE_FILE_BYTES]);

/* Members of "env" in the root of a file that win over what a launch for url sets, behind
 * out[n]; the new n.  They are those that differ. */
int claude_settings_of(struct claude_setting out[CLAUDE_SETTINGS_MAX], int n,
                       const json_t *root, const char *file, const char *url);
/* Of all those files.  One that cannot be read as JSON is passed over, as Claude Code
 * does. */
int claude_settings(struct claude_setting out[CLAUDE_SETTINGS_MAX], const char *url);

/* Say what those files change for l; STATUS_BAD_INPUT if requests would go elsewhere. */
enum status claude_check(const struct launch *l, struct error *err);

#endif
