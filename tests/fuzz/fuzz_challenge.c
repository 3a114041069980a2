/* fuzz_challenge.c - what a server may say to a client of ours.  The first byte chooses:
 * a demand for a token, the lines of a header with ranges and a redirect in them, a hub's
 * list of files, a manifest, the name of a model. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/client_fields.h"
#include "http/client_url.h"
#include "store/pull_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool has_control(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return true;
    return false;
}

static void try_challenge(const char *text, size_t n)
{
    struct http_challenge c;
    struct http_url u;
    struct error err = {0};
    const enum status s = http_challenge_parse(&c, text, n, &err);
    if ((s == STATUS_OK) != (*c.realm != 0) || (s && !*err.text))
        abort();
    if (has_control(c.realm) || has_control(c.service) || has_control(c.scope))
        abort();
    if (!s && !http_url_parse(&u, c.realm, NULL) && http_url_add(&u, "scope", c.scope)) {
        struct http_url again;
        // What was added changes no host.
        if (!http_url_parse(&again, u.text, NULL) && !http_url_same_origin(&u, &again))
            abort();
    }
}

static void try_header(const char *text)
{
    static const char *const origins[] = {"https://a.example/x", "http://127.0.0.1:5/x"};
    char value[512];
    struct http_range r;
    struct http_url from, to;
    uint64_t v;
    for (int i = 0; http_field(value, sizeof value, text, "Content-Range", i); i++) {
        if (http_range_parse(&r, value) && !(r.first <= r.last && r.last < r.total))
            abort();
        if (http_range_parse_size(&v, value) && v > INT64_MAX)
            abort();
    }
    for (int i = 0; i < 2; i++) {
        if (http_url_parse(&from, origins[i], NULL) ||
            !http_field(value, sizeof value, text, "Location", 0) ||
            http_url_redirect(&to, &from, value, false, NULL))
            continue;
        if (has_control(to.text) || strchr(to.text, '#'))
            abort();
        // From elsewhere nothing leads here; nothing leads to what is not encrypted.
        if (i == 0 && (!to.tls || http_url_is_loopback(&to)))
            abort();
        if (!to.tls && !http_url_is_loopback(&to))
            abort();
    }
}

static void try_list(const char *text, size_t n)
{
    static const char *const tags[] = {"latest", "Q4_K_M", "Q8_0"};
    json_t *v = json_loadb(text, n, 0, NULL);
    for (int i = 0; v && i < 3; i++) {
        struct pull_file *files;
        struct error err = {0};
        int n_file;
        const enum status s = pull_hub_choose(&files, &n_file, v, tags[i], &err);
        if ((s == STATUS_OK) != (n_file > 0) || (s && !*err.text))
            abort();
        for (int k = 0; k < n_file; k++)
            if (!*files[k].name || *files[k].name == '/' || strstr(files[k].name, "..") ||
                has_control(files[k].name))
                abort();
        mem_free(files);
    }
    json_decref(v);
}

static void try_manifest(const char *text, size_t n)
{
    struct manifest m, again;
    struct buf out;
    struct error err = {0};
    buf_init(&out, MANIFEST_BYTES);
    const enum status s = manifest_parse(&m, text, n, &err);
    if (s && !*err.text)
        abort();
    if (!s && !manifest_print(&out, &m, NULL)) {
        if (manifest_parse(&again, out.data, out.len, NULL) || again.n_layer != m.n_layer)
            abort();
        manifest_release(&again);
    }
    manifest_release(&m);
    buf_release(&out);
}

static void try_name(const char *text)
{
    const struct pull_options o = {0};
    struct pull_source s;
    struct error err = {0};
    if (pull_source_find(&s, text, &o, &err)) {
        if (!*err.text)
            abort();
    } else if (!s.package && (!*s.base || has_control(s.base))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n)
        return 0;
    char *text = mem_array(n, 1); // without the first byte, and a 0 behind it
    if (!text)
        return 0;
    memcpy(text, data + 1, n - 1);
    switch (data[0] % 5) {
    case 0:
        try_challenge(text, n - 1);
        break;
    case 1:
        try_header(text);
        break;
    case 2:
        try_list(text, n - 1);
        break;
    case 3:
        try_manifest(text, n - 1);
        break;
    default:
        try_name(text);
    }
    mem_free(text);
    return 0;
}
