#include "cli/list_rows.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/mem.h"
#include "cli/models.h"
#include "cli/words.h"

void list_row_fill(struct list_row *r, const char *name, const char *digest,
                   uint64_t bytes, int64_t modified_s)
{
    snprintf(r->name, sizeof r->name, "%s", name);
    snprintf(r->id, sizeof r->id, "%.12s", digest ? digest : "damaged");
    if (digest)
        words_bytes(r->size, bytes);
    else
        snprintf(r->size, sizeof r->size, "-");
    words_time(r->modified, modified_s, (int64_t)time(NULL));
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

void list_rows_print(const struct list_row *rows, int n)
{
    static const struct list_row head = {"NAME", "ID", "SIZE", "MODIFIED"};
    int width[3] = {0};
    widen(width, &head);
    for (int i = 0; i < n; i++)
        widen(width, &rows[i]);
    print_list_row(&head, width);
    for (int i = 0; i < n; i++)
        print_list_row(&rows[i], width);
}

enum status list_rows_of_store(const char *prefix, struct error *err)
{
    struct store *s = NULL;
    struct store_entry *entry = NULL;
    int n = 0, n_row = 0;
    enum status st = models_open(&s, err);
    if (!st)
        st = store_list(s, &entry, &n, err);
    store_close(s);
    if (st)
        return st;
    struct list_row *rows = mem_array((size_t)n + 1, sizeof *rows);
    for (int i = 0; rows && i < n; i++) {
        char hex[DIGEST_HEX_BYTES], name[MODEL_NAME_BYTES];
        model_name_print(name, &entry[i].name);
        digest_hex(hex, &entry[i].digest);
        if (!prefix || !strncasecmp(name, prefix, strlen(prefix)))
            list_row_fill(&rows[n_row++], name, entry[i].damaged ? NULL : hex,
                          entry[i].bytes, entry[i].modified_s);
    }
    if (rows)
        list_rows_print(rows, n_row);
    else
        st = fail(err, STATUS_NO_MEMORY, "no memory for a list of models");
    mem_free(rows);
    mem_free(entry);
    return st;
}
