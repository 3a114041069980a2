/* cmd_rm.c - turbine rm: models, and the blobs that no other model needs. */
#include <stdio.h>

#include "cli/models.h"

enum { RM_MODELS = 64 };

static enum status remove_model(struct store *s, const char *name, struct error *err)
{
    struct model_name n;
    enum status st = models_name(&n, name, err);
    if (!st)
        st = store_delete(s, &n, NULL, err);
    if (!st)
        printf("deleted '%s'\n", name);
    return st;
}

int cmd_rm(int argc, char **argv)
{
    static const struct cli_option options[] = {{0}};
    static const struct cli_command c = {
        "rm",    "MODEL ...", "Remove models, and their files that no other model needs.",
        options, 1,           RM_MODELS,
    };
    const char *arg[RM_MODELS];
    int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    struct store *s;
    if (models_open(&s, &err))
        return cli_fail(&c, &err);
    rc = CLI_OK;
    for (int i = 0; i < RM_MODELS && arg[i]; i++)
        if (remove_model(s, arg[i], &err))
            rc = cli_fail(&c, &err);
    store_close(s);
    return rc;
}
