/* cmd_cp.c - turbine cp: another name for a model. */
#include <stdio.h>

#include "cli/models.h"

static enum status copy_model(const char *from, const char *to, struct error *err)
{
    struct model_name a, b;
    struct store *s = NULL;
    enum status st = models_name(&a, from, err);
    if (!st)
        st = models_name(&b, to, err);
    if (!st)
        st = models_open(&s, err);
    if (!st)
        st = store_copy(s, &a, &b, err);
    store_close(s);
    if (!st)
        printf("copied '%s' to '%s'\n", from, to);
    return st;
}

int cmd_cp(int argc, char **argv)
{
    static const struct cli_option options[] = {{0}};
    static const struct cli_command c = {
        "cp",
        "FROM TO",
        "Another name for a model; a model of Ollama's own folder gets into that of "
        "Turbine.",
        options,
        2,
        2,
    };
    const char *arg[2];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    return copy_model(arg[0], arg[1], &err) ? cli_fail(&c, &err) : CLI_OK;
}
