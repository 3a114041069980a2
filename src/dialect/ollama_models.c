#include "dialect/ollama_models.h"

#include "json/print.h"
#include "dialect/ollama_parts.h"

static void print_model_member(struct buf *out, const char *name, const char *s)
{
    buf_printf(out, ",\"%s\":", name);
    json_print_string(out, s ? s : "");
}

static void print_if_there(struct buf *out, const char *name, const char *s)
{
    if (s)
        print_model_member(out, name, s);
}

static void print_size(struct buf *out, const char *name, uint64_t v)
{
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)v);
}

static void print_details(struct buf *out, const struct ollama_model *m)
{
    buf_puts(out, ",\"details\":{\"parent_model\":");
    json_print_string(out, m->parent ? m->parent : "");
    print_model_member(out, "format", m->format);
    print_model_member(out, "family", m->family);
    buf_puts(out, ",\"families\":[");
    if (m->family)
        json_print_string(out, m->family);
    buf_puts(out, "]");
    print_model_member(out, "parameter_size", m->parameter_size);
    print_model_member(out, "quantization_level", m->quantization);
    if (m->context_length > 0)
        buf_printf(out, ",\"context_length\":%d", m->context_length);
    if (m->embedding_length > 0)
        buf_printf(out, ",\"embedding_length\":%d", m->embedding_length);
    buf_puts(out, "}");
}

static void print_capabilities(struct buf *out, const struct ollama_model *m)
{
    buf_puts(out, ",\"capabilities\":[");
    for (int i = 0; i < m->n_capability; i++) {
        buf_puts(out, i > 0 ? "," : "");
        json_print_string(out, m->capabilities[i]);
    }
    buf_puts(out, "]");
}

/* Members that all lists have, in an object that is not closed. */
static void print_entry(struct buf *out, const struct ollama_model *m, uint64_t size)
{
    buf_puts(out, "{\"name\":");
    json_print_string(out, m->name);
    print_model_member(out, "model", m->name);
    print_size(out, "size", size);
    print_model_member(out, "digest", m->digest);
    print_details(out, m);
}

void ollama_print_tags(struct buf *out, const struct ollama_model *models, int n)
{
    buf_puts(out, "{\"models\":[");
    for (int i = 0; i < n; i++) {
        buf_puts(out, i > 0 ? "," : "");
        print_entry(out, &models[i], models[i].size);
        buf_puts(out, ",\"modified_at\":");
        ollama_print_time(out, models[i].modified_us);
        print_capabilities(out, &models[i]);
        buf_puts(out, "}");
    }
    buf_puts(out, "]}");
}

static void print_kv(struct buf *out, const struct ollama_kv *kv)
{
    buf_puts(out, ",\"kv\":{\"type_k\":");
    json_print_string(out, kv->type_k ? kv->type_k : "");
    print_model_member(out, "type_v", kv->type_v);
    print_size(out, "bytes", kv->bytes);
    print_size(out, "bytes_reserved", kv->bytes_reserved);
    print_size(out, "bytes_f16", kv->bytes_f16);
    print_size(out, "tokens_used", kv->tokens_used);
    print_size(out, "tokens_max", kv->tokens_max);
    buf_puts(out, "}");
}

void ollama_print_ps(struct buf *out, const struct ollama_running *running, int n)
{
    buf_puts(out, "{\"models\":[");
    for (int i = 0; i < n; i++) {
        const struct ollama_running *r = &running[i];
        buf_puts(out, i > 0 ? "," : "");
        print_entry(out, r->model, r->size);
        buf_puts(out, ",\"expires_at\":");
        ollama_print_time(out, r->expires_us);
        print_size(out, "size_vram", r->size_vram);
        buf_printf(out, ",\"context_length\":%d", r->n_ctx);
        print_kv(out, &r->kv);
        buf_puts(out, "}");
    }
    buf_puts(out, "]}");
}

void ollama_print_show(struct buf *out, const struct ollama_model *m)
{
    buf_puts(out, "{\"modified_at\":");
    ollama_print_time(out, m->modified_us);
    print_if_there(out, "license", m->license);
    print_if_there(out, "modelfile", m->modelfile);
    print_if_there(out, "parameters", m->parameters);
    print_if_there(out, "template", m->template);
    print_if_there(out, "system", m->system);
    print_details(out, m);
    buf_puts(out, ",\"model_info\":"); // clients crash where it is null
    if (m->model_info)
        json_print_value(out, m->model_info);
    else
        buf_puts(out, "{}");
    if (m->messages) {
        buf_puts(out, ",\"messages\":");
        json_print_value(out, m->messages);
    }
    print_capabilities(out, m);
    buf_puts(out, "}");
}

void ollama_print_version(struct buf *out, const char *version, const char *turbine)
{
    buf_puts(out, "{\"version\":");
    json_print_string(out, version);
    buf_puts(out, ",\"turbine\":");
    json_print_string(out, turbine);
    buf_puts(out, "}");
}

void ollama_print_parameter(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s%-30s %s", out->len > 0 ? "\n" : "", name, value);
}
