/* test_openai_answers.c - answers of OpenAI's dialect, byte by byte: written by hand from
 * the API reference (and from llama.cpp's server README for timings and /infill). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/openai.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

static const struct answer_head head = {.request_id = "req_1",
                                        .id = "abc",
                                        .model = "ti\"ny",
                                        .fingerprint = "fp_1",
                                        .created_us = 1700000000999999,
                                        .n_prompt = 10};

static const struct answer_usage usage = {.n_prompt = 10,
                                          .n_cached = 4,
                                          .n_decoded = 5,
                                          .n_reasoning = 2,
                                          .prefill_us = 6000,
                                          .decode_us = 50000};

#define USAGE                                                              \
    "'usage':{'prompt_tokens':10,'completion_tokens':5,'total_tokens':15," \
    "'prompt_tokens_details':{'cached_tokens':4,'audio_tokens':0},"        \
    "'completion_tokens_details':{'reasoning_tokens':2,'audio_tokens':0,"  \
    "'accepted_prediction_tokens':0,'rejected_prediction_tokens':0}}"
/* 6 tokens in 6 ms, 5 in 50 ms. */
#define TIMINGS                                                                  \
    "'timings':{'cache_n':4,'prompt_n':6,'prompt_ms':6,'prompt_per_token_ms':1," \
    "'prompt_per_second':1000,'predicted_n':5,'predicted_ms':50,"                \
    "'predicted_per_token_ms':10,'predicted_per_second':100}"

static struct answer_event text(enum answer_kind kind, const char *s)
{
    return (struct answer_event){.kind = kind, .text = s, .n = strlen(s)};
}

static struct answer_event end(enum answer_finish f)
{
    return (struct answer_event){.kind = ANSWER_END, .finish = f, .usage = usage};
}

static struct answer_event call(const char *id, const char *name)
{
    return (struct answer_event){.kind = ANSWER_TOOL_BEGIN, .id = id, .name = name};
}

static struct answer_event plain(enum answer_kind kind)
{
    return (struct answer_event){.kind = kind};
}

/* ' stands for ", ` for \", ~ for ' in what is expected and in requests. */
static char *requoted(const char *s)
{
    char *json = malloc(2 * strlen(s) + 1);
    size_t n = 0;
    for (; *s; s++) {
        if (*s == '`')
            json[n++] = '\\';
        json[n++] = *s == '\'' || *s == '`' ? '"' : *s == '~' ? '\'' : *s;
    }
    json[n] = 0;
    return json;
}

/* The body that a request and events make. */
static void check(const struct api_operation *op, const char *request,
                  const struct answer_event *e, size_t n, const char *want)
{
    struct api_request r;
    struct api_error err = {0};
    struct buf out;
    char *json = requoted(request), *expected = requoted(want);
    buf_init(&out, 1 << 20);
    api_request_init(&r);
    json_t *body = json_loads(json, 0, NULL);
    assert_non_null(body);
    if (op->parse(&r, body, &err) != STATUS_OK)
        fail_msg("%s", err.message);
    struct answer_writer *w = op->open_writer(&r, &head);
    assert_string_equal(w->content_type,
                        r.stream ? "text/event-stream" : "application/json");
    w->ops->begin(w, &out);
    for (size_t i = 0; i < n; i++)
        w->ops->event(w, &e[i], &out);
    assert_false(out.failed);
    assert_string_equal(out.data, expected);
    w->ops->close(w);
    api_request_release(&r);
    buf_release(&out);
    free(json);
    free(expected);
}

#define CHECK(op, request, events, want) \
    check(op, request, events, sizeof events / sizeof *events, want)
#define HI "'messages':[{'role':'user','content':'hi'}]"

/* A chunk of chat with these choices and what follows them. */
#define CHUNK(rest)                                                                     \
    "data: {'id':'chatcmpl-abc','object':'chat.completion.chunk','created':1700000000," \
    "'model':'ti`ny','system_fingerprint':'fp_1','choices':[" rest "}\n\n"
#define DELTA(i, delta) \
    "{'index':" #i ",'delta':{" delta "},'logprobs':null,'finish_reason':null}]"
#define FINISH(i, reason) \
    "{'index':" #i ",'delta':{},'logprobs':null,'finish_reason':'" reason "'}]"

static void test_chat_stream(void **state)
{
    (void)state;
    const struct answer_event events[] = {
        plain(ANSWER_PING),
        text(ANSWER_REASONING, "hm"),
        text(ANSWER_TEXT, "a\n\"\\"),
        call("call_1", "get\x20it"),
        text(ANSWER_TOOL_ARGS, "{\"x\":"),
        text(ANSWER_TOOL_ARGS, "1}"),
        plain(ANSWER_TOOL_END),
        call("call_2", "g"),
        text(ANSWER_TOOL_ARGS, "{}"),
        plain(ANSWER_TOOL_END),
        end(ANSWER_TOOL_CALLS),
    };
    CHECK(&openai_chat, "{" HI ",'stream':true}", events,
          CHUNK(DELTA(0, "'role':'assistant','content':''")) ": ping\n\n" CHUNK(
              DELTA(0, "'reasoning_content':'hm','reasoning':'hm'"))
              CHUNK(DELTA(0, "'content':'a\\n`\\\\'")) CHUNK(
                  DELTA(0, "'tool_calls':[{'index':0,'id':'call_1','type':'function',"
                           "'function':{'name':'get it','arguments':''}}]"))
                  CHUNK(DELTA(0, "'tool_calls':[{'index':0,'function':{'arguments':"
                                 "'{`x`:'}}]"))
                      CHUNK(DELTA(0, "'tool_calls':[{'index':0,'function':{'arguments':"
                                     "'1}'}}]"))
                          CHUNK(DELTA(0, "'tool_calls':[{'index':1,'id':'call_2','type':"
                                         "'function','function':{'name':'g','arguments':"
                                         "''}}]"))
                              CHUNK(DELTA(0, "'tool_calls':[{'index':1,'function':{"
                                             "'arguments':'{}'}}]"))
                                  CHUNK(FINISH(
                                      0, "tool_calls") "," TIMINGS) "data: [DONE]\n\n");
}

/* Sent as the server asks for it, which is if the request did. */
static void test_chat_progress(void **state)
{
    (void)state;
    const struct answer_event progress = {
        .kind = ANSWER_PROGRESS,
        .n_done = 6,
        .usage = {.n_prompt = 10, .n_cached = 4, .prefill_us = 12345}};
    const struct answer_event events[] = {progress, text(ANSWER_TEXT, "a"),
                                          end(ANSWER_LENGTH)};
    CHECK(&openai_chat, "{" HI ",'stream':true,'return_progress':true}", events,
          CHUNK(DELTA(0, "'role':'assistant','content':''"))
              CHUNK(DELTA(0, "") ",'prompt_progress':{'total':10,'cache':4,'processed':6,"
                                 "'time_ms':12}") CHUNK(DELTA(0, "'content':'a'"))
                  CHUNK(FINISH(0, "length") "," TIMINGS) "data: [DONE]\n\n");
}

static void test_chat_usage(void **state)
{
    (void)state;
    const struct answer_event events[] = {text(ANSWER_TEXT, "a"), end(ANSWER_LENGTH)};
    CHECK(&openai_chat, "{" HI ",'stream':true,'stream_options':{'include_usage':true}}",
          events,
          CHUNK(DELTA(0, "'role':'assistant','content':''") ",'usage':null")
              CHUNK(DELTA(0, "'content':'a'") ",'usage':null")
                  CHUNK(FINISH(0, "length") ",'usage':null")
                      CHUNK("]," USAGE "," TIMINGS) "data: [DONE]\n\n");
}

/* Two answers to one prompt: the prompt counts once. */
static void test_chat_choices(void **state)
{
    (void)state;
    struct answer_event events[] = {text(ANSWER_TEXT, "a"), text(ANSWER_TEXT, "b"),
                                    end(ANSWER_STOP_STRING), end(ANSWER_STOP)};
    events[1].choice = events[2].choice = 1;
    CHECK(
        &openai_chat, "{" HI ",'n':2}", events,
        "{'id':'chatcmpl-abc','object':'chat.completion','created':1700000000,'model':"
        "'ti`ny','system_fingerprint':'fp_1','choices':[{'index':0,'message':{'role':"
        "'assistant','content':'a','refusal':null},'logprobs':null,'finish_reason':"
        "'stop'},{'index':1,'message':{'role':'assistant','content':'b','refusal':null},"
        "'logprobs':null,'finish_reason':'stop'}],'usage':{'prompt_tokens':10,"
        "'completion_tokens':10,'total_tokens':20,'prompt_tokens_details':{"
        "'cached_tokens':4,'audio_tokens':0},'completion_tokens_details':{"
        "'reasoning_tokens':4,'audio_tokens':0,'accepted_prediction_tokens':0,"
        "'rejected_prediction_tokens':0}},'timings':{'cache_n':4,'prompt_n':6,"
        "'prompt_ms':6,'prompt_per_token_ms':1,'prompt_per_second':1000,'predicted_n':"
        "10,'predicted_ms':100,'predicted_per_token_ms':10,'predicted_per_second':100}}");
}

static void test_chat_document(void **state)
{
    (void)state;
    const struct answer_event events[] = {
        plain(ANSWER_PING),
        text(ANSWER_REASONING, "h"),
        text(ANSWER_REASONING, "m"),
        call("call_1", "f"),
        text(ANSWER_TOOL_ARGS, "{\"x\":"),
        text(ANSWER_TOOL_ARGS, "\"\\n\"}"),
        plain(ANSWER_TOOL_END),
        call("call_2", "g"),
        text(ANSWER_TOOL_ARGS, "{}"),
        plain(ANSWER_TOOL_END),
        end(ANSWER_TOOL_CALLS),
    };
    CHECK(&openai_chat, "{" HI "}", events,
          "{'id':'chatcmpl-abc','object':'chat.completion','created':1700000000,'model':"
          "'ti`ny','system_fingerprint':'fp_1','choices':[{'index':0,'message':{'role':"
          "'assistant','content':null,'refusal':null,'reasoning_content':'hm',"
          "'reasoning':'hm','tool_calls':[{'id':'call_1','type':'function','function':{"
          "'name':'f','arguments':'{`x`:`\\\\n`}'}},{'id':'call_2','type':'function',"
          "'function':{'name':'g','arguments':'{}'}}]},'logprobs':null,'finish_reason':"
          "'tool_calls'}]," USAGE "," TIMINGS "}");
    /* The old form has place for one call. */
    CHECK(&openai_chat, "{" HI ",'functions':[{'name':'f'},{'name':'g'}]}", events,
          "{'id':'chatcmpl-abc','object':'chat.completion','created':1700000000,'model':"
          "'ti`ny','system_fingerprint':'fp_1','choices':[{'index':0,'message':{'role':"
          "'assistant','content':null,'refusal':null,'reasoning_content':'hm',"
          "'reasoning':'hm','function_call':{'name':'f','arguments':'{`x`:`\\\\n`}'}},"
          "'logprobs':null,'finish_reason':'function_call'}]," USAGE "," TIMINGS "}");
    CHECK(&openai_chat, "{" HI ",'functions':[{'name':'f'}],'stream':true}", events,
          CHUNK(DELTA(0, "'role':'assistant','content':''")) ": ping\n\n" CHUNK(
              DELTA(0, "'reasoning_content':'h','reasoning':'h'"))
              CHUNK(DELTA(0, "'reasoning_content':'m','reasoning':'m'"))
                  CHUNK(DELTA(0, "'function_call':{'name':'f','arguments':''}")) CHUNK(
                      DELTA(0, "'function_call':{'arguments':'{`x`:'}"))
                      CHUNK(DELTA(0, "'function_call':{'arguments':'`\\\\n`}'}")) CHUNK(
                          FINISH(0, "function_call") "," TIMINGS) "data: [DONE]\n\n");
}

#define ENTRY_A                                                                        \
    "{'token':'a','logprob':-0.5,'bytes':[97],'top_logprobs':[{'token':'a','logprob':" \
    "-0.5,'bytes':[97]},{'token':'\xef\xbf\xbd','logprob':-9999,'bytes':[226,130]}]}"
#define ENTRY_B "{'token':'\xc3\xa9','logprob':-1.25,'bytes':[195,169],'top_logprobs':[]}"

static const struct answer_token top[] = {{5, -0.5f, "a", 1},
                                          {6, -INFINITY, "\xe2\x82", 2}};

static void test_logprobs(void **state)
{
    (void)state;
    struct answer_event events[] = {plain(ANSWER_LOGPROB), text(ANSWER_TEXT, "a\xc3\xa9"),
                                    plain(ANSWER_LOGPROB), end(ANSWER_STOP)};
    events[0].token = top[0];
    events[0].top = top;
    events[0].n_top = 2;
    events[2].token = (struct answer_token){7, -1.25f, "\xc3\xa9", 2};
    CHECK(&openai_chat, "{" HI ",'logprobs':true,'top_logprobs':2}", events,
          "{'id':'chatcmpl-abc','object':'chat.completion','created':1700000000,'model':"
          "'ti`ny','system_fingerprint':'fp_1','choices':[{'index':0,'message':{'role':"
          "'assistant','content':'a\xc3\xa9','refusal':null},'logprobs':{'content':"
          "[" ENTRY_A "," ENTRY_B "],'refusal':null},'finish_reason':'stop'}]," USAGE
          "," TIMINGS "}");
    CHECK(&openai_chat, "{" HI ",'logprobs':true,'top_logprobs':2,'stream':true}", events,
          CHUNK(DELTA(0, "'role':'assistant','content':''")) CHUNK(
              "{'index':0,'delta':{'content':'a\xc3\xa9'},'logprobs':{'content':[" ENTRY_A
              "],'refusal':null},'finish_reason':null}]")
              CHUNK("{'index':0,'delta':{},'logprobs':{'content':[" ENTRY_B
                    "],'refusal':null},'finish_reason':'stop'}]," TIMINGS) "data: "
                                                                           "[DONE]\n\n");
    const struct answer_event more[] = {events[0], text(ANSWER_TEXT, "a"), events[2],
                                        events[0], end(ANSWER_STOP)};
    CHECK(&openai_completions, "{'prompt':'x','logprobs':2}", more,
          "{'id':'cmpl-abc','object':'text_completion','created':1700000000,'model':"
          "'ti`ny','system_fingerprint':'fp_1','choices':[{'text':'a','index':0,"
          "'logprobs':{'tokens':['a','\xc3\xa9','a'],'token_logprobs':[-0.5,-1.25,-0.5],"
          "'top_logprobs':[{'a':-0.5,'bytes:\\\\xe2\\\\x82':-9999},{},{'a':-0.5,"
          "'bytes:\\\\xe2\\\\x82':-9999}],'text_offset':[0,1,2]},'finish_reason':"
          "'stop'}]," USAGE "," TIMINGS "}");
}

#define TEXT_CHUNK(rest)                                                              \
    "data: {'id':'cmpl-abc','object':'text_completion','created':1700000000,'model':" \
    "'ti`ny','system_fingerprint':'fp_1','choices':[" rest "}\n\n"

static void test_completions(void **state)
{
    (void)state;
    struct answer_event events[] = {plain(ANSWER_PING), text(ANSWER_TEXT, "a"),
                                    text(ANSWER_TEXT, "b"), end(ANSWER_STOP),
                                    end(ANSWER_LENGTH)};
    events[2].choice = events[4].choice = 1;
    /* Two prompts: both count. */
    CHECK(&openai_completions,
          "{'prompt':['x','y'],'stream':true,'stream_options':{'include_usage':true}}",
          events,
          ": ping\n\n" TEXT_CHUNK("{'text':'a','index':0,'logprobs':null,'finish_reason':"
                                  "null}],'usage':null")
              TEXT_CHUNK("{'text':'b','index':1,'logprobs':null,'finish_reason':null}],"
                         "'usage':null")
                  TEXT_CHUNK("{'text':'','index':0,'logprobs':null,'finish_reason':'stop'"
                             "}],'usage':null")
                      TEXT_CHUNK("{'text':'','index':1,'logprobs':null,'finish_reason':"
                                 "'length'}],'usage':null")
                          TEXT_CHUNK(
                              "],'usage':{'prompt_tokens':20,'completion_tokens':10,"
                              "'total_tokens':30,'prompt_tokens_details':{"
                              "'cached_tokens':8,'audio_tokens':0},"
                              "'completion_tokens_details':{'reasoning_tokens':4,"
                              "'audio_tokens':0,'accepted_prediction_tokens':0,"
                              "'rejected_prediction_tokens':0}},'timings':{'cache_n':8,"
                              "'prompt_n':12,'prompt_ms':12,'prompt_per_token_ms':1,"
                              "'prompt_per_second':1000,'predicted_n':10,"
                              "'predicted_ms':100,'predicted_per_token_ms':10,"
                              "'predicted_per_second':100}") "data: [DONE]\n\n");
}

static void test_infill(void **state)
{
    (void)state;
    struct answer_event events[] = {text(ANSWER_TEXT, "a"), plain(ANSWER_PING),
                                    text(ANSWER_TEXT, "b"), end(ANSWER_STOP_STRING)};
    events[3].stop_string = "\n";
    static const char *const tail =
        "'tokens':[],'stop':true,'id_slot':-1,'model':'ti`ny','tokens_predicted':5,"
        "'tokens_evaluated':10,'tokens_cached':4,'truncated':false,'stop_type':'word',"
        "'stopping_word':'\\n'," TIMINGS "}";
    char want[2000];
    snprintf(want, sizeof want, "{'index':0,'content':'ab',%s", tail);
    CHECK(&openai_infill, "{'input_prefix':'x'}", events, want);
    snprintf(want, sizeof want,
             "data: {'index':0,'content':'a','tokens':[],'stop':false,'id_slot':-1}\n\n"
             ": ping\n\n"
             "data: {'index':0,'content':'b','tokens':[],'stop':false,'id_slot':-1}\n\n"
             "data: {'index':0,'content':'',%s\n\n",
             tail);
    CHECK(&openai_infill, "{'input_prefix':'x','stream':true}", events, want);
}

/* The middle of a response object: what the request was. */
#define ECHO                                                                             \
    "'instructions':null,'max_output_tokens':null,'metadata':{},"                        \
    "'parallel_tool_calls':true,'previous_response_id':null,'store':false,'reasoning':{" \
    "'summary':null,'effort':null},'temperature':null,'top_p':null,'tool_choice':'auto'" \
    ","                                                                                  \
    "'tools':[],'text':{'verbosity':null,'format':{'type':'text'}},'top_logprobs':0,"    \
    "'truncation':'disabled',"
#define RESPONSE(status, error, details, output, rest)                               \
    "{'id':'resp_abc','object':'response','created_at':1700000000,'status':'" status \
    "','background':false,'error':" error ",'incomplete_details':" details           \
    ",'model':'ti`ny','output':[" output "]," ECHO rest "}"
#define EVENT(type, n, rest) \
    "event: " type "\ndata: {'type':'" type "','sequence_number':" #n "," rest "}\n\n"
#define USAGE_R                                                             \
    "'usage':{'input_tokens':10,'input_tokens_details':{'cached_tokens':4," \
    "'cache_write_tokens':0},'output_tokens':5,'output_tokens_details':{"   \
    "'reasoning_tokens':2},'total_tokens':15}," TIMINGS
#define REASONING_ITEM                                                                  \
    "{'id':'rs_abc_0','status':'completed','type':'reasoning','summary':[],'content':[" \
    "{'type':'reasoning_text','text':'hm'}]}"
#define MESSAGE_ITEM(status, text)                                                 \
    "{'id':'msg_abc_1','status':'" status "','type':'message','role':'assistant'," \
    "'content':[{'type':'output_text','text':'" text                               \
    "','annotations':[],'logprobs':[]}]}"
#define CALL_ITEM                                                                      \
    "{'id':'fc_abc_2','status':'completed','type':'function_call','call_id':'call_1'," \
    "'name':'f','arguments':'{`x`:1}'}"
#define IN_PROGRESS RESPONSE("in_progress", "null", "null", "", "'usage':null")

#define IN_ITEM(id, i) "'item_id':'" id "_abc_" #i "','output_index':" #i ","
#define IN_PART(id, i) IN_ITEM(id, i) "'content_index':0,"
#define PART(type, text) "'part':{'type':'" type "','text':'" text "'"

static const char *const streamed[] = {
    EVENT("response.created", 0, "'response':" IN_PROGRESS),
    EVENT("response.in_progress", 1, "'response':" IN_PROGRESS),
    EVENT("response.output_item.added", 2,
          "'output_index':0,'item':{'id':'rs_abc_0','status':'in_progress','type':"
          "'reasoning','summary':[],'content':[]}"),
    EVENT("response.content_part.added", 3,
          IN_PART("rs", 0) PART("reasoning_text", "") "}"),
    EVENT("response.reasoning_text.delta", 4, IN_PART("rs", 0) "'delta':'hm'"),
    EVENT("response.reasoning_text.done", 5, IN_PART("rs", 0) "'text':'hm'"),
    EVENT("response.content_part.done", 6,
          IN_PART("rs", 0) PART("reasoning_text", "hm") "}"),
    EVENT("response.output_item.done", 7, "'output_index':0,'item':" REASONING_ITEM),
    EVENT("response.output_item.added", 8,
          "'output_index':1,'item':{'id':'msg_abc_1','status':'in_progress','type':"
          "'message','role':'assistant','content':[]}"),
    EVENT("response.content_part.added", 9,
          IN_PART("msg", 1) PART("output_text", "") ",'annotations':[],'logprobs':[]}"),
    EVENT("response.output_text.delta", 10,
          IN_PART("msg", 1) "'delta':'a','logprobs':[]"),
    ": ping\n\n",
    EVENT("response.output_text.delta", 11,
          IN_PART("msg", 1) "'delta':'b','logprobs':[]"),
    EVENT("response.output_text.done", 12, IN_PART("msg", 1) "'text':'ab','logprobs':[]"),
    EVENT("response.content_part.done", 13,
          IN_PART("msg", 1) PART("output_text", "ab") ",'annotations':[],'logprobs':[]}"),
    EVENT("response.output_item.done", 14,
          "'output_index':1,'item':" MESSAGE_ITEM("completed", "ab")),
    EVENT("response.output_item.added", 15,
          "'output_index':2,'item':{'id':'fc_abc_2','status':'in_progress','type':"
          "'function_call','call_id':'call_1','name':'f','arguments':''}"),
    EVENT("response.function_call_arguments.delta", 16,
          IN_ITEM("fc", 2) "'delta':'{`x`:'"),
    EVENT("response.function_call_arguments.delta", 17, IN_ITEM("fc", 2) "'delta':'1}'"),
    EVENT("response.function_call_arguments.done", 18,
          IN_ITEM("fc", 2) "'arguments':'{`x`:1}','call_id':'call_1','name':'f'"),
    EVENT("response.output_item.done", 19, "'output_index':2,'item':" CALL_ITEM),
    EVENT("response.completed", 20,
          "'response':" RESPONSE(
              "completed", "null", "null",
              REASONING_ITEM "," MESSAGE_ITEM("completed", "ab") "," CALL_ITEM, USAGE_R)),
};

static void test_responses_stream(void **state)
{
    (void)state;
    const struct answer_event events[] = {
        text(ANSWER_REASONING, "hm"), text(ANSWER_TEXT, "a"),
        plain(ANSWER_PING),           text(ANSWER_TEXT, "b"),
        call("call_1", "f"),          text(ANSWER_TOOL_ARGS, "{\"x\":"),
        text(ANSWER_TOOL_ARGS, "1}"), plain(ANSWER_TOOL_END),
        end(ANSWER_TOOL_CALLS),
    };
    char want[16384] = "";
    for (size_t i = 0; i < sizeof streamed / sizeof *streamed; i++)
        strncat(want, streamed[i], sizeof want - strlen(want) - 1);
    CHECK(&openai_responses, "{'input':'hi','stream':true}", events, want);
    CHECK(&openai_responses, "{'input':'hi'}", events,
          RESPONSE("completed", "null", "null",
                   REASONING_ITEM "," MESSAGE_ITEM("completed", "ab") "," CALL_ITEM,
                   USAGE_R));
}

static void test_responses_incomplete(void **state)
{
    (void)state;
    const struct answer_event events[] = {text(ANSWER_REASONING, "hm"),
                                          text(ANSWER_TEXT, "a"), end(ANSWER_LENGTH)};
    CHECK(&openai_responses, "{'input':'hi'}", events,
          RESPONSE("incomplete", "null", "{'reason':'max_output_tokens'}",
                   REASONING_ITEM "," MESSAGE_ITEM("incomplete", "a"), USAGE_R));
}

static void test_failures(void **state)
{
    (void)state;
    const struct api_error broken = {.kind = API_ERROR_INTERNAL,
                                     .message = "a \"numeric\" failure"};
    struct answer_event events[] = {plain(ANSWER_ERROR), text(ANSWER_TEXT, "late"),
                                    end(ANSWER_STOP)};
    events[0].error = &broken;
#define BROKEN                                                                      \
    "{'error':{'message':'a `numeric` failure','type':'server_error','param':null," \
    "'code':null}}"
    CHECK(&openai_chat, "{" HI "}", events, BROKEN);
    CHECK(&openai_chat, "{" HI ",'stream':true}", events,
          CHUNK(DELTA(0, "'role':'assistant','content':''")) "data: " BROKEN "\n\n");
    CHECK(&openai_completions, "{'prompt':'x'}", events, BROKEN);
    CHECK(&openai_completions, "{'prompt':'x','stream':true}", events,
          "data: " BROKEN "\n\n");
    CHECK(&openai_infill, "{'stream':true}", events, "data: " BROKEN "\n\n");
    CHECK(&openai_responses, "{'input':'hi'}", events, BROKEN);
    CHECK(&openai_responses, "{'input':'hi','stream':true}", events,
          EVENT("response.created", 0, "'response':" IN_PROGRESS)
              EVENT("response.in_progress", 1, "'response':" IN_PROGRESS)
                  EVENT("response.failed", 2,
                        "'response':" RESPONSE("failed",
                                               "{'code':'server_error','message':"
                                               "'a `numeric` failure'}",
                                               "null", "", "'usage':null")));
}

static void check_error(struct api_error e, int http, const char *want)
{
    struct buf out;
    int status = 0;
    char *expected = requoted(want);
    buf_init(&out, 10000);
    dialect_openai.print_error(&out, &status, &e, "req_1");
    assert_int_equal(status, http);
    assert_string_equal(out.data, expected);
    buf_release(&out);
    free(expected);
}

static void test_errors(void **state)
{
    (void)state;
    /* The sentence, type, param and code are OpenAI's own. */
    check_error(
        (struct api_error){.kind = API_ERROR_TOO_LONG, .n_prompt = 8227, .n_ctx = 8192},
        400,
        "{'error':{'message':'This model~s maximum context length is 8192 tokens. "
        "However, your messages resulted in 8227 tokens. Please reduce the length "
        "of the messages.','type':'invalid_request_error','param':'messages',"
        "'code':'context_length_exceeded','n_prompt_tokens':8227,'n_ctx':8192}}");
    check_error((struct api_error){.kind = API_ERROR_INVALID,
                                   .message = "no",
                                   .param = "messages[0].role"},
                400,
                "{'error':{'message':'no','type':'invalid_request_error','param':"
                "'messages[0].role','code':null}}");
    check_error((struct api_error){.kind = API_ERROR_UNAUTHORIZED, .message = "no"}, 401,
                "{'error':{'message':'no','type':'invalid_request_error','param':null,"
                "'code':'invalid_api_key'}}");
    check_error((struct api_error){.kind = API_ERROR_NO_MODEL, .message = "no"}, 404,
                "{'error':{'message':'no','type':'invalid_request_error','param':'model',"
                "'code':'model_not_found'}}");
    check_error((struct api_error){.kind = API_ERROR_BUSY, .message = "no"}, 503,
                "{'error':{'message':'no','type':'server_error','param':null,'code':"
                "'server_overloaded'}}");
    check_error((struct api_error){.kind = API_ERROR_INTERNAL, .message = "\xff"}, 500,
                "{'error':{'message':'\xef\xbf\xbd','type':'server_error','param':null,"
                "'code':null}}");
}

static void test_models(void **state)
{
    (void)state;
    struct buf out;
    json_t *more = json_pack("{s:{s:i}}", "meta", "n_ctx", 4096);
    const struct openai_model models[] = {{"a", 1700000000000000, more}, {"b", 0, NULL}};
    buf_init(&out, 1000);
    openai_print_models(&out, models, 2);
    char *want = requoted("{'object':'list','data':[{'id':'a','object':'model','created':"
                          "1700000000,'owned_by':'turbine','meta':{'n_ctx':4096}},{'id':"
                          "'b','object':'model','created':0,'owned_by':'turbine'}]}");
    assert_string_equal(out.data, want);
    free(want);
    buf_release(&out);
    json_decref(more);
}

/* A writer that runs out of room says so, so that the server ends the stream. */
static void test_full(void **state)
{
    (void)state;
    struct api_request r;
    struct api_error err;
    struct buf out;
    char *json = requoted("{" HI ",'stream':true}");
    api_request_init(&r);
    assert_int_equal(openai_chat.parse(&r, json_loads(json, 0, NULL), &err), STATUS_OK);
    for (size_t max = 0; max < 400; max++) {
        buf_init(&out, max);
        struct answer_writer *w = openai_chat.open_writer(&r, &head);
        const struct answer_event e = text(ANSWER_TEXT, "abcdefgh");
        w->ops->begin(w, &out);
        w->ops->event(w, &e, &out);
        assert_true(out.failed || out.len > 300);
        w->ops->close(w);
        buf_release(&out);
    }
    api_request_release(&r);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_stream),
        cmocka_unit_test(test_chat_progress),
        cmocka_unit_test(test_chat_usage),
        cmocka_unit_test(test_chat_choices),
        cmocka_unit_test(test_chat_document),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_completions),
        cmocka_unit_test(test_infill),
        cmocka_unit_test(test_responses_stream),
        cmocka_unit_test(test_responses_incomplete),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
