/* measure.h - what the measuring commands (logits, eval, bench) share. */
#ifndef CLI_MEASURE_H
#define CLI_MEASURE_H

#include <jansson.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "engine/engine.h"

/* KV types of a list like "f16,turbo8/turbo4": n_type of them, at most n_max. */
enum status measure_kv_list(struct kv_types *types, int *n_type, int n_max,
                            const char *list, struct error *err);

/* The whole file behind what is in b. */
enum status measure_read_file(struct buf *b, const char *path, struct error *err);

/* Token ids of a file: decimal numbers with white space between, on one or more lines.
 * They must be below n_vocab. */
enum status measure_read_ids(struct tokens *out, const char *path, int n_vocab,
                             struct error *err);

/* Print what is wrong with the command line; CLI_USAGE. */
int measure_usage(const struct cli_command *c, const char *text);

/* Bits for each value that a token's keys and values take in a page. */
double measure_bits(const struct model *m, const struct kv_types *t);

/* Pages and exact tokens. */
size_t measure_cache_bytes(const struct context *c);

/* The name of the processor, "unknown" if the system does not say. */
const char *measure_cpu_name(char *text, size_t cap);

/* Print o (NULL: it could not be built) to standard output and release it. */
enum status measure_print_json(json_t *o, struct error *err);

#endif
