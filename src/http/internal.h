/* internal.h - what the files of http share.
 *
 * s->lock guards the queues, the states of exchanges and their counts of references;
 * x->lock the reply.  The I/O thread alone calls libmicrohttpd and touches connections.
 */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http/http.h"

enum {
    HTTP_ADDRESS_BYTES = 64,
    HTTP_STREAM_ROOM = 64 << 10,      // a stream with more buffered has no room
    HTTP_STREAM_MAX = 16 << 20,       // and with more breaks off
    HTTP_DISCARD_BYTES = 1 << 20,     // of a body that nobody wants, read to be polite
    HTTP_BLOCK_BYTES = 32 << 10,      // handed to libmicrohttpd at a time
    HTTP_POOL_BYTES = (64 << 10) - 1, // of a connection: its headers, and a block
    HTTP_SWEEP_US = 250000,
    HTTP_DROP_US = 2000000,  // between pieces of a body that was answered already
    HTTP_CLOSED_US = 500000, // for what is left of a request whose end cannot come
    HTTP_HEADERS_MAX = 24,   // that a reply adds
};

enum conn_state {
    CONN_HEADERS, // a request is expected at once
    CONN_IDLE,    // between requests
    CONN_BODY,
    CONN_WORK,  // suspended, or about to be
    CONN_WRITE, // the reply is being sent
};

struct http_conn {
    struct http_server *server;
    struct MHD_Connection *mhd;
    struct http_conn *prev, *next;
    struct http_exchange *exchange; // NULL between requests
    int fd;
    enum conn_state state;
    uint64_t since_us;    // of the state
    uint64_t progress_us; // of body or reply
    size_t received;      // bytes of the body
    bool closed;          // the peer will send no more
    uint64_t closed_us;
    bool bad_url; // of the request that comes
    size_t url_bytes;
    char local[HTTP_ADDRESS_BYTES], peer[HTTP_ADDRESS_BYTES];
};

enum step_state {
    STEP_NONE,
    STEP_IDLE,
    STEP_QUEUED,
    STEP_RUNNING,
    STEP_AGAIN,
    STEP_DONE
};

struct http_added {
    char *name, *value;
};

struct http_exchange {
    struct http_server *server;
    uint64_t start_us;
    void *data;

    /* The request; strings live as long as conn serves it. */
    struct MHD_Connection *mhd;
    struct http_conn *conn; // I/O thread; NULL when libmicrohttpd is done
    char *method, *path;
    char local[HTTP_ADDRESS_BYTES], peer[HTTP_ADDRESS_BYTES];
    struct buf body; // streamed: what was not taken yet; under lock
    bool refused;    // a reply was made before the body
    size_t discarded;
    size_t n_held; // of the server's n_body
    bool complete; // all of the request is there

    /* Guarded by server->lock. */
    enum step_state step;
    int refs;                         // of libmicrohttpd, of the steps, of the ready list
    struct http_exchange *queue_next; // of the workers
    struct http_exchange *ready_next; // of the I/O thread
    struct http_exchange *prev, *next; // all whose reply is not all sent
    bool in_ready;

    atomic_bool gone;
    atomic_uint_fast64_t wake_us; // 0: not

    pthread_mutex_t lock;
    bool answered; // by the step: reply or end of stream
    bool begun;    // status and headers are known
    bool streams;
    bool ended; // all bytes are in out
    bool broken;
    bool wants_room;
    int status;
    char content_type[80];
    struct http_added added[HTTP_HEADERS_MAX];
    int n_added;
    struct buf out;
    size_t out_sent;   // bytes of out that libmicrohttpd took
    const char *fixed; // instead of out
    size_t fixed_bytes;

    /* A body in pieces.  Under lock, but for body_streams (said in admit). */
    bool body_streams;
    struct http_added *headers; // [n_headers] of the request: it may go at any time
    int n_headers;
    bool body_wanted; // somebody reads
    bool body_full;   // and the connection waits for that
    bool body_end;

    /* I/O thread. */
    bool suspended, queued; // queued: libmicrohttpd has the response
    bool body_begun;        // libmicrohttpd reads it
    uint64_t suspended_us;
};

struct http_server {
    struct http_options o;
    struct MHD_Daemon *daemon;
    int listen_fd, epoll_fd, mhd_fd, event_fd;
    uint64_t turn_us; // when turn is due, though nothing came
    bool in_turn;     // I/O thread
    pthread_t io;
    char address[HTTP_ADDRESS_BYTES];
    int port;
    atomic_bool stop, poked, wants_tick;
    struct http_conn *conns; // I/O thread
    atomic_int n_conn, n_active;
    atomic_size_t n_body; // bytes of bodies, but of those in pieces
    uint64_t swept_us;

    pthread_mutex_t lock;
    pthread_cond_t work;
    struct http_exchange *queue_head, *queue_tail, *ready, *exchanges;
    bool ending; // workers
    int n_alive; // of them
    pthread_t *workers;
    int n_worker;
};

/* exchange.c */
struct http_exchange *http_exchange_open(struct http_conn *c, const char *method,
                                         const char *path);
void http_exchange_drop(struct http_exchange *x);  // a reference
void http_exchange_ready(struct http_exchange *x); // the I/O thread is to look at it
void http_exchange_gone(struct http_exchange *x);
/* Hand the reply to libmicrohttpd: I/O thread, x->begun. */
enum MHD_Result http_exchange_send(struct http_exchange *x);
void http_exchange_suspend(struct http_exchange *x);
void http_exchange_resume(struct http_exchange *x);

/* server.c */
void http_server_signal(struct http_server *s); // the I/O thread has work

/* workers.c */
enum status http_workers_open(struct http_server *s, struct error *err);
void http_workers_close(struct http_server *s);
void http_workers_push(struct http_exchange *x); // with s->lock

/* callbacks.c */
enum MHD_Result http_on_request(void *ctx, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version,
                                const char *upload, size_t *n_upload, void **slot);
void http_on_completed(void *ctx, struct MHD_Connection *mhd, void **slot,
                       enum MHD_RequestTerminationCode code);
void http_on_connection(void *ctx, struct MHD_Connection *mhd, void **slot,
                        enum MHD_ConnectionNotificationCode code);
void *http_on_url(void *ctx, const char *url, struct MHD_Connection *mhd);

/* listen.c */
enum status http_listen(struct http_server *s, struct error *err);
void http_address_text(char out[HTTP_ADDRESS_BYTES], const void *sockaddr);

/* deadline.c */
void http_conn_enter(struct http_conn *c, enum conn_state state);
void http_sweep(struct http_server *s);

#endif
