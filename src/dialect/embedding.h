/* embedding.h - vectors cut to the dimensions that a client asked for. */
#ifndef DIALECT_EMBEDDING_H
#define DIALECT_EMBEDDING_H

#include "dialect/dialect.h"

/* One vector: its first n values times scale, which makes what was cut of length 1 again.
 */
struct embedding {
    const float *x;
    int n;
    double scale;
};

struct embedding embedding_at(const struct api_embeddings *e, const struct api_request *r,
                              int i);

#endif
