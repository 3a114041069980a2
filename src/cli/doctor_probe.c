/* doctor_probe.c - the machine, and the limits of a process on it.  Sources: proc(5),
 * Linux' cgroup-v2.rst, transhuge.rst. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/cores.h"
#include "base/mem.h"
#include "cli/doctor.h"
#include "cpu/cpu.h"

/* The text behind `key` in the first line of a file that has it ("" for key: the first
 * line), without blanks in front and the line's end. */
static bool read_setting(char *out, size_t n, const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[512];
    bool found = false;
    if (!f)
        return false;
    for (int i = 0; i < 4096 && !found && fgets(line, sizeof line, f); i++) {
        const char *at = line + strlen(key);
        if (strncmp(line, key, strlen(key)))
            continue;
        at += strspn(at, " \t:");
        snprintf(out, n, "%.*s", (int)strcspn(at, "\n"), at);
        found = true;
    }
    fclose(f);
    return found;
}

/* "max" and what is no number are DOCTOR_UNLIMITED. */
static uint64_t read_limit(const char *path)
{
    char text[64], *end;
    if (!read_setting(text, sizeof text, path, ""))
        return DOCTOR_UNLIMITED;
    const uint64_t v = strtoull(text, &end, 10);
    return end == text ? DOCTOR_UNLIMITED : v;
}

static uint64_t read_kib(const char *key)
{
    char text[64];
    return read_setting(text, sizeof text, "/proc/meminfo", key)
               ? strtoull(text, NULL, 10) * 1024
               : 0;
}

/* The least of a file's limits over the control groups around this process. */
static uint64_t group_limit(const char *file)
{
    char group[256] = "", path[400];
    uint64_t least = DOCTOR_UNLIMITED;
    read_setting(group, sizeof group, "/proc/self/cgroup", "0::");
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/%s", group, file);
        const uint64_t v = read_limit(path);
        least = v < least ? v : least;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = 0;
    }
}

static uint64_t process_limit(int what, bool hard)
{
    struct rlimit l;
    if (getrlimit(what, &l))
        return DOCTOR_UNLIMITED;
    const rlim_t v = hard ? l.rlim_max : l.rlim_cur;
    return v == RLIM_INFINITY ? DOCTOR_UNLIMITED : (uint64_t)v;
}

static void probe_memory(struct doctor_machine *m)
{
    char mode[16];
    m->memory = read_kib("MemTotal");
    m->available = mem_available();
    m->swap = read_kib("SwapTotal");
    m->swap_free = read_kib("SwapFree");
    m->group_limit = group_limit("memory.max");
    m->commit_left = DOCTOR_UNLIMITED;
    if (read_setting(mode, sizeof mode, "/proc/sys/vm/overcommit_memory", "") &&
        !strcmp(mode, "2")) {
        const uint64_t limit = read_kib("CommitLimit"), used = read_kib("Committed_AS");
        m->commit_left = limit > used ? limit - used : 0;
    }
}

void doctor_probe_machine(struct doctor_machine *m)
{
    char text[128];
    const time_t now = time(NULL);
    struct tm tm;
    *m = (struct doctor_machine){0};
    read_setting(m->cpu, sizeof m->cpu, "/proc/cpuinfo", "model name");
    m->level = cpu_isa_name(cpu_detect());
    m->plain = cpu_detect() == CPU_ISA_C;
    m->n_cpu = (int)sysconf(_SC_NPROCESSORS_ONLN);
    m->n_core = cores_available();
    m->quota = cores_quota("");
    probe_memory(m);
    if (read_setting(text, sizeof text, "/sys/kernel/mm/transparent_hugepage/enabled",
                     "")) {
        const char *at = strchr(text, '['); // "always [madvise] never"
        snprintf(m->huge, sizeof m->huge, "%.*s", at ? (int)strcspn(at + 1, "]") : 0,
                 at ? at + 1 : "");
    }
    m->files = process_limit(RLIMIT_NOFILE, false);
    m->files_max = process_limit(RLIMIT_NOFILE, true);
#ifdef RLIMIT_MEMLOCK
    m->locked = process_limit(RLIMIT_MEMLOCK, false);
#else
    m->locked = DOCTOR_UNLIMITED;
#endif
    m->space = process_limit(RLIMIT_AS, false);
    m->processes = group_limit("pids.max");
    m->year = localtime_r(&now, &tm) ? tm.tm_year + 1900 : 0;
}
