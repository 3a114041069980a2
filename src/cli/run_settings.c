/* run_settings.c - what /set and the options change, checked as a Modelfile is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/parse.h"
#include "cli/run.h"
#include "store/modelfile.h"

void run_settings_init(struct run_settings *s)
{
    *s = (struct run_settings){.options = json_object(), .think = -1};
}

void run_settings_release(struct run_settings *s)
{
    json_decref(s->options);
    json_decref(s->system);
    json_decref(s->format);
    *s = (struct run_settings){0};
}

/* The sentence without the line of a file that there is not. */
static enum status without_line(const struct error *why, struct error *err)
{
    const char *text = why->text;
    const char *end = strstr(text, "): ");
    if (!strncmp(text, "(line ", 6) && end)
        text = end + 3;
    return fail(err, why->status, "%s", text);
}

enum status run_set_parameter(struct run_settings *s, const char *name, const char *value,
                              bool more, struct error *err)
{
    struct modelfile_command command = {
        .keyword = MODELFILE_PARAMETER, .name = name, .value = value, .line = 1};
    const struct modelfile file = {.commands = &command, .n = 1};
    struct error why;
    struct buf notes;
    json_t *parsed = NULL;
    buf_init(&notes, 4096);
    enum status st = modelfile_params(&parsed, &file, &notes, &why);
    if (st)
        st = without_line(&why, err);
    json_t *list = json_object_get(parsed, name),
           *old = json_object_get(s->options, name);
    if (!st && more && json_is_array(list) && json_is_array(old))
        json_array_extend(old, list);
    else if (!st && json_object_update(s->options, parsed))
        st = fail(err, STATUS_NO_MEMORY, "no memory for parameters");
    if (!st && notes.len)
        fprintf(stderr, "note: %s", notes.data);
    json_decref(parsed);
    buf_release(&notes);
    return st;
}

enum status run_set_think(struct run_settings *s, const char *value, struct error *err)
{
    static const char *const efforts[] = {"low", "medium", "high", "max"};
    const bool on = !strcmp(value, "true"), off = !strcmp(value, "false");
    const char *effort = NULL;
    for (size_t i = 0; i < sizeof efforts / sizeof *efforts; i++)
        if (!strcmp(value, efforts[i]))
            effort = efforts[i];
    if (!on && !off && !effort)
        return fail(err, STATUS_BAD_ARG,
                    "think is true, false, low, medium, high or max, not '%.40s'", value);
    s->think = !off;
    s->effort = effort;
    return STATUS_OK;
}

enum status run_set_format(struct run_settings *s, const char *value, struct error *err)
{
    json_error_t why;
    json_t *format = !strcmp(value, "json")
                         ? json_string("json")
                         : json_parse(value, strlen(value), JSON_REJECT_DUPLICATES, &why);
    if (!json_is_string(format) && !json_is_object(format)) {
        json_decref(format);
        return fail(err, STATUS_BAD_ARG,
                    "format is json or a JSON schema (an object), not '%.60s'", value);
    }
    json_decref(s->format);
    s->format = format;
    return STATUS_OK;
}

json_t *run_keep_alive(const char *text)
{
    char *end;
    if (!text)
        return NULL;
    const double seconds = strtod(text, &end);
    return *text && !*end ? json_real(seconds) : json_string(text);
}
