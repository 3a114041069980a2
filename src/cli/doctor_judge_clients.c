/* doctor_judge_clients.c - the server, the programs that ask it, and their settings. */
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"

static const char other_port[] = "export TURBINE_HOST=127.0.0.1:11435";

/* ---- the server ---- */

/* ", process 12 (ollama)" */
static const char *owner_text(char out[80], const struct port_owner *o)
{
    *out = 0;
    if (o->pid)
        snprintf(out, 80, "; it is process %ld (%s)", (long)o->pid, o->name);
    else if (o->listening)
        snprintf(out, 80, "; its process belongs to user %ld", (long)o->uid);
    return out;
}

void doctor_judge_server(struct doctor_findings *out, const struct doctor_server *s)
{
    char who[80];
    owner_text(who, &s->owner);
    switch (s->kind) {
    case SERVER_LINK_TURBINE:
        doctor_add(out, DOCTOR_OK, "server", "%s: %s%s", s->url, s->why, who);
        break;
    case SERVER_LINK_OTHER:
        if (strstr(s->why, "TURBINE_API_KEY"))
            doctor_fix(doctor_add(out, DOCTOR_WARNING, "server", "%s: %s%s", s->url,
                                  s->why, who),
                       "read -rs TURBINE_API_KEY && export TURBINE_API_KEY");
        else
            doctor_fix(doctor_add(out, DOCTOR_WARNING, "server",
                                  "%s: %s, so that Turbine cannot serve there%s", s->url,
                                  s->why, who),
                       "%s", other_port);
        break;
    case SERVER_LINK_NONE:
        if (s->owner.listening)
            doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "server",
                                  "%s: the port is taken, and no server answers%s",
                                  s->url, who),
                       "%s", other_port);
        else if (s->local)
            doctor_add(out, DOCTOR_OK, "server", "%s: none runs, the port is free",
                       s->url);
        else
            doctor_fix(
                doctor_add(out, DOCTOR_WARNING, "server", "%s: %s", s->url, s->why),
                "unset TURBINE_HOST OLLAMA_HOST");
        break;
    }
}

/* ---- programs ---- */

void doctor_judge_clients(struct doctor_findings *out, const struct doctor *d)
{
    for (int i = 0; i < d->n_client; i++) {
        const struct doctor_client *c = &d->clients[i];
        if (*c->path && *c->version)
            doctor_add(out, DOCTOR_OK, c->name, "%s: %s", c->path, c->version);
        else if (*c->path)
            doctor_fix(doctor_add(out, DOCTOR_NOTE, c->name,
                                  "%s: does not say its version in 5 seconds", c->path),
                       c->install ? "%s" : "%s --version",
                       c->install ? c->install : c->name);
        else if (c->install)
            doctor_fix(
                doctor_add(out, DOCTOR_NOTE, c->name, "%s is not on PATH", c->title),
                "%s", c->install);
        else
            doctor_add(out, DOCTOR_OK, c->name, "not on PATH, and not needed");
    }
}

/* ---- settings ---- */

static void judge_variable(struct doctor_findings *out, const struct doctor_variable *v,
                           const char *url)
{
    const char *name = v->variable->name;
    if (v->variable->value == LAUNCH_DEAD)
        doctor_fix(doctor_add(out, DOCTOR_WARNING, "environment",
                              "%s is set and does nothing: Claude Code reads "
                              "ANTHROPIC_BASE_URL",
                              name),
                   "unset %s; export ANTHROPIC_BASE_URL=%s", name, url);
    else if (v->variable->value == LAUNCH_URL)
        doctor_fix(
            doctor_add(out, DOCTOR_NOTE, "environment",
                       "%s is set to another server; 'turbine launch' sets its own",
                       name),
            "export %s=%s", name, url);
    else if (v->variable->elsewhere)
        doctor_fix(doctor_add(out, DOCTOR_NOTE, "environment",
                              "%s is set, so that 'claude' alone asks another server; "
                              "'turbine launch' unsets it",
                              name),
                   "unset %s", name);
    else
        doctor_fix(doctor_add(out, DOCTOR_NOTE, "environment",
                              "%s is set; 'turbine launch' sets its own", name),
                   "unset %s", name);
}

static void judge_setting_files(struct doctor_findings *out,
                                const struct doctor_settings *s)
{
    struct buf b;
    buf_init(&b, 8 * CLAUDE_FILE_BYTES);
    for (int i = 0; i < s->n_file; i++) {
        const struct claude_setting *f = &s->files[i];
        buf_clear(&b);
        launch_quote(&b, f->file);
        doctor_fix(
            doctor_add(out, f->elsewhere ? DOCTOR_PROBLEM : DOCTOR_WARNING,
                       "claude-settings", "%s sets %s, which wins over %s: remove it",
                       f->file, f->name,
                       f->elsewhere ? "every environment, so that Claude Code asks "
                                      "another server"
                                    : "what 'turbine launch' sets"),
            "${EDITOR:-vi} %s", b.data ? b.data : "");
    }
    if (!s->n_file)
        doctor_add(out, DOCTOR_OK, "claude-settings", "nothing in the way");
    buf_release(&b);
}

/* "A, B" as arguments of unset. */
static void without_commas(char out[400], const char *names)
{
    size_t n = 0;
    for (; *names && n < 399; names++)
        if (*names != ',')
            out[n++] = *names;
    out[n] = 0;
}

void doctor_judge_settings(struct doctor_findings *out, const struct doctor *d)
{
    const struct doctor_settings *s = &d->settings;
    char names[400];
    int n = 0;
    if (*s->wrong) {
        doctor_fix(doctor_add(out, DOCTOR_PROBLEM, "environment", "%s", s->wrong),
                   "unset %s", s->wrong_name);
        n++;
    }
    if (*s->unknown) {
        without_commas(names, s->unknown);
        doctor_fix(doctor_add(out, DOCTOR_NOTE, "environment", "without effect here: %s",
                              s->unknown),
                   "unset %s", names);
        n++;
    }
    for (int i = 0; i < s->n_variable; i++) {
        if (s->variables[i].same)
            continue;
        judge_variable(out, &s->variables[i], d->server.url);
        n++;
    }
    if (!n)
        doctor_add(out, DOCTOR_OK, "environment", "nothing in the way%s",
                   s->has_key ? "; TURBINE_API_KEY is set" : "");
    judge_setting_files(out, s);
}
