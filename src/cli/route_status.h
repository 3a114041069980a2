/* route_status.h - what a running router says of itself, as a table. */
#ifndef CLI_ROUTE_STATUS_H
#define CLI_ROUTE_STATUS_H

#include <stdbool.h>

#include "cli/cli.h"

struct route_status_options {
    const char *host, *key;
    int port;
    int every_s; // 0: once
    bool json;
};

/* An exit code. */
int route_status(const struct cli_command *command, const struct route_status_options *o);

#endif
