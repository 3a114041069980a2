/* synthetic.h - models of known shapes with random weights, for speed measurements
 * without a download.  The files are whole GGUFs that other engines load, too. */
#ifndef CLI_SYNTHETIC_H
#define CLI_SYNTHETIC_H

#include "base/pool.h"
#include "base/status.h"

/* Write a model to path.  spec is "SHAPE:TYPE": a plain shape of shapes.c, whose numbers
 * a model of architecture llama gets, and a type of weight_types.h.  The bytes are a pure
 * function of spec. */
enum status synthetic_write(const char *spec, const char *path, struct pool *pool,
                            struct error *err);

#endif
