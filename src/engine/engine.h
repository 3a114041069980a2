/* engine.h - everything that belongs to one loaded model file. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/pool.h"
#include "base/status.h"
#include "cpu/cpu.h"
#include "model/model.h"
#include "text/template.h"
#include "text/tokenizer.h"

struct engine {
    struct pool *pool;
    struct model *model;
    struct tokenizer *tokenizer;
    struct template *template; // the chat template, NULL if the file has none
    size_t file_bytes;
    uint64_t load_us;
};

/* n_thread 0: one for each CPU that the process may use. */
enum status engine_open(struct engine *e, const char *path, int n_thread,
                        enum cpu_isa isa, struct error *err);
void engine_close(struct engine *e);

#endif
