/* port_owner.h - which process of this machine listens on a TCP port. */
#ifndef CLI_PORT_OWNER_H
#define CLI_PORT_OWNER_H

#include <stdbool.h>
#include <sys/types.h>

struct port_owner {
    bool known;     // the system says what listens
    bool listening; // somebody does
    uid_t uid;      // whose it is
    pid_t pid;      // 0: a process of another user, or of another container
    char name[32];  // of the process, printable
};

/* Source: proc(5), /proc/net/tcp and /proc/PID/fd. */
void port_owner_find(struct port_owner *out, int port);

#endif
