/* ollama_keep_alive.h - how long a model stays loaded behind its last request: Ollama's
 * keep_alive, in requests and in OLLAMA_KEEP_ALIVE. */
#ifndef DIALECT_OLLAMA_KEEP_ALIVE_H
#define DIALECT_OLLAMA_KEEP_ALIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define OLLAMA_KEEP_FOREVER INT64_MAX

/* *us <- microseconds of a number of seconds or of a duration as Go writes it ("5m",
 * "1h30m", "1.5s"); negative ones are OLLAMA_KEEP_FOREVER, as are those that do not fit.
 * false: it is neither.  Source: Go, time.ParseDuration. */
bool ollama_keep_alive(const json_t *v, int64_t *us);

/* The same of JSON text (api_request.keep_alive). */
bool ollama_keep_alive_text(const char *json, int64_t *us);

#endif
