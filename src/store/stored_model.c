/* stored_model.c - the layers of a model, read. */
#include "store/stored_model.h"

#include <stdio.h>
#include <string.h>

#include "json/parse.h"

enum { LAYER_TEXT_BYTES = 4 << 20 };

static bool has_word(const char *s, size_t n, const char *word)
{
    const size_t len = strlen(word);
    for (size_t i = 0; i + len <= n; i++)
        if (!memcmp(s + i, word, len))
            return true;
    return false;
}

/* A function of Go with its first argument: a word, blanks, and a field, a variable or a
 * string, which no expression of Jinja begins with. */
static bool is_go_call(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && ((s[i] | 32) >= 'a' && (s[i] | 32) <= 'z'))
        i++;
    const bool word = i > 0 && (i != 3 || memcmp(s, "not", 3) != 0);
    const size_t end = i;
    while (i < n && s[i] == ' ')
        i++;
    return word && i > end && i < n && (s[i] == '.' || s[i] == '$' || s[i] == '"');
}

/* Is there an action of Go's: "{{", perhaps '-' and blanks, then '.', '$' or a keyword
 * that Jinja writes in "{%"? */
static bool has_go_action(const char *s, size_t n)
{
    static const char *const words[] = {"if ",    "range ",  "end",      "else",
                                        "with ",  "define",  "template", "block ",
                                        "break}", "continue"};
    for (size_t i = 0; i + 2 < n; i++) {
        if (s[i] != '{' || s[i + 1] != '{')
            continue;
        size_t j = i + 2 + (s[i + 2] == '-');
        while (j < n && (s[j] == ' ' || s[j] == '\n' || s[j] == '\t'))
            j++;
        if (j < n && (s[j] == '.' || s[j] == '$' || is_go_call(s + j, n - j)))
            return true;
        for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
            const size_t len = strlen(words[k]);
            if (len <= n - j && !memcmp(s + j, words[k], len))
                return true;
        }
    }
    return false;
}

enum stored_template stored_template_kind(const char *s, size_t n)
{
    if (!n)
        return STORED_TEMPLATE_NONE;
    if (has_word(s, n, "{%"))
        return STORED_TEMPLATE_JINJA;
    if (has_go_action(s, n) || !has_word(s, n, "{{"))
        return STORED_TEMPLATE_GO;
    return STORED_TEMPLATE_JINJA;
}

/* ---- layers ---- */

static enum status layer_object(json_t **out, const struct store *s,
                                const struct layer *l, bool array, const char *what,
                                struct error *err)
{
    struct buf text;
    json_error_t why;
    buf_init(&text, LAYER_TEXT_BYTES);
    enum status st = store_read_layer(s, l, LAYER_TEXT_BYTES, &text, err);
    json_t *j = st ? NULL : json_parse(text.data ? text.data : "", text.len, 0, &why);
    if (!st && !(array ? json_is_array(j) : json_is_object(j))) {
        json_decref(j);
        st = fail(err, STATUS_BAD_FILE, "the %s of the model are not JSON", what);
    }
    buf_release(&text);
    if (!st) {
        json_decref(*out);
        *out = j;
    }
    return st;
}

static enum status add_license(struct stored_model *out, const struct store *s,
                               const struct layer *l, struct error *err)
{
    if (out->license.len)
        buf_puts(&out->license, "\n");
    const size_t at = out->license.len;
    const enum status st = store_read_layer(s, l, LAYER_TEXT_BYTES, &out->license, err);
    if (st)
        return st;
    if (!out->licenses)
        out->licenses = json_array();
    const size_t n = out->license.len - at;
    if (json_array_append_new(out->licenses,
                              json_stringn(n ? out->license.data + at : "", n)))
        return fail(err, STATUS_BAD_FILE, "a license is no text");
    return STATUS_OK;
}

static enum status take_layer(struct stored_model *out, const struct store *s,
                              const struct layer *l, struct error *err)
{
    switch (l->kind) {
    case LAYER_MODEL:
        return *out->path ? fail(err, STATUS_UNSUPPORTED,
                                 "a model of several GGUF layers; one is supported")
                          : store_blob_path(s, &l->digest, l->size, out->path, err);
    case LAYER_TEMPLATE:
        buf_clear(&out->template);
        return store_read_layer(s, l, LAYER_TEXT_BYTES, &out->template, err);
    case LAYER_SYSTEM:
        buf_clear(&out->system);
        return store_read_layer(s, l, LAYER_TEXT_BYTES, &out->system, err);
    case LAYER_LICENSE:
        return add_license(out, s, l, err);
    case LAYER_PARAMS:
        return layer_object(&out->params, s, l, false, "parameters", err);
    case LAYER_MESSAGES:
        return layer_object(&out->messages, s, l, true, "messages", err);
    case LAYER_ADAPTER:
        return fail(err, STATUS_UNSUPPORTED, "adapters (LoRA) are not supported");
    case LAYER_TENSOR:
        return fail(err, STATUS_UNSUPPORTED,
                    "its weights are safetensors; only GGUF is supported");
    case LAYER_CONFIG:
    case LAYER_PROJECTOR: // images: what a text model does without
    case LAYER_DRAFT:
    case LAYER_EMBED:
    case LAYER_JSON:
    case LAYER_OTHER:
        break;
    }
    return STATUS_OK;
}

enum status stored_model_load(struct stored_model *out, const struct store *s,
                              const struct model_name *name, struct error *err)
{
    char shown[MODEL_NAME_BYTES];
    struct error why;
    *out = (struct stored_model){0};
    buf_init(&out->template, LAYER_TEXT_BYTES);
    buf_init(&out->system, LAYER_TEXT_BYTES);
    buf_init(&out->license, (size_t)LAYER_TEXT_BYTES * 4);
    model_name_print(shown, name);
    enum status st = store_find(s, name, &out->manifest, &out->entry, err);
    if (st)
        return st;
    const struct manifest *m = &out->manifest;
    out->params = json_object();
    if (!out->params)
        st = fail(&why, STATUS_NO_MEMORY, "no memory");
    for (int i = 0; !st && i < m->n_layer; i++)
        st = take_layer(out, s, &m->layers[i], &why);
    if (!st && m->has_config && m->config.size)
        st = layer_object(&out->config, s, &m->config, false, "properties", &why);
    if (!st && !*out->path)
        st = fail(&why, STATUS_UNSUPPORTED, "it has no GGUF");
    if (st)
        return fail(err, st, "model '%s': %s", shown, why.text);
    out->template_kind = stored_template_kind(out->template.data, out->template.len);
    out->template_own = json_is_true(json_object_get(out->config, STORED_TEMPLATE_OWN));
    return STATUS_OK;
}

void stored_model_release(struct stored_model *m)
{
    manifest_release(&m->manifest);
    json_decref(m->params);
    json_decref(m->messages);
    json_decref(m->config);
    json_decref(m->licenses);
    buf_release(&m->template);
    buf_release(&m->system);
    buf_release(&m->license);
    *m = (struct stored_model){0};
}
