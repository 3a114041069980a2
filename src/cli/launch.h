/* launch.h - a program of somebody else's on our server: its table row, and the steps of
 * `turbine launch`. */
#ifndef CLI_LAUNCH_H
#define CLI_LAUNCH_H

#include "cli/agent.h"
#include "cli/cli.h"
#include "cli/executable.h"
#include "cli/server_link.h"
#include "store/store.h"

struct launch;

enum launch_value {
    LAUNCH_TEXT,    // text
    LAUNCH_URL,     // of the server, without /v1
    LAUNCH_TOKEN,   // TURBINE_API_KEY, or text if the server wants none
    LAUNCH_MODEL,   // the model
    LAUNCH_SMALL,   // the one for titles and the like
    LAUNCH_CONTEXT, // tokens of context
    LAUNCH_OUTPUT,  // tokens of an answer, an eighth of the context, where that is less
                    // than AGENT_CTX_GOOD
    LAUNCH_UNSET,   // must not be set
    LAUNCH_DEAD,    // does nothing, whatever guides say
};

/* A variable of the environment that a program reads. */
struct launch_variable {
    const char *name;
    enum launch_value value;
    const char *text;
    bool elsewhere; // decides which server is asked
};

struct launch_program {
    const char *name, *title;                // "claude", also its file; "Claude Code"
    const char *install;                     // a command
    int n_ctx;                               // tokens of context that it needs
    const struct launch_variable *variables; // NULL name behind the last
    /* Say which settings of its own are against it; not STATUS_OK: it cannot work. */
    enum status (*check)(const struct launch *l, struct error *err);
};

struct launch {
    const struct cli_command *command;
    const struct launch_program *program;
    const char *arg, *small_arg; // models as they were asked for, or NULL
    bool print;                  // nothing is started or loaded
    int wait_s;                  // for a server or a model
    char url[SERVER_LINK_URL_BYTES];
    bool running;                 // a server is there
    char model[STORE_PATH_BYTES]; // as the server calls it
    const char *small;
    int n_ctx; // tokens that the server gives it
    bool started;
    struct detached server; // if it was started
};

/* One line on stderr. */
void launch_note(const struct launch *l, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- launch_server.c ---- */

/* Find the server at l->url, or start one there with the model that is chosen.  When the
 * start fails, the end of the server's log is on stderr. */
enum status launch_find_server(struct launch *l, struct error *err);
/* The port in a URL. */
int launch_port(const char *url);
bool launch_is_local(const char *url);
/* End the server that was started, as it is of no use. */
void launch_end_server(struct launch *l);

/* ---- launch_model.c ---- */

/* For a server that is to be started: the argument, else the only model of the store. */
enum status launch_choose_stored(struct launch *l, struct error *err);
/* l->model, l->small and l->n_ctx from the server, which loads the model; STATUS_LIMIT
 * with what helps if that is too little. */
enum status launch_choose_served(struct launch *l, struct error *err);
/* Whether l->model will have enough context, before a server loads it.  What is printed
 * may be for a model that is not here: a note says so. */
enum status launch_check_plan(const struct launch *l, struct error *err);

/* ---- launch_env.c ---- */

/* Make the environment that of the program. */
enum status launch_set_environment(const struct launch *l, struct error *err);
/* As commands of sh, or as JSON; a key is named and not shown. */
enum status launch_print_environment(const struct launch *l, bool json,
                                     struct error *err);
/* text as one word of sh, whatever is in it. */
void launch_quote(struct buf *out, const char *text);

#endif
