#include "cli/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LISTENING = 0x0A, TABLE_LINES_MAX = 1 << 16, PROCESSES_MAX = 1 << 16 };

/* "0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0
 * INODE", where an address of IPv6 is longer. */
static bool read_socket(const char *line, int port, struct port_owner *out,
                        unsigned long *inode)
{
    unsigned at, state, uid;
    unsigned long node;
    if (sscanf(
            line,
            " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %u %*d %lu",
            &at, &state, &uid, &node) != 4 ||
        at != (unsigned)port || state != LISTENING)
        return false;
    out->listening = true;
    out->uid = (uid_t)uid;
    *inode = node;
    return true;
}

static unsigned long find_socket(struct port_owner *out, int port)
{
    static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    unsigned long inode = 0;
    for (int i = 0; i < 2 && !out->listening; i++) {
        FILE *f = fopen(tables[i], "r");
        char line[512];
        if (!f)
            continue;
        out->known = true;
        for (int n = 0; n < TABLE_LINES_MAX && fgets(line, sizeof line, f); n++)
            if (read_socket(line, port, out, &inode))
                break;
        fclose(f);
    }
    return inode;
}

/* Whether a process has the socket open; only its own user and root may see that. */
static bool has_socket(const char *pid, unsigned long inode)
{
    char path[300], want[40], link[64];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        const ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        found = !strcmp(link, want);
    }
    if (d)
        closedir(d);
    return found;
}

static void read_owner(struct port_owner *out, const char *pid)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    if (fgets(out->name, sizeof out->name, f))
        out->name[strcspn(out->name, "\n")] = 0;
    fclose(f);
    for (char *p = out->name; *p; p++)
        if (!isprint((unsigned char)*p))
            *p = '?';
}

void port_owner_find(struct port_owner *out, int port)
{
    *out = (struct port_owner){0};
    const unsigned long inode = find_socket(out, port);
    if (!inode)
        return;
    DIR *d = opendir("/proc");
    struct dirent *e;
    for (int n = 0; d && n < PROCESSES_MAX && (e = readdir(d)); n++) {
        if (!isdigit((unsigned char)e->d_name[0]) || !has_socket(e->d_name, inode))
            continue;
        out->pid = (pid_t)strtol(e->d_name, NULL, 10);
        read_owner(out, e->d_name);
        break;
    }
    if (d)
        closedir(d);
}
