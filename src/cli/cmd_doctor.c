/* cmd_doctor.c - turbine doctor: is everything here as it should be, and what helps. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/doctor.h"

static void probe(struct doctor *d, const char *host)
{
    doctor_probe_machine(&d->machine);
    doctor_probe_store(&d->store, (size_t)d->machine.available);
    doctor_probe_server(&d->server, host);
    doctor_probe_clients(d);
    doctor_probe_settings(&d->settings, d->server.url);
}

static void print_lines(const struct doctor_findings *all)
{
    for (int i = 0; i < all->n; i++) {
        const struct doctor_finding *f = &all->f[i];
        printf("%-8s %-16s %s%s%s\n", doctor_level_name(f->level), f->name, f->text,
               *f->fix ? "; fix: " : "", f->fix);
    }
}

/* Names of files need not be UTF-8. */
static json_t *text_json(const char *text)
{
    json_t *v = json_string(text);
    char plain[sizeof((struct doctor_finding *)0)->text];
    if (v)
        return v;
    size_t n = 0;
    for (; text[n] && n < sizeof plain - 1; n++)
        plain[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
    plain[n] = 0;
    return json_string(plain);
}

static enum status print_findings(const struct doctor_findings *all, struct error *err)
{
    json_t *list = json_array();
    for (int i = 0; i < all->n; i++) {
        const struct doctor_finding *f = &all->f[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:o?}", "level",
                                              doctor_level_name(f->level), "name",
                                              f->name, "text", text_json(f->text), "fix",
                                              *f->fix ? text_json(f->fix) : NULL));
    }
    const bool failed = (int)json_array_size(list) != all->n ||
                        json_dumpf(list, stdout, JSON_INDENT(2)) || puts("") < 0;
    json_decref(list);
    return failed ? fail(err, STATUS_IO, "cannot print the findings") : STATUS_OK;
}

static int count_problems(const struct doctor_findings *all)
{
    int n = 0;
    for (int i = 0; i < all->n; i++)
        n += all->f[i].level == DOCTOR_PROBLEM;
    return n;
}

int cmd_doctor(int argc, char **argv)
{
    const char *host = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"--host", CLI_STRING, &host, 0, 0, SERVER_LINK_HELP},
        {"--json", CLI_FLAG, &json, 0, 0, "a list of JSON objects"},
        {NULL, CLI_FLAG, NULL, 0, 0, NULL},
    };
    const struct cli_command c = {
        "doctor",
        "",
        "Look at this machine, the store, the server and its clients.  Each line is a "
        "finding:\nok, note, warning or problem, and what helps.  The exit code is 1 if "
        "there is a problem.",
        options,
        0,
        0,
    };
    const int rc = cli_parse(&c, argc, argv, NULL);
    if (rc >= 0)
        return rc;
    struct error err;
    struct doctor *d = mem_array(1, sizeof *d);
    struct doctor_findings *all = mem_array(1, sizeof *all);
    enum status s = STATUS_OK;
    if (!d || !all) {
        s = fail(&err, STATUS_NO_MEMORY, "no memory for the findings");
    } else {
        probe(d, host);
        doctor_judge(all, d);
        if (json)
            s = print_findings(all, &err);
        else
            print_lines(all);
    }
    const int n = !s ? count_problems(all) : 0;
    mem_free(d);
    mem_free(all);
    return s ? cli_fail(&c, &err) : n ? CLI_FAILED : CLI_OK;
}
