/* store_pull.c - a pull whose progress is lines. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dialect/ollama_store.h"
#include "server/store_call.h"
#include "store/pull.h"

enum { LINE_US = 100000 }; // between two lines of one blob

struct pull_job {
    struct server *server;
    char name[MODEL_NAME_BYTES + 16]; // as it was asked for
    struct pull_options o;
    struct store_job *job;
    enum pull_phase phase;
    struct digest digest;
    uint64_t said_us;
};

bool pull_job_trusts(const struct server *s)
{
    return s->loopback && !s->o.allow_host && !s->guard.any_origin;
}

static bool is_stopped(void *ctx)
{
    const struct pull_job *j = ctx;
    return store_job_stopped(j->job);
}

static void log_note(void *ctx, const char *text)
{
    const struct pull_job *j = ctx;
    log_event(j->server, "pull", text);
}

static void say_progress(void *ctx, const struct pull_progress *p)
{
    struct pull_job *j = ctx;
    const uint64_t now = clock_us();
    const bool same = j->phase == p->phase && digest_equal(&j->digest, &p->digest);
    char status[32], hex[DIGEST_HEX_BYTES], digest[DIGEST_TEXT_BYTES];
    struct buf line;
    if (same && now - j->said_us < LINE_US)
        return;
    j->phase = p->phase;
    j->digest = p->digest;
    j->said_us = now;
    if (p->phase == PULL_ADOPTING || p->phase == PULL_WRITING) {
        store_say(j->job, p->phase == PULL_ADOPTING ? "verifying sha256 digest"
                                                    : "writing manifest");
        return;
    }
    digest_hex(hex, &p->digest);
    digest_print(digest, &p->digest);
    snprintf(status, sizeof status, "pulling %.12s", hex);
    buf_init(&line, 512);
    ollama_print_transfer(&line, status, digest, p->size, p->done);
    store_job_say(j->job, &line, same);
    buf_release(&line);
}

static void set_up(struct pull_job *j, struct server *s, const char *model)
{
    snprintf(j->name, sizeof j->name, "%s", model);
    j->server = s;
    j->o = *s->o.pull;
    j->o.public_names = !pull_job_trusts(s);
    j->o.ctx = j->o.policy.ctx = j;
    j->o.progress = say_progress;
    j->o.policy.stopped = is_stopped;
    j->o.policy.note = log_note;
}

struct pull_job *pull_job_open(struct server *s, const char *model, bool insecure,
                               char key[MODEL_NAME_BYTES + 8], struct error *err)
{
    struct model_name name;
    if (model_name_parse(&name, model, strlen(model), err))
        return NULL;
    struct pull_job *j = mem_array(1, sizeof *j);
    if (!j) {
        (void)!fail(err, STATUS_NO_MEMORY, "no memory for a pull");
        return NULL;
    }
    char whole[MODEL_NAME_BYTES];
    model_name_print_whole(whole, &name);
    snprintf(key, MODEL_NAME_BYTES + 8, "%c%c %s", name.plain_http ? 'p' : 's',
             insecure ? 'i' : '-', whole);
    set_up(j, s, model);
    j->o.policy.insecure |= insecure;
    return j;
}

static enum status pull(struct pull_job *j, struct error *err)
{
    store_say(j->job, "pulling manifest");
    return pull_model(j->server->o.store, j->name, &j->o, err);
}

enum status pull_job_run(struct store_job *job, void *data, struct error *err)
{
    struct pull_job *j = data;
    j->job = job;
    const enum status st = pull(j, err);
    if (!st)
        store_say(job, "success");
    return st;
}

enum status pull_within(struct server *s, struct store_job *job, const char *model,
                        struct error *err)
{
    struct pull_job j = {.job = job};
    set_up(&j, s, model);
    return pull(&j, err);
}

void pull_job_release(void *data)
{
    mem_free(data);
}
