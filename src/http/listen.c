/* listen.c - the socket that is listened on. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void http_address_text(char out[HTTP_ADDRESS_BYTES], const void *sockaddr)
{
    const struct sockaddr *a = sockaddr;
    *out = 0;
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = sockaddr;
        inet_ntop(AF_INET, &v4->sin_addr, out, HTTP_ADDRESS_BYTES);
    } else if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = sockaddr;
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
            inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out, HTTP_ADDRESS_BYTES);
        else
            inet_ntop(AF_INET6, &v6->sin6_addr, out, HTTP_ADDRESS_BYTES);
    }
}

static int port_of(const struct sockaddr_storage *a)
{
    return a->ss_family == AF_INET6
               ? ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port)
               : ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
}

static int try_listen(const struct addrinfo *a)
{
    const int on = 1;
    const int fd = socket(a->ai_family, SOCK_STREAM, 0);
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC); // programs that are started do not listen
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 1024))
        return fd;
    const int e = errno;
    close(fd);
    errno = e;
    return -1;
}

enum status http_listen(struct http_server *s, struct error *err)
{
    char host[256], port[16];
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    const size_t n = strlen(s->o.host);
    const bool brackets = n > 2 && s->o.host[0] == '[' && s->o.host[n - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n),
             s->o.host + brackets);
    snprintf(port, sizeof port, "%d", s->o.port);
    const int rc = getaddrinfo(host, port, &hints, &list);
    if (rc)
        return fail(err, STATUS_BAD_ARG, "host '%s': %s", s->o.host, gai_strerror(rc));
    for (const struct addrinfo *a = list; a && s->listen_fd < 0; a = a->ai_next)
        s->listen_fd = try_listen(a);
    const int e = errno;
    freeaddrinfo(list);
    if (s->listen_fd < 0)
        return fail(err, STATUS_IO, "cannot listen on %s, port %d: %s", s->o.host,
                    s->o.port, strerror(e));
    struct sockaddr_storage a;
    socklen_t bytes = sizeof a;
    if (getsockname(s->listen_fd, (struct sockaddr *)&a, &bytes))
        return fail(err, STATUS_IO, "getsockname: %s", strerror(errno));
    http_address_text(s->address, &a);
    s->port = port_of(&a);
    return STATUS_OK;
}
