/* store_call.h - calls that a job on the store answers. */
#ifndef SERVER_STORE_CALL_H
#define SERVER_STORE_CALL_H

#include "server/internal.h"
#include "server/store_jobs.h"
#include "store/store.h"

struct store_call {
    struct store_watch *watch; // NULL before and behind
    struct buf lines;          // that came
    bool stream;               // they are the reply; else its last one, or nothing
    bool has_lines;
    uint64_t hold_us; // until then a first line alone waits for what follows
    struct buf piece; // of a body that nobody needs
};

/* c->store, with nothing in it; NULL: answered with an error. */
struct store_call *store_call_open(struct call *c);
/* The job of the call, which takes over t->data; false: answered with an error. */
bool store_call_start(struct call *c, const struct store_task *t);
/* The call from its job's start to its reply. */
void store_call_step(struct call *c);
/* From a status of the store. */
void store_call_fail(struct call *c, const struct error *err);
void store_call_api_error(struct api_error *e, const struct server *s,
                          const struct error *err);

/* store_create.c */
struct ollama_create;
struct create_job;
/* Takes over body, whose texts r has.  NULL: err. */
struct create_job *create_job_open(struct server *s, json_t *body,
                                   const struct ollama_create *r, struct error *err);
/* It begins with a pull. */
bool create_job_pulls(const struct create_job *j);
enum status create_job_run(struct store_job *j, void *data, struct error *err);
void create_job_release(void *data);

/* store_pull.c */
struct pull_job;
/* May a client name any host?  Only who is on this machine. */
bool pull_job_trusts(const struct server *s);
struct pull_job *pull_job_open(struct server *s, const char *model, bool insecure,
                               char key[MODEL_NAME_BYTES + 8], struct error *err);
enum status pull_job_run(struct store_job *j, void *data, struct error *err);
void pull_job_release(void *data);
/* A pull as a part of another job. */
enum status pull_within(struct server *s, struct store_job *j, const char *model,
                        struct error *err);

/* A line that says what is done. */
void store_say(struct store_job *j, const char *text);

#endif
