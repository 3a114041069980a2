/* cmd_tokenize.c - standard input as token ids. */
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/models.h"
#include "gguf/gguf.h"
#include "text/tokenizer.h"

enum { TOKENIZE_BYTES_MAX = 1 << 30 };

static enum status read_stdin(struct buf *b, struct error *err)
{
    char block[65536];
    for (size_t n; (n = fread(block, 1, sizeof block, stdin)) > 0;)
        if (!buf_append(b, block, n))
            return fail(err, STATUS_LIMIT,
                        "standard input: no memory, or more than 1 GiB");
    if (ferror(stdin))
        return fail(err, STATUS_IO, "standard input: read failed");
    return STATUS_OK;
}

enum status cli_print_tokens(const struct tokens *ids, struct error *err)
{
    for (size_t i = 0; i < ids->n; i++)
        printf("%s%d", i ? " " : "", (int)ids->id[i]);
    if (putchar('\n') == EOF || fflush(stdout) || ferror(stdout))
        return fail(err, STATUS_IO, "standard output: write failed");
    return STATUS_OK;
}

static enum status tokenize(const char *path, bool special, struct error *err)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct buf text;
    struct tokens ids;
    buf_init(&text, TOKENIZE_BYTES_MAX);
    tokens_init(&ids);
    enum status st = gguf_open(&g, path, err);
    if (!st)
        st = tokenizer_open(&t, g, err);
    if (!st)
        st = read_stdin(&text, err);
    if (!st)
        st = tokenizer_encode(t, &ids, text.data ? text.data : "", text.len, NULL,
                              special ? TOKENIZER_SPECIAL | TOKENIZER_ADD : 0, err);
    if (!st)
        st = cli_print_tokens(&ids, err);
    tokens_release(&ids);
    buf_release(&text);
    tokenizer_close(t);
    gguf_close(g);
    return st;
}

int cmd_tokenize(int argc, char **argv)
{
    bool special = false;
    const struct cli_option options[] = {
        {"--special", CLI_FLAG, &special, 0, 0,
         "recognise control tokens, add bos and eos as the file says"},
        {NULL, CLI_FLAG, NULL, 0, 0, NULL},
    };
    const struct cli_command c = {
        "tokenize",
        "MODEL [--special] < TEXT",
        "token ids of standard input, one line.  " MODELS_HELP,
        options,
        1,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err = {0};
    char path[STORE_PATH_BYTES];
    return models_path(path, arg[0], &err) || tokenize(path, special, &err)
               ? cli_fail(&c, &err)
               : CLI_OK;
}
