/* doctor_probe_clients.c - the server, the programs that ask it, and their settings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/environment.h"
#include "cli/launch.h"

enum { VERSION_MS = 5000 };

void doctor_probe_server(struct doctor_server *s, const char *host)
{
    *s = (struct doctor_server){0};
    if (!server_link_url(s->url, sizeof s->url, host)) {
        snprintf(s->why, sizeof s->why, "the address is too long");
        return;
    }
    s->local = launch_is_local(s->url);
    s->port = launch_port(s->url);
    s->kind = server_link_kind(s->url, s->why);
    if (s->local)
        port_owner_find(&s->owner, s->port);
}

void doctor_probe_clients(struct doctor *d)
{
    static const struct doctor_client known[] = {
        {.name = "claude",
         .title = "Claude Code",
         .install = "npm install -g @anthropic-ai/claude-code"},
        {.name = "ollama", .title = "Ollama's command line"},
    };
    d->n_client = sizeof known / sizeof *known;
    for (int i = 0; i < d->n_client; i++) {
        struct doctor_client *c = &d->clients[i];
        *c = known[i];
        if (!executable_find(c->path, c->name, environment_foreign("PATH")))
            *c->path = 0;
        else if (!executable_version(c->version, c->path, VERSION_MS))
            *c->version = 0;
    }
}

/* Whether a variable is as a launch sets it: then it is no finding. */
static bool is_same(const struct launch_variable *v, const char *value, const char *url)
{
    switch (v->value) {
    case LAUNCH_URL:
        return claude_same_url(value, url);
    case LAUNCH_TEXT:
        return !strcmp(value, v->text);
    case LAUNCH_TOKEN: // any is right for a server without a key
    case LAUNCH_MODEL:
    case LAUNCH_SMALL:
    case LAUNCH_CONTEXT:
    case LAUNCH_OUTPUT:
        return true;
    case LAUNCH_UNSET:
    case LAUNCH_DEAD:
        break;
    }
    return false;
}

void doctor_probe_settings(struct doctor_settings *s, const char *url)
{
    struct error err = {0};
    struct buf names;
    memset(s, 0, sizeof *s);
    for (const struct launch_variable *v = claude_variables; v->name; v++) {
        const char *value = environment_foreign(v->name);
        if (value && *value && s->n_variable < DOCTOR_VARIABLES_MAX)
            s->variables[s->n_variable++] =
                (struct doctor_variable){v, is_same(v, value, url)};
    }
    s->n_file = claude_settings(s->files, url);
    if (environment_check(&err)) {
        snprintf(s->wrong, sizeof s->wrong, "%.399s", err.text);
        snprintf(s->wrong_name, sizeof s->wrong_name, "%.*s",
                 (int)strcspn(err.text, " :"), err.text);
    }
    buf_init(&names, 1 << 16);
    if (environment_unknown(&names))
        snprintf(s->unknown, sizeof s->unknown, "%.399s", names.data);
    buf_release(&names);
    s->has_key = environment_text("API_KEY") != NULL;
}
