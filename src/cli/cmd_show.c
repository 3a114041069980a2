/* cmd_show.c - turbine show: what a model of the store says of itself. */
#include <stdio.h>
#include <unistd.h>

#include "cli/inspect_text.h"
#include "cli/models.h"
#include "cli/show_parts.h"

/* What its GGUF holds. */
static enum status put_gguf(struct buf *b, const char *path, struct error *err)
{
    struct gguf *g;
    const enum status s = gguf_open(&g, path, err);
    if (s)
        return s;
    inspect_put_metadata(b, g);
    inspect_put_tensors(b, g);
    gguf_close(g);
    return s;
}

static enum status show_model(const char *arg, enum show_part part, bool verbose,
                              struct error *err)
{
    struct model_choice c;
    struct buf b;
    buf_init(&b, SHOW_BYTES);
    enum status s = models_choose(&c, arg, err);
    if (!s && !c.stored)
        s = fail(err, STATUS_BAD_ARG,
                 "%s is a file; 'turbine inspect' shows what is in it", arg);
    if (!s)
        s = show_put(&b, &c.m, part, err);
    if (!s && verbose && part == SHOW_SUMMARY)
        s = put_gguf(&b, c.m.path, err);
    if (!s && b.failed)
        s = fail(err, STATUS_LIMIT, "too much to print");
    if (!s && isatty(STDOUT_FILENO))
        show_harmless(&b);
    if (!s && b.len)
        fwrite(b.data, 1, b.len, stdout);
    if (!s && b.len && b.data[b.len - 1] != '\n')
        putchar('\n');
    buf_release(&b);
    models_close(&c);
    return s;
}

int cmd_show(int argc, char **argv)
{
    bool part[SHOW_LICENSE + 1] = {false}, verbose = false;
    const struct cli_option options[] = {
        {"--modelfile", CLI_FLAG, &part[SHOW_MODELFILE], 0, 0,
         "a Modelfile that makes this model again"},
        {"--parameters", CLI_FLAG, &part[SHOW_PARAMETERS], 0, 0, "its PARAMETERs"},
        {"--template", CLI_FLAG, &part[SHOW_TEMPLATE], 0, 0,
         "its TEMPLATE, or the chat template of its GGUF"},
        {"--system", CLI_FLAG, &part[SHOW_SYSTEM], 0, 0, "its SYSTEM"},
        {"--license", CLI_FLAG, &part[SHOW_LICENSE], 0, 0, "its LICENSEs"},
        {"--verbose", CLI_FLAG, &verbose, 0, 0,
         "the summary, and metadata and tensors of its GGUF"},
        {"-v", CLI_FLAG, &verbose, 0, 0, "the same"},
        {0},
    };
    const struct cli_command c = {
        "show",
        "MODEL",
        "What a model of the store says of itself; one part of it at most.",
        options,
        1,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    int n = 0;
    enum show_part which = SHOW_SUMMARY;
    for (int i = SHOW_MODELFILE; i <= SHOW_LICENSE; i++)
        if (part[i]) {
            which = (enum show_part)i;
            n++;
        }
    if (n > 1) {
        fputs("turbine show: only one of '--license', '--modelfile', '--parameters', "
              "'--system', or '--template' can be specified\n",
              stderr);
        return CLI_USAGE;
    }
    struct error err;
    return show_model(arg[0], which, verbose, &err) ? cli_fail(&c, &err) : CLI_OK;
}
