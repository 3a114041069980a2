/* fuzz_manifest.c - manifests: what is accepted prints, and reads back the same. */
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool same_layer(const struct layer *a, const struct layer *b)
{
    return a->kind == b->kind && !strcmp(a->media_type, b->media_type) &&
           digest_equal(&a->digest, &b->digest) && a->size == b->size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct manifest m, again;
    struct error err = {0};
    struct buf b;
    buf_init(&b, MANIFEST_BYTES * 2);
    const enum status s = manifest_parse(&m, (const char *)data, n, &err);
    if (s && !*err.text)
        abort();
    if (!s) {
        if (manifest_print(&b, &m, &err) || manifest_parse(&again, b.data, b.len, &err) ||
            again.n_layer != m.n_layer || again.has_config != m.has_config ||
            (m.has_config && !same_layer(&m.config, &again.config)) ||
            manifest_bytes(&m) != manifest_bytes(&again))
            abort();
        for (int i = 0; i < m.n_layer; i++)
            if (!same_layer(&m.layers[i], &again.layers[i]))
                abort();
        manifest_release(&again);
    }
    manifest_release(&m);
    buf_release(&b);
    return 0;
}
