/* run_chat.c - the interactive chat: read, answer, repeat. */
#include <stdio.h>
#include <string.h>

#include "cli/environment.h"
#include "cli/run.h"
#include "cli/run_input.h"

enum status run_add_message(json_t *messages, const char *role, const struct buf *content,
                            const struct buf *thinking, struct error *err)
{
    json_t *text = json_stringn(content->len ? content->data : "", content->len);
    json_t *thought =
        thinking && thinking->len ? json_stringn(thinking->data, thinking->len) : NULL;
    if (!text) {
        json_decref(thought);
        return fail(err, STATUS_BAD_INPUT, "the text of the %s is not valid UTF-8", role);
    }
    if (json_array_append_new(messages,
                              json_pack("{s:s,s:o,s:o*}", "role", role, "content", text,
                                        "reasoning_content", thought)))
        return fail(err, STATUS_NO_MEMORY, "no memory for a message");
    return STATUS_OK;
}

static void drop_last_message(json_t *messages)
{
    json_array_remove(messages, json_array_size(messages) - 1);
}

/* Answer one message; a failed one is taken back, so that the chat can go on. */
static enum status answer_turn(struct run_chat *c, const struct buf *message,
                               struct error *err)
{
    struct run_stats stats;
    const struct run_question q = {.set = c->set, .messages = c->messages};
    enum status s = run_add_message(c->messages, "user", message, NULL, err);
    if (s)
        return s;
    run_print_begin(c->out);
    s = c->place->ops->answer(c->place, &q, c->out, &stats, err);
    if (s && !c->out->text.len && !c->out->thinking.len)
        run_print_abandon(c->out);
    else
        run_print_end(c->out);
    if (!s && c->out->failed)
        s = fail(err, STATUS_IO, "cannot write to standard output");
    if (s) {
        drop_last_message(c->messages);
        return s;
    }
    run_print_statistics(c->place, c->statistics, &stats);
    /* Interrupted before an answer: as if not asked. */
    if (stats.end == SESSION_STOPPED && !c->out->text.len)
        drop_last_message(c->messages);
    else
        s = run_add_message(c->messages, "assistant", &c->out->text, &c->out->thinking,
                            err);
    return s;
}

static int chat_loop(struct run_chat *c, struct run_input *in)
{
    struct error err = {0};
    struct buf message;
    const bool terminal = run_input_edits(in);
    bool leave = false, failed = false, quoted;
    buf_init(&message, RUN_MESSAGE_MAX);
    if (terminal) {
        puts("/? lists the commands, Ctrl-D leaves");
        run_catch_interrupts(false);
    }
    for (; !leave && run_input_read(in, &message, &quoted); run_forget_interrupt()) {
        err.status = STATUS_OK;
        if (message.failed) {
            failed = fail(&err, STATUS_LIMIT, "a message of more than %d MiB",
                          RUN_MESSAGE_MAX >> 20);
            cli_fail(c->command, &err);
        } else if (message.len && (quoted || !run_command(c, message.data, &leave)) &&
                   answer_turn(c, &message, &err)) {
            failed = true;
            cli_fail(c->command, &err);
            leave = c->out->failed; // nobody reads the answers
        }
        run_input_history(in, c->history);
    }
    if (terminal && !leave)
        putchar('\n'); // behind the prompt at which Ctrl-D was pressed
    buf_release(&message);
    /* Who types has seen what went wrong; a script looks at the exit code. */
    return failed && (!terminal || c->out->failed) ? CLI_FAILED : CLI_OK;
}

int run_chat(struct run_chat *c)
{
    struct error err;
    struct run_input *in = NULL;
    c->messages = json_array();
    c->history = !environment_flag("NOHISTORY");
    if (!c->messages || run_input_open(&in, c->history, &err)) {
        json_decref(c->messages);
        return CLI_FAILED;
    }
    const int rc = chat_loop(c, in);
    run_input_close(in);
    json_decref(c->messages);
    return rc;
}
