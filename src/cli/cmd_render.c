/* cmd_render.c - turbine render: the prompt text of a chat. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "json/parse.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "gguf/gguf.h"
#include "text/prompt.h"

enum { FILE_MAX_BYTES = 64 << 20 };

static enum status read_file(struct buf *out, const char *path, struct error *err)
{
    char part[65536];
    size_t n;
    enum status s = STATUS_OK;
    FILE *f = fopen(path, "rb");
    buf_init(out, FILE_MAX_BYTES);
    if (!f)
        return fail(err, STATUS_NOT_FOUND, "%s: cannot open the file", path);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        if (!buf_append(out, part, n)) {
            s = fail(err, STATUS_LIMIT, "%s: larger than %d bytes", path, FILE_MAX_BYTES);
            break;
        }
    if (ferror(f))
        s = fail(err, STATUS_IO, "%s: cannot read the file", path);
    fclose(f);
    return s;
}

/* The object of variables in a file; an array is its messages. */
static enum status read_vars(json_t **out, const char *path, struct error *err)
{
    struct buf text;
    json_error_t at;
    enum status s = read_file(&text, path, err);
    if (s == STATUS_OK) {
        json_t *j = json_parse(text.data ? text.data : "", text.len, JSON_ALLOW_NUL, &at);
        if (!j)
            s = fail(err, STATUS_BAD_INPUT, "%s: line %d: %s", path, at.line, at.text);
        else if (json_is_array(j))
            *out = json_pack("{so}", "messages", j);
        else
            *out = j;
    }
    buf_release(&text);
    return s;
}

static void set_token(json_t *vars, const char *name, const struct tokenizer *t,
                      int32_t id)
{
    size_t n = 0;
    const char *text = id >= 0 ? tokenizer_text(t, id, &n) : NULL;
    if (text && !json_object_get(vars, name))
        json_object_set_new(vars, name, json_stringn(text, n));
}

/* The tokenizer of a model, whose bos_token and eos_token the template gets. */
static enum status render_tokenizer(struct tokenizer **out, json_t *vars,
                                    const struct gguf *g, struct error *err)
{
    const enum status s = tokenizer_open(out, g, err);
    if (s == STATUS_OK) {
        set_token(vars, "bos_token", *out, tokenizer_bos(*out));
        set_token(vars, "eos_token", *out, tokenizer_eos(*out));
    }
    return s;
}

static enum status open_model(struct template **out, json_t *vars, const char *path,
                              struct error *err)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct gguf_str source;
    char file[STORE_PATH_BYTES];
    enum status s = models_path(file, path, err);
    if (s == STATUS_OK)
        s = gguf_open(&g, file, err);
    if (s == STATUS_OK)
        s = gguf_str(g, "tokenizer.chat_template", &source, err);
    if (s == STATUS_NOT_FOUND && g)
        s = fail(err, s,
                 "%s: there is no tokenizer.chat_template; give a FILE.jinja "
                 "or, of Go, a FILE.gotmpl",
                 path);
    if (s == STATUS_OK)
        s = template_compile(out, source.s, source.n, err);
    if (s == STATUS_OK)
        s = render_tokenizer(&t, vars, g, err);
    tokenizer_close(t);
    gguf_close(g);
    return s;
}

static enum status open_source(struct template **out, const char *path, bool go,
                               struct error *err)
{
    struct buf text;
    enum status s = read_file(&text, path, err);
    if (s == STATUS_OK)
        s = (go ? template_compile_go : template_compile)(out, text.data ? text.data : "",
                                                          text.len, err);
    buf_release(&text);
    return s;
}

static bool has_suffix(const char *s, const char *suffix)
{
    const size_t n = strlen(s), k = strlen(suffix);
    return n >= k && !strcmp(s + n - k, suffix);
}

/* Render with t and print the text, or its tokens by the vocabulary in the file `tokens`
 * (NULL for none). */
static enum status render_print(const struct template *t, json_t *vars, time_t now,
                                const char *tokens, struct error *err)
{
    struct template_output out = {0};
    struct tokenizer *tokenizer = NULL;
    struct gguf *g = NULL;
    struct tokens ids;
    enum status s = STATUS_OK;
    tokens_init(&ids);
    char file[STORE_PATH_BYTES];
    if (tokens && !(s = models_path(file, tokens, err)))
        s = gguf_open(&g, file, err);
    if (s == STATUS_OK && tokens)
        s = render_tokenizer(&tokenizer, vars, g, err);
    if (s == STATUS_OK)
        s = template_render(t, vars, now, NULL, &out, err);
    if (s == STATUS_OK && tokens)
        s = prompt_encode(tokenizer, &ids, &out, err);
    if (s == STATUS_OK && tokens)
        s = cli_print_tokens(&ids, err);
    else if (s == STATUS_OK && out.text.len &&
             fwrite(out.text.data, 1, out.text.len, stdout) != out.text.len)
        s = fail(err, STATUS_IO, "cannot write the text");
    tokens_release(&ids);
    template_output_release(&out);
    tokenizer_close(tokenizer);
    gguf_close(g);
    return s;
}

int cmd_render(int argc, char **argv)
{
    const char *messages = NULL, *tokens = NULL, *arg[1];
    double now = -1;
    const struct cli_option options[] = {
        {"--messages", CLI_STRING, &messages, 0, 0,
         "FILE.json  messages, tools, add_generation_prompt, ..."},
        {"--tokens", CLI_STRING, &tokens, 0, 0,
         "MODEL  print the token ids of the text in this vocabulary"},
        {"--now", CLI_FLOAT, &now, 0, 1e11, "UNIXTIME  what strftime_now sees, in UTC"},
        {0},
    };
    const struct cli_command command = {
        .name = "render",
        .args = "MODEL|FILE.jinja|FILE.gotmpl --messages FILE.json",
        .summary = "print the prompt text of a chat",
        .options = options,
        .min_args = 1,
        .max_args = 1,
    };
    struct template *t = NULL;
    struct error err = {0};
    json_t *vars = NULL;
    int rc = cli_parse(&command, argc, argv, arg);
    if (rc >= 0)
        return rc;
    if (!messages) {
        fprintf(stderr, "turbine render: --messages FILE.json is missing\n");
        return CLI_USAGE;
    }
    enum status s = read_vars(&vars, messages, &err);
    if (s == STATUS_OK)
        s = has_suffix(arg[0], ".gguf") || !models_is_path(arg[0])
                ? open_model(&t, vars, arg[0], &err)
                : open_source(&t, arg[0], has_suffix(arg[0], ".gotmpl"), &err);
    if (s == STATUS_OK)
        s = render_print(t, vars, now < 0 ? time(NULL) : (time_t)now, tokens, &err);
    rc = s == STATUS_OK ? CLI_OK : cli_fail(&command, &err);
    template_close(t);
    json_decref(vars);
    return rc;
}
