/* inspect_kv.h - how a cache keeps each layer of a model: the table of
 * `turbine inspect --kv`. */
#ifndef CLI_INSPECT_KV_H
#define CLI_INSPECT_KV_H

#include <stdbool.h>

#include "base/status.h"

/* Print it for the model (planned.h) and KV types of these names. */
enum status inspect_kv(const char *name, const char *kv, bool json, struct error *err);

#endif
