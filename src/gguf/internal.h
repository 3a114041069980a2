/* internal.h - what the files of gguf/ share. */
#ifndef GGUF_INTERNAL_H
#define GGUF_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "gguf/gguf.h"

/* Ceilings on what a file may claim, far above every real file.  Each claim is also
 * bounded by the bytes that are left, before anything is allocated or multiplied. */
enum {
    GGUF_TENSOR_MAX = 65536,
    GGUF_KV_MAX = 65536,
    GGUF_KEY_MAX = 1024,
    GGUF_NAME_MAX = 127,
    GGUF_STR_MAX = 16 << 20,
    GGUF_ARR_MAX = 16 << 20,
    GGUF_SPLIT_MAX = 999,
    GGUF_META_MAX = 512 << 20,
    GGUF_ARENA_MAX = 512 << 20,
};

struct bus_range;

/* One opened file.  `data` is the mapping (or the caller's image); `meta` is a private
 * copy of its head, so that metadata cannot change or fault after it was checked. */
struct gguf_file {
    char *path;
    const uint8_t *data; // [bytes]
    size_t bytes;
    uint8_t *meta;               // the caller's image if fd < 0 and range == NULL
    size_t meta_cap, meta_ready; // address space reserved; bytes present
    size_t head;                 // bytes of meta that were parsed
    int fd;                      // while the metadata are being read, else -1
    struct bus_range *range;     // NULL for an image in memory
};

enum status gguf_file_open(struct gguf_file *f, const char *path, struct error *err);
enum status gguf_file_memory(struct gguf_file *f, const void *data, size_t n,
                             struct error *err);
/* Make meta[0..n) present; n <= bytes. */
enum status gguf_file_fill(struct gguf_file *f, size_t n, struct error *err);
/* The metadata end at n: give back what was reserved behind. */
void gguf_file_trim(struct gguf_file *f, size_t n);
void gguf_file_close(struct gguf_file *f);
/* The handler of SIGBUS is ours. */
void gguf_bus_ready(void);
/* The mapping has raised SIGBUS; since then it reads as zero. */
bool gguf_file_faulted(const struct gguf_file *f);
void gguf_file_drop(const struct gguf_file *f, const uint8_t *p, size_t n);

struct gguf_kv {
    const char *key;
    enum gguf_type type, elem; // elem == type for scalars
    uint64_t count;
    const uint8_t *value; // the first element
};

struct gguf_table {
    const char *path; // for error texts
    struct gguf_kv *kv;
    int n;
    const struct gguf_kv **by_key; // [n], sorted
};

struct gguf_slot {
    struct gguf_tensor t;
    uint64_t offset; // from the start of the data section
};

struct gguf {
    struct arena arena; // names, keys, tables
    struct gguf_file *file;
    int n_files;
    int version;
    struct gguf_table table; // of the first file
    struct gguf_slot *slot;  // [n_tensors]
    int n_tensors;
    const struct gguf_tensor **by_name; // [n_tensors], sorted
};

/* Parse file f, append its tensors to g, fill table. */
enum status gguf_parse(struct gguf *g, struct gguf_file *f, struct gguf_table *table,
                       struct error *err);

/* Open one file and, if it is the first of a split, not the others. */
enum status gguf_open_part(struct gguf **out, const char *path, struct error *err);

/* Refuse a tensor of a type that dtype_find does not know: STATUS_UNSUPPORTED, with the
 * type's name if any program has one. */
enum status gguf_foreign_type(const char *path, const char *tensor, uint32_t id,
                              struct error *err);
/* Id 42 is Q2_0, and a type of the cache in TheTom's fork.  The distance to the next of
 * the file's n tensors, or to the end of its data, says which: STATUS_UNSUPPORTED if it
 * is the latter. */
enum status gguf_foreign_42(const char *path, const struct gguf_slot *slot, size_t n,
                            uint64_t data_bytes, struct error *err);

/* Bytes of a scalar, 0 for strings and arrays. */
size_t gguf_type_bytes(enum gguf_type t);

const struct gguf_kv *gguf_table_find(const struct gguf_table *t, const char *key);
enum status gguf_table_int(const struct gguf_table *t, const char *key, int64_t min,
                           int64_t max, int64_t *out, struct error *err);

/* Names come from the file: anything but printable ASCII becomes '?', long ones are cut,
 * so that an error text stays one harmless line. */
struct gguf_shown {
    char s[72];
};
struct gguf_shown gguf_show(const char *s, size_t n);

/* Little endian; written out so that compilers make it one load. */
static inline uint64_t gguf_le64(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 |
           (uint64_t)p[3] << 24 | (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 |
           (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* The n bytes at p, little endian. */
static inline uint64_t gguf_le(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

#endif
