/* progress.h - how far a transfer is: a bar on a terminal, else a line now and then. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { PROGRESS_LABEL = 64 };

struct progress {
    FILE *to;
    bool terminal, shown; // shown: the cursor is behind a bar
    char label[PROGRESS_LABEL];
    uint64_t began_us, drawn_us; // of this label
    uint64_t began, last;        // bytes then, and at the last drawing
    double speed;                // bytes a second, smoothed
    int tenth;                   // of the size, in the last line
};

void progress_init(struct progress *p, FILE *to);
/* done of size bytes of what label names; a new label begins a new line.  Drawn ten times
 * a second, or a line for each tenth. */
void progress_show(struct progress *p, const char *label, uint64_t done, uint64_t size);
/* The last state stays; what is printed next stands on a line of its own. */
void progress_end(struct progress *p);

#endif
