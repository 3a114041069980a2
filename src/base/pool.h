/* pool.h - fork-join over a fixed set of threads.
 *
 * pool_run calls fn(ctx, item, thread) for every item in [0, n_item) exactly once and
 * returns when all are done.  Which thread runs which item is not fixed, so an item must
 * not depend on another one's result; the caller's thread takes part.  Threads spin for a
 * bounded time between calls, then sleep.  One run at a time for each pool. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/status.h"

struct pool;

typedef void pool_fn(void *ctx, int item, int thread);

/* n_thread >= 1, the caller included. */
enum status pool_open(struct pool **out, int n_thread, struct error *err);
void pool_close(struct pool *p);
int pool_threads(const struct pool *p);
void pool_run(struct pool *p, int n_item, pool_fn *fn, void *ctx);

/* The default of n_thread: cores_available, at most what pool_open takes. */
int pool_cores(void);

#endif
