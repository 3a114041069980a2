/* cmd_stop.c - turbine stop: a server unloads a model. */
#include "cli/cli.h"
#include "cli/server_link.h"

static enum status stop_model(const char *host, const char *model, struct error *err)
{
    char url[SERVER_LINK_URL_BYTES];
    if (!server_link_url(url, sizeof url, host))
        return fail(err, STATUS_BAD_ARG, "this is no address of a server: %s", url);
    json_t *body =
        json_pack("{s:s,s:i,s:b}", "model", model, "keep_alive", 0, "stream", 0);
    if (!body)
        return fail(err, STATUS_BAD_INPUT, "the name of the model is not valid UTF-8");
    enum status s = server_link_call(url, "POST", "/api/generate", body, NULL, NULL, err);
    json_decref(body);
    if (s == STATUS_NOT_FOUND)
        s = fail(err, s, "couldn't find model \"%.200s\" to stop", model);
    return s;
}

int cmd_stop(int argc, char **argv)
{
    const char *host = NULL;
    const struct cli_option options[] = {
        {"--host", CLI_STRING, &host, 0, 0, SERVER_LINK_HELP},
        {0},
    };
    const struct cli_command c = {
        "stop",  "MODEL", "A running server unloads the model; answers end first.",
        options, 1,       1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    return stop_model(host, arg[0], &err) ? cli_fail(&c, &err) : CLI_OK;
}
