/* router.h - one endpoint in front of many backends: short prompts to fast ones, long
 * prompts to those with a compressed cache, conversations to where their cache is.
 *
 * Workers parse requests and pump answers; one thread speaks to all backends; http's
 * thread to the clients.  Bytes of a backend that speaks the client's dialect pass as
 * they are.  What goes wrong before the first byte is tried elsewhere; behind it a
 * stream ends with an error of the client's dialect. */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "http/http.h"
#include "router/config.h"

struct router;

struct router_options {
    const char *program; // our own, for `turbine plan`; NULL: long backends that run here
                         // are not asked whether they fit
    const char *host;    // to bind
    int port;            // 0: any
    int n_worker;        // 0: 4
    struct http_limits limits;
    const char *api_key;     // of clients, besides those of the configuration; NULL: none
    bool insecure;           // without a key although not bound to loopback
    const char *origins;     // as in server.h
    const char *allow_host;  // likewise
    uint64_t drain_us;       // 0: 30 s
    bool log;                // JSON lines on stderr
    const char *config_path; // read again by router_reload; NULL: there is no file
    int threshold;           // over the file's, 0: none
    config_lookup *lookup;   // of the environment's variables that the file names
};

/* Listens on return.  c is taken over, whatever happens. */
enum status router_open(struct router **out, const struct router_options *o,
                        struct config *c, struct error *err);
void router_close(struct router *r);
const char *router_url(const struct router *r);

/* Serve until router_shutdown was called and all answers are out, or drain_us is over. */
void router_run(struct router *r);
void router_shutdown(struct router *r); // any thread or signal handler
/* Read the file again; a wrong one leaves all as it was, with a line in the log. */
void router_reload(struct router *r); // any thread or signal handler

#endif
