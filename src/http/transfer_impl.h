/* transfer_impl.h - what transfer.c and transfers.c share.
 *
 * The host alone uses curl, once a transfer was started.  t->lock guards what the reader
 * sees; owner->lock what it asks for. */
#ifndef HTTP_TRANSFER_IMPL_H
#define HTTP_TRANSFER_IMPL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "http/transfer.h"

enum http_ask {
    HTTP_ASK_START = 1,
    HTTP_ASK_RESUME = 2,
    HTTP_ASK_END = 4,  // it runs: remove it, let who waits go on, free it
    HTTP_ASK_FREE = 8, // it has ended: nobody waits
};

struct http_transfer {
    struct http_transfers *owner;
    CURL *curl;
    struct curl_slist *headers;
    char why[CURL_ERROR_SIZE];
    uint64_t start_us, first_us, idle_us;
    bool once; // it must not be sent twice
    int sent;
    bool added;                        // to the multi handle
    struct http_transfer *prev, *next; // those that were added
    bool has_news;                     // and is in the list of those
    struct http_transfer *news_next;

    pthread_mutex_t lock;
    void (*notify)(void *ctx);
    void *ctx;
    struct http_transfer_state state;
    struct buf fields; // until the header is there the host's
    struct buf in;
    size_t taken; // bytes of in that were read
    size_t max;
    bool paused, begun;
    bool told;    // notified, or about to be, and the reader has not looked since
    bool telling; // notify is running
    pthread_cond_t told_it;
    uint64_t progress_us;

    /* Guarded by owner->lock. */
    unsigned asked;
    struct http_transfer *asked_next;
};

struct http_transfers {
    CURLM *multi;
    int epoll_fd, event_fd;
    uint64_t timer_us; // libcurl's, 0: none
    uint64_t swept_us;
    struct http_transfer *added;
    struct http_transfer *news; // the host's
    pthread_t host;
    atomic_int n_active;

    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct http_transfer *asked;          // list
    uint64_t n_round_begun, n_round_done; // of asked lists that were worked off
};

void http_transfer_free(struct http_transfer *t);
bool http_transfers_is_host(const struct http_transfers *ts); // the caller
/* By the host, outside of libcurl: it does not run any more, and has no news. */
void http_transfer_stop(struct http_transfer *t);
enum http_transfer_end http_transfer_classify(CURLcode code);
/* By the host, when it has removed t. */
void http_transfer_finish(struct http_transfer *t, enum http_transfer_end end,
                          const char *why);
/* END returns when the host has removed t; the host itself does not ask for it. */
void http_transfer_ask(struct http_transfer *t, enum http_ask what);

#endif
