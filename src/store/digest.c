/* digest.c - digests and their hash. */
#include "store/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/mem.h"

enum { READ_BYTES = 1 << 20 };

bool digest_parse(struct digest *out, const char *s, size_t n)
{
    static const char name[] = "sha256";
    const size_t head = sizeof name; // with ':' or '-'
    struct digest d;
    if (n != head + 2 * sizeof d.bytes || memcmp(s, name, head - 1) ||
        (s[head - 1] != ':' && s[head - 1] != '-'))
        return false;
    for (size_t i = 0; i < 2 * sizeof d.bytes; i++) {
        const char c = s[head + i];
        const int v = hex_value(c);
        if (v < 0 || (c >= 'A' && c <= 'F'))
            return false;
        d.bytes[i / 2] = (uint8_t)(i % 2 ? d.bytes[i / 2] << 4 | v : v);
    }
    *out = d;
    return true;
}

void digest_hex(char out[DIGEST_HEX_BYTES], const struct digest *d)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->bytes; i++) {
        out[2 * i] = digits[d->bytes[i] >> 4];
        out[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    out[2 * sizeof d->bytes] = 0;
}

void digest_print(char out[DIGEST_TEXT_BYTES], const struct digest *d)
{
    memcpy(out, "sha256:", 7);
    digest_hex(out + 7, d);
}

void digest_file_name(char out[DIGEST_TEXT_BYTES], const struct digest *d)
{
    memcpy(out, "sha256-", 7);
    digest_hex(out + 7, d);
}

int digest_compare(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return !digest_compare(a, b);
}

enum status sha256_open(struct sha256 *h, struct error *err)
{
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL))
        return STATUS_OK;
    sha256_close(h);
    return fail(err, STATUS_NO_MEMORY, "SHA-256 is not available");
}

enum status sha256_update(struct sha256 *h, const void *p, size_t n, struct error *err)
{
    if (EVP_DigestUpdate(h->ctx, p, n))
        return STATUS_OK;
    return fail(err, STATUS_NO_MEMORY, "SHA-256 failed");
}

enum status sha256_finish(struct sha256 *h, struct digest *out, struct error *err)
{
    unsigned n = sizeof out->bytes;
    if (EVP_DigestFinal_ex(h->ctx, out->bytes, &n) && n == sizeof out->bytes)
        return STATUS_OK;
    return fail(err, STATUS_NO_MEMORY, "SHA-256 failed");
}

void sha256_close(struct sha256 *h)
{
    EVP_MD_CTX_free(h->ctx);
    h->ctx = NULL;
}

enum status digest_of(struct digest *out, const void *p, size_t n, struct error *err)
{
    struct sha256 h = {0};
    enum status s = sha256_open(&h, err);
    if (!s && !(s = sha256_update(&h, p, n, err)))
        s = sha256_finish(&h, out, err);
    sha256_close(&h);
    return s;
}

enum status digest_of_file(struct digest *out, uint64_t *size, int fd, const char *name,
                           struct error *err)
{
    struct sha256 h = {0};
    uint64_t total = 0;
    char *block = mem_array(READ_BYTES, 1);
    enum status s = block ? sha256_open(&h, err)
                          : fail(err, STATUS_NO_MEMORY, "no memory to read %s", name);
    if (!s && lseek(fd, 0, SEEK_SET) < 0)
        s = fail(err, STATUS_IO, "%s: %s", name, strerror(errno));
    while (!s) {
        const ssize_t n = read(fd, block, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s = fail(err, STATUS_IO, "%s: %s", name, strerror(errno));
        if (n <= 0)
            break;
        s = sha256_update(&h, block, (size_t)n, err);
        total += (uint64_t)n;
    }
    if (!s)
        s = sha256_finish(&h, out, err);
    if (!s && size)
        *size = total;
    sha256_close(&h);
    mem_free(block);
    return s;
}
