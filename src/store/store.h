/* store.h - models on disk, in Ollama's layout.
 *
 *   FOLDER/manifests/<host>/<namespace>/<model>/<tag>   JSON (manifest.h)
 *   FOLDER/blobs/sha256-<64 digits>                     layers, by their digest
 *   FOLDER/.turbine/                                    lock, claims, files being written
 *
 * Newer versions of Ollama keep links to manifests in FOLDER/manifests-v2, which is read
 * first; we write to manifests.
 *
 * A store is one folder of our own and others that are only read (Ollama's).  Readers
 * take no lock: a file is whole or absent and blobs never change.  Whoever adds or
 * removes holds FOLDER/.turbine/lock (flock) for moments only; what an addition has put
 * there or counts on is in its claim, a file that it keeps locked, and stays while the
 * claim lives. Any number of processes and threads may use a folder; a struct store may
 * be used by several threads at once. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/manifest.h"
#include "store/model_name.h"

enum { STORE_PATH_BYTES = 4096, STORE_FOLDERS_MAX = 8 };

struct store;

struct store_folders {
    const char *own;           // made on the first write; NULL: nothing can be written
    const char *const *others; // [n_other] read only; skipped if not there or closed
    int n_other;
};

/* Copies the paths.  No file is made or changed. */
enum status store_open(struct store **out, const struct store_folders *folders,
                       struct error *err);
void store_close(struct store *s);
int store_n_folder(const struct store *s);
const char *store_folder(const struct store *s,
                         int i); // 0: our own ("" if there is none)

/* ---- reading ---- */

struct store_entry {
    struct model_name name; // as spelled on disk
    struct digest digest;   // of the manifest file: the model's id
    uint64_t bytes;         // of all layers
    int64_t modified_s;     // since 1970, of the manifest file
    int folder;
    bool damaged; // the manifest cannot be read: digest and bytes are zero
};

/* All models, newest first; a name in several folders counts once, the first.  *out
 * [*n] is freed by mem_free. */
enum status store_list(const struct store *s, struct store_entry **out, int *n,
                       struct error *err);
/* STATUS_NOT_FOUND "model 'x' not found"; STATUS_BAD_FILE if its manifest is damaged.
 * entry may be NULL; m is released by manifest_release, whatever comes back. */
enum status store_find(const struct store *s, const struct model_name *name,
                       struct manifest *m, struct store_entry *entry, struct error *err);
/* The path of a blob in the first folder that has it with this size (0: any);
 * STATUS_NOT_FOUND, or STATUS_BAD_FILE if only another size is there. */
enum status store_blob_path(const struct store *s, const struct digest *d, uint64_t size,
                            char path[STORE_PATH_BYTES], struct error *err);
/* Append a layer of at most max bytes to out; its digest is checked. */
enum status store_read_layer(const struct store *s, const struct layer *l, size_t max,
                             struct buf *out, struct error *err);

/* *present: some folder has the blob.  One of our own counts as changed now, so that
 * prune leaves it for a while. */
enum status store_refresh_blob(struct store *s, const struct digest *d, bool *present,
                               struct error *err);

/* ---- adding ---- */

/* What one create, copy or pull adds: blobs first, the manifest last. */
struct addition;

enum status addition_open(struct addition **out, struct store *s, struct error *err);
/* Ends the claim; what no manifest names becomes prey of the next delete or prune. */
void addition_close(struct addition *a);

/* From now on nobody removes the blob.  *present: it is in our own folder, with this size
 * (0: any).  Claim before relying on a blob that is there already. */
enum status addition_claim(struct addition *a, const struct digest *d, uint64_t size,
                           bool *present, struct error *err);
/* A small blob, from memory. */
enum status addition_bytes(struct addition *a, const void *p, size_t n,
                           struct digest *digest, struct error *err);
/* The file at path as a blob, hashed while it is copied (a copy on write where the file
 * system can; never a hard link: its owner may change the file).  STATUS_BAD_FILE if it
 * changes meanwhile. */
enum status addition_file(struct addition *a, const char *path, struct digest *digest,
                          uint64_t *size, struct error *err);
/* Did our own folder have the newest blob of the two above, before it was added? */
bool addition_was_there(const struct addition *a);
/* A blob of any folder into our own: nothing to do, a hard link, or a copy; in the last
 * two cases its digest is checked. */
enum status addition_blob(struct addition *a, const struct digest *d, uint64_t size,
                          struct error *err);

/* The folder for files on their way, for whoever writes in pieces (resumable downloads).
 * Names there: "<64 digits>.part" and "<64 digits>.part.map" stay for
 * STORE_PART_KEEP_S after their last change or while their flock is held, then prune
 * removes them; FILE_WRITER_PREFIX ones belong to file_writer. */
enum { STORE_PART_KEEP_S = 7 * 86400 };
int addition_folder(const struct addition *a);
/* File `name` of that folder is complete: hash all of it, sync it and make it blob d.
 * STATUS_BAD_INPUT, with both digests in the text, if it is another: the file stays. */
enum status addition_adopt(struct addition *a, const char *name, const struct digest *d,
                           struct error *err);

/* Write the manifest, json[0..n) as it is: the last step.  It must parse and all its
 * blobs must be in our own folder with their sizes.  Replaces a model of this name, whose
 * blobs go if nothing else needs them. */
enum status addition_put(struct addition *a, const struct model_name *name,
                         const char *json, size_t n, struct error *err);

/* ---- changing ---- */

/* Replaces `to`; the model of a folder that is only read is copied into our own. */
enum status store_copy(struct store *s, const struct model_name *from,
                       const struct model_name *to, struct error *err);
/* Only from our own folder.  Blobs that no manifest and no claim names go with it; *freed
 * (may be NULL): their bytes.  If any manifest of the folder cannot be read, blobs
 * stay. */
enum status store_delete(struct store *s, const struct model_name *name, uint64_t *freed,
                         struct error *err);

struct store_pruned {
    int n_blob, n_file; // removed: blobs, and leftovers in .turbine
    uint64_t bytes;
    int n_damaged; // manifests that cannot be read: then no blob was removed
};
/* Remove what nothing names and nobody is writing; safe beside a running pull.  Blobs
 * stay for keep_s seconds after their last change: they may have been sent ahead of the
 * manifest that will name them. */
enum { STORE_BLOB_KEEP_S = 3600 };
enum status store_prune(struct store *s, int keep_s, struct store_pruned *out,
                        struct error *err);

/* ---- checking ---- */

struct store_problem {
    const char *what; // "registry.ollama.ai/library/x:latest" or "sha256-..."
    const char *text; // one line
};
struct store_verified {
    int n_manifest, n_blob;  // looked at
    uint64_t bytes;          // hashed
    int n_problem, n_unused; // blobs that no manifest names: no problem
};
/* Hash every blob of every folder, or of one model (name not NULL), and compare it with
 * its name; check every manifest and the sizes of its layers.  report is called for each
 * problem, progress (may be NULL) while it hashes.  STATUS_OK with n_problem > 0 is the
 * answer "damaged". */
struct store_watch {
    void (*report)(void *ctx, const struct store_problem *p);
    void (*progress)(void *ctx, uint64_t bytes);
    void *ctx;
};
enum status store_verify(const struct store *s, const struct model_name *name,
                         const struct store_watch *watch, struct store_verified *out,
                         struct error *err);

#endif
