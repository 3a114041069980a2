/* cmd_pull.c - turbine pull: a model into the store. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/pull_settings.h"
#include "cli/pull_view.h"
#include "http/download.h"

static int pull_named(const struct cli_command *c, const char *name,
                      struct pull_options *o)
{
    struct error err = {0};
    if (pull_view_own(c, name, o, &err))
        return cli_fail(c, &err);
    fprintf(stderr, "success\n");
    return CLI_OK;
}

int cmd_pull(int argc, char **argv)
{
    const char *arg[1];
    struct pull_options o;
    struct error err;
    pull_settings_read(&o);
    const struct cli_option options[] = {
        {"--insecure", CLI_FLAG, &o.policy.insecure, 0, 0,
         "allow http:// for other machines than this one"},
        {"--registry", CLI_STRING, &o.registry, 0, 0,
         "URL  of the registry for names without a host (default "
         "TURBINE_REGISTRY, " PULL_REGISTRY "); its token: TURBINE_REGISTRY_TOKEN"},
        {"--hub", CLI_STRING, &o.hub, 0, 0,
         "URL  of the hub for hf.co/... (default TURBINE_HUB, HF_ENDPOINT, " PULL_HUB
         "); its token: HF_TOKEN"},
        {"--auth-host", CLI_STRING, &o.auth_host, 0, 0,
         "HOST  that may be a registry's token server besides the registry itself"},
        {"--streams", CLI_INT, &o.n_stream, 1, DOWNLOAD_STREAMS_MAX,
         "N  connections at once (default 4)"},
        {"--retries", CLI_INT, &o.policy.retries, 0, 100,
         "N  failures in a row before it gives up (default 6)"},
        {"--stall", CLI_INT, &o.policy.stall_s, 1, 3600,
         "SECONDS  below 1 KiB/s that count as a failure (default 30)"},
        {NULL, CLI_FLAG, NULL, 0, 0, NULL},
    };
    const struct cli_command c = {
        "pull",
        "NAME",
        "fetch a model: NAME[:TAG], HOST/SPACE/NAME[:TAG] or hf.co/USER/REPO[:QUANT]",
        options,
        1,
        1,
    };
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    if (pull_settings_check(&o, &err)) {
        cli_message(&c, err.text);
        return CLI_USAGE;
    }
    return pull_named(&c, arg[0], &o);
}
