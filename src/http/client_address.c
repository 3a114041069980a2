/* client_address.c - addresses that are everybody's, and those of a private network. */
#include "http/client_impl.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Source: IANA's registries of special-purpose addresses (RFC 6890). */
static bool is_public_v4(uint32_t a)
{
    static const struct {
        uint32_t net;
        int bits;
    } others[] = {
        {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},
        {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24},
        {0xc0a80000, 16}, {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24},
        {0xe0000000, 3},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if ((a ^ others[i].net) >> (32 - others[i].bits) == 0)
            return false;
    return true;
}

static uint32_t v4_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Global unicast (2000::/3) without what leads to IPv4 in other ways; mapped and
 * translated addresses are what they stand for. */
static bool is_public_v6(const uint8_t a[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (!memcmp(a, mapped, 12) || !memcmp(a, nat64, 12))
        return is_public_v4(v4_at(a + 12));
    if ((a[0] & 0xe0) != 0x20 || (a[0] == 0x20 && a[1] == 0x02))
        return false;
    return v4_at(a) >> 9 != 0x20010000u >> 9 && v4_at(a) != 0x20010db8u;
}

bool http_address_is_public(const void *sockaddr)
{
    const struct sockaddr *a = sockaddr;
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = sockaddr;
        return is_public_v4(ntohl(v4->sin_addr.s_addr));
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = sockaddr;
        return is_public_v6(v6->sin6_addr.s6_addr);
    }
    return false;
}

bool http_host_is_private(const char *host)
{
    char text[HTTP_HOST_BYTES];
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    const size_t n = strlen(host);
    const bool brackets = n > 2 && host[0] == '[';
    snprintf(text, sizeof text, "%.*s", (int)(brackets ? n - 2 : n), host + brackets);
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return !http_address_is_public(&v4);
    if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        return !http_address_is_public(&v6);
    return !strcmp(text, "localhost") || (n > 10 && !strcmp(text + n - 10, ".localhost"));
}

enum status http_private_fail(const struct http_url *u, struct error *err)
{
    return fail(err, STATUS_BAD_INPUT,
                "%s is not in the public network: a model's name may not lead there from "
                "here",
                u->host);
}

int http_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)ctx, (void)purpose;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

int http_open_public(void *session, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct http_session *s = session;
    if (!http_address_is_public(&a->addr)) {
        s->refused_address = true;
        return CURL_SOCKET_BAD;
    }
    return http_open_socket(session, purpose, a);
}
