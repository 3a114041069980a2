/* run.h - what one answer and a chat of `turbine run` share. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/cli.h"
#include "engine/chat.h"
#include "engine/session.h"

enum { RUN_CHAT_MARKS = 8 }; // checkpoints of a chat

struct run {
    const struct cli_command *command;
    struct engine engine;
    struct session *session;
    struct kv_types kv;
    struct sampler_params sampling;
    int max_tokens;
    const char *system;      // NULL: none
    const char *const *stop; // [n_stop] texts that end an answer
    int n_stop;
    const json_t *messages; // that a chat starts with, behind the system's; may be NULL
    bool raw;
};

/* From here on Ctrl-C sets a flag that stops an answer; if `once`, a second one ends the
 * program. */
void run_catch_interrupts(bool once);
void run_forget_interrupt(void);
bool run_interrupted(void);

/* Stream the answer to a prompt on stdout; text (may be NULL) collects it.  STATUS_IO if
 * it cannot be written. */
enum status run_answer(struct run *r, const struct tokens *prompt,
                       const struct chat_stable *stable, struct buf *text,
                       struct session_stats *stats, struct error *err);

/* One line on stderr: tokens, speed and memory. */
void run_print_stats(const struct run *r, const struct session_stats *stats);
/* The memory of the cache and the process, on stdout. */
void run_print_kv(const struct run *r);

/* A chat with the system message and the messages that it starts with. */
enum status run_start_chat(const struct run *r, struct chat *c, struct error *err);

/* Read, answer, repeat, until the end of input; an exit code. */
int run_chat(struct run *r);

#endif
