/* manifest.h - what a model is made of: a list of blobs, as JSON.
 *
 *   {"schemaVersion":2, "mediaType":"...manifest.v2+json",
 *    "config":{"mediaType":..., "digest":"sha256:...", "size":...}, "layers":[...]}
 *
 * Layers keep their order.  Source: Ollama's manifest/, the Docker image manifest,
 * version 2, schema 2. */
#ifndef STORE_MANIFEST_H
#define STORE_MANIFEST_H

#include "base/buf.h"
#include "store/digest.h"

#define MANIFEST_MEDIA_TYPE "application/vnd.docker.distribution.manifest.v2+json"

/* X(id, media type) */
#define LAYER_MAP(X)                                            \
    X(CONFIG, "application/vnd.docker.container.image.v1+json") \
    X(MODEL, "application/vnd.ollama.image.model")              \
    X(PROJECTOR, "application/vnd.ollama.image.projector")      \
    X(ADAPTER, "application/vnd.ollama.image.adapter")          \
    X(DRAFT, "application/vnd.ollama.image.draft")              \
    X(TEMPLATE, "application/vnd.ollama.image.template")        \
    X(SYSTEM, "application/vnd.ollama.image.system")            \
    X(PARAMS, "application/vnd.ollama.image.params")            \
    X(MESSAGES, "application/vnd.ollama.image.messages")        \
    X(LICENSE, "application/vnd.ollama.image.license")          \
    X(EMBED, "application/vnd.ollama.image.embed")              \
    X(TENSOR, "application/vnd.ollama.image.tensor")            \
    X(JSON, "application/vnd.ollama.image.json")

enum blob_kind {
#define X(id, media) LAYER_##id,
    LAYER_MAP(X)
#undef X
        LAYER_OTHER // its media type is kept as it is
};

enum {
    MANIFEST_BYTES = 4 << 20, // of the JSON, at most
    LAYER_MEDIA_BYTES = 128,
};

struct layer {
    enum blob_kind kind;
    char media_type[LAYER_MEDIA_BYTES];
    struct digest digest;
    uint64_t size; // bytes, at most 2^53
};

struct manifest {
    bool has_config;
    struct layer config;
    struct layer *layers; // [n_layer], in the order of the file
    int n_layer;
    struct digest digest; // of the JSON that was parsed; zero if built by hand
};

/* Check and take over json[0..n): nothing of it is kept.  A missing or wrong member,
 * digest or size is STATUS_BAD_FILE with its place ("layers[2].digest"); members that
 * are not known are ignored.  Release is right after any outcome. */
enum status manifest_parse(struct manifest *out, const char *json, size_t n,
                           struct error *err);
void manifest_release(struct manifest *m);

/* The JSON as Ollama writes it: no spaces, a line end behind it. */
enum status manifest_print(struct buf *out, const struct manifest *m, struct error *err);

/* JSON in the form of all files of a store: no spaces, keys as they come, a line end.
 * false if out is full. */
struct json_t;
bool manifest_dump(struct buf *out, const struct json_t *j);

/* Append a layer. */
enum status manifest_add(struct manifest *m, enum blob_kind kind,
                         const struct digest *digest, uint64_t size, struct error *err);
/* Drop all layers of a kind. */
void manifest_drop(struct manifest *m, enum blob_kind kind);
/* The first layer of a kind, or NULL. */
const struct layer *manifest_find(const struct manifest *m, enum blob_kind kind);
/* Bytes of config and layers. */
uint64_t manifest_bytes(const struct manifest *m);

const char *layer_media_type(enum blob_kind kind); // "" for LAYER_OTHER

#endif
