/* run_local.c - answers of this process: the engine and one session. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/calibrate.h"
#include "cli/environment.h"
#include "cli/list_rows.h"
#include "cli/models.h"
#include "cli/run.h"
#include "cli/run_save.h"
#include "dialect/dialect.h"
#include "engine/answer_text.h"
#include "engine/chat_prompt.h"
#include "store/create.h"

enum {
    CTX_DEFAULT = 8192,
    TEXT_BYTES = 2048, // of the session's text at a time, at most
    CALL_BYTES = 1 << 20,
};

/* What settings and the model's own PARAMETERs come to. */
struct local_plan {
    json_t *params; // owned: what the texts below point into
    struct sampler_params sampling;
    struct kv_types kv;
    const char *stop[MODELS_STOP_MAX];
    int n_stop, n_ctx, n_thread, max_tokens;
};

struct run_local {
    struct run_place base;
    struct model_choice model;
    struct engine engine;
    struct session *session; // NULL: to be opened
    struct kv_types kv;      // of the session
    int n_ctx, n_thread, n_mark;
    enum cpu_isa cpu;
    bool raw;
    uint64_t seed; // of the next answer that has none
    struct tokens prompt;
    const char *limit; // who set the most tokens of the last answer
};

static struct run_local *local_of(struct run_place *p)
{
    return (struct run_local *)p;
}

/* ---- parameters ---- */

static void release_plan(struct local_plan *plan)
{
    json_decref(plan->params);
    *plan = (struct local_plan){0};
}

static float over(float v, float d)
{
    return v == v ? v : d; // NAN: not said
}

/* As the server's /api/chat: its answers are those of this process. */
static void ollama_defaults(struct sampler_params *out)
{
    const struct api_sampling *s = dialect_ollama.sampling;
    *out = sampler_defaults;
    out->temp = over(s->temperature, out->temp);
    out->top_k = s->top_k >= 0 ? s->top_k : out->top_k;
    out->top_p = over(s->top_p, out->top_p);
    out->min_p = over(s->min_p, out->min_p);
    out->typical_p = over(s->typical_p, out->typical_p);
    out->repeat_penalty = over(s->repeat_penalty, out->repeat_penalty);
    out->repeat_last_n = s->repeat_last_n >= 0 ? s->repeat_last_n : out->repeat_last_n;
}

static enum status make_plan(struct local_plan *plan, struct run_local *l,
                             const struct model_choice *model,
                             const struct run_settings *set, struct error *err)
{
    double threads = 0, max_tokens = 0, seed = -1, tail = -1;
    const json_t *kv = json_object_get(set->options, "kv_cache_type");
    const json_t *ctx = json_object_get(set->options, "num_ctx");
    struct model_choice merged = *model; // borrows all but the parameters
    enum status s;
    *plan = (struct local_plan){0};
    plan->params = model->m.params ? json_copy(model->m.params) : json_object();
    merged.m.params = plan->params;
    if (!plan->params || json_object_update(plan->params, set->options))
        return fail(err, STATUS_NO_MEMORY, "no memory for parameters");
    if (json_object_get(set->options, "kv_tail"))
        tail = json_number_value(json_object_get(set->options, "kv_tail"));
    ollama_defaults(&plan->sampling);
    if ((s = models_sampling(&merged, &plan->sampling, err)) ||
        (s = models_number(&merged, "num_thread", 0, 256, &threads, err)) ||
        (s = models_number(&merged, "num_predict", -2, 1 << 30, &max_tokens, err)) ||
        (s = models_number(&merged, "seed", -0x1p53, 0x1p53, &seed, err)) ||
        (s = models_stops(&merged, plan->stop, &plan->n_stop, err)) ||
        (s = models_ctx(model, (int)json_integer_value(ctx), &plan->n_ctx, err)) ||
        (s = models_kv(model, json_string_value(kv), (int)tail, &plan->kv, err)))
        return s;
    plan->sampling.seed = seed >= 0 ? (uint64_t)seed : l->seed++;
    plan->n_thread = (int)threads;
    plan->max_tokens = max_tokens > 0 ? (int)max_tokens : 0;
    return STATUS_OK;
}

static int context_of(const struct run_local *l, const struct local_plan *plan)
{
    const int n_train = model_hparams(l->engine.model)->n_ctx_train;
    return plan->n_ctx ? plan->n_ctx : n_train < CTX_DEFAULT ? n_train : CTX_DEFAULT;
}

static bool same_types(const struct kv_types *a, const struct kv_types *b)
{
    return a->k == b->k && a->v == b->v && a->tail == b->tail && a->plain == b->plain &&
           a->uniform == b->uniform;
}

/* ---- opening ---- */

/* The session that the plan wants; the one that is open, if it is that. */
static enum status want_session(struct run_local *l, const struct local_plan *plan,
                                struct error *err)
{
    const int n_train = model_hparams(l->engine.model)->n_ctx_train;
    const int n_ctx = context_of(l, plan);
    enum status s;
    if (l->session && n_ctx == l->n_ctx && same_types(&plan->kv, &l->kv))
        return STATUS_OK;
    session_close(l->session);
    l->session = NULL;
    l->kv = plan->kv;
    l->n_ctx = n_ctx;
    if ((s = cli_calibrate(&l->engine, l->base.command->name, &l->kv, 1, err)))
        return s;
    const struct context_options co = {
        .kv = l->kv,
        .calibration = l->engine.calibration,
        .n_ctx = n_ctx,
        .n_mark = l->n_mark,
    };
    if ((s = session_open(&l->session, &l->engine, &co, err)))
        return s;
    if (n_ctx > n_train)
        fprintf(stderr,
                "turbine run: note: context of %d tokens: " STORED_CONTEXT_WORDS "\n",
                n_ctx, n_train);
    return STATUS_OK;
}

static enum status open_engine(struct engine *e, const struct run_local *l,
                               const struct model_choice *model, int n_thread,
                               struct error *err)
{
    enum status s;
    if ((s = engine_open(e, model->path, ENGINE_TEXT, n_thread, l->cpu, err)) ||
        (!l->raw && (s = models_template(model, l->base.command->name, e, err))))
        return s;
    if (!l->raw && !e->template) { // before anything is calibrated or reserved
        *err = e->template_error;
        return err->status;
    }
    return STATUS_OK;
}

static void name_model(struct run_local *l)
{
    snprintf(l->base.model, sizeof l->base.model, "%s",
             l->model.stored ? l->model.name : l->model.path);
    if (!l->model.stored)
        memcpy(l->model.m.path, l->model.path, sizeof l->model.m.path);
}

static enum status local_load(struct run_place *p, const char *name,
                              const struct run_settings *set, struct error *err)
{
    struct run_local *l = local_of(p);
    struct model_choice model;
    struct engine engine = {0};
    struct local_plan plan = {0};
    const bool first = !l->engine.model;
    enum status s;
    if (!(s = models_choose(&model, name, err)) &&
        !(s = make_plan(&plan, l, &model, set, err)))
        s = open_engine(&engine, l, &model, plan.n_thread, err);
    if (!s) {
        /* One cache at a time: the old one is made again if the new one fails. */
        struct model_choice old_model = l->model;
        struct engine old_engine = l->engine;
        session_close(l->session);
        l->session = NULL;
        l->model = model;
        l->engine = engine;
        s = want_session(l, &plan, err);
        if (s && !first) {
            model = l->model;
            engine = l->engine;
            l->model = old_model;
            l->engine = old_engine;
        } else {
            model = old_model;
            engine = old_engine;
            l->n_thread = plan.n_thread;
            name_model(l);
        }
    }
    release_plan(&plan);
    engine_close(&engine);
    models_close(&model);
    return s;
}

static enum status local_check(struct run_place *p, const struct run_settings *set,
                               struct error *err)
{
    struct run_local *l = local_of(p);
    struct local_plan plan;
    enum status s = make_plan(&plan, l, &l->model, set, err);
    if (!s && plan.n_thread != l->n_thread)
        s = fail(err, STATUS_UNSUPPORTED,
                 "the number of threads is fixed when a model is loaded: --threads");
    release_plan(&plan);
    return s;
}

/* ---- an answer ---- */

/* What the server puts in front of a chat: the system message, and the model's own
 * messages. */
static json_t *whole_chat(const struct run_local *l, const struct run_question *q)
{
    const struct buf *own = &l->model.m.system;
    json_t *all = json_array();
    const size_t n = json_array_size(l->model.m.messages);
    int failed = 0;
    if (q->set->system)
        failed |= json_array_append_new(
            all, json_pack("{s:s,s:O}", "role", "system", "content", q->set->system));
    else if (own->len)
        failed |= json_array_append_new(all, json_pack("{s:s,s:s%}", "role", "system",
                                                       "content", own->data, own->len));
    for (size_t i = 0; i < n; i++)
        failed |= json_array_append(all, json_array_get(l->model.m.messages, i));
    failed |= json_array_extend(all, q->messages);
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}

static enum status check_messages(const struct run_local *l, struct error *err)
{
    for (size_t i = 0; i < json_array_size(l->model.m.messages); i++) {
        const json_t *m = json_array_get(l->model.m.messages, i);
        if (!json_is_string(json_object_get(m, "content")) ||
            !json_is_string(json_object_get(m, "role")))
            return fail(err, STATUS_BAD_FILE, "message %zu of the model is none", i + 1);
    }
    return STATUS_OK;
}

static enum status make_prompt(struct run_local *l, const struct run_question *q,
                               struct chat_prompt_result *result, struct error *err)
{
    struct chat_caps *caps = &l->engine.chat;
    *result = (struct chat_prompt_result){0};
    l->prompt.n = 0;
    if (!q->messages)
        return tokenizer_encode(l->engine.tokenizer, &l->prompt, q->prompt->data,
                                q->prompt->len, NULL, TOKENIZER_SPECIAL | TOKENIZER_ADD,
                                err);
    if (q->set->think == 1 && !caps->thinks)
        return fail(err, STATUS_UNSUPPORTED, "\"%.200s\" does not support thinking",
                    l->base.model);
    enum status s = check_messages(l, err);
    if (s)
        return s;
    json_t *all = whole_chat(l, q);
    if (!all)
        return fail(err, STATUS_NO_MEMORY, "no memory for a conversation");
    const struct chat_turn turn = {
        .messages = all, .think = q->set->think, .think_effort = q->set->effort};
    s = chat_prompt_tokens(&l->engine, &turn, &l->prompt, result, err);
    json_decref(all);
    return s;
}

/* What is thought first is free. */
static enum status open_format(struct grammar **out, const struct run_local *l,
                               const json_t *format, bool reasoning, struct error *err)
{
    const char *open, *close;
    *out = NULL;
    if (!format)
        return STATUS_OK;
    json_t *schema = json_is_object(format) ? json_incref((json_t *)(uintptr_t)format)
                                            : json_pack("{s:s}", "type", "object");
    struct grammar_source src = {.schemas = &schema, .n_schema = 1, .once = true};
    if (reasoning && output_format_thinks(l->engine.chat.format, &open, &close)) {
        src.triggers = &close;
        src.n_trigger = 1;
    }
    const enum status s = schema ? grammar_open(out, &src, err)
                                 : fail(err, STATUS_NO_MEMORY, "no memory for a format");
    json_decref(schema);
    return s;
}

struct local_answer {
    struct run_printer *out;
    struct answer_text stops; // of which one ends the answer
    bool stopped;
    struct output_parser *parser; // NULL: text as it is
};

static void take_output(void *ctx, const struct output_event *e)
{
    struct local_answer *a = ctx;
    if (e->kind == OUTPUT_REASONING || e->kind == OUTPUT_TEXT)
        run_print_text(a->out, e->kind == OUTPUT_REASONING, e->text, e->n);
}

static bool feed_answer(struct local_answer *a, const char *text, size_t n, bool special)
{
    if (n && a->parser)
        output_parser_feed(a->parser, text, n, special);
    else if (n && !special)
        run_print_text(a->out, false, text, n);
    return !a->out->failed;
}

static bool take_answer_text(void *ctx, const char *text, size_t n)
{
    struct local_answer *a = ctx;
    text = answer_text_put(&a->stops, text, n, &n);
    a->stopped = a->stops.stopped >= 0;
    return feed_answer(a, text, n, false) && !a->stopped;
}

static bool take_control(void *ctx, const char *text, size_t n)
{
    struct local_answer *a = ctx;
    size_t n_held;
    const char *held = answer_text_flush(&a->stops, &n_held);
    feed_answer(a, held, n_held, false);
    a->stopped = answer_text_is_stop(&a->stops, text, n) >= 0;
    return !a->stopped && feed_answer(a, text, n, true);
}

static void take_progress(void *ctx, int done, int total)
{
    struct local_answer *a = ctx;
    run_print_progress(a->out, done, total);
}

static void end_answer_text(struct local_answer *a, struct session_stats *stats)
{
    size_t n = 0;
    if (a->stopped) {
        stats->end = SESSION_EOG;
    } else {
        const char *rest = answer_text_flush(&a->stops, &n);
        feed_answer(a, rest, n, false);
    }
    if (a->parser)
        output_parser_end(a->parser);
}

static enum status generate(struct run_local *l, const struct run_question *q,
                            const struct local_plan *plan,
                            const struct chat_prompt_result *chat,
                            struct run_printer *out, struct session_stats *stats,
                            struct error *err)
{
    struct local_answer a = {.out = out};
    struct grammar *grammar = NULL;
    const struct output_options parse = {
        .format = l->engine.chat.format,
        .reasoning = chat->reasoning,
        .max_bytes = CALL_BYTES,
        .emit = take_output,
        .ctx = &a,
    };
    enum status s = answer_text_open(&a.stops, plan->stop, plan->n_stop, TEXT_BYTES, err);
    if (!s && q->messages)
        s = output_parser_open(&a.parser, &parse, err);
    if (!s)
        s = open_format(&grammar, l, q->set->format, chat->reasoning, err);
    const struct session_request request = {
        .prompt = &l->prompt,
        .stable = chat->stable.at,
        .n_stable = chat->stable.n,
        .max_tokens = plan->max_tokens,
        .sampling = plan->sampling,
        .stop = run_interrupt_flag(),
        .emit = take_answer_text,
        .control = take_control,
        .grammar = grammar,
        .progress = take_progress,
        .ctx = &a,
    };
    if (!s)
        s = session_generate(l->session, &request, stats, err);
    if (!s)
        end_answer_text(&a, stats);
    grammar_close(grammar);
    output_parser_close(a.parser);
    answer_text_close(&a.stops);
    return s;
}

static enum status local_answer(struct run_place *p, const struct run_question *q,
                                struct run_printer *out, struct run_stats *stats,
                                struct error *err)
{
    struct run_local *l = local_of(p);
    struct local_plan plan;
    struct chat_prompt_result chat;
    struct session_stats st = {0};
    const uint64_t start = clock_us();
    enum status s = make_plan(&plan, l, &l->model, q->set, err);
    if (!s)
        s = want_session(l, &plan, err);
    const uint64_t loaded = clock_us();
    if (!s)
        s = make_prompt(l, q, &chat, err);
    if (!s)
        s = generate(l, q, &plan, &chat, out, &st, err);
    l->limit = plan.max_tokens && plan.max_tokens == q->set->max_tokens ? "--max-tokens"
                                                                        : "num_predict";
    release_plan(&plan);
    *stats = (struct run_stats){
        .n_prompt = st.n_prompt,
        .n_cached = st.n_cached,
        .n_read = st.n_read,
        .n_again = st.n_again,
        .n_step = st.n_step,
        .n_decoded = st.n_decoded,
        .load_us = loaded - start,
        .prefill_us = st.prefill_us,
        .decode_us = st.decode_us,
        .total_us = clock_us() - start,
        .end = st.end,
    };
    return s;
}

/* ---- what it says of itself ---- */

static enum status local_show(struct run_place *p, enum show_part part, struct buf *out,
                              struct error *err)
{
    return show_put(out, &local_of(p)->model.m, part, err);
}

static void local_where(const struct run_place *p, char *out, size_t n)
{
    (void)p;
    snprintf(out, n, "in this process");
}

static void local_facts(struct run_place *p, struct run_facts *out)
{
    const struct engine *e = &local_of(p)->engine;
    out->n_train = model_hparams(e->model)->n_ctx_train;
    out->thinks = e->chat.thinks;
}

static enum status local_list(struct run_place *p, struct error *err)
{
    (void)p;
    return list_rows_of_store(NULL, err);
}

static double rate(int n, uint64_t us)
{
    return us ? n * 1e6 / (double)us : 0;
}

static void local_print_stats(const struct run_place *p, const struct run_stats *s)
{
    static const char *const end[] = {
        "", ", stopped by ", ", stopped because the context is full", ", interrupted"};
    const struct run_local *l = (const struct run_local *)p;
    const struct context_memory m = context_memory(session_context(l->session));
    char kv[KV_NAME_BYTES], again[48] = "";
    /* The cache held them, but could not be cut there. */
    if (s->n_again)
        snprintf(again, sizeof again, ", %d read again", s->n_again);
    fprintf(
        stderr,
        "prefill %d tokens (%d cached%s) in %.2f s, %.1f tokens/s; decode %d tokens in "
        "%.2f s, %.1f tokens/s%s%s; kv %s %.1f MiB + %.1f MiB exact for %d tokens\n",
        s->n_read, s->n_cached, again, (double)s->prefill_us / 1e6,
        rate(s->n_read, s->prefill_us), s->n_decoded, (double)s->decode_us / 1e6,
        rate(s->n_step, s->decode_us), end[s->end],
        s->end == SESSION_LENGTH ? l->limit : "", kv_types_name(kv, &l->kv),
        (double)m.pages / 0x1p20, (double)m.exact / 0x1p20,
        context_n_ctx(session_context(l->session)));
}

static enum status local_memory(struct run_place *p, struct error *err)
{
    struct run_local *l = local_of(p);
    if (!l->session)
        return fail(err, STATUS_NOT_FOUND, "there is no cache before the next message");
    const struct context *c = session_context(l->session);
    const struct context_memory m = context_memory(c);
    char kv[KV_NAME_BYTES];
    const int used = (context_pos(c) + TQ_PAGE_TOKENS - 1) / TQ_PAGE_TOKENS;
    printf("kv type     %s, %.1f bytes a token\n", kv_types_name(kv, &l->kv),
           (double)m.page_bytes / TQ_PAGE_TOKENS);
    printf("context     %d of %d tokens\n", context_pos(c), context_n_ctx(c));
    printf("pages       %.1f of %.1f MiB in use\n", (double)m.page_bytes * used / 0x1p20,
           (double)m.pages / 0x1p20);
    printf("exact f16   %.1f MiB (first tokens, tail, windows, states)\n",
           (double)m.exact / 0x1p20);
    printf("checkpoints %.1f MiB (copies of these, to go on from)\n",
           (double)m.mark / 0x1p20);
    printf("scratch     %.1f MiB\n", (double)m.scratch / 0x1p20);
    printf("weights     %.1f MiB\n", (double)model_bytes(l->engine.model) / 0x1p20);
    printf("process     %.1f MiB resident\n", (double)mem_resident() / 0x1p20);
    return STATUS_OK;
}

/* ---- /save ---- */

static enum status local_save(struct run_place *p, const char *arg,
                              const struct run_settings *set, const json_t *messages,
                              struct error *err)
{
    struct run_local *l = local_of(p);
    struct model_name name;
    struct store *store = NULL;
    struct modelfile f = {0};
    const struct create_options o = {.folder = l->model.stored ? "" : NULL,
                                     .home = environment_folder("HOME")};
    enum status s = models_name(&name, arg, err);
    if (!s)
        s = run_modelfile(&f, l->base.model, set, l->model.m.messages, messages, err);
    if (!s)
        s = models_open(&store, err);
    if (!s)
        s = store_create(store, &name, &f, &o, err);
    store_close(store);
    modelfile_release(&f);
    return s;
}

static void local_close(struct run_place *p)
{
    struct run_local *l = local_of(p);
    session_close(l->session);
    engine_close(&l->engine);
    models_close(&l->model);
    tokens_release(&l->prompt);
    mem_free(l);
}

enum status run_local_open(struct run_place **out, const struct cli_command *c,
                           const char *model, const struct run_settings *set,
                           enum cpu_isa cpu, int n_mark, struct error *err)
{
    static const struct run_place_ops ops = {
        .answer = local_answer,
        .load = local_load,
        .show = local_show,
        .save = local_save,
        .check = local_check,
        .facts = local_facts,
        .list = local_list,
        .memory = local_memory,
        .where = local_where,
        .print_stats = local_print_stats,
        .close = local_close,
    };
    struct run_local *l = mem_array(1, sizeof *l);
    if (!l)
        return fail(err, STATUS_NO_MEMORY, "no memory for a chat");
    l->base.ops = &ops;
    l->base.command = c;
    l->cpu = cpu;
    l->n_mark = n_mark;
    l->raw = set->raw;
    l->seed = (uint64_t)time(NULL);
    tokens_init(&l->prompt);
    const enum status s = local_load(&l->base, model, set, err);
    if (s)
        local_close(&l->base);
    else
        *out = &l->base;
    return s;
}
