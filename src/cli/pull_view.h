/* pull_view.h - a pull that a person waits for: a bar on stderr, and Ctrl-C, which leaves
 * what is there for the next time.  While it runs, interrupts are its own. */
#ifndef CLI_PULL_VIEW_H
#define CLI_PULL_VIEW_H

#include "cli/cli.h"
#include "store/pull.h"

/* Into the store of the environment; o as pull_settings_read made it, its functions and
 * ctx are set here.  STATUS_STOPPED: the person ended it. */
enum status pull_view_own(const struct cli_command *c, const char *name,
                          struct pull_options *o, struct error *err);
/* The same for a command that lacks a model, as the environment says, which is told
 * first, as is a folder that this user may not read and where it may be. */
enum status pull_view_missing(const struct cli_command *c, const char *name,
                              struct error *err);
/* Into that of the server at url.  *http_status as server_link_stream. */
enum status pull_view_server(const struct cli_command *c, const char *url,
                             const char *name, int *http_status, struct error *err);

#endif
