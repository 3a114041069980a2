/* synthetic.h - models of known shapes with random weights, for speed measurements
 * without a download.  The files are whole GGUFs that other engines load, too. */
#ifndef CLI_SYNTHETIC_H
#define CLI_SYNTHETIC_H

#include "base/pool.h"
#include "base/status.h"

/* Write a model to path.  spec is "SHAPE:TYPE": a shape of synthetic.c, and a block type
 * to compute with ("Q4_0", "MXFP4", "F16" ...) or the mixture "Q4_K_M".  Types fall back
 * to ones with blocks of 32 where a row does not divide, as in llama.cpp.  The bytes
 * are a pure function of spec. */
enum status synthetic_write(const char *spec, const char *path, struct pool *pool,
                            struct error *err);

#endif
