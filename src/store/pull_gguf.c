/* pull_gguf.c - manifest and config of GGUF files that came without. */
#include <jansson.h>
#include <stdio.h>

#include "store/create.h"
#include "store/pull_impl.h"

enum { CONFIG_BYTES = 1 << 20 };

static int append_text(const char *p, size_t n, void *buf)
{
    return buf_append(buf, p, n) ? 0 : -1;
}

/* What the file says of itself, or, with a note, that it is a GGUF. */
static enum status describe_gguf(struct buf *out, struct pull *p, const struct layer *l,
                                 struct error *err)
{
    char path[STORE_PATH_BYTES];
    struct gguf *g = NULL;
    json_t *config = NULL;
    struct error why = {0};
    enum status s = store_blob_path(p->store, &l->digest, l->size, path, &why);
    s = s ? s : gguf_open(&g, path, &why);
    s = s ? s : create_config(&config, g, &why);
    if (s) {
        http_session_note(p->session, "the file is stored, but not understood: %s",
                          why.text);
        config = json_pack("{s:s}", "model_format", "gguf");
    }
    gguf_close(g);
    const bool printed =
        config && !json_dump_callback(config, append_text, out, JSON_COMPACT);
    json_decref(config);
    return printed ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory for a config");
}

enum status pull_put_gguf(struct pull *p, const struct model_name *name,
                          struct manifest *m, struct error *err)
{
    struct buf config, json;
    buf_init(&config, CONFIG_BYTES);
    buf_init(&json, MANIFEST_BYTES);
    enum status s = describe_gguf(&config, p, &m->layers[0], err);
    if (!s)
        s = addition_bytes(p->addition, config.data, config.len, &m->config.digest, err);
    m->has_config = true;
    m->config.kind = LAYER_CONFIG;
    snprintf(m->config.media_type, sizeof m->config.media_type, "%s",
             layer_media_type(LAYER_CONFIG));
    m->config.size = config.len;
    s = s ? s : manifest_print(&json, m, err);
    if (!s)
        pull_tell_writing(p);
    s = s ? s : addition_put(p->addition, name, json.data, json.len, err);
    buf_release(&config);
    buf_release(&json);
    return s;
}
