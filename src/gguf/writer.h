/* writer.h - writes a GGUF v3 file in one pass.
 *
 * Order: open, all gguf_put_*, all gguf_put_tensor (declarations), then
 * gguf_write_data for each tensor in the same order, in as many pieces as convenient,
 * then close.  The file appears under its name only when it is whole. */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "tensor/dtype.h"

struct gguf_writer;

enum status gguf_writer_open(struct gguf_writer **out, const char *path,
                             struct error *err);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, int v);
void gguf_put_str(struct gguf_writer *w, const char *key, const char *v);
void gguf_put_str_array(struct gguf_writer *w, const char *key, const char *const *v,
                        size_t n);
void gguf_put_f32_array(struct gguf_writer *w, const char *key, const float *v, size_t n);
void gguf_put_i32_array(struct gguf_writer *w, const char *key, const int32_t *v,
                        size_t n);
void gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype t, int n_dims,
                     const int64_t *ne);
void gguf_write_data(struct gguf_writer *w, const void *data, size_t bytes);
/* A writer of metadata alone, without a file: gguf_put_* of keys, then the image comes
 * behind what is in b, for gguf_open_memory. */
enum status gguf_writer_open_memory(struct gguf_writer **out, struct error *err);
enum status gguf_writer_close_memory(struct gguf_writer *w, struct buf *b,
                                     struct error *err);
/* Errors of all the calls above come out here; the file is removed if there was one. */
enum status gguf_writer_close(struct gguf_writer *w, struct error *err);

#endif
