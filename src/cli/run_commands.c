/* run_commands.c - what begins with a slash in a chat, as in Ollama's. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/run.h"
#include "store/modelfile.h"
#include "store/param_lines.h"

enum { WORDS_MAX = 20 };

/* A command in words; `rest` of the text behind the first two. */
struct words {
    char *word[WORDS_MAX];
    int n;
    const char *rest;
    char copy[4096];
};

static bool split_command(struct words *w, const char *text)
{
    *w = (struct words){.rest = ""};
    if (strlen(text) >= sizeof w->copy) // only /set system is that long
        snprintf(w->copy, sizeof w->copy, "%.200s", text);
    else
        memcpy(w->copy, text, strlen(text) + 1);
    for (char *at = w->copy; *at && w->n < WORDS_MAX;) {
        while (isspace((unsigned char)*at))
            at++;
        if (!*at)
            break;
        w->word[w->n++] = at;
        if (w->n == 3)
            w->rest = text + (at - w->copy);
        while (*at && !isspace((unsigned char)*at))
            at++;
        if (*at)
            *at++ = 0;
    }
    return w->n > 0;
}

static bool word_is(const struct words *w, int i, const char *text)
{
    return i < w->n && !strcmp(w->word[i], text);
}

static void say_failed(const struct error *err)
{
    for (const char *p = err->text; *p; p++)
        putchar((unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p);
    putchar('\n');
}

/* ---- help ---- */

static void help_commands(void)
{
    puts("/set            what answers are made with: /? set\n"
         "/show           what the model says of itself: /? show\n"
         "/list           the models that there are\n"
         "/load NAME      another model; the conversation begins anew\n"
         "/save NAME      this conversation, its system message and parameters as a "
         "model\n"
         "/clear          forget the conversation\n"
         "/kv             memory of the cache\n"
         "/bye            leave (or Ctrl-D)\n"
         "/?, /help       this text; /? shortcuts: keys\n"
         "\"\"\"             starts and ends a message of several lines\n"
         "Ctrl-C          stops an answer");
}

static void help_set(void)
{
    puts(
        "/set parameter NAME VALUE   as in a Modelfile: num_ctx, num_predict, seed, "
        "temperature,\n"
        "                            top_k, top_p, min_p, repeat_penalty, stop ...\n"
        "/set system TEXT            system message; \"\"\" for several lines\n"
        "/set format json            answers in JSON; or a JSON schema\n"
        "/set noformat               answers in any text\n"
        "/set think, /set nothink    whether the model reasons first; think low, medium, "
        "high\n"
        "/set verbose, /set quiet    statistics behind an answer, or none\n"
        "/set history, nohistory     lines can be recalled\n"
        "/set wordwrap, nowordwrap   lines end between words");
}

static void help_show(void)
{
    puts("/show info         summary, and where it runs\n"
         "/show license      its license\n"
         "/show modelfile    a Modelfile that makes it again\n"
         "/show parameters   its parameters, and those that were set\n"
         "/show system       the system message\n"
         "/show template     the chat template");
}

static void help_shortcuts(void)
{
    puts("Ctrl-A, Ctrl-E   beginning, end of the line\n"
         "Alt-B, Alt-F     a word back, forward\n"
         "Ctrl-K, Ctrl-U   delete behind the cursor, the line\n"
         "Ctrl-W           delete the word before the cursor\n"
         "Ctrl-L           clear the screen\n"
         "Up, Down         earlier lines\n"
         "Ctrl-C           give the line up, stop an answer\n"
         "Ctrl-D           leave");
}

static void help(const struct words *w)
{
    if (word_is(w, 1, "set") || word_is(w, 1, "/set"))
        help_set();
    else if (word_is(w, 1, "show") || word_is(w, 1, "/show"))
        help_show();
    else if (word_is(w, 1, "shortcuts") || word_is(w, 1, "shortcut"))
        help_shortcuts();
    else
        help_commands();
}

/* ---- /set ---- */

/* Changed settings are kept if the place can honour them. */
static enum status take_settings(struct run_chat *c, struct run_settings *changed,
                                 struct error *err)
{
    const enum status s = c->place->ops->check(c->place, changed, err);
    if (s) {
        run_settings_release(changed);
        return s;
    }
    run_settings_release(c->set);
    *c->set = *changed;
    return STATUS_OK;
}

static struct run_settings copy_settings(const struct run_settings *s)
{
    struct run_settings copy = *s;
    copy.options = json_deep_copy(s->options);
    json_incref(copy.system);
    json_incref(copy.format);
    return copy;
}

static void help_parameters(void)
{
    puts("Available parameters:");
    struct modelfile_param_help p;
    for (int i = 0; modelfile_param_help(i, &p); i++) {
        char what[64];
        snprintf(what, sizeof what, "%s <%s>", p.name, p.type);
        printf("  /set parameter %-26s %s\n", what, p.text);
    }
}

/* A context larger than the model knows what to do with. */
static void say_training(const struct run_chat *c, const char *name)
{
    struct run_facts facts;
    const json_t *v = json_object_get(c->set->options, "num_ctx");
    if (strcmp(name, "num_ctx") != 0)
        return;
    c->place->ops->facts(c->place, &facts);
    if (facts.n_train && json_integer_value(v) > facts.n_train)
        printf("note: " STORED_CONTEXT_WORDS "\n", facts.n_train);
}

static void set_parameter(struct run_chat *c, const struct words *w)
{
    struct error err;
    if (w->n < 3) {
        help_parameters();
        return;
    }
    if (w->n < 4) {
        puts("Usage: /set parameter NAME VALUE");
        return;
    }
    const bool stop = word_is(w, 2, "stop");
    if (w->n > 4 && !stop) {
        printf("one value is taken by parameter %.40s\n", w->word[2]);
        return;
    }
    struct run_settings changed = copy_settings(c->set);
    enum status s = STATUS_OK;
    for (int i = 3; !s && i < w->n; i++)
        s = run_set_parameter(&changed, w->word[2], w->word[i], i > 3, &err);
    if (s)
        run_settings_release(&changed);
    else
        s = take_settings(c, &changed, &err);
    if (s) {
        say_failed(&err);
        return;
    }
    printf("Set parameter '%s' to '", w->word[2]);
    for (int i = 3; i < w->n; i++)
        printf("%s%s", i > 3 ? ", " : "", w->word[i]);
    puts("'");
    say_training(c, w->word[2]);
}

static void set_system(struct run_chat *c, const struct words *w)
{
    const char *text = w->rest;
    size_t n = strlen(text);
    if (w->n < 3) {
        puts("Usage: /set system TEXT");
        return;
    }
    while (n && isspace((unsigned char)text[n - 1]))
        n--;
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
        text++;
        n -= 2;
    }
    json_t *value = json_stringn(text, n);
    if (!value) {
        puts("the system message is not valid UTF-8");
        return;
    }
    json_decref(c->set->system);
    c->set->system = value;
    puts("Set system message.");
}

static void set_format(struct run_chat *c, const struct words *w)
{
    struct error err;
    if (w->n < 3 || run_set_format(c->set, w->rest, &err)) {
        if (w->n < 3)
            puts("Usage: /set format json");
        else
            say_failed(&err);
        return;
    }
    puts(word_is(w, 2, "json") ? "Set format to 'json' mode."
                               : "Set format to a schema.");
}

static void set_think(struct run_chat *c, const char *value)
{
    struct error err;
    struct run_facts facts;
    struct run_settings changed = *c->set;
    if (run_set_think(&changed, value, &err)) {
        say_failed(&err);
        return;
    }
    if (changed.think)
        c->place->ops->facts(c->place, &facts);
    if (changed.think && !facts.thinks) {
        printf("\"%.200s\" does not support thinking: it stays off\n", c->place->model);
        return;
    }
    *c->set = changed;
    printf("Set '%s' mode.\n", c->set->think ? "think" : "nothink");
}

static void set_no_format(struct run_chat *c)
{
    json_decref(c->set->format);
    c->set->format = NULL;
    puts("Disabled format.");
}

/* /set with one word. */
static bool set_mode(struct run_chat *c, const char *mode)
{
    const struct {
        const char *name;
        bool *out, value;
    } modes[] = {
        {"history", &c->history, true},
        {"nohistory", &c->history, false},
        {"wordwrap", &c->out->wordwrap, true},
        {"nowordwrap", &c->out->wordwrap, false},
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(mode, modes[i].name)) {
            *modes[i].out = modes[i].value;
            printf("Set '%s' mode.\n", mode);
            return true;
        }
    const bool verbose = !strcmp(mode, "verbose");
    if (!verbose && strcmp(mode, "quiet"))
        return false;
    c->statistics = verbose ? RUN_VERBOSE : RUN_QUIET;
    printf("Set '%s' mode.\n", mode);
    return true;
}

static void set(struct run_chat *c, const struct words *w)
{
    if (w->n < 2)
        help_set();
    else if (word_is(w, 1, "parameter"))
        set_parameter(c, w);
    else if (word_is(w, 1, "system"))
        set_system(c, w);
    else if (word_is(w, 1, "format"))
        set_format(c, w);
    else if (word_is(w, 1, "noformat"))
        set_no_format(c);
    else if (word_is(w, 1, "think"))
        set_think(c, w->n > 2 ? w->word[2] : "true");
    else if (word_is(w, 1, "nothink"))
        set_think(c, "false");
    else if (!set_mode(c, w->word[1]))
        printf("Unknown command '/set %.40s'. Type /? for help\n", w->word[1]);
}

/* ---- /show ---- */

static void put_where(const struct run_chat *c, struct buf *b)
{
    char where[600];
    c->place->ops->where(c->place, where, sizeof where);
    buf_printf(b, "  Runs\n    %s\n", where);
}

/* What was set comes first: it is what holds. */
static enum status put_shown_part(const struct run_chat *c, enum show_part part,
                                  struct buf *b, struct error *err)
{
    const bool has_set = json_object_size(c->set->options) > 0;
    if (part == SHOW_PARAMETERS && has_set) {
        buf_puts(b, "User defined parameters:\n");
        store_print_params(b, c->set->options, 30, "  ");
        buf_puts(b, "\nModel defined parameters:\n");
    }
    if (part == SHOW_SYSTEM && c->set->system) {
        buf_puts(b, json_string_value(c->set->system));
        return STATUS_OK;
    }
    const size_t before = b->len;
    const enum status s = c->place->ops->show(c->place, part, b, err);
    if (!s && part == SHOW_SUMMARY)
        put_where(c, b);
    if (!s && part == SHOW_PARAMETERS && b->len == before)
        buf_puts(b, "No additional parameters were specified for this model.");
    if (!s && part == SHOW_SYSTEM && b->len == before)
        buf_puts(b, "No system message was specified for this model.");
    if (!s && part == SHOW_LICENSE && b->len == before)
        buf_puts(b, "No license was specified for this model.");
    return s;
}

static void show(struct run_chat *c, const struct words *w)
{
    static const char *const names[] = {
        [SHOW_SUMMARY] = "info",          [SHOW_MODELFILE] = "modelfile",
        [SHOW_PARAMETERS] = "parameters", [SHOW_TEMPLATE] = "template",
        [SHOW_SYSTEM] = "system",         [SHOW_LICENSE] = "license",
    };
    struct error err;
    struct buf b;
    int part = -1;
    if (w->n < 2) {
        help_show();
        return;
    }
    for (int i = 0; i <= SHOW_LICENSE; i++)
        if (!strcmp(w->word[1], names[i]))
            part = i;
    if (part < 0) {
        printf("Unknown command '/show %.40s'. Type /? for help\n", w->word[1]);
        return;
    }
    buf_init(&b, SHOW_BYTES);
    if (put_shown_part(c, (enum show_part)part, &b, &err)) {
        say_failed(&err);
    } else {
        if (c->out->terminal)
            show_harmless(&b);
        fwrite(b.len ? b.data : "", 1, b.len, stdout);
        if (!b.len || b.data[b.len - 1] != '\n')
            putchar('\n');
    }
    buf_release(&b);
}

/* ---- the others ---- */

static void load_another(struct run_chat *c, const struct words *w)
{
    struct error err;
    if (w->n != 2) {
        puts("Usage:\n  /load <modelname>");
        return;
    }
    printf("Loading model '%s'\n", w->word[1]);
    fflush(stdout);
    const enum status s = c->place->ops->load(c->place, w->word[1], c->set, &err);
    if (s == STATUS_NOT_FOUND)
        printf("Couldn't find model '%s'\n", w->word[1]);
    else if (s)
        say_failed(&err);
    else
        json_array_clear(c->messages);
}

static void save_chat(struct run_chat *c, const struct words *w)
{
    struct error err;
    if (w->n != 2)
        puts("Usage:\n  /save <modelname>");
    else if (c->place->ops->save(c->place, w->word[1], c->set, c->messages, &err))
        say_failed(&err);
    else
        printf("Created new model '%s'\n", w->word[1]);
}

bool run_command(struct run_chat *c, const char *text, bool *leave)
{
    struct words w;
    struct error err;
    if (text[0] != '/' || !split_command(&w, text))
        return false;
    if (word_is(&w, 0, "/help") || word_is(&w, 0, "/?")) {
        help(&w);
    } else if (word_is(&w, 0, "/set")) {
        set(c, &w);
    } else if (word_is(&w, 0, "/show")) {
        show(c, &w);
    } else if (word_is(&w, 0, "/list")) {
        if (c->place->ops->list(c->place, &err))
            say_failed(&err);
    } else if (word_is(&w, 0, "/load")) {
        load_another(c, &w);
    } else if (word_is(&w, 0, "/save")) {
        save_chat(c, &w);
    } else if (word_is(&w, 0, "/kv")) {
        if (c->place->ops->memory(c->place, &err))
            say_failed(&err);
    } else if (word_is(&w, 0, "/clear")) {
        json_array_clear(c->messages);
        puts("Cleared session context");
    } else if (word_is(&w, 0, "/exit") || word_is(&w, 0, "/bye") ||
               word_is(&w, 0, "/quit")) {
        *leave = true;
    } else {
        printf("Unknown command '%.40s'. Type /? for help\n", w.word[0]);
    }
    return true;
}
