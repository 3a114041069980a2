/* calibration.h - the mean of each channel of keys and values.
 *
 * A code has few levels, and they lie around zero; keys and values do not: models with
 * key biases have means many times their spread.  So a context with a compressed cache
 * stores rows less a constant vector for each layer and head (tq_affine in turboquant.h
 * says why that changes nothing but rounding), measured once on a text.
 *
 * A calibration is a pure function of the model, the tokens and the instruction set.  It
 * is kept in the plain basis: a context rotates it into that of its types. */
#ifndef MODEL_CALIBRATION_H
#define MODEL_CALIBRATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "model/model.h"

struct calibration {
    int n_layer, n_head_kv, head_dim, head_dim_v;
    float *k; // [n_layer][n_head_kv][head_dim]
    float *v; // [n_layer][n_head_kv][head_dim_v], behind k in one block of memory
};

enum { CALIBRATION_SKIP = 4 }; // first tokens, unlike all others; they stay exact anyway

/* Run n tokens, more than CALIBRATION_SKIP, with an uncompressed cache and measure. */
enum status calibration_make(struct calibration **out, const struct model *m,
                             const int32_t *tokens, int n, struct error *err);
void calibration_close(struct calibration *cal);

/* Whether any layer has means: not if all keep windows, latents and states. */
bool calibration_useful(const struct model *m);

/* Values of k and v together. */
size_t calibration_values(const struct calibration *cal);

/* Set the means of a context that was just set up.  STATUS_BAD_ARG if the shapes are
 * those of another model. */
enum status calibration_apply(struct context *c, const struct calibration *cal,
                              struct error *err);

/* ---- the file ----
 *
 * A header that says what the calibration is a function of, the values, and a checksum:
 * little endian, format version 1.  Reading verifies everything; whatever does not fit is
 * STATUS_BAD_FILE. */

/* Append the bytes of the file. */
void calibration_write(struct buf *to, const struct calibration *cal,
                       const struct model *m, const int32_t *tokens, int n);
enum status calibration_read(struct calibration **out, const struct model *m,
                             const int32_t *tokens, int n, const void *bytes,
                             size_t n_bytes, struct error *err);

/* Replace the file at path in one step: other processes see the old one or the new. */
enum status calibration_save(const struct calibration *cal, const struct model *m,
                             const int32_t *tokens, int n, const char *path,
                             struct error *err);
/* STATUS_NOT_FOUND if there is no file. */
enum status calibration_load(struct calibration **out, const struct model *m,
                             const int32_t *tokens, int n, const char *path,
                             struct error *err);

/* Without values, for the reader. */
enum status calibration_alloc(struct calibration **out, const struct model *m,
                              struct error *err);

#endif
