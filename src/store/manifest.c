/* manifest.c - manifests from and to JSON. */
#include "store/manifest.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "json/parse.h"
#include "base/mem.h"

#define LIST_MEDIA_TYPE "application/vnd.ollama.manifest.list.v2+json"

static const char *const layer_media[] = {
#define X(id, media) media,
    LAYER_MAP(X)
#undef X
        "",
};

const char *layer_media_type(enum blob_kind kind)
{
    return layer_media[kind];
}

static enum blob_kind kind_of(const char *media_type)
{
    int k = 0;
    while (k < LAYER_OTHER && strcmp(layer_media[k], media_type))
        k++;
    return (enum blob_kind)k;
}

static enum status parse_layer(struct layer *out, const json_t *o, const char *where,
                               struct error *err)
{
    const char *media = json_string_value(json_object_get(o, "mediaType"));
    const json_t *digest = json_object_get(o, "digest"),
                 *size = json_object_get(o, "size");
    if (!json_is_object(o))
        return fail(err, STATUS_BAD_FILE, "manifest: %s is no object", where);
    if (!media || strlen(media) >= sizeof out->media_type)
        return fail(err, STATUS_BAD_FILE, "manifest: %s.mediaType is no media type",
                    where);
    if (!json_is_string(digest) || !digest_parse(&out->digest, json_string_value(digest),
                                                 json_string_length(digest)))
        return fail(err, STATUS_BAD_FILE,
                    "manifest: %s.digest is not \"sha256:\" and 64 hexadecimal digits",
                    where);
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        json_integer_value(size) > (json_int_t)1 << 53)
        return fail(err, STATUS_BAD_FILE, "manifest: %s.size is no number of bytes",
                    where);
    out->kind = kind_of(media);
    out->size = (uint64_t)json_integer_value(size);
    snprintf(out->media_type, sizeof out->media_type, "%s", media);
    return STATUS_OK;
}

static enum status parse_layers(struct manifest *m, const json_t *a, struct error *err)
{
    const size_t n = json_array_size(a);
    enum status s = STATUS_OK;
    if (n && !(m->layers = mem_array(n, sizeof *m->layers)))
        return fail(err, STATUS_NO_MEMORY, "no memory for %zu layers", n);
    for (size_t i = 0; !s && i < n; i++) {
        char where[40];
        snprintf(where, sizeof where, "layers[%zu]", i);
        s = parse_layer(&m->layers[i], json_array_get(a, i), where, err);
        m->n_layer = (int)i + 1;
    }
    return s;
}

static enum status parse_root(struct manifest *m, const json_t *root, struct error *err)
{
    const json_t *version = json_object_get(root, "schemaVersion");
    const json_t *layers = json_object_get(root, "layers");
    const json_t *config = json_object_get(root, "config");
    const char *media = json_string_value(json_object_get(root, "mediaType"));
    if (!json_is_object(root))
        return fail(err, STATUS_BAD_FILE, "manifest: no JSON object");
    if (media && !strcmp(media, LIST_MEDIA_TYPE))
        return fail(err, STATUS_UNSUPPORTED,
                    "manifest: a list of manifests for several engines");
    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return fail(err, STATUS_BAD_FILE, "manifest: schemaVersion is not 2");
    if (!json_is_array(layers))
        return fail(err, STATUS_BAD_FILE, "manifest: layers is no array");
    if (config && !json_is_null(config)) {
        const enum status s = parse_layer(&m->config, config, "config", err);
        if (s)
            return s;
        m->has_config = true;
    }
    return parse_layers(m, layers, err);
}

enum status manifest_parse(struct manifest *out, const char *json, size_t n,
                           struct error *err)
{
    *out = (struct manifest){0};
    if (n > MANIFEST_BYTES)
        return fail(err, STATUS_LIMIT, "manifest: %zu bytes are more than %d", n,
                    MANIFEST_BYTES);
    json_error_t why;
    json_t *root = json_parse(n ? json : "", n, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return fail(err, STATUS_BAD_FILE, "manifest: line %d: %s", why.line, why.text);
    enum status s = parse_root(out, root, err);
    json_decref(root);
    return s ? s : digest_of(&out->digest, json, n, err);
}

void manifest_release(struct manifest *m)
{
    mem_free(m->layers);
    *m = (struct manifest){0};
}

static json_t *layer_json(const struct layer *l)
{
    char digest[DIGEST_TEXT_BYTES];
    digest_print(digest, &l->digest);
    return json_pack("{s:s, s:s, s:I}", "mediaType", l->media_type, "digest", digest,
                     "size", (json_int_t)l->size);
}

static int append_json(const char *p, size_t n, void *out)
{
    return buf_append(out, p, n) ? 0 : -1;
}

bool manifest_dump(struct buf *out, const json_t *j)
{
    return !json_dump_callback(j, append_json, out,
                               JSON_COMPACT | JSON_REAL_PRECISION(10)) &&
           buf_puts(out, "\n");
}

enum status manifest_print(struct buf *out, const struct manifest *m, struct error *err)
{
    json_t *root =
        json_pack("{s:i, s:s}", "schemaVersion", 2, "mediaType", MANIFEST_MEDIA_TYPE);
    json_t *layers = json_array();
    int rc = root && layers ? 0 : -1;
    if (!rc && m->has_config)
        rc = json_object_set_new(root, "config", layer_json(&m->config));
    for (int i = 0; !rc && i < m->n_layer; i++)
        rc = json_array_append_new(layers, layer_json(&m->layers[i]));
    if (!rc)
        rc = json_object_set(root, "layers", layers);
    if (!rc)
        rc = manifest_dump(out, root) ? 0 : -1;
    json_decref(layers);
    json_decref(root);
    if (rc)
        return fail(err, STATUS_NO_MEMORY, "no memory for a manifest");
    return STATUS_OK;
}

enum status manifest_add(struct manifest *m, enum blob_kind kind,
                         const struct digest *digest, uint64_t size, struct error *err)
{
    struct layer *p = mem_resize(m->layers, (size_t)m->n_layer + 1, sizeof *p);
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for a layer");
    m->layers = p;
    p += m->n_layer++;
    *p = (struct layer){.kind = kind, .digest = *digest, .size = size};
    snprintf(p->media_type, sizeof p->media_type, "%s", layer_media[kind]);
    return STATUS_OK;
}

void manifest_drop(struct manifest *m, enum blob_kind kind)
{
    int n = 0;
    for (int i = 0; i < m->n_layer; i++)
        if (m->layers[i].kind != kind)
            m->layers[n++] = m->layers[i];
    m->n_layer = n;
}

const struct layer *manifest_find(const struct manifest *m, enum blob_kind kind)
{
    for (int i = 0; i < m->n_layer; i++)
        if (m->layers[i].kind == kind)
            return &m->layers[i];
    return NULL;
}

uint64_t manifest_bytes(const struct manifest *m)
{
    uint64_t n = m->has_config ? m->config.size : 0;
    for (int i = 0; i < m->n_layer; i++)
        n += m->layers[i].size; // 2^53 each, and fewer than 2^10 of them would overflow
    return n;
}
