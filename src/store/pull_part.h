/* pull_part.h - a blob that is on its way: bytes in NAME.part, and NAME.part.map, which
 * says which chunks of it are there.
 *
 * The map is a header and then a record for each chunk that was complete: its number, its
 * SHA-256 and a check.  A record is written only after its chunk was synced, so a crash
 * loses records, never the truth of one; and each chunk is hashed again before it counts
 * after a restart, so damage costs that chunk alone.  Map, all integers little endian:
 *
 *   header   "TRBPART1", size u64, chunk u64, ETag char[256], check u64
 *   record   number u64, SHA-256 u8[32], check u64
 *
 * A check is the first 8 bytes of the SHA-256 of what stands before it in its header or
 * record, for a record followed by the header's check. */
#ifndef STORE_PULL_PART_H
#define STORE_PULL_PART_H

#include "http/download.h"
#include "store/digest.h"

struct pull_part;

struct pull_watch {
    /* done of size bytes are here; checking: what was here before is hashed. */
    void (*progress)(void *ctx, uint64_t done, uint64_t size, bool checking);
    void *ctx;
};

/* The part of a blob of size > 0 bytes in the folder, made if it is not there.  Waits
 * while another pull of the blob holds it, which may leave a whole blob and no part.
 * Watch is copied. */
enum status pull_part_open(struct pull_part **out, int folder, const struct digest *d,
                           uint64_t size, struct http_session *session,
                           const struct pull_watch *watch, struct error *err);
/* Its space, before anything is fetched; STATUS_IO with what is missing if the disk is
 * too small. */
enum status pull_part_reserve(const struct pull_part *p, struct error *err);
/* Keeps what is on disk. */
void pull_part_close(struct pull_part *p);

const char *pull_part_name(const struct pull_part *p);
bool pull_part_complete(const struct pull_part *p);
uint64_t pull_part_bytes(const struct pull_part *p); // of complete chunks

/* What is here came from a file with another ETag: it is dropped, with a note.  Right
 * before the first byte is written. */
enum status pull_part_bind(struct pull_part *p, const char *etag, struct error *err);

/* The context is the part. */
extern const struct download_sink pull_part_sink;

/* Sync complete chunks and record them. */
enum status pull_part_commit(struct pull_part *p, struct error *err);
/* Hash all chunks again; *n_bad of them are not what was written, and are wanted again.
 */
enum status pull_part_recheck(struct pull_part *p, int *n_bad, struct error *err);
/* Forget all chunks. */
enum status pull_part_reset(struct pull_part *p, struct error *err);
/* The part has become a blob, or is of no use: remove what is left of it. */
void pull_part_remove(struct pull_part *p);

#endif
