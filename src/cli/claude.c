#include "cli/claude.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/environment.h"

#define HOUR_MS "3600000"

const struct launch_variable claude_variables[] = {
    {"ANTHROPIC_BASE_URL", LAUNCH_URL, NULL, true},
    {"ANTHROPIC_AUTH_TOKEN", LAUNCH_TOKEN, "local", false},
    {"ANTHROPIC_API_KEY", LAUNCH_TEXT, "", false}, // would win over the token
    {"ANTHROPIC_MODEL", LAUNCH_MODEL, NULL, false},
    {"ANTHROPIC_DEFAULT_OPUS_MODEL", LAUNCH_MODEL, NULL, false},
    {"ANTHROPIC_DEFAULT_SONNET_MODEL", LAUNCH_MODEL, NULL, false},
    {"ANTHROPIC_DEFAULT_FABLE_MODEL", LAUNCH_MODEL, NULL, false},
    {"ANTHROPIC_DEFAULT_HAIKU_MODEL", LAUNCH_SMALL, NULL, false},
    {"ANTHROPIC_SMALL_FAST_MODEL", LAUNCH_SMALL, NULL, false}, // its older name
    {"CLAUDE_CODE_SUBAGENT_MODEL", LAUNCH_MODEL, NULL, false},
    {"ANTHROPIC_CUSTOM_MODEL_OPTION", LAUNCH_MODEL, NULL, false},
    /* Else an unknown name is taken to have a million tokens. */
    {"CLAUDE_CODE_MAX_CONTEXT_TOKENS", LAUNCH_CONTEXT, NULL, false},
    /* It compacts its history when a prompt comes nearer to the context than an answer
     * (20,000 tokens at most) and 13,000 more: with 32,768 tokens before each answer. */
    {"CLAUDE_CODE_MAX_OUTPUT_TOKENS", LAUNCH_OUTPUT, NULL, false},
    /* Lines that differ by session and turn make a server read its prompt again. */
    {"CLAUDE_CODE_ATTRIBUTION_HEADER", LAUNCH_TEXT, "0", false},
    {"CLAUDE_CODE_TOTAL_TOKENS_REMINDER", LAUNCH_TEXT, "off", false},
    {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", LAUNCH_TEXT, "1", false},
    {"DISABLE_ERROR_REPORTING", LAUNCH_TEXT, "1", false},
    {"DISABLE_FEEDBACK_COMMAND", LAUNCH_TEXT, "1", false},
    {"CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY", LAUNCH_TEXT, "1", false},
    /* A long prompt may take long to read. */
    {"API_TIMEOUT_MS", LAUNCH_TEXT, HOUR_MS, false},
    {"CLAUDE_STREAM_IDLE_TIMEOUT_MS", LAUNCH_TEXT, HOUR_MS, false},
    {"CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS", LAUNCH_TEXT, HOUR_MS, false},
    {"CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK", LAUNCH_TEXT, "1", false},
    {"ANTHROPIC_UNIX_SOCKET", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_BEDROCK", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_VERTEX", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_FOUNDRY", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_MANTLE", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_GATEWAY", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_ANTHROPIC_AWS", LAUNCH_UNSET, NULL, true},
    {"CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", LAUNCH_UNSET, NULL, true},
    {"ANTHROPIC_API_ENDPOINT", LAUNCH_DEAD, NULL, false},
    {NULL, LAUNCH_DEAD, NULL, false},
};

const struct launch_variable *claude_find(const char *name)
{
    for (const struct launch_variable *v = claude_variables; v->name; v++)
        if (!strcmp(v->name, name))
            return v;
    return NULL;
}

/* Its length without what does not count. */
static size_t url_length(const char *url)
{
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    if (n >= 3 && !memcmp(url + n - 3, "/v1", 3))
        n -= 3;
    return n;
}

bool claude_same_url(const char *a, const char *b)
{
    const size_t n = url_length(a);
    return n == url_length(b) && !memcmp(a, b, n);
}

/* ---- files ---- */

int claude_files(char out[CLAUDE_FILES_MAX][CLAUDE_FILE_BYTES])
{
    const char *folder = environment_foreign("CLAUDE_CONFIG_DIR"),
               *home = environment_folder("HOME");
    char here[CLAUDE_FILE_BYTES];
    int n = 0;
    snprintf(out[n++], CLAUDE_FILE_BYTES, "/etc/claude-code/managed-settings.json");
    if (folder && *folder == '/' &&
        snprintf(out[n], CLAUDE_FILE_BYTES, "%s/settings.json", folder) <
            CLAUDE_FILE_BYTES)
        n++;
    else if (home && *home &&
             snprintf(out[n], CLAUDE_FILE_BYTES, "%s/.claude/settings.json", home) <
                 CLAUDE_FILE_BYTES)
        n++;
    static const char *const names[] = {"settings.json", "settings.local.json"};
    for (int i = 0; i < 2 && getcwd(here, sizeof here); i++)
        if (snprintf(out[n], CLAUDE_FILE_BYTES, "%s/.claude/%s", here, names[i]) <
                CLAUDE_FILE_BYTES &&
            (n < 2 || strcmp(out[n], out[1]))) // the home folder may be the project
            n++;
    return n;
}

/* Whether the value of a file is the one that a launch sets, so that nothing differs. */
static bool same_value(const struct launch_variable *v, const json_t *value,
                       const char *url)
{
    const char *text = json_string_value(value);
    if (!text)
        return false;
    switch (v->value) {
    case LAUNCH_URL:
        return url && claude_same_url(text, url);
    case LAUNCH_TEXT:
        return !strcmp(text, v->text);
    case LAUNCH_UNSET: // "0" and "false" turn them off
        return !*text || !strcmp(text, "0") || !strcmp(text, "false");
    case LAUNCH_OUTPUT: // a launch has no opinion on long contexts
        return true;
    default:
        return false;
    }
}

static int add_setting(struct claude_setting out[CLAUDE_SETTINGS_MAX], int n,
                       const char *file, const char *name, bool elsewhere)
{
    if (n == CLAUDE_SETTINGS_MAX)
        return n;
    snprintf(out[n].file, sizeof out[n].file, "%s", file);
    out[n].name = name;
    out[n].elsewhere = elsewhere;
    return n + 1;
}

int claude_settings_of(struct claude_setting out[CLAUDE_SETTINGS_MAX], int n,
                       const json_t *root, const char *file, const char *url)
{
    const json_t *env = json_object_get(root, "env");
    for (const struct launch_variable *v = claude_variables; v->name; v++) {
        const json_t *value = json_object_get(env, v->name);
        if (value && !same_value(v, value, url))
            n = add_setting(out, n, file, v->name, v->elsewhere);
    }
    if (json_object_get(root, "apiKeyHelper"))
        n = add_setting(out, n, file, "apiKeyHelper", false);
    return n;
}

int claude_settings(struct claude_setting out[CLAUDE_SETTINGS_MAX], const char *url)
{
    char files[CLAUDE_FILES_MAX][CLAUDE_FILE_BYTES];
    const int n_file = claude_files(files);
    int n = 0;
    for (int i = 0; i < n_file; i++) {
        struct stat st; // not a device, nor one that never ends
        if (stat(files[i], &st) || !S_ISREG(st.st_mode) || st.st_size > 1 << 20)
            continue;
        json_t *root = json_load_file(files[i], 0, NULL);
        n = claude_settings_of(out, n, root, files[i], url);
        json_decref(root);
    }
    return n;
}

enum status claude_check(const struct launch *l, struct error *err)
{
    struct claude_setting *found = mem_array(CLAUDE_SETTINGS_MAX, sizeof *found);
    enum status s = STATUS_OK;
    if (!found)
        return fail(err, STATUS_NO_MEMORY, "no memory for settings");
    const int n = claude_settings(found, l->url);
    for (int i = 0; !s && i < n; i++) {
        if (found[i].elsewhere)
            s = fail(err, STATUS_BAD_INPUT,
                     "%s sets %s, which wins over the environment: Claude Code would not "
                     "ask %s; remove it from \"env\" there",
                     found[i].file, found[i].name, l->url);
        else
            launch_note(l, "%s sets %s, which wins over what is set here", found[i].file,
                        found[i].name);
    }
    mem_free(found);
    return s;
}
