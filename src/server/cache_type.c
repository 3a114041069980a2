/* cache_type.c - a request that names the type of its cache.
 *
 * All requests of a model share one cache, and prefixes in it: a request can have the
 * type that the model has, and is told of it if it wants another. */
#include <string.h>

#include "server/internal.h"

static enum status parse_asked(struct kv_types *out, const char *text,
                               struct api_error *e)
{
    struct error why;
    const enum status s = kv_types_parse(out, text, &why);
    return s ? api_fail(e, s, API_ERROR_INVALID, "options.kv_cache_type",
                        "options.kv_cache_type: %s", why.text)
             : s;
}

bool cache_type_is_known(struct call *c)
{
    struct kv_types asked;
    struct api_error e = {0};
    if (!c->req.kv_type || !parse_asked(&asked, c->req.kv_type, &e))
        return true;
    call_error(c, &e);
    return false;
}

static bool is_compressed(const struct kv_types *t)
{
    return tq_type_compressed(t->k) || tq_type_compressed(t->v);
}

/* Without compressed types all tokens are exact, however many are asked for. */
static bool same_tail(const struct kv_types *a, const struct kv_types *b)
{
    return !is_compressed(b) || a->tail == b->tail;
}

/* What asked says that the model, whose types are own, is not; NULL: nothing. */
static const char *other_field(const struct api_request *r, const struct kv_types *own)
{
    struct kv_types asked = *own;
    if (r->kv_type) {
        if (kv_types_parse(&asked, r->kv_type, NULL) || asked.k != own->k ||
            asked.v != own->v || asked.plain != own->plain ||
            asked.uniform != own->uniform)
            return "kv_cache_type";
        if (r->kv_tail < 0 && strstr(r->kv_type, ":tail=") && !same_tail(&asked, own))
            return "kv_cache_type";
    }
    if (r->kv_tail >= 0)
        kv_types_tail(&asked, r->kv_tail);
    return r->kv_tail >= 0 && !same_tail(&asked, own) ? "kv_tail" : NULL;
}

bool cache_type_is_model(struct call *c)
{
    const struct api_request *r = &c->req;
    const char *name = c->model->kv_name;
    struct kv_types own;
    struct error err;
    if (!r->kv_type && r->kv_tail < 0)
        return true;
    if (kv_types_parse(&own, name, &err)) {
        call_engine_error(c, &err);
        return false;
    }
    const char *field = other_field(r, &own);
    if (!field)
        return true;
    struct api_error e = {0};
    char tail[16], value[64];
    snprintf(tail, sizeof tail, "%d", r->kv_tail);
    snprintf(value, sizeof value, "%s", !strcmp(field, "kv_tail") ? tail : r->kv_type);
    (void)!api_fail(
        &e, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED,
        !strcmp(field, "kv_tail") ? "options.kv_tail" : "options.kv_cache_type",
        "options.%s is %s, but the cache of model '%.200s' is %s with %d exact "
        "tokens, for all of its requests; to change it, create the model with "
        "the line 'PARAMETER %s %s' in its Modelfile, or start the server "
        "with %s %s%s%s",
        field, value, c->model->name, name, own.tail, field, value,
        !strcmp(field, "kv_tail") ? "--tail" : "--kv", value,
        !strcmp(field, "kv_tail") ? "" : " or TURBINE_KV_CACHE_TYPE=",
        !strcmp(field, "kv_tail") ? "" : value);
    call_error(c, &e);
    return false;
}
