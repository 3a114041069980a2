/* run_input.h - the messages of a chat as they are typed. */
#ifndef CLI_RUN_INPUT_H
#define CLI_RUN_INPUT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"

enum { RUN_MESSAGE_MAX = 16 << 20 };

struct run_input;

/* keep: lines can be recalled, those of earlier runs, too.  Without it, no file is read
 * or written. */
enum status run_input_open(struct run_input **out, bool keep, struct error *err);
void run_input_close(struct run_input *in);
/* A person types on a terminal. */
bool run_input_edits(const struct run_input *in);
/* Whether lines can be recalled from now on. */
void run_input_history(struct run_input *in, bool keep);

/* b <- one message: a line, or several between """ and """.  Ctrl-C gives up what was
 * typed of it: then b is empty.  *quoted: it is no command, whatever it begins with.
 * false at the end of input. */
bool run_input_read(struct run_input *in, struct buf *b, bool *quoted);

#endif
