/* internal.h - what the files of a store share. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "store/file_writer.h"
#include "store/store.h"

struct store {
    int n_folder;
    char *folder[STORE_FOLDERS_MAX]; // [0]: our own, "" if there is none
};

/* ---- paths; false if one does not fit ---- */
extern const char *const store_roots[2]; // "manifests-v2", "manifests"
bool store_manifest_path(char path[STORE_PATH_BYTES], const char *folder,
                         const char *root, const struct model_name *n);
bool store_blob_file(char path[STORE_PATH_BYTES], const char *folder,
                     const struct digest *d);

/* ---- manifests of one folder ---- */

/* The bytes of a manifest file; *modified_s as stat says.  STATUS_NOT_FOUND if it is not
 * there. */
enum status store_read_manifest(struct buf *out, int64_t *modified_s, const char *path,
                                struct error *err);

/* fn for each manifest of a folder, links of manifests-v2 first; names that are not valid
 * are passed over.  Ends at the first status that fn returns. */
struct store_walk {
    enum status (*fn)(void *ctx, const struct model_name *n, const char *path,
                      struct error *err);
    void *ctx;
};
enum status store_walk(const char *folder, const struct store_walk *w, struct error *err);

/* The name in that folder that equals n but for the case of its letters: *n becomes it.
 * false if there is none. */
bool store_spelling(const char *folder, struct model_name *n);

/* store_find, with the bytes of the manifest in text. */
enum status store_find_text(const struct store *s, const struct model_name *name,
                            struct manifest *m, struct store_entry *entry,
                            struct buf *text, struct error *err);

/* ---- who holds what ---- */

/* The lock of our own folder, with its folders open.  Zeroed: not held. */
struct store_lock {
    int fd, incoming, blobs; // .turbine/lock, .turbine, blobs
    const char *folder;
};
/* Makes the folders if they are not there.  Waits for others. */
enum status store_lock(struct store_lock *l, const struct store *s, struct error *err);
void store_unlock(struct store_lock *l);
/* A folder and those on the way to it, each of them lasting. */
enum status store_make_folder(const char *path, unsigned mode, struct error *err);

/* Digests in a sorted array. */
struct digest_set {
    struct digest *d;
    size_t n, cap;
};
bool digest_set_add(struct digest_set *s, const struct digest *d);
void digest_set_sort(struct digest_set *s);
bool digest_set_has(const struct digest_set *s, const struct digest *d); // sorted
void digest_set_release(struct digest_set *s);

/* With the lock: every blob that a manifest of our folder or a claim names, sorted.
 * *n_damaged: manifests that cannot be read. */
enum status store_used(struct digest_set *used, int *n_damaged,
                       const struct store_lock *l, struct error *err);
/* With the lock: remove those of `from` (all: NULL, and older than keep_s) that are not
 * in use. */
enum status store_sweep(const struct store_lock *l, const struct digest_set *from,
                        int keep_s, struct store_pruned *out, struct error *err);

/* Add the blobs of a manifest file, and its own digest, to the set; nothing if it cannot
 * be read. */
void store_note_blobs(struct digest_set *set, const char *path);
/* With the lock: remove the name from a root of our folder, for good, and the folders
 * that it leaves empty; its blobs go into the set.  *removed: it was there. */
enum status store_remove_name(const struct store_lock *l, const char *root,
                              const struct model_name *n, struct digest_set *set,
                              bool *removed, struct error *err);
/* The name in manifests-v2, where the host may have its other spelling. */
enum status store_remove_link(const struct store_lock *l, const struct model_name *n,
                              struct digest_set *set, bool *removed, struct error *err);

#define STORE_CLAIM_PREFIX "claim-"

#endif
