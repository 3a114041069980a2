/* cmd_list.c - turbine list: the models of the store, in Ollama's columns. */
#include <stdio.h>

#include "cli/list_rows.h"
#include "cli/models.h"

static void note_closed(const struct cli_command *c)
{
    char folder[STORE_PATH_BYTES], text[STORE_PATH_BYTES + 120];
    if (!models_closed(folder))
        return;
    snprintf(text, sizeof text,
             "note: this user may not read %s; models that Ollama has there are left out",
             folder);
    cli_message(c, text);
}

static int list_command(const char *name, int argc, char **argv)
{
    static const struct cli_option options[] = {{0}};
    const struct cli_command c = {
        name,
        "[PREFIX]",
        "Models whose names start with PREFIX: of TURBINE_MODELS, else OLLAMA_MODELS, "
        "else "
        "~/.local/share/turbine/models, and of Ollama's own folders, which are only "
        "read.",
        options,
        0,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    if (list_rows_of_store(arg[0], &err))
        return cli_fail(&c, &err);
    note_closed(&c);
    return CLI_OK;
}

int cmd_list(int argc, char **argv)
{
    return list_command("list", argc, argv);
}

int cmd_ls(int argc, char **argv)
{
    return list_command("ls", argc, argv);
}
