#include <stdio.h>
#include <string.h>

#include "model/model.h"

enum { TAIL_TOKENS = 128 };

static const struct {
    const char *name;
    enum tq_type k, v;
} presets[] = {
    {"near-lossless", TQ_TURBO8, TQ_TURBO4},
    {"balanced", TQ_TURBO4, TQ_TURBO4},
    {"small", TQ_TURBO4, TQ_TURBO3},
    {"tiny", TQ_TURBO3, TQ_TURBO2},
};

static enum status unknown_type(const char *text, struct error *err)
{
    char list[160] = "";
    for (int t = 0; t < TQ_TYPE_COUNT; t++)
        snprintf(list + strlen(list), sizeof list - strlen(list), " %s",
                 tq_type_name((enum tq_type)t));
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), " %s", presets[i].name);
    return fail(err, STATUS_BAD_ARG, "unknown KV type '%.24s'; known are%s", text, list);
}

/* The values that go with keys of a type: prod is for keys only. */
static enum tq_type partner(enum tq_type k)
{
    return k == TQ_PROD4   ? TQ_MSE4
           : k == TQ_PROD3 ? TQ_MSE3
           : k == TQ_PROD2 ? TQ_MSE2
                           : k;
}

/* A name without suffix, of fewer than 64 bytes. */
static enum status parse_types(struct kv_types *out, const char *text, struct error *err)
{
    char name[32];
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (!strcmp(text, presets[i].name)) {
            *out =
                (struct kv_types){presets[i].k, presets[i].v, TAIL_TOKENS, false, false};
            return STATUS_OK;
        }
    const size_t n = strcspn(text, "/");
    const char *value = text[n] ? text + n + 1 : text;
    enum tq_type k, v;
    if (n >= sizeof name)
        return unknown_type(text, err);
    memcpy(name, text, n);
    name[n] = 0;
    if (!tq_type_parse(&k, name))
        return unknown_type(name, err);
    if (!text[n])
        v = partner(k);
    else if (!tq_type_parse(&v, value))
        return unknown_type(value, err);
    *out = (struct kv_types){k, v, TAIL_TOKENS, false, false};
    return STATUS_OK;
}

/* Words behind the types, each after a colon. */
static enum status parse_words(struct kv_types *out, const char *text, struct error *err)
{
    static const char plain[] = ":plain", uniform[] = ":uniform";
    for (const char *at = text + strcspn(text, ":"); *at;
         at += 1 + strcspn(at + 1, ":")) {
        const size_t n = 1 + strcspn(at + 1, ":");
        if (n == sizeof plain - 1 && !memcmp(at, plain, n) && !out->plain)
            out->plain = true;
        else if (n == sizeof uniform - 1 && !memcmp(at, uniform, n) && !out->uniform)
            out->uniform = true;
        else
            return fail(err, STATUS_BAD_ARG,
                        "KV type '%.40s': after ':' only 'plain' or 'uniform' may stand, "
                        "each once",
                        text);
    }
    if ((out->plain || out->uniform) && !tq_type_compressed(out->k) &&
        !tq_type_compressed(out->v))
        return fail(err, STATUS_BAD_ARG,
                    "KV type '%.40s': '%s' goes with compressed types, others are %s",
                    text, out->plain ? "plain" : "uniform",
                    out->plain ? "plain" : "uniform");
    return STATUS_OK;
}

enum status kv_types_parse(struct kv_types *out, const char *text, struct error *err)
{
    char name[64];
    const size_t n = strcspn(text, ":");
    if (n >= sizeof name)
        return unknown_type(text, err);
    memcpy(name, text, n);
    name[n] = 0;
    struct kv_types types;
    enum status s;
    if ((s = parse_types(&types, name, err)) || (s = parse_words(&types, text, err)))
        return s;
    *out = types;
    return STATUS_OK;
}

const char *kv_types_name(char *buf, const struct kv_types *t)
{
    const char *plain = t->plain ? ":plain" : "", *uniform = t->uniform ? ":uniform" : "";
    if (t->k == t->v)
        snprintf(buf, KV_NAME_BYTES, "%s%s%s", tq_type_name(t->k), plain, uniform);
    else
        snprintf(buf, KV_NAME_BYTES, "%s/%s%s%s", tq_type_name(t->k), tq_type_name(t->v),
                 plain, uniform);
    return buf;
}
