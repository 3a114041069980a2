/* digest.h - SHA-256 of a file's bytes: what blobs are called.
 *
 * A struct digest comes from digest_parse, digest_of or a finished struct sha256, never
 * from copied text: paths are formatted from its 32 bytes, so no name that somebody else
 * chose can become a path. */
#ifndef STORE_DIGEST_H
#define STORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    DIGEST_HEX_BYTES = 65,  // 64 digits and a 0
    DIGEST_TEXT_BYTES = 72, // "sha256:", 64 digits and a 0
};

struct digest {
    uint8_t bytes[32];
};

/* s[0..n) is exactly "sha256:" or "sha256-" and 64 lower-case hexadecimal digits; else
 * false and *out untouched. */
bool digest_parse(struct digest *out, const char *s, size_t n);
void digest_print(char out[DIGEST_TEXT_BYTES], const struct digest *d); // "sha256:..."
void digest_file_name(char out[DIGEST_TEXT_BYTES],
                      const struct digest *d); // "sha256-..."
void digest_hex(char out[DIGEST_HEX_BYTES], const struct digest *d);
bool digest_equal(const struct digest *a, const struct digest *b);
int digest_compare(const struct digest *a, const struct digest *b); // as memcmp

/* A running hash, by libcrypto.  Closing is right after any outcome; a zeroed one may be
 * closed, too. */
struct sha256 {
    void *ctx;
};
enum status sha256_open(struct sha256 *h, struct error *err);
enum status sha256_update(struct sha256 *h, const void *p, size_t n, struct error *err);
/* The digest of all bytes so far; h can only be closed after it. */
enum status sha256_finish(struct sha256 *h, struct digest *out, struct error *err);
void sha256_close(struct sha256 *h);

/* Of p[0..n). */
enum status digest_of(struct digest *out, const void *p, size_t n, struct error *err);
/* Of the whole file behind fd, from its start; moves its offset.  *size (may be NULL):
 * bytes read.  name is what an error calls it. */
enum status digest_of_file(struct digest *out, uint64_t *size, int fd, const char *name,
                           struct error *err);

#endif
