/* cmd_list.c - turbine list: the models of the store, in Ollama's columns. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "cli/models.h"
#include "cli/words.h"

struct list_row {
    char name[MODEL_NAME_BYTES], id[13], size[24], modified[48];
};

static void fill_row(struct list_row *r, const struct store_entry *e, int64_t now)
{
    char hex[DIGEST_HEX_BYTES];
    model_name_print(r->name, &e->name);
    digest_hex(hex, &e->digest);
    snprintf(r->id, sizeof r->id, "%.12s", e->damaged ? "damaged" : hex);
    if (e->damaged)
        snprintf(r->size, sizeof r->size, "-");
    else
        words_bytes(r->size, e->bytes);
    words_time(r->modified, e->modified_s, now);
}

static void print_list_row(const struct list_row *r, const int width[3])
{
    printf("%-*s    %-*s    %-*s    %s\n", width[0], r->name, width[1], r->id, width[2],
           r->size, r->modified);
}

static void widen(int width[3], const struct list_row *r)
{
    const int n[3] = {(int)strlen(r->name), (int)strlen(r->id), (int)strlen(r->size)};
    for (int i = 0; i < 3; i++)
        width[i] = n[i] > width[i] ? n[i] : width[i];
}

static enum status list(const char *prefix, struct error *err)
{
    static const struct list_row head = {"NAME", "ID", "SIZE", "MODIFIED"};
    struct store *s = NULL;
    struct store_entry *entry = NULL;
    struct list_row row;
    int n = 0, width[3] = {0};
    enum status st = models_open(&s, err);
    if (!st)
        st = store_list(s, &entry, &n, err);
    store_close(s);
    if (st)
        return st;
    widen(width, &head);
    for (int pass = 0; pass < 2; pass++) {
        if (pass)
            print_list_row(&head, width);
        for (int i = 0; i < n; i++) {
            fill_row(&row, &entry[i], (int64_t)time(NULL));
            if (prefix && strncasecmp(row.name, prefix, strlen(prefix)))
                continue;
            if (pass)
                print_list_row(&row, width);
            else
                widen(width, &row);
        }
    }
    mem_free(entry);
    return STATUS_OK;
}

static void note_closed(const struct cli_command *c)
{
    char folder[STORE_PATH_BYTES], text[STORE_PATH_BYTES + 120];
    if (!models_closed(folder))
        return;
    snprintf(text, sizeof text,
             "note: this user may not read %s; models that Ollama has there are left out",
             folder);
    cli_message(c, text);
}

static int list_command(const char *name, int argc, char **argv)
{
    static const struct cli_option options[] = {{0}};
    const struct cli_command c = {
        name,
        "[PREFIX]",
        "Models whose names start with PREFIX: of TURBINE_MODELS, else OLLAMA_MODELS, "
        "else "
        "~/.local/share/turbine/models, and of Ollama's own folders, which are only "
        "read.",
        options,
        0,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    if (list(arg[0], &err))
        return cli_fail(&c, &err);
    note_closed(&c);
    return CLI_OK;
}

int cmd_list(int argc, char **argv)
{
    return list_command("list", argc, argv);
}

int cmd_ls(int argc, char **argv)
{
    return list_command("ls", argc, argv);
}
