/* blob_writer.h - a blob from bytes that come one after the other. */
#ifndef STORE_BLOB_WRITER_H
#define STORE_BLOB_WRITER_H

#include "store/file_writer.h"
#include "store/store.h"

struct blob_writer {
    struct addition *addition;
    struct file_writer file;
};

/* size: bytes that will come, or FILE_SIZE_UNKNOWN. */
enum status blob_writer_open(struct blob_writer *w, struct addition *a, uint64_t size,
                             struct error *err);
enum status blob_writer_write(struct blob_writer *w, const void *p, size_t n,
                              struct error *err);
/* Sync it, claim it and give it its name.  expected (may be NULL): another digest is
 * STATUS_BAD_INPUT with both in the text, and nothing is kept.  digest may be NULL. */
enum status blob_writer_commit(struct blob_writer *w, const struct digest *expected,
                               struct digest *digest, struct error *err);
/* Drops what was not committed.  Right after any outcome. */
void blob_writer_close(struct blob_writer *w);

#endif
