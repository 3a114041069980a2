/* fuzz_route_config.c - a router's file: what is accepted is within its bounds, and what
 * is refused is refused with the file's name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *look_up(const char *name)
{
    return *name == 'K' ? name : NULL;
}

static void check_model(const struct policy_model *m)
{
    if (!m->name || strlen(m->name) >= POLICY_NAME_MAX ||
        (m->served && strlen(m->served) >= POLICY_NAME_MAX))
        abort();
}

static void check_backend(const struct config_backend *b)
{
    if (!b->url || !*b->url || strlen(b->url) >= CONFIG_URL_BYTES || b->weight < 1 ||
        b->weight > 100 || b->limit < 0 || b->n_ctx < 0 || b->dialects > DIALECT_ALL ||
        b->n_model > CONFIG_MODELS_MAX || (b->key && !*b->key) || b->line < 1)
        abort();
    for (int i = 0; i < b->n_model; i++)
        check_model(&b->models[i]);
    for (int i = 0; b->start && i < b->n_start; i++)
        if (!b->start[i])
            abort();
    if (b->start && b->start[b->n_start])
        abort();
    if (b->idle_stop_s && !b->start)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct config c;
    struct error err = {0};
    char *text = mem_array(n + 1, 1);
    if (!text)
        return 0;
    if (n)
        memcpy(text, data, n);
    config_init(&c);
    const enum status s = config_read_text(&c, "r.conf", text, n, look_up, &err);
    if (s && strncmp(err.text, "r.conf:", 7) != 0)
        abort();
    if (!s && (c.n_backend < 1 || c.n_backend > CONFIG_BACKENDS_MAX || c.n_queue < 1 ||
               c.retry_percent < 0 || c.retry_percent > 100 || c.connect_s < 1 ||
               c.first_s < 1 || c.idle_s < 1 || c.health_s < 1))
        abort();
    for (int i = 0; !s && i < c.n_backend; i++)
        check_backend(&c.backends[i]);
    for (int i = 0; !s && i < c.n_threshold; i++)
        if (!c.thresholds[i].model || c.thresholds[i].tokens < 1)
            abort();
    for (int i = 0; !s && i < c.n_key; i++)
        if (!c.keys[i].name || !c.keys[i].key || !*c.keys[i].key)
            abort();
    config_release(&c);
    mem_free(text);
    return 0;
}
