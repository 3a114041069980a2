/* doctor_judge_store.c - the folders of the store and its models. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/doctor.h"

#define MIB ((uint64_t)1 << 20)

enum { FEW_FILES = 1000 };

static const char elsewhere[] = "export TURBINE_MODELS=\"$HOME/turbine-models\"";

/* A word of a shell. */
static const char *quoted(struct buf *b, const char *text)
{
    buf_clear(b);
    launch_quote(b, text);
    return b->data ? b->data : "''";
}

/* ---- our own folder ---- */

/* One that cannot be written.  Its owner helps where that is what is wrong; a disk that
 * takes nothing does not take another owner. */
static void judge_closed(struct doctor_findings *out, const struct doctor_folder *f,
                         const char *word)
{
    const bool part = f->exists && *f->at && strcmp(f->at, f->path);
    const bool owner =
        !*f->why || !strcmp(f->why, strerror(EACCES)) || !strcmp(f->why, strerror(EPERM));
    struct doctor_finding *x = doctor_add(
        out, DOCTOR_PROBLEM, "store", "%s cannot be %s%s%s", part ? f->at : f->path,
        f->exists ? "written" : "made", *f->why ? ": " : "", f->why);
    if (owner)
        doctor_fix(x, "sudo mkdir -p %s && sudo chown -R \"$(id -un)\" %s", word, word);
    else
        doctor_fix(x, "%s", elsewhere);
}

static void judge_folder(struct doctor_findings *out, const struct doctor_folder *f,
                         struct buf *b)
{
    const char *word = quoted(b, f->path);
    if (!*f->path)
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "store",
                              "no folder: neither TURBINE_MODELS nor HOME is set"),
                   "export TURBINE_MODELS=/var/tmp/turbine-models");
    else if (f->exists && !f->is_folder)
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "store", "%s is no folder", f->path),
                   "%s", elsewhere);
    else if (!f->exists && !f->writable && *f->at && !*f->why)
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "store",
                              "%s cannot be made: %s is no folder", f->path, f->at),
                   "%s", elsewhere);
    else if (f->exists && !f->readable)
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "store", "%s cannot be read", f->path),
                   "sudo chown -R \"$(id -un)\" %s", word);
    else if (!f->writable)
        judge_closed(out, f, word);
    else
        doctor_add(out, DOCTOR_OK, "store",
                   f->exists ? "%s" : "%s, made by the first pull", f->path);
}

static void judge_space(struct doctor_findings *out, const struct doctor_folder *f)
{
    char left[PLAN_SIZE_BYTES];
    const bool few = f->nodes_total && f->nodes_free < FEW_FILES;
    plan_size(left, f->bytes_free);
    if (f->disk == DOCTOR_DISK_MEMORY)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, "store-disk",
                              "in memory: models take it twice, and are gone with it"),
                   "%s", elsewhere);
    else if (f->disk == DOCTOR_DISK_NETWORK)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, "store-disk",
                              "on the network: models load slowly, and two machines that "
                              "write may not see each other's locks"),
                   "%s", elsewhere);
    else
        doctor_add(out, DOCTOR_OK, "store-disk", "local");
    if (!f->bytes_total || f->bytes_free >= 2048 * MIB)
        doctor_add(out, DOCTOR_OK, "store-space", "%s",
                   f->bytes_total ? left : "not known");
    else
        doctor_fix(doctor_add(out,
                              f->bytes_free < 256 * MIB ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                              "store-space", "%s are free: most models are larger", left),
                   "turbine verify --prune");
    if (few)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, "store-files",
                              "the disk has room for %d more files", (int)f->nodes_free),
                   "df -i \"$HOME\"");
}

/* ---- models ---- */

static void judge_counts(struct doctor_findings *out, const struct doctor_store *s)
{
    int n = 0, damaged = 0;
    for (int i = 0; i < s->n_folder; i++) {
        n += s->folders[i].n_model;
        damaged += s->folders[i].n_damaged;
    }
    if (*s->error)
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "models", "%s", s->error),
                   "turbine verify");
    else if (damaged)
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "models",
                              "%d; of %d more the manifest cannot be read", n, damaged),
                   "turbine verify");
    else if (!n)
        doctor_fix(doctor_add(out, DOCTOR_NOTE, "models", "none"),
                   "turbine pull smollm2:135m");
    else
        doctor_add(out, DOCTOR_OK, "models", "%d", n);
}

/* Everybody, or Ollama's group, may read the folder and pass those above it, from the one
 * on that is closed. */
static void put_opened(struct buf *b, const struct doctor_folder *f, char who)
{
    char word[STORE_PATH_BYTES];
    size_t n = strlen(f->at);
    if (n && n < strlen(f->path))
        buf_printf(b, "sudo chmod %c+x", who);
    while (n && n < strlen(f->path)) {
        snprintf(word, sizeof word, "%.*s", (int)n, f->path);
        buf_puts(b, " ");
        launch_quote(b, word);
        n++;
        n += strcspn(f->path + n, "/");
    }
    buf_printf(b, "%ssudo chmod -R %c+rX ", n == strlen(f->at) ? "" : " && ", who);
    launch_quote(b, f->path);
}

/* Who is in the service's group reads its models, where the group may. */
static void judge_closed_other(struct doctor_findings *out, const struct doctor_folder *f,
                               struct buf *b)
{
    buf_clear(b);
    if (!f->of_service || !f->group_may_read)
        put_opened(b, f, f->of_service ? 'g' : 'a');
    if (f->of_service)
        buf_printf(b, "%ssudo usermod -aG " DOCTOR_SERVICE_GROUP " \"$(id -un)\"",
                   b->len ? " && " : "");
    doctor_fix(doctor_add(out, DOCTOR_NOTE, "ollama-store",
                          "%s cannot be read: its models are not seen%s", f->path,
                          f->of_service ? " before you are in group " DOCTOR_SERVICE_GROUP
                                          " and have logged in again"
                                        : ""),
               "%s", b->data ? b->data : "");
}

/* Ollama's folders; several are rare, none is usual. */
static void judge_others(struct doctor_findings *out, const struct doctor_store *s,
                         struct buf *b)
{
    int n = 0;
    for (int i = 1; i < s->n_folder; i++) {
        const struct doctor_folder *f = &s->folders[i];
        if (!f->exists)
            continue;
        n++;
        if (f->is_folder && f->readable)
            doctor_add(out, DOCTOR_OK, "ollama-store", "%s: %d models, read in place",
                       f->path, f->n_model);
        else
            judge_closed_other(out, f, b);
    }
    if (!n)
        doctor_add(out, DOCTOR_OK, "ollama-store", "none");
}

static void judge_model(struct doctor_findings *out, const struct doctor_model *m,
                        struct buf *b)
{
    const struct plan_fit *fit = &m->fit;
    const int most =
        fit->n_train > 0 && fit->n_train < fit->largest ? fit->n_train : fit->largest;
    char name[64];
    snprintf(name, sizeof name, "fits");
    if (*m->error)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, name, "%s: %s", m->name, m->error),
                   "turbine show %s", quoted(b, m->name));
    else if (!fit->largest)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, name,
                              "%s: not into the memory that is available", m->name),
                   "turbine plan %s", quoted(b, m->name));
    else if (most < fit->n_train && most < AGENT_CTX_GOOD)
        doctor_fix(doctor_add(out, DOCTOR_NOTE, name,
                              "%s: %d tokens of context, of the %d that it was trained "
                              "for; coding agents need %d, and want %d",
                              m->name, most, fit->n_train, AGENT_CTX_LEAST,
                              AGENT_CTX_GOOD),
                   "turbine plan %s", quoted(b, m->name));
    else if (fit->n_param && fit->n_param < most)
        doctor_add(out, DOCTOR_OK, name,
                   "%s: %d tokens of context; its Modelfile asks for %d", m->name, most,
                   fit->n_param);
    else
        doctor_add(out, DOCTOR_OK, name, "%s: %d tokens of context%s", m->name, most,
                   most == fit->n_train ? ", as it was trained for" : "");
}

void doctor_judge_store(struct doctor_findings *out, const struct doctor_store *s)
{
    struct buf b;
    buf_init(&b, 8 * STORE_PATH_BYTES);
    if (s->n_folder) {
        judge_folder(out, &s->folders[0], &b);
        if (*s->folders[0].path)
            judge_space(out, &s->folders[0]);
    }
    judge_counts(out, s);
    judge_others(out, s, &b);
    for (int i = 0; i < s->n_model; i++)
        judge_model(out, &s->models[i], &b);
    if (s->n_left_out)
        doctor_add(out, DOCTOR_OK, "fits", "%d older models were not looked at",
                   s->n_left_out);
    buf_release(&b);
}
