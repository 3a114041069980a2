/* server_link.h - the server that commands talk to: where it is, whose it is, and calls
 * of Ollama's API.  Requests carry TURBINE_API_KEY.  Used by one thread at a time. */
#ifndef CLI_SERVER_LINK_H
#define CLI_SERVER_LINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { SERVER_LINK_URL_BYTES = 512, SERVER_LINK_TEXT_BYTES = 256 };

/* What commands say of --host. */
#define SERVER_LINK_HELP                                              \
    "HOST[:PORT]  of the server (default TURBINE_HOST, OLLAMA_HOST, " \
    "127.0.0.1:11434)"

/* url [n] <- where the server is, "http://127.0.0.1:11434", without a slash at its end:
 * from host ("host", "host:port" or a URL), else TURBINE_HOST, OLLAMA_HOST, else this
 * machine.  The wildcard addresses that a server listens on become this machine.  false
 * (and url is what was said, cut): it does not fit. */
bool server_link_url(char *url, size_t n, const char *host);

enum server_link_kind {
    SERVER_LINK_NONE,    // nothing answers there
    SERVER_LINK_TURBINE, // ours
    SERVER_LINK_OTHER,   // Ollama or anything else, also ours if it refuses the key
};

/* Who answers GET /api/version at url; waits for two seconds at most.  why
 * [SERVER_LINK_TEXT_BYTES] (may be NULL) <- a clause for people, as "Ollama 0.33.0
 * answers there", "it wants a key: TURBINE_API_KEY". */
enum server_link_kind server_link_kind(const char *url, char *why);

/* One call: body (NULL: none; not taken) out, JSON in at *answer (NULL: not wanted; an
 * empty body is null), owned by the caller.  *http_status (may be NULL) is 0 where no
 * answer came.  Another status than 200 fails with the server's own words: NOT_FOUND for
 * 404, else IO. */
enum status server_link_call(const char *url, const char *method, const char *path,
                             const json_t *body, json_t **answer, int *http_status,
                             struct error *err);

/* The same for an answer in lines of JSON, without a limit of time. */
struct server_link_stream {
    /* One line; false ends the call, which closes the connection. */
    bool (*line)(void *ctx, const json_t *object);
    bool (*stopped)(void *ctx); // asked ten times a second; true does so, too; or NULL
    void *ctx;
};
/* STATUS_IO "... stopped" where the caller ended it; IO with the words of a line
 * {"error": ...} of the server. */
enum status server_link_stream(const char *url, const char *path, const json_t *body,
                               const struct server_link_stream *to, int *http_status,
                               struct error *err);

#endif
