/* executable.h - other programs: found on a path of folders, asked for their version, or
 * started to stay.  No shell is involved, and none is ever taken from the current
 * folder. */
#ifndef CLI_EXECUTABLE_H
#define CLI_EXECUTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

enum { EXECUTABLE_PATH_BYTES = 4096, EXECUTABLE_VERSION_BYTES = 80 };

/* The first executable file of this name in the folders of search ("/usr/bin:/bin", as
 * PATH; NULL: none).  Empty and relative folders, which mean the current one, are passed
 * over. */
bool executable_find(char path[EXECUTABLE_PATH_BYTES], const char *name,
                     const char *search);

/* The first line with a digit of what `path --version` prints, without control
 * characters; at most 4 KiB of it are read, in at most timeout_ms, then the program and
 * its children are ended.  false: no such line in time. */
bool executable_version(char out[EXECUTABLE_VERSION_BYTES], const char *path,
                        int timeout_ms);

/* The file that this process runs; false where the system does not say. */
bool executable_self(char path[EXECUTABLE_PATH_BYTES]);

/* A program that outlives this one, in a session of its own. */
struct detached {
    pid_t pid;
    int alive_fd; // ends when it does
};

/* Run argv[0], a path, with nothing on its input and log (made anew, mode 0600) as its
 * output.  STATUS_IO if it cannot be run. */
enum status detached_start(struct detached *out, char *const argv[], const char *log,
                           struct error *err);
/* Whether it still runs; waits up to timeout_ms for its end. */
bool detached_alive(const struct detached *p, int timeout_ms);
/* Ask it to end, and make it end after timeout_ms; whether it has. */
bool detached_end(const struct detached *p, int timeout_ms);
void detached_release(struct detached *p);

#endif
