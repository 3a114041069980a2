/* arch_label.h - what a GGUF calls its architecture, for people to read. */
#ifndef STORE_ARCH_LABEL_H
#define STORE_ARCH_LABEL_H

#include "gguf/gguf.h"

void store_arch_label(char out[64], const struct gguf *g); // "unknown" if it does not say

#endif
