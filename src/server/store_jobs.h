/* store_jobs.h - work on the store that takes its time: uploads, pulls, changes.
 *
 * Each kind has so many threads and so many places to wait.  A job says lines, which all
 * calls that watch it get; pulls of one name are one job.  When nobody watches a job any
 * more it is asked to stop, as it is when the server ends. */
#ifndef SERVER_STORE_JOBS_H
#define SERVER_STORE_JOBS_H

#include "base/buf.h"
#include "base/status.h"
#include "http/http.h"

enum store_work { STORE_UPLOAD, STORE_PULL, STORE_CHANGE, STORE_WORKS };

struct store_jobs;
struct store_job;
struct store_watch; // of one call

struct store_task {
    enum store_work work;
    const char *key; // equal ones at the same time are one job; copied; NULL: its own
    enum status (*run)(struct store_job *j, void *data, struct error *err);
    void (*release)(void *data);
    void *data;
};

enum status store_jobs_open(struct store_jobs **out, struct error *err);
/* Stops all jobs and waits for them; then no exchange is touched any more.  Closing comes
 * behind the last watch.  Both are right for NULL. */
void store_jobs_end(struct store_jobs *s);
void store_jobs_close(struct store_jobs *s);
/* Jobs of this kind are asked to stop, as are those that come. */
void store_jobs_stop(struct store_jobs *s, enum store_work work);
/* The kind's threads and places are all in use. */
bool store_jobs_full(struct store_jobs *s, enum store_work work);

/* Takes over t->data, whatever comes back.  x is woken when there is news, until the
 * watch is closed.  STATUS_FULL: too many wait. */
enum status store_jobs_start(struct store_jobs *s, struct store_watch **out,
                             const struct store_task *t, struct http_exchange *x,
                             struct error *err);
/* Append the lines that came since the last call; true: the job is over, with err. */
bool store_watch_take(struct store_watch *w, struct buf *lines, struct error *err);
/* Its waiting ends (store_job_wait). */
void store_watch_poke(struct store_watch *w);
/* Ask the job to stop, whoever else watches it. */
void store_watch_stop(struct store_watch *w);
/* Right for NULL. */
void store_watch_close(struct store_watch *w);

/* ---- for the job itself ---- */

/* A line without its end.  passing: another of its kind follows, so it may be dropped
 * where a client is slow. */
void store_job_say(struct store_job *j, const struct buf *line, bool passing);
bool store_job_stopped(const struct store_job *j);
/* Until it is poked or asked to stop. */
void store_job_wait(struct store_job *j);

#endif
