/* cores.c - sources: Linux, Documentation/ABI/stable/sysfs-devices-system-cpu and
 * Documentation/admin-guide/cgroup-v2.rst (cpu.max). */
#define _GNU_SOURCE
#include "base/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES_MAX = 4096, LINE_BYTES = 512 };

/* The first line with this start in a file below root; false if there is none. */
static bool line_of_file(char line[LINE_BYTES], const char *root, const char *path,
                         const char *start)
{
    char name[PATH_BYTES_MAX];
    if (snprintf(name, sizeof name, "%s%s", root, path) >= (int)sizeof name)
        return false;
    FILE *f = fopen(name, "r");
    bool good = false;
    while (f && !good && fgets(line, LINE_BYTES, f))
        good = !strncmp(line, start, strlen(start));
    if (f)
        fclose(f);
    return good;
}

/* "0,4" or "2-3,6": the CPU has a sibling in it that is in the list before it. */
static bool sibling_before(const char *list, const int *cpus, int n)
{
    for (const char *at = list; *at;) {
        int from, to, used = 0;
        if (sscanf(at, "%d%n", &from, &used) != 1)
            return false;
        at += used;
        to = from;
        if (sscanf(at, "-%d%n", &to, &used) == 1)
            at += used;
        for (int i = 0; i < n; i++)
            if (cpus[i] >= from && cpus[i] <= to)
                return true;
        if (*at != ',')
            return false;
        at++;
    }
    return false;
}

int cores_count(const char *root, const int *cpus, int n)
{
    int n_core = 0;
    for (int i = 0; i < n; i++) {
        char path[96], line[LINE_BYTES];
        const int used = snprintf(path, sizeof path,
                                  "/sys/devices/system/cpu/cpu%d/topology/", cpus[i]);
        /* The newer name first. */
        snprintf(path + used, sizeof path - (size_t)used, "core_cpus_list");
        bool known = line_of_file(line, root, path, "");
        if (!known) {
            snprintf(path + used, sizeof path - (size_t)used, "thread_siblings_list");
            known = line_of_file(line, root, path, "");
        }
        n_core += !known || !sibling_before(line, cpus, i);
    }
    return n_core;
}

/* "200000 100000", microseconds of time in a period; "max 100000" is no limit. */
static int parse_quota(const char *line)
{
    long long time, period;
    if (sscanf(line, "%lld %lld", &time, &period) != 2 || time <= 0 || period <= 0)
        return 0;
    const long long n = (time - 1) / period + 1;
    return n < 1 << 20 ? (int)n : 0;
}

int cores_quota(const char *root)
{
    char line[LINE_BYTES], path[LINE_BYTES + 64];
    int least = 0;
    /* "0::/group/inner"; lines of version 1 have other numbers in front. */
    if (!line_of_file(line, root, "/proc/self/cgroup", "0::/"))
        return 0;
    char *group = line + 3;
    group[strcspn(group, "\n")] = 0;
    for (;;) {
        char text[LINE_BYTES];
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        const int n = line_of_file(text, root, path, "") ? parse_quota(text) : 0;
        if (n && (!least || n < least))
            least = n;
        char *end = strrchr(group, '/');
        if (!end)
            return least;
        *end = 0; // the group around this one
    }
}

int cores_available(void)
{
    cpu_set_t set;
    int cpus[CPU_SETSIZE], n = 0;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    for (size_t i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &set))
            cpus[n++] = (int)i;
    const int cores = cores_count("", cpus, n), quota = cores_quota("");
    return quota && quota < cores ? quota : cores;
}
