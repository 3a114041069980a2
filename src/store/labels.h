/* labels.h - what other programs show beside a model's name, from its GGUF. */
#ifndef STORE_LABELS_H
#define STORE_LABELS_H

#include <stdint.h>

#include "gguf/gguf.h"

void label_arch(char out[64], const struct gguf *g); // "unknown" if it does not say
/* "Q4_K_M": what the file says, else the type that most bytes have, else "unknown". */
const char *label_type(const struct gguf *g);
uint64_t label_params(const struct gguf *g); // how many values its tensors have
/* As Ollama writes numbers: "7.6B", "134.52M". */
void label_count(char out[24], uint64_t n);

#endif
