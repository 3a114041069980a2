/* environment.h - what the environment says: one table, environment.def.
 *
 * TURBINE_X wins over its twin, which is Ollama's mostly; blanks and quotes around a
 * value do not count, and an empty value is none.  Commands that load a model call
 * environment_check first; a wrong value is an error of theirs, never a default.  One
 * thread. */
#ifndef CLI_ENVIRONMENT_H
#define CLI_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/status.h"

/* The value of TURBINE_<name> ("HOST"), else of its twin; NULL if there is none.  name is
 * one of the table.  Valid until the variable changes. */
const char *environment_text(const char *name);

/* The value of the twin, whatever TURBINE_<name> is. */
const char *environment_twin(const char *name);

/* Which variable that value is from: "OLLAMA_HOST"; NULL if there is none. */
const char *environment_source(const char *name);

/* Values of the whole table: STATUS_BAD_INPUT names the variable, its value and what may
 * stand there.  Those of pull are checked by pull. */
enum status environment_check(struct error *err);

/* A value that environment_check has passed; *out keeps its value if there is none. */
void environment_count(const char *name, int *out);
void environment_duration(const char *name, int64_t *us); // OLLAMA_KEEP_FOREVER: for ever
bool environment_flag(const char *name);

/* A proxy that libcurl takes from the environment is set. */
bool environment_has_proxy(void);

/* Names of OLLAMA_* and TURBINE_* variables (not TURBINE_TEST_*, which are of the tests)
 * that are set and not in the table, with commas; false if there are none. */
bool environment_unknown(struct buf *out);
/* One line of serve on stderr that names them. */
void environment_warn(void);

/* HOME, XDG_CACHE_HOME, XDG_DATA_HOME and TMPDIR as they are; NULL if unset, empty or no
 * absolute path, as their specifications say. */
const char *environment_folder(const char *name);

/* A variable of another program (PATH, ANTHROPIC_MODEL) as it is; NULL if it is not
 * set. */
const char *environment_foreign(const char *name);

/* The table for people: behind the options of a command that reads it. */
void environment_print_help(FILE *to);

struct environment_variable {
    const char *name, *twin, *fallback, *help; // "TURBINE_HOST", "OLLAMA_HOST" or NULL
};
/* One row, NULL behind the last. */
const struct environment_variable *environment_row(int i);

/* An address as OLLAMA_HOST has it: [SCHEME://]HOST[:PORT][/PATH], with an IPv6 address
 * in brackets or alone.  Without a port: 11434, or that of the scheme if one is written.
 * Source: Ollama, envconfig/config.go. */
struct environment_host {
    bool https, any; // any: ":PORT", every address of this machine
    char host[256];  // without brackets; "0.0.0.0" for any
    int port;        // 0 to 65535
    char path[256];  // "/x", without a slash at the end; mostly ""
};
enum status environment_host_parse(struct environment_host *out, const char *text,
                                   struct error *err);
/* Of the variable HOST, else 127.0.0.1:11434; errors name the variable. */
enum status environment_host(struct environment_host *out, struct error *err);

#endif
