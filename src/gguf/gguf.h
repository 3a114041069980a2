/* gguf.h - reader of GGUF v2 and v3 files, whole or split.
 *
 * The file is mapped read-only.  Everything that this interface returns was checked:
 * counts against the bytes left, strings inside the file, types, every tensor inside its
 * file, unique names.  Pointers live as long as the gguf.  Metadata and names are private
 * copies; only reading tensor data can meet a file that has shrunk since: the lost pages
 * then read as zero, and gguf_guard() turns that into an error.
 *
 * Shapes here are GGUF's: ne[0] is contiguous.  Everywhere else shapes are C order. */
#ifndef GGUF_GGUF_H
#define GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tensor/dtype.h"

struct gguf;

struct gguf_str {
    const char *s; // not terminated
    size_t n;
};

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STR,
    GGUF_ARR,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf_tensor {
    const char *name; // terminated
    int n_dims;
    int64_t ne[4]; // ne[n_dims..] are 1
    enum dtype dtype;
    const uint8_t *data;
    size_t bytes;
};

/* Opens path; for the first file of a split, all of them. */
enum status gguf_open(struct gguf **out, const char *path, struct error *err);
/* Parse a file image that stays the caller's (tests, fuzzing); no splits. */
enum status gguf_open_memory(struct gguf **out, const void *data, size_t n,
                             struct error *err);
void gguf_close(struct gguf *g);

const char *gguf_path(const struct gguf *g);
size_t gguf_file_bytes(const struct gguf *g); // all files of a split
int gguf_version(const struct gguf *g);
int gguf_n_files(const struct gguf *g);
/* The bytes of a file in front of its tensor data: metadata and the table of tensors. */
const uint8_t *gguf_head(const struct gguf *g, int file, size_t *n);

/* ---- tensors, over all files ---- */
int gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, int i);
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g,
                                           const char *name);             // or NULL
int gguf_tensor_index(const struct gguf *g, const struct gguf_tensor *t); // its position

/* Tell the kernel that the pages inside n bytes of tensor data at p are not needed any
 * more.  They can still be read: from the file, again. */
void gguf_drop(const struct gguf *g, const uint8_t *p, size_t n);

/* ---- metadata, by position ---- */
int gguf_n_kv(const struct gguf *g);
const char *gguf_kv_key(const struct gguf *g, int i); // terminated
enum gguf_type gguf_kv_type(const struct gguf *g, int i);
enum gguf_type gguf_kv_elem_type(const struct gguf *g, int i); // of arrays
uint64_t gguf_kv_count(const struct gguf *g, int i);           // of arrays, else 1
const char *gguf_type_name(enum gguf_type t);
/* Element j of entry i (j = 0 for a scalar); false if the type does not convert. */
bool gguf_kv_elem_int(const struct gguf *g, int i, uint64_t j, int64_t *out);
bool gguf_kv_elem_f64(const struct gguf *g, int i, uint64_t j, double *out);
bool gguf_kv_elem_str(const struct gguf *g, int i, uint64_t j, struct gguf_str *out);

/* ---- metadata, by key ----
 * A missing key is STATUS_NOT_FOUND in the plain getters and `def` in the _or ones.  A
 * wrong type or a value outside [min, max] is STATUS_BAD_FILE; the text names the key.
 * Any integer or bool type is read where an integer is meant. */
int gguf_find(const struct gguf *g, const char *key); // position, -1 if there is none
enum status gguf_int(const struct gguf *g, const char *key, int64_t min, int64_t max,
                     int64_t *out, struct error *err);
enum status gguf_int_or(const struct gguf *g, const char *key, int64_t min, int64_t max,
                        int64_t def, int64_t *out, struct error *err);
/* Finite, min <= value <= max. */
enum status gguf_f64(const struct gguf *g, const char *key, double min, double max,
                     double *out, struct error *err);
enum status gguf_f64_or(const struct gguf *g, const char *key, double min, double max,
                        double def, double *out, struct error *err);
enum status gguf_bool_or(const struct gguf *g, const char *key, bool def, bool *out,
                         struct error *err);
enum status gguf_str(const struct gguf *g, const char *key, struct gguf_str *out,
                     struct error *err);

/* A string array for sequential or random access.  The index of starts is built here,
 * so that access is O(1); gguf_strings_close frees it. */
struct gguf_strings {
    size_t n;
    const uint8_t **at; // [n], each a u64 length and bytes
};
enum status gguf_strings_open(struct gguf_strings *out, const struct gguf *g,
                              const char *key, struct error *err);
struct gguf_str gguf_strings_at(const struct gguf_strings *a, size_t i);
void gguf_strings_close(struct gguf_strings *a);

/* Run fn(ctx) so that a SIGBUS from a mapping of g (file truncated by somebody else)
 * makes it return STATUS_IO with a text instead of killing the process. */
enum status gguf_guard(struct gguf *g, enum status (*fn)(void *ctx, struct error *err),
                       void *ctx, struct error *err);

#endif
