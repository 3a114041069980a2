/* pull_choose.c - which files of a hub's repository are the model that was asked for. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "store/pull_impl.h"

enum { SPLIT_TAIL = 15 }; // "-00001-of-00003"

/* Printable, relative, without steps upwards: it becomes part of a URL. */
static bool is_file_name(const char *s)
{
    const size_t n = strlen(s);
    if (!n || n >= PULL_FILE_BYTES || *s == '/' || strstr(s, "..") || strstr(s, "//"))
        return false;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f || *p == '\\')
            return false;
    return true;
}

/* Length of a name without ".gguf"; 0: it has another ending. */
static size_t stem_length(const char *name)
{
    const size_t n = strlen(name);
    return n > 5 && !strcasecmp(name + n - 5, ".gguf") ? n - 5 : 0;
}

static bool take_five(const char *p, int *v)
{
    *v = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        *v = *v * 10 + p[i] - '0';
    }
    return true;
}

/* Name without ".gguf" and the number of a split.  part is 1 .. parts; a whole file is
 * part 1 of 1. */
static size_t group_length(const char *name, int *part, int *parts)
{
    const size_t n = stem_length(name);
    const char *tail = name + n - SPLIT_TAIL;
    *part = *parts = 1;
    if (n <= SPLIT_TAIL || *tail != '-' || strncmp(tail + 6, "-of-", 4) != 0 ||
        !take_five(tail + 1, part) || !take_five(tail + 10, parts))
        return n;
    return n - SPLIT_TAIL;
}

static bool is_boundary(char c)
{
    return c == 0 || c == '-' || c == '.' || c == '/' || c == '_';
}

/* Does name[0..n) name this type of weights?  Q4_K is not in Q4_K_M. */
static bool names_type(const char *name, size_t n, const char *tag)
{
    const size_t len = strlen(tag);
    for (size_t i = 0; len <= n && i + len <= n; i++) {
        const char after = i + len < n ? name[i + len] : 0;
        if (!strncasecmp(name + i, tag, len) && is_boundary(i ? name[i - 1] : 0) &&
            is_boundary(after) && after != '_')
            return true;
    }
    return false;
}

/* Weights, not what goes beside them. */
static bool is_model(const char *name)
{
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    return stem_length(name) && strncasecmp(base, "mmproj", 6) != 0 &&
           !strstr(base, "imatrix.gguf");
}

static bool same_group(const char *a, size_t n, const char *b)
{
    int part, parts;
    return group_length(b, &part, &parts) == n && !strncmp(a, b, n);
}

struct choice {
    const json_t *siblings;
    const char *tag;
    const char *group; // name of a file of the chosen group; NULL: none yet
    size_t length;     // of the group's name
    bool ambiguous;
};

static const char *name_of(const json_t *sibling)
{
    const char *name = json_string_value(json_object_get(sibling, "rfilename"));
    return name && is_file_name(name) && is_model(name) ? name : NULL;
}

static void choose_by(struct choice *c, const char *type)
{
    size_t i;
    const json_t *v;
    c->group = NULL;
    c->ambiguous = false;
    json_array_foreach(c->siblings, i, v)
    {
        int part, parts;
        const char *name = name_of(v);
        if (!name)
            continue;
        const size_t n = group_length(name, &part, &parts);
        if (type && strcasecmp(name, type) != 0 && !names_type(name, n, type))
            continue;
        if (c->group && !same_group(c->group, c->length, name))
            c->ambiguous = true;
        if (!c->group || (type && !strcasecmp(name, type)))
            c->group = name, c->length = n;
        if (type && !strcasecmp(name, type)) {
            c->ambiguous = false;
            return;
        }
    }
}

static enum status fail_choice(const struct choice *c, struct error *err)
{
    char list[500] = "";
    size_t i, used = 0;
    const json_t *v;
    json_array_foreach(c->siblings, i, v)
    {
        const char *name = name_of(v);
        if (name && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                     used ? ", " : "", name);
    }
    if (!used)
        return fail(err, STATUS_NOT_FOUND, "there is no GGUF file in the repository");
    return fail(
        err, STATUS_NOT_FOUND,
        "%s for '%.80s'; give a type of weights or a file's name behind ':' out of: "
        "%s",
        c->ambiguous ? "several files match" : "no file matches", c->tag, list);
}

static void take_file(struct pull_file *f, const json_t *sibling)
{
    char text[DIGEST_TEXT_BYTES];
    const json_t *lfs = json_object_get(sibling, "lfs");
    const char *sha = json_string_value(json_object_get(lfs, "sha256"));
    const json_t *size = json_object_get(sibling, "size");
    snprintf(f->name, sizeof f->name, "%s", name_of(sibling));
    f->size = UINT64_MAX;
    if (json_is_integer(size) && json_integer_value(size) >= 0)
        f->size = (uint64_t)json_integer_value(size);
    if (sha && strlen(sha) == DIGEST_HEX_BYTES - 1) {
        snprintf(text, sizeof text, "sha256:%s", sha);
        f->has_digest = digest_parse(&f->digest, text, strlen(text));
    }
}

/* All parts of the group, each once. */
static enum status take_group(struct pull_file **out, int *n, const struct choice *c,
                              struct error *err)
{
    int part, parts, found = 0;
    size_t i;
    const json_t *v;
    group_length(c->group, &part, &parts);
    if (parts < 1 || parts > PULL_SPLITS_MAX)
        return fail(err, STATUS_LIMIT, "%s: a model in %d files", c->group, parts);
    struct pull_file *files = mem_array((size_t)parts, sizeof *files);
    if (!files)
        return fail(err, STATUS_NO_MEMORY, "no memory for a list of files");
    json_array_foreach(c->siblings, i, v)
    {
        const char *name = name_of(v);
        int its_parts;
        if (!name || !same_group(c->group, c->length, name))
            continue;
        group_length(name, &part, &its_parts);
        if (its_parts != parts || part < 1 || part > parts || *files[part - 1].name)
            continue;
        take_file(&files[part - 1], v);
        found++;
    }
    if (found < parts) {
        mem_free(files);
        return fail(err, STATUS_BAD_INPUT, "%s: %d of its %d parts are in the repository",
                    c->group, found, parts);
    }
    *out = files;
    *n = parts;
    return STATUS_OK;
}

enum status pull_hub_choose(struct pull_file **out, int *n, const json_t *description,
                            const char *tag, struct error *err)
{
    static const char *const preferred[] = {"Q4_K_M", "Q8_0", NULL};
    struct choice c = {.siblings = json_object_get(description, "siblings"), .tag = tag};
    *out = NULL;
    *n = 0;
    if (!json_is_array(c.siblings) || json_array_size(c.siblings) > PULL_FILES_MAX)
        return fail(err, STATUS_BAD_INPUT,
                    "the hub's answer has no list of files, or one that is too long");
    const bool any = !strcmp(tag, MODEL_NAME_TAG);
    if (!any)
        choose_by(&c, tag);
    for (int i = 0; any && preferred[i] && !c.group; i++)
        choose_by(&c, preferred[i]);
    if (any && !c.group)
        choose_by(&c, NULL);
    if (!c.group || c.ambiguous)
        return fail_choice(&c, err);
    return take_group(out, n, &c, err);
}
