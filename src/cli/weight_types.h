/* weight_types.h - the block type of each matrix in a model file: one for all, or a
 * mixture by the names of tensors. */
#ifndef CLI_WEIGHT_TYPES_H
#define CLI_WEIGHT_TYPES_H

#include <stdbool.h>

#include "base/status.h"
#include "tensor/dtype.h"

enum { WEIGHTS_Q4_K_M = -1 };

struct weight_types {
    int type;           // enum dtype, or WEIGHTS_Q4_K_M
    enum dtype experts; // of experts, whatever the type; F32: as the type says
    int n_layer, n_expert;
    bool tied; // the embedding is the output head, too
};

/* "Q4_K_M", or a block type that can be computed with ("Q8_0", "F16" ...). */
enum status weight_types_parse(int *type, const char *text, struct error *err);

/* The type of tensor `name`, a matrix with rows of n_in values.  Types with
 * blocks of 256 fall back to ones with blocks of 32 where a row does not divide.
 * Source: llama.cpp, src/llama-quant.cpp (facts: names and types). */
enum dtype weight_type_of(const struct weight_types *w, const char *name, int n_in);

#endif
