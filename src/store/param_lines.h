/* param_lines.h - the PARAMETERs of a model as Ollama shows them. */
#ifndef STORE_PARAM_LINES_H
#define STORE_PARAM_LINES_H

#include <jansson.h>

#include "base/buf.h"

/* One line for each value: indent, name, blanks up to width and one more, value; texts in
 * quotes. */
void store_print_params(struct buf *b, const json_t *params, int width,
                        const char *indent);

#endif
