/* upstream_list.c - replies that are lists: vectors, models. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/upstream_parts.h"

/* *v <- new, an object; or what the reply says instead. */
static enum status load_object(json_t **v, const char *body, size_t n,
                               struct api_error *err)
{
    char why[200];
    const enum status s = upstream_load_json(v, body, n, why);
    if (s == STATUS_NO_MEMORY)
        return api_no_memory(err);
    if (s == STATUS_OK && json_is_object(*v)) {
        const json_t *error = json_object_get(*v, "error");
        if (!error || json_is_null(error))
            return STATUS_OK;
        upstream_error_value(err, *v, 0);
        return STATUS_BAD_INPUT;
    }
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_BACKEND, NULL,
                    "the backend's reply is no JSON object%s%s",
                    s == STATUS_OK ? "" : ": ", s == STATUS_OK ? "" : why);
}

/* ---- embeddings ---- */

static enum status wrong_vectors(struct api_error *err, const char *why)
{
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_BACKEND, NULL,
                    "the backend's reply has no such embeddings as were asked for: %s",
                    why);
}

/* Row `row` of out <- an array of numbers. */
static enum status read_vector(struct api_embeddings *out, float *vectors, int row,
                               const json_t *v, struct api_error *err)
{
    if (!json_is_array(v) || json_array_size(v) != (size_t)out->n_embd)
        return wrong_vectors(err, "their lengths differ");
    for (size_t i = 0; i < (size_t)out->n_embd; i++) {
        const json_t *x = json_array_get(v, i);
        const double d = json_number_value(x);
        if (!json_is_number(x) || !isfinite((float)d))
            return wrong_vectors(err, "there is an entry that is no number");
        vectors[(size_t)row * (size_t)out->n_embd + i] = (float)d;
    }
    return STATUS_OK;
}

/* The vector of an entry, and in *row whose it is. */
static const json_t *vector_of(const struct upstream *u, const json_t *list, size_t i,
                               int *row)
{
    const json_t *entry = json_array_get(list, i);
    *row = (int)i;
    if (u->kind == UPSTREAM_OLLAMA)
        return entry;
    const json_t *index = json_object_get(entry, "index");
    if (json_is_integer(index))
        *row = upstream_count(entry, "index");
    return json_object_get(entry, "embedding");
}

static enum status read_vectors(const struct upstream *u, struct api_embeddings *out,
                                const json_t *list, struct api_error *err)
{
    const size_t n = json_array_size(list);
    int row;
    out->n = (int)n;
    out->n_embd = n > 0 ? (int)json_array_size(vector_of(u, list, 0, &row)) : 0;
    if (n == 0)
        return STATUS_OK;
    if (out->n_embd == 0 || out->n_embd > 1 << 20)
        return wrong_vectors(err, "a vector is empty, or no array");
    float *vectors = mem_array(n * (size_t)out->n_embd, sizeof *vectors);
    bool *seen = mem_array(n, sizeof *seen);
    out->vectors = vectors;
    enum status s = vectors && seen ? STATUS_OK : api_no_memory(err);
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const json_t *v = vector_of(u, list, i, &row);
        if (row < 0 || (size_t)row >= n || seen[row])
            s = wrong_vectors(err, "their indices are not those of the inputs");
        else
            s = read_vector(out, vectors, row, v, err);
        if (s == STATUS_OK)
            seen[row] = true;
    }
    mem_free(seen);
    return s;
}

enum status upstream_read_embeddings(const struct upstream *u, struct api_embeddings *out,
                                     int n_expected, const char *body, size_t n,
                                     struct api_error *err)
{
    json_t *v;
    *out = (struct api_embeddings){0};
    enum status s = load_object(&v, body, n, err);
    if (s == STATUS_OK) {
        const bool ollama = u->kind == UPSTREAM_OLLAMA;
        const json_t *list = json_object_get(v, ollama ? "embeddings" : "data");
        if (!json_is_array(list) || json_array_size(list) != (size_t)n_expected)
            s = wrong_vectors(err, "their number is another");
        else
            s = read_vectors(u, out, list, err);
        out->n_prompt =
            ollama ? upstream_count(v, "prompt_eval_count")
                   : upstream_count(json_object_get(v, "usage"), "prompt_tokens");
    }
    json_decref(v);
    if (s != STATUS_OK)
        upstream_embeddings_release(out);
    return s;
}

void upstream_embeddings_release(struct api_embeddings *e)
{
    mem_free((void *)e->vectors);
    *e = (struct api_embeddings){0};
}

/* ---- models ---- */

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t days_of(int y, int m, int d)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    const int64_t last = y - 1;
    int64_t days = last * 365 + last / 4 - last / 100 + last / 400;
    days += before[m - 1] + d - 1;
    if (m > 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0))
        days++;
    return days - 719162;
}

/* "2026-01-31T12:00:00.123456Z", or with +01:00 at its end; 0 for anything else. */
static int64_t time_us(const char *s)
{
    int y, mo, d, h, mi, sec, n = 0, zone_h = 0, zone_m = 0;
    if (!s || sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &sec, &n) != 6)
        return 0;
    if (y < 1 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 24 || mi < 0 ||
        mi > 59 || sec < 0 || sec > 60)
        return 0;
    s += n;
    int64_t part = 0, unit = 100000;
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10)
            part += (*s - '0') * unit;
    const int sign = *s == '-' ? -1 : 1;
    if (*s == '+' || *s == '-')
        (void)!sscanf(s + 1, "%2d:%2d", &zone_h, &zone_m);
    const int64_t minutes =
        (days_of(y, mo, d) * 24 + h) * 60 + mi - sign * (zone_h * 60 + zone_m);
    return (minutes * 60 + sec) * 1000000 + part;
}

static int context_length_of(const json_t *entry)
{
    const json_t *meta = json_object_get(entry, "meta");
    const json_t *details = json_object_get(entry, "details");
    const int known[] = {upstream_count(entry, "max_model_len"),
                         upstream_count(meta, "n_ctx"),
                         upstream_count(entry, "max_input_tokens"),
                         upstream_count(entry, "context_length"),
                         upstream_count(details, "context_length"),
                         upstream_count(meta, "n_ctx_train")};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i] > 0)
            return known[i];
    return 0;
}

static uint64_t bytes_of(const json_t *entry)
{
    const json_t *size = json_object_get(entry, "size");
    if (!json_is_integer(size))
        size = json_object_get(json_object_get(entry, "meta"), "size"); // llama.cpp
    return json_is_integer(size) && json_integer_value(size) > 0
               ? (uint64_t)json_integer_value(size)
               : 0;
}

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

/* *m <- an entry; false if it has no name. */
static bool read_model(struct upstream_model *m, const json_t *entry, bool ollama)
{
    const char *id = ollama ? upstream_string(entry, "model") : NULL;
    const json_t *created = json_object_get(entry, "created");
    if (!id)
        id = upstream_string(entry, ollama ? "name" : "id");
    if (!id || strlen(id) > 256)
        return false;
    const char *when =
        upstream_string(entry, ollama ? "modified_at" : "created_at"); // Anthropic
    const json_int_t seconds = json_integer_value(created);
    *m = (struct upstream_model){
        .id = id,
        .display_name = or_empty(upstream_string(entry, "display_name")),
        .digest = or_empty(upstream_string(entry, "digest")),
        .created_us = seconds > 0 && seconds < INT64_MAX / 1000000 ? seconds * 1000000
                                                                   : time_us(when),
        .bytes = bytes_of(entry),
        .n_ctx = context_length_of(entry),
        .entry = entry,
    };
    return true;
}

enum status upstream_read_models(const struct upstream *u, struct upstream_models *out,
                                 const char *body, size_t n, struct api_error *err)
{
    *out = (struct upstream_models){0};
    enum status s = load_object(&out->owner, body, n, err);
    const bool ollama = u->kind == UPSTREAM_OLLAMA;
    const json_t *list = json_object_get(out->owner, ollama ? "models" : "data");
    const size_t n_list = json_array_size(list);
    if (s == STATUS_OK && !json_is_array(list) && !(ollama && json_is_null(list)))
        s = api_fail(err, STATUS_BAD_INPUT, API_ERROR_BACKEND, NULL,
                     "the backend's list of models has no array '%s'",
                     ollama ? "models" : "data");
    if (s == STATUS_OK && n_list > UPSTREAM_MODELS_MAX)
        s = api_fail(err, STATUS_LIMIT, API_ERROR_BACKEND, NULL,
                     "the backend's list has %zu models, at most %d are read", n_list,
                     UPSTREAM_MODELS_MAX);
    if (s == STATUS_OK && n_list > 0 &&
        !(out->models = mem_array(n_list, sizeof *out->models)))
        s = api_no_memory(err);
    for (size_t i = 0; i < n_list && s == STATUS_OK; i++) {
        if (read_model(&out->models[out->n], json_array_get(list, i), ollama))
            out->n++;
        else
            s = api_fail(err, STATUS_BAD_INPUT, API_ERROR_BACKEND, NULL,
                         "entry %zu of the backend's list of models has no name of at "
                         "most 256 bytes",
                         i);
    }
    if (s != STATUS_OK)
        upstream_models_release(out);
    return s;
}

void upstream_models_release(struct upstream_models *m)
{
    mem_free(m->models);
    json_decref(m->owner);
    *m = (struct upstream_models){0};
}
