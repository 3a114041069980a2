/* show_parts.c - what a model says of itself, part by part, as Ollama prints it. */
#include "cli/show_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/models.h"
#include "cli/words.h"
#include "gguf/gguf.h"
#include "server/model_card.h"
#include "store/labels.h"
#include "store/create.h"
#include "store/param_lines.h"

enum { SHOW_LINES = 2 }; // lines of a text in the summary

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
    if (!gguf_str(g, "tokenizer.chat_template", &s, NULL) && s.n)
        buf_append(b, s.s, s.n);
    else if (m->params) // a file that is in no store is not run without one
        buf_puts(b, STORED_TEMPLATE_PLAIN);
    gguf_close(g);
    return STATUS_OK;
}

/* ---- the summary ---- */

void show_line(struct buf *b, const char *name, const char *value)
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
    show_line(b, what, value);
}

static void put_model(struct buf *b, const struct stored_model *m, const struct gguf *g)
{
    char arch[64];
    json_t *own = NULL;
    label_arch(arch, g);
    const json_t *c = m->config;
    if (!json_object_get(c, "model_type") && !create_config(&own, g, NULL))
        c = own;
    buf_puts(b, "  Model\n");
    show_line(b, "architecture", arch);
    show_line(b, "parameters", json_string_value(json_object_get(c, "model_type")));
    put_property(b, g, arch, "context length", "context_length");
    put_property(b, g, arch, "embedding length", "embedding_length");
    show_line(b, "quantization", json_string_value(json_object_get(c, "file_type")));
    show_line(b, "requires", json_string_value(json_object_get(m->config, "requires")));
    buf_puts(b, "\n");
    json_decref(own);
}

static enum status put_capabilities(struct buf *b, const struct stored_model *m,
                                    struct error *err)
{
    struct model_card *card;
    const char *able[MODEL_ABILITIES_MAX];
    const enum status s = model_card_open(&card, m->path, m, MODEL_CARD_LISTED, err);
    if (s)
        return s;
    const int n = model_card_abilities(card, able);
    buf_puts(b, "  Capabilities\n");
    for (int i = 0; i < n; i++)
        buf_printf(b, "    %s\n", able[i]);
    buf_puts(b, "\n");
    model_card_drop(card);
    return STATUS_OK;
}

/* The first lines of a text. */
void show_first_lines(struct buf *b, const char *title, const struct buf *text)
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
    enum status s = gguf_open(&g, m->path, err);
    if (s)
        return s;
    put_model(b, m, g);
    s = put_capabilities(b, m, err);
    if (json_object_size(m->params)) {
        buf_puts(b, "  Parameters\n");
        store_print_params(b, m->params, 19, "    ");
        buf_puts(b, "\n");
    }
    put_template_note(b, m, g);
    show_first_lines(b, "System", &m->system);
    show_first_lines(b, "License", &m->license);
    gguf_close(g);
    return s;
}

/* ---- all ---- */

void show_harmless(struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        for (size_t n = words_control(b->data + i, b->len - i); n > 0; n--)
            b->data[i + n - 1] = '?';
}

enum status show_put(struct buf *b, const struct stored_model *m, enum show_part part,
                     struct error *err)
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
