/* inspect_text.h - what a GGUF file holds, as text: for inspect and for show. */
#ifndef CLI_INSPECT_TEXT_H
#define CLI_INSPECT_TEXT_H

#include "base/buf.h"
#include "gguf/gguf.h"

/* One line: control characters (C1 ones, too) and wrong bytes escaped, cut at `max`
 * characters. */
void inspect_put_escaped(struct buf *b, const char *s, size_t n, size_t max);
/* A line for each key, and for each tensor; an empty line and a title in front. */
void inspect_put_metadata(struct buf *b, const struct gguf *g);
void inspect_put_tensors(struct buf *b, const struct gguf *g);
double inspect_tensor_params(const struct gguf_tensor *t); // how many values

#endif
