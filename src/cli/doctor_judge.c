/* doctor_judge.c - the machine: what of it is in the way. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"
#include "http/http.h"

#define GIB ((uint64_t)1 << 30)

/* ---- findings ---- */

const char *doctor_level_name(enum doctor_level level)
{
    static const char *const names[] = {"ok", "note", "warning", "problem"};
    return names[level];
}

/* One line, whatever names are in it. */
static void make_line(char *text)
{
    for (char *p = text; *p; p++)
        if ((*p >= 0 && *p < ' ') || *p == 0x7f)
            *p = '?';
}

struct doctor_finding *doctor_add(struct doctor_findings *out, enum doctor_level level,
                                  const char *name, const char *format, ...)
{
    struct doctor_finding *f =
        &out->f[out->n < DOCTOR_FINDINGS_MAX ? out->n++ : out->n - 1];
    va_list args;
    memset(f, 0, sizeof *f);
    f->level = level;
    snprintf(f->name, sizeof f->name, "%s", name);
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    make_line(f->text);
    return f;
}

void doctor_fix(struct doctor_finding *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->fix, sizeof f->fix, format, args);
    va_end(args);
    make_line(f->fix);
}

void doctor_judge(struct doctor_findings *out, const struct doctor *d)
{
    out->n = 0;
    doctor_judge_machine(out, &d->machine);
    doctor_judge_store(out, &d->store);
    doctor_judge_server(out, &d->server);
    doctor_judge_clients(out, d);
    doctor_judge_settings(out, d);
}

/* ---- the processor ---- */

static void judge_cpu(struct doctor_findings *out, const struct doctor_machine *m)
{
    const char *name = *m->cpu ? m->cpu : "processor";
    if (m->plain)
        doctor_fix(
            doctor_add(out, DOCTOR_WARNING, "cpu",
                       "%s: without AVX2 or NEON, which make it many times faster; "
                       "a virtual machine may hide them",
                       name),
            "lscpu | grep -io -m1 'avx2\\|asimd'");
    else
        doctor_add(out, DOCTOR_OK, "cpu", "%s: kernels for %s", name, m->level);
    if (m->quota && m->quota < m->n_cpu)
        doctor_add(out, DOCTOR_OK, "cores",
                   "%d compute; %d CPUs, of which the container grants the time of %d",
                   m->n_core, m->n_cpu, m->quota);
    else
        doctor_add(out, DOCTOR_OK, "cores", "%d compute; %d CPUs", m->n_core, m->n_cpu);
}

/* ---- memory ---- */

static const char who_has_it[] = "ps -eo rss,pid,comm --sort=-rss | head";

static void judge_available(struct doctor_findings *out, const struct doctor_machine *m)
{
    char total[PLAN_SIZE_BYTES], left[PLAN_SIZE_BYTES], limit[PLAN_SIZE_BYTES];
    const bool limited = m->group_limit != DOCTOR_UNLIMITED && m->group_limit < m->memory;
    plan_size(total, m->memory);
    plan_size(left, m->available);
    plan_size(limit, m->group_limit);
    if (!m->available)
        doctor_fix(doctor_add(out, DOCTOR_NOTE, "memory",
                              "the system does not say how much is available"),
                   "turbine plan MODEL --memory 16G");
    else
        doctor_fix(doctor_add(out, m->available < GIB ? DOCTOR_WARNING : DOCTOR_OK,
                              "memory", "%s, of which %s are available%s%s%s", total,
                              left, limited ? "; the control group has " : "",
                              limited ? limit : "",
                              m->available < GIB ? "; models want more" : ""),
                   "%s", m->available < GIB ? who_has_it : "");
}

static void judge_memory(struct doctor_findings *out, const struct doctor_machine *m)
{
    char size[PLAN_SIZE_BYTES], used[PLAN_SIZE_BYTES];
    judge_available(out, m);
    plan_size(size, m->swap);
    plan_size(used, m->swap - m->swap_free);
    if (m->swap && m->swap_free < m->swap / 2)
        doctor_fix(doctor_add(out, DOCTOR_NOTE, "swap",
                              "%s of %s are used: memory is short at times", used, size),
                   "%s", who_has_it);
    else
        doctor_add(out, DOCTOR_OK, "swap", "%s", m->swap ? size : "none");
    if (m->commit_left != DOCTOR_UNLIMITED)
        doctor_fix(doctor_add(out, m->commit_left < GIB ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                              "overcommit",
                              "strict: %s more can be reserved, whatever is available",
                              plan_size(size, m->commit_left)),
                   "sudo sysctl vm.overcommit_memory=0");
    else
        doctor_add(out, DOCTOR_OK, "overcommit", "memory can be reserved");
    if (!strcmp(m->huge, "never"))
        doctor_fix(
            doctor_add(out, DOCTOR_NOTE, "huge-pages", "off, which costs some speed"),
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
    else
        doctor_add(out, DOCTOR_OK, "huge-pages", "%s", *m->huge ? m->huge : "not known");
}

/* ---- limits ---- */

static const char *limit_text(char out[24], uint64_t v)
{
    snprintf(out, 24, "%" PRIu64, v);
    return v == DOCTOR_UNLIMITED ? "unlimited" : out;
}

/* The server takes the hard limit as far as it needs it. */
static void judge_open_files(struct doctor_findings *out, const struct doctor_machine *m)
{
    const uint64_t want = (uint64_t)http_limits_default.n_connection + 256;
    char soft[24], hard[24];
    limit_text(soft, m->files);
    limit_text(hard, m->files_max);
    if (m->files_max >= want)
        doctor_add(out, DOCTOR_OK, "open-files", "%s, at most %s",
                   limit_text(soft, m->files), limit_text(hard, m->files_max));
    else
        doctor_fix(doctor_add(out, m->files_max <= 256 ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                              "open-files",
                              "at most %" PRIu64 ", so that a server has fewer than its "
                              "%d connections",
                              m->files_max, http_limits_default.n_connection),
                   "sudo prlimit --pid $$ --nofile=%" PRIu64 ":%" PRIu64, want, want);
}

static void judge_limits(struct doctor_findings *out, const struct doctor_machine *m)
{
    char size[PLAN_SIZE_BYTES];
    judge_open_files(out, m);
    doctor_add(out, DOCTOR_OK, "locked-memory", "%s; none is needed",
               m->locked == DOCTOR_UNLIMITED ? "unlimited" : plan_size(size, m->locked));
    if (m->space == DOCTOR_UNLIMITED)
        doctor_add(out, DOCTOR_OK, "address-space", "unlimited");
    else
        doctor_fix(doctor_add(out, m->space < 2 * GIB ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                              "address-space",
                              "limited to %s, in which models and caches have to fit",
                              plan_size(size, m->space)),
                   "sudo prlimit --pid $$ --as=unlimited");
    if (m->processes == DOCTOR_UNLIMITED || m->processes >= 256)
        doctor_add(out, DOCTOR_OK, "threads", "enough");
    else
        doctor_fix(doctor_add(out, m->processes < 32 ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                              "threads",
                              "the control group has %" PRIu64
                              " processes and threads at "
                              "most",
                              m->processes),
                   "docker update --pids-limit 4096 \"$(hostname)\"");
    if (m->year < 2025)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, "clock",
                              "the year is %d: certificates of servers are not accepted",
                              m->year),
                   "sudo timedatectl set-ntp true");
}

void doctor_judge_machine(struct doctor_findings *out, const struct doctor_machine *m)
{
    judge_cpu(out, m);
    judge_memory(out, m);
    judge_limits(out, m);
}
