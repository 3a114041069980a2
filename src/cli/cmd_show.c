/* cmd_show.c - turbine show: what a model of the store says of itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/models.h"
#include "gguf/gguf.h"
#include "store/arch_label.h"
#include "store/create.h"
#include "store/param_lines.h"

enum { SHOW_LINES = 2, SHOW_BYTES = 32 << 20 }; // lines of a text in the summary

/* ---- one part ---- */

static enum status put_template(struct buf *b, const struct stored_model *m,
                                struct error *err)
{
    struct gguf *g;
    struct gguf_str s;
    if (m->template.len) {
        buf_append(b, m->template.data, m->template.len);
        return STATUS_OK;
    }
    const enum status st = gguf_open(&g, m->path, err);
    if (st)
        return st;
    if (!gguf_str(g, "tokenizer.chat_template", &s, NULL))
        buf_append(b, s.s, s.n);
    gguf_close(g);
    return STATUS_OK;
}

/* ---- the summary ---- */

static void put_line_pair(struct buf *b, const char *name, const char *value)
{
    if (value && *value)
        buf_printf(b, "    %-19s %s\n", name, value);
}

static void put_property(struct buf *b, const struct gguf *g, const char *arch,
                         const char *what, const char *key)
{
    char name[128], value[24];
    int64_t v;
    snprintf(name, sizeof name, "%s.%s", arch, key);
    if (gguf_int(g, name, 1, INT64_MAX, &v, NULL))
        return;
    snprintf(value, sizeof value, "%" PRId64, v);
    put_line_pair(b, what, value);
}

static void put_model(struct buf *b, const struct stored_model *m, const struct gguf *g)
{
    char arch[64];
    json_t *own = NULL;
    store_arch_label(arch, g);
    const json_t *c = m->config;
    if (!json_object_get(c, "model_type") && !create_config(&own, g, NULL))
        c = own;
    buf_puts(b, "  Model\n");
    put_line_pair(b, "architecture", arch);
    put_line_pair(b, "parameters", json_string_value(json_object_get(c, "model_type")));
    put_property(b, g, arch, "context length", "context_length");
    put_property(b, g, arch, "embedding length", "embedding_length");
    put_line_pair(b, "quantization", json_string_value(json_object_get(c, "file_type")));
    put_line_pair(b, "requires",
                  json_string_value(json_object_get(m->config, "requires")));
    buf_puts(b, "\n");
    json_decref(own);
}

static void put_capabilities(struct buf *b, const struct gguf *g)
{
    struct gguf_str s = {"", 0};
    struct buf t;
    buf_init(&t, SHOW_BYTES);
    gguf_str(g, "tokenizer.chat_template", &s, NULL);
    buf_append(&t, s.s, s.n);
    buf_puts(b, "  Capabilities\n    completion\n");
    if (t.len && strstr(t.data, "tools"))
        buf_puts(b, "    tools\n");
    if (t.len && (strstr(t.data, "think") || strstr(t.data, "reasoning")))
        buf_puts(b, "    thinking\n");
    buf_puts(b, "\n");
    buf_release(&t);
}

/* The first lines of a text. */
static void put_first_lines(struct buf *b, const char *title, const struct buf *text)
{
    if (!text->len)
        return;
    buf_printf(b, "  %s\n", title);
    const char *p = text->data, *end = p + text->len;
    for (int n = 0; p < end && n < SHOW_LINES; p++) {
        const char *line = p;
        while (p < end && *p != '\n')
            p++;
        if (p > line) {
            buf_puts(b, "    ");
            buf_append(b, line, (size_t)(p - line));
            buf_puts(b, "\n");
            n++;
        }
    }
    buf_puts(b, p < end ? "    ...\n\n" : "\n");
}

static void put_template_note(struct buf *b, const struct stored_model *m,
                              const struct gguf *g)
{
    char words[900];
    models_template_words(words, sizeof words, m, g);
    buf_printf(b, "  Template\n    %s\n\n", words);
}

static enum status put_summary(struct buf *b, const struct stored_model *m,
                               struct error *err)
{
    struct gguf *g;
    const enum status s = gguf_open(&g, m->path, err);
    if (s)
        return s;
    put_model(b, m, g);
    put_capabilities(b, g);
    if (json_object_size(m->params)) {
        buf_puts(b, "  Parameters\n");
        store_print_params(b, m->params, 19, "    ");
        buf_puts(b, "\n");
    }
    put_template_note(b, m, g);
    put_first_lines(b, "System", &m->system);
    put_first_lines(b, "License", &m->license);
    gguf_close(g);
    return STATUS_OK;
}

/* ---- the command ---- */

enum show_part {
    SHOW_SUMMARY,
    SHOW_MODELFILE,
    SHOW_PARAMETERS,
    SHOW_TEMPLATE,
    SHOW_SYSTEM,
    SHOW_LICENSE
};

static enum status put_part(struct buf *b, const struct stored_model *m,
                            enum show_part part, struct error *err)
{
    switch (part) {
    case SHOW_SUMMARY:
        return put_summary(b, m, err);
    case SHOW_MODELFILE:
        return create_print_modelfile(b, m, m->path, err);
    case SHOW_PARAMETERS:
        store_print_params(b, m->params, 30, "");
        break;
    case SHOW_TEMPLATE:
        return put_template(b, m, err);
    case SHOW_SYSTEM:
        buf_append(b, m->system.data, m->system.len);
        break;
    case SHOW_LICENSE:
        buf_append(b, m->license.data, m->license.len);
        break;
    }
    return STATUS_OK;
}

static enum status show_model(const char *arg, enum show_part part, struct error *err)
{
    struct model_choice c;
    struct buf b;
    buf_init(&b, SHOW_BYTES);
    enum status s = models_choose(&c, arg, err);
    if (!s && !c.stored)
        s = fail(err, STATUS_BAD_ARG,
                 "%s is a file; 'turbine inspect' shows what is in it", arg);
    if (!s)
        s = put_part(&b, &c.m, part, err);
    if (!s && b.failed)
        s = fail(err, STATUS_LIMIT, "too much to print");
    if (!s && isatty(STDOUT_FILENO)) // texts of others: nothing that moves a cursor
        for (size_t i = 0; i < b.len; i++)
            if (((unsigned char)b.data[i] < ' ' && !strchr("\n\t", b.data[i])) ||
                b.data[i] == 0x7f)
                b.data[i] = '?';
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
    bool part[SHOW_LICENSE + 1] = {false};
    const struct cli_option options[] = {
        {"--modelfile", CLI_FLAG, &part[SHOW_MODELFILE], 0, 0,
         "a Modelfile that makes this model again"},
        {"--parameters", CLI_FLAG, &part[SHOW_PARAMETERS], 0, 0, "its PARAMETERs"},
        {"--template", CLI_FLAG, &part[SHOW_TEMPLATE], 0, 0,
         "its TEMPLATE, or the chat template of its GGUF"},
        {"--system", CLI_FLAG, &part[SHOW_SYSTEM], 0, 0, "its SYSTEM"},
        {"--license", CLI_FLAG, &part[SHOW_LICENSE], 0, 0, "its LICENSEs"},
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
    return show_model(arg[0], which, &err) ? cli_fail(&c, &err) : CLI_OK;
}
