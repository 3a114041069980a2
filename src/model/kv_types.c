#include <stdio.h>
#include <string.h>

#include "kv/kv.h"
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

/* Types of caches elsewhere that are not here, with the bits of a value: blocks of 32
 * with one or two f16 numbers, and floats. */
static const struct {
    const char *name;
    double bits;
} foreign[] = {{"bf16", 16},    {"q8_1", 9},     {"fp8", 8},     {"fp8_e4m3", 8},
               {"fp8_e5m2", 8}, {"int8", 8},     {"q5_1", 6},    {"q5_0", 5.5},
               {"q4_1", 5},     {"iq4_nl", 4.5}, {"nvfp4", 4.5}, {"mxfp4", 4.25},
               {"int4", 4}};

/* Ours that are next to it, with their bits at head size 128. */
static enum status foreign_type(const char *name, double bits, struct error *err)
{
    enum { D = 128 };
    static const enum tq_type ladder[] = {TQ_F16, TQ_TURBO8, TQ_TURBO4, TQ_TURBO3,
                                          TQ_TURBO2};
    enum { STEPS = sizeof ladder / sizeof *ladder };
    double ours[STEPS];
    int i = 0;
    for (int k = 0; k < STEPS; k++)
        ours[k] = (double)tq_row_bytes(ladder[k], D) * 8 / D;
    while (i < STEPS - 2 && ours[i + 1] > bits)
        i++;
    if (ours[i] == bits)
        return fail(err, STATUS_BAD_ARG,
                    "KV type '%s' is %.4g bits a value and not here; as many has %s",
                    name, bits, tq_type_name(ladder[i]));
    return fail(err, STATUS_BAD_ARG,
                "KV type '%s' is %.4g bits a value and not here; nearest are %s (%.1f) "
                "and %s (%.1f)",
                name, bits, tq_type_name(ladder[i]), ours[i], tq_type_name(ladder[i + 1]),
                ours[i + 1]);
}

static enum status unknown_type(const char *text, struct error *err)
{
    char list[160] = "";
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!strcmp(text, foreign[i].name))
            return foreign_type(text, foreign[i].bits, err);
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

/* The number of ":tail=N", at[0..n); -1 if it is none. */
static int parse_tail(const char *at, size_t n)
{
    static const char tail[] = ":tail=";
    const size_t start = sizeof tail - 1;
    int v = 0;
    if (n <= start || memcmp(at, tail, start))
        return -1;
    for (size_t i = start; i < n; i++)
        if (at[i] < '0' || at[i] > '9' || (v = v * 10 + (at[i] - '0')) > KV_TAIL_MAX)
            return -1;
    return v;
}

void kv_types_tail(struct kv_types *t, int tail)
{
    t->tail = (tail + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
}

/* Words behind the types, each after a colon. */
static enum status parse_words(struct kv_types *out, const char *text, struct error *err)
{
    static const char plain[] = ":plain", uniform[] = ":uniform";
    bool has_tail = false;
    int tail;
    for (const char *at = text + strcspn(text, ":"); *at;
         at += 1 + strcspn(at + 1, ":")) {
        const size_t n = 1 + strcspn(at + 1, ":");
        if (n == sizeof plain - 1 && !memcmp(at, plain, n) && !out->plain)
            out->plain = true;
        else if (n == sizeof uniform - 1 && !memcmp(at, uniform, n) && !out->uniform)
            out->uniform = true;
        else if (!has_tail && (tail = parse_tail(at, n)) >= 0) {
            has_tail = true;
            kv_types_tail(out, tail);
        } else
            return fail(err, STATUS_BAD_ARG,
                        "KV type '%.40s': after ':' only 'plain', 'uniform' or 'tail=N' "
                        "(N up to %d) may stand, each once",
                        text, KV_TAIL_MAX);
    }
    const char *word = out->plain     ? "plain"
                       : out->uniform ? "uniform"
                       : has_tail     ? "tail"
                                      : NULL;
    if (word && !tq_type_compressed(out->k) && !tq_type_compressed(out->v))
        return fail(err, STATUS_BAD_ARG,
                    "KV type '%.40s': '%s' goes with compressed types; others are exact "
                    "as they are",
                    text, word);
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
    const bool compressed = tq_type_compressed(t->k) || tq_type_compressed(t->v);
    char tail[24] = "";
    if (t->tail != TAIL_TOKENS && compressed)
        snprintf(tail, sizeof tail, ":tail=%d", t->tail);
    if (t->k == t->v)
        snprintf(buf, KV_NAME_BYTES, "%s%s%s%s", tq_type_name(t->k), plain, uniform,
                 tail);
    else
        snprintf(buf, KV_NAME_BYTES, "%s/%s%s%s%s", tq_type_name(t->k),
                 tq_type_name(t->v), plain, uniform, tail);
    return buf;
}
