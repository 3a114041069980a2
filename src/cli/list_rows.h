/* list_rows.h - models in Ollama's columns: for list and for /list. */
#ifndef CLI_LIST_ROWS_H
#define CLI_LIST_ROWS_H

#include <stdint.h>

#include "store/model_name.h"

struct list_row {
    char name[MODEL_NAME_BYTES], id[13], size[24], modified[48];
};

/* digest: at least 12 hexadecimal digits; NULL: a damaged model, without id and size. */
void list_row_fill(struct list_row *r, const char *name, const char *digest,
                   uint64_t bytes, int64_t modified_s);
/* The rows [n] below their titles, on stdout. */
void list_rows_print(const struct list_row *rows, int n);
/* Those of the store of this machine; prefix NULL: all. */
enum status list_rows_of_store(const char *prefix, struct error *err);

#endif
