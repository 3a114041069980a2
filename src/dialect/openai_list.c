/* openai_list.c - lists of models and of embeddings. */
#include <stdint.h>
#include <string.h>

#include "dialect/embedding.h"
#include "json/print.h"
#include "dialect/openai.h"

void openai_print_model(struct buf *out, const struct openai_model *m)
{
    buf_puts(out, "{\"id\":");
    json_print_string(out, m->id);
    buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"turbine\"",
               (long long)(m->created_us / 1000000));
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)m->more, name, v)
    {
        buf_puts(out, ",");
        json_print_string(out, name);
        buf_puts(out, ":");
        json_print_value(out, v);
    }
    buf_puts(out, "}");
}

void openai_print_models(struct buf *out, const struct openai_model *models, int n)
{
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < n; i++) {
        buf_puts(out, i > 0 ? "," : "");
        openai_print_model(out, &models[i]);
    }
    buf_puts(out, "]}");
}

/* Base64 (RFC 4648, 4) of little-endian floats. */
static void print_base64(struct buf *out, const float *x, int n, double scale)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t group = 0;
    int have = 0; // bytes in group
    for (int i = 0; i < n; i++) {
        const float v = (float)(x[i] * scale);
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        for (int b = 0; b < 4; b++) {
            group = group << 8 | (bits >> 8 * b & 0xff);
            if (++have < 3)
                continue;
            const char quad[4] = {digits[group >> 18], digits[group >> 12 & 63],
                                  digits[group >> 6 & 63], digits[group & 63]};
            buf_append(out, quad, 4);
            group = 0;
            have = 0;
        }
    }
    if (have == 1)
        buf_printf(out, "%c%c==", digits[group >> 2], digits[group << 4 & 63]);
    else if (have == 2)
        buf_printf(out, "%c%c%c=", digits[group >> 10], digits[group >> 4 & 63],
                   digits[group << 2 & 63]);
}

static void print_floats(struct buf *out, const float *x, int n, double scale)
{
    for (int i = 0; i < n; i++) {
        buf_puts(out, i > 0 ? "," : "");
        json_print_number(out, (double)(float)(x[i] * scale), 9);
    }
}

void openai_print_embeddings(struct buf *out, const struct api_request *r,
                             const struct answer_head *head,
                             const struct api_embeddings *e)
{
    buf_puts(out, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < e->n; i++) {
        const struct embedding v = embedding_at(e, r, i);
        buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":",
                   i > 0 ? "," : "", i);
        buf_puts(out, r->base64 ? "\"" : "[");
        if (r->base64)
            print_base64(out, v.x, v.n, v.scale);
        else
            print_floats(out, v.x, v.n, v.scale);
        buf_puts(out, r->base64 ? "\"}" : "]}");
    }
    buf_puts(out, "],\"model\":");
    json_print_string(out, head->model);
    buf_printf(out, ",\"usage\":{\"prompt_tokens\":%d,\"total_tokens\":%d}}", e->n_prompt,
               e->n_prompt);
}
