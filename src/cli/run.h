/* run.h - what the parts of `turbine run` share.
 *
 * A place answers: this process (run_local.c) or a server (run_remote.c).  The chat, its
 * commands and the printing know no other difference.  Messages are canonical
 * (dialect/request.h). */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/show_parts.h"
#include "engine/session.h"

enum {
    RUN_TEXT_MAX = 64 << 20, // bytes of a prompt or an answer
    RUN_CHAT_MARKS = 8,      // checkpoints of a chat
};

/* What was set by options and /set; each NULL where it is the model's own. */
struct run_settings {
    json_t *options;        // PARAMETERs, an object, never NULL
    json_t *system;         // a string
    json_t *format;         // "json" or a schema
    int think;              // -1: the model's own, 0, 1
    const char *effort;     // "low" ...; with think 1
    const char *keep_alive; // of a server
    bool raw;
    int max_tokens; // what num_predict of the options is by --max-tokens; 0: not by it
};

/* ---- printing: run_print.c ---- */

enum run_statistics { RUN_QUIET, RUN_LINE, RUN_VERBOSE };

struct run_printer {
    bool terminal, err_terminal;
    bool wordwrap, hide_thinking;
    struct buf text, thinking; // of the answer
    bool failed;               // stdout does not take text
    /* Its own: */
    bool dim, progress;
    int width, column;
    char word[512];
    size_t n_word;
    int word_columns;
};

void run_printer_init(struct run_printer *p);
void run_printer_release(struct run_printer *p);
void run_print_begin(struct run_printer *p); // an answer
/* A piece of it in whole characters.  Reasoning is shown on a terminal only.  false: it
 * could not be written. */
bool run_print_text(struct run_printer *p, bool reasoning, const char *text, size_t n);
void run_print_progress(struct run_printer *p, int done, int total);
/* Ends its last line. */
void run_print_end(struct run_printer *p);
void run_print_abandon(struct run_printer *p); // nothing came

/* From here on Ctrl-C sets a flag that stops an answer; if `once`, a second one ends the
 * program. */
void run_catch_interrupts(bool once);
void run_forget_interrupt(void);
bool run_interrupted(void);
const atomic_bool *run_interrupt_flag(void);

/* ---- places ---- */

struct run_stats {
    int n_prompt;
    int n_cached, n_read, n_again, n_step; // of this process; n_cached -1: not known
    int n_decoded;
    uint64_t load_us, prefill_us, decode_us, total_us;
    enum session_end end;
};

/* A chat, or (messages NULL) the prompt of settings->raw. */
struct run_question {
    const struct run_settings *set;
    json_t *messages;
    const struct buf *prompt;
};

struct run_place {
    const struct run_place_ops *ops;
    const struct cli_command *command;
    char model[STORE_PATH_BYTES]; // name or path, as it is shown
    bool stays;                   // loaded, when this process has ended
};

/* Of the model. */
struct run_facts {
    int n_train; // tokens of context that it was trained for; 0: not known
    bool thinks; // it reasons, or is not known not to
};

struct run_place_ops {
    enum status (*answer)(struct run_place *p, const struct run_question *q,
                          struct run_printer *out, struct run_stats *stats,
                          struct error *err);
    /* Another model; on failure the old one stays. */
    enum status (*load)(struct run_place *p, const char *model,
                        const struct run_settings *set, struct error *err);
    enum status (*show)(struct run_place *p, enum show_part part, struct buf *out,
                        struct error *err);
    /* What answers now as a new model of the store. */
    enum status (*save)(struct run_place *p, const char *name,
                        const struct run_settings *set, const json_t *messages,
                        struct error *err);
    /* Whether these settings can be honoured, before they are taken over. */
    enum status (*check)(struct run_place *p, const struct run_settings *set,
                         struct error *err);
    void (*facts)(struct run_place *p, struct run_facts *out);
    enum status (*list)(struct run_place *p, struct error *err);   // models, on stdout
    enum status (*memory)(struct run_place *p, struct error *err); // on stdout
    void (*where)(const struct run_place *p, char *out, size_t n); // "in this process"
    void (*print_stats)(const struct run_place *p, const struct run_stats *s); // stderr
    void (*close)(struct run_place *p);                                        // frees it
};

/* n_mark: checkpoints of the session.  The model and its session are open on return. */
enum status run_local_open(struct run_place **out, const struct cli_command *c,
                           const char *model, const struct run_settings *set,
                           enum cpu_isa cpu, int n_mark, struct error *err);
/* A server at url that is Turbine's.  STATUS_NOT_FOUND: it does not have the model. */
enum status run_remote_open(struct run_place **out, const struct cli_command *c,
                            const char *url, const char *model,
                            const struct run_settings *set, struct error *err);

/* "total duration: ...", Ollama's table, on stderr. */
void run_print_table(const struct run_stats *s);

/* ---- the chat ---- */

struct run_chat {
    const struct cli_command *command;
    struct run_place *place;
    struct run_settings *set;
    struct run_printer *out;
    enum run_statistics statistics;
    json_t *messages; // without the system message and those of the model
    bool history;     // lines can be recalled
};

/* What follows an answer on stderr. */
void run_print_statistics(const struct run_place *p, enum run_statistics how,
                          const struct run_stats *s);
/* Append a message; thinking may be NULL. */
enum status run_add_message(json_t *messages, const char *role, const struct buf *content,
                            const struct buf *thinking, struct error *err);

/* Read, answer, repeat, until the end of input; an exit code. */
int run_chat(struct run_chat *c);
/* true if text was a command; *leave is set by /bye. */
bool run_command(struct run_chat *c, const char *text, bool *leave);

/* settings.c: PARAMETER name as in a Modelfile.  A stop stands beside those before it
 * where `more`. */
enum status run_set_parameter(struct run_settings *s, const char *name, const char *value,
                              bool more, struct error *err);
enum status run_set_think(struct run_settings *s, const char *value, struct error *err);
enum status run_set_format(struct run_settings *s, const char *value, struct error *err);
void run_settings_init(struct run_settings *s);
void run_settings_release(struct run_settings *s);
/* The keep_alive as JSON, NULL for none. */
json_t *run_keep_alive(const char *text);

#endif
