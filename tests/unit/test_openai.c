/* test_openai.c - requests of OpenAI's dialect: what is taken, and what is refused with
 * which field at fault. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOL                                                             \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\"" \
    ":{\"type\":\"object\"}}}"

#define TOOL_G                                                                   \
    "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"description\":\"G\"," \
    "\"parameters\":{\"type\":\"object\"}}}"

static struct api_request r;
static struct api_error err;

/* JSON is written here with ' for " and ` for \". */
static const char *quoted(const char *text)
{
    static char json[1 << 16];
    size_t n = 0;
    for (; *text && n < sizeof json - 2; text++) {
        if (*text == '`')
            json[n++] = '\\';
        json[n++] = *text == '\'' || *text == '`' ? '"' : *text;
    }
    json[n] = 0;
    return json;
}

static enum status parse(const struct api_operation *op, const char *text)
{
    json_error_t e;
    json_t *body = json_loads(quoted(text), 0, &e);
    if (!body)
        fail_msg("%s: %s", e.text, text);
    api_request_init(&r);
    err = (struct api_error){0};
    const enum status s = op->parse(&r, body, &err);
    if (s != STATUS_OK) {
        assert_null(r.body);
        assert_null(r.messages);
        assert_true(err.message[0]);
        json_decref(body);
    } else {
        assert_ptr_equal(r.body, body);
    }
    return s;
}

static void parse_good(const struct api_operation *op, const char *text)
{
    if (parse(op, text) != STATUS_OK)
        fail_msg("%s: %s", err.message, text);
}

static void assert_json(const json_t *v, const char *text)
{
    char *got = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_non_null(got);
    assert_string_equal(got, quoted(text));
    free(got);
}

struct bad {
    const struct api_operation *op;
    enum api_error_kind kind;
    const char *param, *request;
};

static const struct bad bad[] = {
    /* messages */
    {&openai_chat, API_ERROR_INVALID, "messages", "{}"},
    {&openai_chat, API_ERROR_INVALID, "messages", "{'messages':[]}"},
    {&openai_chat, API_ERROR_INVALID, "messages", "{'messages':'hi'}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0]", "{'messages':['hi']}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].role", "{'messages':[{}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].role",
     "{'messages':[{'role':'robot','content':''}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].content",
     "{'messages':[{'role':'user'}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].content",
     "{'messages':[{'role':'user','content':5}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].content[1].text",
     "{'messages':[{'role':'user','content':[{'type':'text','text':'a'},"
     "{'type':'text'}]}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].content[0]",
     "{'messages':[{'role':'user','content':[{'type':'hologram'}]}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].content[0]",
     "{'messages':[{'role':'user','content':[{'type':7}]}]}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "messages[1].content[0]",
     "{'messages':[{'role':'user','content':''},{'role':'user','content':"
     "[{'type':'image_url','image_url':{'url':'data:'}}]}]}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "messages[0].content[0]",
     "{'messages':[{'role':'user','content':[{'type':'input_audio'}]}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].tool_call_id",
     "{'messages':[{'role':'tool','content':'4'}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].reasoning_content",
     "{'messages':[{'role':'assistant','content':'','reasoning_content':[]}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].tool_calls",
     "{'messages':[{'role':'assistant','tool_calls':{}}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].tool_calls[0].id",
     "{'messages':[{'role':'assistant','tool_calls':[{}]}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].tool_calls[0].function.name",
     "{'messages':[{'role':'assistant','tool_calls':[{'id':'a','function':{}}]}]}"},
    {&openai_chat, API_ERROR_INVALID, "messages[0].tool_calls[0].function.arguments",
     "{'messages':[{'role':'assistant','tool_calls':[{'id':'a','function':{'name':'f',"
     "'arguments':3}}]}]}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "messages[0].tool_calls[0]",
     "{'messages':[{'role':'assistant','tool_calls':[{'id':'a','type':'custom'}]}]}"},
    /* tools */
    {&openai_chat, API_ERROR_INVALID, "tools", "{" HI ",'tools':{}}"},
    {&openai_chat, API_ERROR_INVALID, "tools[0].type", "{" HI ",'tools':[{}]}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "tools[0].type",
     "{" HI ",'tools':[{'type':'web_search'}]}"},
    {&openai_chat, API_ERROR_INVALID, "tools[0].function",
     "{" HI ",'tools':[{'type':'function'}]}"},
    {&openai_chat, API_ERROR_INVALID, "tools[0].function.name",
     "{" HI ",'tools':[{'type':'function','function':{'name':'a b'}}]}"},
    {&openai_chat, API_ERROR_INVALID, "tools[0].function.name",
     "{" HI ",'tools':[{'type':'function','function':{'name':''}}]}"},
    {&openai_chat, API_ERROR_INVALID, "tools[1].function.name",
     "{" HI ",'tools':[" TOOL "," TOOL "]}"},
    {&openai_chat, API_ERROR_INVALID, "tools[0].function.parameters",
     "{" HI ",'tools':[{'type':'function','function':{'name':'f','parameters':[]}}]}"},
    {&openai_chat, API_ERROR_INVALID, "tools[0].function.description",
     "{" HI ",'tools':[{'type':'function','function':{'name':'f','description':1}}]}"},
    {&openai_chat, API_ERROR_INVALID, "tool_choice", "{" HI ",'tool_choice':'any'}"},
    {&openai_chat, API_ERROR_INVALID, "tool_choice", "{" HI ",'tool_choice':3}"},
    {&openai_chat, API_ERROR_INVALID, "tool_choice", "{" HI ",'tool_choice':'required'}"},
    {&openai_chat, API_ERROR_INVALID, "tool_choice.function.name",
     "{" HI ",'tools':[" TOOL "],'tool_choice':{'type':'function','function':{'name':'g'}"
     "}}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "tool_choice",
     "{" HI ",'tools':[" TOOL "],'tool_choice':{'type':'custom'}}"},
    {&openai_chat, API_ERROR_INVALID, "tool_choice.allowed_tools.mode",
     "{" HI ",'tools':[" TOOL "],'tool_choice':{'type':'allowed_tools','allowed_tools':"
     "{'mode':'all','tools':[]}}}"},
    {&openai_chat, API_ERROR_INVALID, "tool_choice.allowed_tools.tools",
     "{" HI ",'tools':[" TOOL "],'tool_choice':{'type':'allowed_tools','allowed_tools':"
     "{'mode':'auto','tools':[]}}}"},
    {&openai_chat, API_ERROR_INVALID, "functions[0].name",
     "{" HI ",'functions':[{'description':'x'}]}"},
    {&openai_chat, API_ERROR_INVALID, "function_call",
     "{" HI ",'functions':[{'name':'f'}],'function_call':{'name':'g'}}"},
    /* numbers: types, ranges, and what is none */
    {&openai_chat, API_ERROR_INVALID, "temperature", "{" HI ",'temperature':2.01}"},
    {&openai_chat, API_ERROR_INVALID, "temperature", "{" HI ",'temperature':-0.01}"},
    {&openai_chat, API_ERROR_INVALID, "temperature", "{" HI ",'temperature':'hot'}"},
    {&openai_chat, API_ERROR_INVALID, "temperature", "{" HI ",'temperature':true}"},
    {&openai_chat, API_ERROR_INVALID, "temperature", "{" HI ",'temperature':1e308}"},
    {&openai_chat, API_ERROR_INVALID, "top_p", "{" HI ",'top_p':1.1}"},
    {&openai_chat, API_ERROR_INVALID, "top_k", "{" HI ",'top_k':-2}"},
    {&openai_chat, API_ERROR_INVALID, "top_k", "{" HI ",'top_k':2.5}"},
    {&openai_chat, API_ERROR_INVALID, "top_k", "{" HI ",'top_k':2147483648}"},
    {&openai_chat, API_ERROR_INVALID, "min_p", "{" HI ",'min_p':-1}"},
    {&openai_chat, API_ERROR_INVALID, "repeat_penalty", "{" HI ",'repeat_penalty':0}"},
    {&openai_chat, API_ERROR_INVALID, "presence_penalty",
     "{" HI ",'presence_penalty':3}"},
    {&openai_chat, API_ERROR_INVALID, "n", "{" HI ",'n':9}"},
    {&openai_chat, API_ERROR_INVALID, "n", "{" HI ",'n':0}"},
    {&openai_chat, API_ERROR_INVALID, "n", "{" HI ",'n':9223372036854775807}"},
    {&openai_chat, API_ERROR_INVALID, "max_tokens", "{" HI ",'max_tokens':-2}"},
    {&openai_chat, API_ERROR_INVALID, "max_tokens", "{" HI ",'max_tokens':1e300}"},
    {&openai_chat, API_ERROR_INVALID, "max_completion_tokens",
     "{" HI ",'max_completion_tokens':'9'}"},
    {&openai_chat, API_ERROR_INVALID, "seed", "{" HI ",'seed':1.5}"},
    {&openai_chat, API_ERROR_INVALID, "seed", "{" HI ",'seed':1e20}"},
    {&openai_chat, API_ERROR_INVALID, "seed", "{" HI ",'seed':'1'}"},
    {&openai_chat, API_ERROR_INVALID, "options.num_ctx",
     "{" HI ",'options':{'num_ctx':0}}"},
    {&openai_chat, API_ERROR_INVALID, "options", "{" HI ",'options':[]}"},
    {&openai_chat, API_ERROR_INVALID, "stream", "{" HI ",'stream':1}"},
    {&openai_chat, API_ERROR_INVALID, "stream_options", "{" HI ",'stream_options':true}"},
    {&openai_chat, API_ERROR_INVALID, "stream_options.include_usage",
     "{" HI ",'stream_options':{'include_usage':'yes'}}"},
    {&openai_chat, API_ERROR_INVALID, "top_logprobs",
     "{" HI ",'logprobs':true,'top_logprobs':21}"},
    {&openai_chat, API_ERROR_INVALID, "top_logprobs", "{" HI ",'top_logprobs':3}"},
    {&openai_chat, API_ERROR_INVALID, "reasoning_effort",
     "{" HI ",'reasoning_effort':'enormous'}"},
    {&openai_chat, API_ERROR_INVALID, "model", "{" HI ",'model':7}"},
    {&openai_chat, API_ERROR_INVALID, "stop", "{" HI ",'stop':['']}"},
    {&openai_chat, API_ERROR_INVALID, "stop", "{" HI ",'stop':[1]}"},
    {&openai_chat, API_ERROR_INVALID, "stop",
     "{" HI ",'stop':['1','2','3','4','5','6','7','8','9','0','1','2','3','4','5','6',"
     "'7']}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias", "{" HI ",'logit_bias':3}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias.5", "{" HI ",'logit_bias':{'5':101}}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias.5", "{" HI ",'logit_bias':{'5':'1'}}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias.x", "{" HI ",'logit_bias':{'x':1}}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias.-1", "{" HI ",'logit_bias':{'-1':1}}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias.9999999999",
     "{" HI ",'logit_bias':{'9999999999':1}}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias[0]", "{" HI ",'logit_bias':[[5]]}"},
    {&openai_chat, API_ERROR_INVALID, "logit_bias[0]", "{" HI ",'logit_bias':[[-5,1]]}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "logit_bias[0]",
     "{" HI ",'logit_bias':[['word',1]]}"},
    /* the form of the answer */
    {&openai_chat, API_ERROR_INVALID, "response_format",
     "{" HI ",'response_format':'x'}"},
    {&openai_chat, API_ERROR_INVALID, "response_format.type",
     "{" HI ",'response_format':{'type':'xml'}}"},
    {&openai_chat, API_ERROR_INVALID, "response_format.json_schema",
     "{" HI ",'response_format':{'type':'json_schema'}}"},
    {&openai_chat, API_ERROR_INVALID, "response_format.json_schema.schema",
     "{" HI ",'response_format':{'type':'json_schema','json_schema':{'name':'x'}}}"},
    {&openai_chat, API_ERROR_INVALID, "json_schema",
     "{" HI ",'response_format':{'type':'json_object'},'json_schema':{}}"},
    {&openai_chat, API_ERROR_INVALID, "grammar",
     "{" HI ",'grammar':'root ::= `a`','response_format':{'type':'json_object'}}"},
    /* what this server does not do */
    {&openai_chat, API_ERROR_UNSUPPORTED, "audio", "{" HI ",'audio':{'voice':'alloy'}}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "modalities",
     "{" HI ",'modalities':['text','audio']}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "web_search_options",
     "{" HI ",'web_search_options':{'search_context_size':'low'}}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "chat_template",
     "{" HI ",'chat_template':'{{ x }}'}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "chat_template_kwargs",
     "{" HI ",'chat_template_kwargs':{'chat_template':'{{ x }}'}}"},
    {&openai_chat, API_ERROR_UNSUPPORTED, "chat_template_kwargs",
     "{" HI ",'chat_template_kwargs':{'messages':[]}}"},
    {&openai_chat, API_ERROR_INVALID, "chat_template_kwargs",
     "{" HI ",'chat_template_kwargs':'x'}"},
    /* completions and infill */
    {&openai_completions, API_ERROR_INVALID, "prompt", "{}"},
    {&openai_completions, API_ERROR_INVALID, "prompt", "{'prompt':5}"},
    {&openai_completions, API_ERROR_INVALID, "prompt", "{'prompt':[]}"},
    {&openai_completions, API_ERROR_INVALID, "prompt", "{'prompt':[1,-1]}"},
    {&openai_completions, API_ERROR_INVALID, "prompt", "{'prompt':[1,2147483648]}"},
    {&openai_completions, API_ERROR_INVALID, "prompt[0]", "{'prompt':[[]]}"},
    {&openai_completions, API_ERROR_INVALID, "prompt[1]", "{'prompt':['a',5]}"},
    {&openai_completions, API_ERROR_INVALID, "prompt",
     "{'prompt':['1','2','3','4','5','6','7','8','9']}"},
    {&openai_completions, API_ERROR_INVALID, "n", "{'prompt':['1','2','3'],'n':3}"},
    {&openai_completions, API_ERROR_UNSUPPORTED, "best_of",
     "{'prompt':'a','n':2,'best_of':3}"},
    {&openai_completions, API_ERROR_UNSUPPORTED, "echo", "{'prompt':'a','echo':true}"},
    {&openai_completions, API_ERROR_UNSUPPORTED, "suffix", "{'prompt':'a','suffix':'b'}"},
    {&openai_completions, API_ERROR_INVALID, "logprobs", "{'prompt':'a','logprobs':21}"},
    {&openai_infill, API_ERROR_INVALID, "input_prefix", "{'input_prefix':5}"},
    {&openai_infill, API_ERROR_INVALID, "input_extra", "{'input_extra':{}}"},
    {&openai_infill, API_ERROR_INVALID, "input_extra[0].text", "{'input_extra':[{}]}"},
    {&openai_infill, API_ERROR_INVALID, "input_extra[0].filename",
     "{'input_extra':[{'text':'','filename':1}]}"},
    /* embeddings */
    {&openai_embeddings, API_ERROR_INVALID, "input", "{}"},
    {&openai_embeddings, API_ERROR_INVALID, "input", "{'input':''}"},
    {&openai_embeddings, API_ERROR_INVALID, "input[1]", "{'input':['a','']}"},
    {&openai_embeddings, API_ERROR_INVALID, "encoding_format",
     "{'input':'a','encoding_format':'hex'}"},
    {&openai_embeddings, API_ERROR_INVALID, "dimensions", "{'input':'a','dimensions':0}"},
    /* responses */
    {&openai_responses, API_ERROR_INVALID, "input", "{}"},
    {&openai_responses, API_ERROR_INVALID, "input", "{'input':[]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0]", "{'input':['hi']}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].type", "{'input':[{'type':1}]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].role",
     "{'input':[{'type':'message'}]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].content",
     "{'input':[{'role':'user'}]}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "input[0].content[0]",
     "{'input':[{'role':'user','content':[{'type':'input_image','image_url':'x'}]}]}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "input[0]",
     "{'input':[{'type':'item_reference','id':'msg_1'}]}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "input[0]",
     "{'input':[{'type':'computer_call'}]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].call_id",
     "{'input':[{'type':'function_call','name':'f','arguments':'{}'}]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].arguments",
     "{'input':[{'type':'function_call','name':'f','call_id':'a'}]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].output",
     "{'input':[{'type':'function_call_output','call_id':'a'}]}"},
    {&openai_responses, API_ERROR_INVALID, "input[0].content[0].text",
     "{'input':[{'type':'reasoning','content':[{}]}]}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "previous_response_id",
     "{'input':'a','previous_response_id':'resp_1'}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "conversation",
     "{'input':'a','conversation':'conv_1'}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "background",
     "{'input':'a','background':true}"},
    {&openai_responses, API_ERROR_UNSUPPORTED, "tools[0].type",
     "{'input':'a','tools':[{'type':'web_search'}]}"},
    {&openai_responses, API_ERROR_INVALID, "tools[0].name",
     "{'input':'a','tools':[{'type':'function'}]}"},
    {&openai_responses, API_ERROR_INVALID, "tool_choice.name",
     "{'input':'a','tool_choice':{'type':'function','name':'f'}}"},
    {&openai_responses, API_ERROR_INVALID, "text", "{'input':'a','text':'json'}"},
    {&openai_responses, API_ERROR_INVALID, "text.format.schema",
     "{'input':'a','text':{'format':{'type':'json_schema','name':'x'}}}"},
    {&openai_responses, API_ERROR_INVALID, "reasoning", "{'input':'a','reasoning':'x'}"},
    {&openai_responses, API_ERROR_INVALID, "reasoning.effort",
     "{'input':'a','reasoning':{'effort':'x'}}"},
    {&openai_responses, API_ERROR_INVALID, "truncation",
     "{'input':'a','truncation':'some'}"},
    {&openai_responses, API_ERROR_INVALID, "max_output_tokens",
     "{'input':'a','max_output_tokens':0}"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (parse(bad[i].op, bad[i].request) == STATUS_OK)
            fail_msg("taken: %s", bad[i].request);
        if (err.kind != bad[i].kind || strcmp(err.param, bad[i].param) != 0)
            fail_msg("kind %d, param '%s', '%s': %s", (int)err.kind, err.param,
                     err.message, bad[i].request);
    }
}

static void test_absent(void **state)
{
    (void)state;
    parse_good(&openai_chat, "{" HI ",'temperature':null,'stop':null,'tools':null,"
                             "'seed':null,'stream':null,'unknown_field':{'a':[1]}}");
    assert_int_equal(r.task, API_CHAT);
    assert_string_equal(r.model, "");
    assert_true(isnan(r.sampling.temperature) && isnan(r.sampling.top_p));
    assert_true(isnan(r.sampling.min_p) && isnan(r.sampling.typical_p));
    assert_int_equal(r.sampling.top_k, -1);
    assert_int_equal(r.sampling.repeat_last_n, -1);
    assert_false(r.sampling.has_seed || r.stream || r.stream_usage || r.truncate);
    assert_true(r.parallel_tool_calls);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.max_tokens, -1);
    assert_int_equal(r.n_ctx, 0);
    assert_int_equal(r.n_stop, 0);
    assert_int_equal(r.n_logprobs, -1);
    assert_int_equal(r.format, API_FORMAT_TEXT);
    assert_int_equal(r.think, API_THINK_DEFAULT);
    assert_null(r.think_effort);
    assert_null(r.tools);
    assert_string_equal(r.session, "");
    api_request_release(&r);
}

static void test_scalars(void **state)
{
    (void)state;
    parse_good(&openai_chat,
               "{" HI
               ",'model':'m','stream':true,'stream_options':{'include_usage':true},"
               "'temperature':0,'top_p':0.5,'top_k':40.0,'min_p':0.05,'typical_p':0.9,"
               "'repeat_penalty':1.1,'repeat_last_n':-1,'presence_penalty':-2,"
               "'frequency_penalty':2,'seed':7,'stop':['a','b'],'n':8,"
               "'n_predict':1,'max_tokens':2,'max_completion_tokens':3,'logprobs':true,"
               "'top_logprobs':20,'options':{'num_ctx':4096},'prompt_cache_key':'k',"
               "'reasoning_effort':'high','parallel_tool_calls':false,"
               "'cache_prompt':'x','id_slot':[],'store':true,'metadata':{'a':'b'},"
               "'modalities':['text']}");
    assert_string_equal(r.model, "m");
    assert_true(r.stream && r.stream_usage);
    assert_true(r.sampling.temperature == 0 && r.sampling.top_p == 0.5f);
    assert_true(r.sampling.min_p == 0.05f && r.sampling.typical_p == 0.9f);
    assert_true(r.sampling.repeat_penalty == 1.1f);
    assert_true(r.sampling.presence_penalty == -2 && r.sampling.frequency_penalty == 2);
    assert_int_equal(r.sampling.top_k, 40);
    assert_int_equal(r.sampling.repeat_last_n, INT_MAX);
    assert_true(r.sampling.has_seed && r.sampling.seed == 7);
    assert_int_equal(r.n_stop, 2);
    assert_string_equal(r.stop[1], "b");
    assert_int_equal(r.n, 8);
    assert_int_equal(r.max_tokens, 3);
    assert_int_equal(r.n_logprobs, 20);
    assert_int_equal(r.n_ctx, 4096);
    assert_string_equal(r.session, "k");
    assert_string_equal(r.think_effort, "high");
    assert_false(r.parallel_tool_calls);
    api_request_release(&r);

    parse_good(&openai_chat, "{" HI ",'stop':'a','seed':-1,'top_k':-1,'logprobs':true,"
                             "'reasoning_effort':'none','max_tokens':-1}");
    assert_int_equal(r.n_stop, 1);
    assert_string_equal(r.stop[0], "a");
    assert_false(r.sampling.has_seed);
    assert_int_equal(r.sampling.top_k, 0);
    assert_int_equal(r.n_logprobs, 0);
    assert_int_equal(r.think, API_THINK_OFF);
    assert_null(r.think_effort);
    api_request_release(&r);

    parse_good(&openai_chat, "{" HI ",'seed':9007199254740993,'n_predict':5}");
    assert_true(r.sampling.has_seed && r.sampling.seed == 9007199254740993u);
    assert_int_equal(r.max_tokens, 5);
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'seed':1e19}"); // past what JSON integers hold here
    assert_true(r.sampling.seed == 10000000000000000000u);
    api_request_release(&r);
}

static void test_messages(void **state)
{
    (void)state;
    /* A string and blocks are the same; developer is system; calls are parsed; results
     * get the name of their tool. */
    parse_good(
        &openai_chat,
        "{'messages':[{'role':'developer','content':[{'type':'text','text':'Be'},"
        "{'type':'text','text':'kind'}]},{'role':'user','content':[{'type':'text',"
        "'text':'hi'}],'name':'Ann'},{'role':'assistant','content':null,'refusal':null,"
        "'reasoning':'r1','tool_calls':[{'id':'c1','type':'function','function':{'name':"
        "'f','arguments':'{`b`:1,`a`:[2.5]}'}},{'id':'c2','type':'function',"
        "'function':{'name':'g','arguments':''}}]},"
        "{'role':'tool','tool_call_id':'c2','content':'two'},"
        "{'role':'tool','tool_call_id':'zz','content':[{'type':'text','text':'?'}]},"
        "{'role':'assistant','content':[{'type':'refusal','refusal':'no'}],"
        "'reasoning_content':'r2','reasoning':'r1'}]}");
    assert_json(json_array_get(r.messages, 0), "{'role':'system','content':'Be\\nkind'}");
    assert_json(json_array_get(r.messages, 1), "{'role':'user','content':'hi'}");
    assert_json(json_array_get(r.messages, 2),
                "{'role':'assistant','content':'','reasoning_content':'r1','tool_calls':["
                "{'id':'c1','type':'function','function':{'name':'f','arguments':{'b':1,"
                "'a':[2.5]}}},{'id':'c2','type':'function','function':{'name':'g',"
                "'arguments':{}}}]}");
    assert_json(json_array_get(r.messages, 3),
                "{'role':'tool','content':'two','tool_call_id':'c2','name':'g'}");
    assert_json(json_array_get(r.messages, 4),
                "{'role':'tool','content':'?','tool_call_id':'zz'}");
    assert_json(json_array_get(r.messages, 5),
                "{'role':'assistant','content':'no','reasoning_content':'r2'}");
    assert_int_equal(json_array_size(r.messages), 6);
    api_request_release(&r);

    /* Arguments that are no object do not end a conversation. */
    parse_good(&openai_chat,
               "{'messages':[{'role':'assistant','tool_calls':[{'id':'a','function':{"
               "'name':'f','arguments':'{`city`: `Par'}},{'id':'b','function':{"
               "'name':'f','arguments':'[1]'}},{'id':'c','function':{'name':'f',"
               "'arguments':{'x':1}}},{'id':'d','function':{'name':'f'}}]}]}");
    const json_t *calls = json_object_get(json_array_get(r.messages, 0), "tool_calls");
    const char *const want[] = {"{'_raw':'{`city`: `Par'}", "{'_raw':'[1]'}", "{'x':1}",
                                "{}"};
    for (size_t i = 0; i < 4; i++)
        assert_json(json_object_get(json_object_get(json_array_get(calls, i), "function"),
                                    "arguments"),
                    want[i]);
    api_request_release(&r);
}

static void test_tools(void **state)
{
    (void)state;
    parse_good(&openai_chat, "{" HI ",'tools':[{'type':'function','function':{'name':'f',"
                             "'strict':true}}," TOOL_G "],'tool_choice':'none'}");
    assert_json(
        r.tools,
        "[{'type':'function','function':{'name':'f','description':'','parameters':"
        "{'type':'object','properties':{}}}},{'type':'function','function':{"
        "'name':'g','description':'G','parameters':{'type':'object'}}}]");
    assert_int_equal(r.tool_choice, API_TOOLS_NONE);
    api_request_release(&r);

    parse_good(&openai_chat,
               "{" HI ",'tools':[" TOOL "],'tool_choice':{'type':'function',"
               "'function':{'name':'f'}}}");
    assert_int_equal(r.tool_choice, API_TOOLS_NAMED);
    assert_string_equal(r.tool_name, "f");
    api_request_release(&r);

    parse_good(&openai_chat,
               "{" HI ",'tools':[" TOOL "," TOOL_G "],'tool_choice':{'type':"
               "'allowed_tools','allowed_tools':{'mode':'required','tools':[{'type':"
               "'function','function':{'name':'g'}},{'type':'function','function':"
               "{'name':'g'}}]}}}");
    assert_int_equal(r.tool_choice, API_TOOLS_REQUIRED);
    assert_int_equal(json_array_size(r.tools), 1);
    api_request_release(&r);

    parse_good(&openai_chat, "{" HI ",'functions':[{'name':'f','parameters':{'type':"
                             "'object'}}],'function_call':{'name':'f'}}");
    assert_json(r.tools, "[{'type':'function','function':{'name':'f','description':'',"
                         "'parameters':{'type':'object'}}}]");
    assert_int_equal(r.tool_choice, API_TOOLS_NAMED);
    assert_false(r.parallel_tool_calls);
    api_request_release(&r);

    /* The old form of a conversation. */
    parse_good(&openai_chat,
               "{'messages':[{'role':'user','content':'x'},{'role':'assistant','content':"
               "null,'function_call':{'name':'f','arguments':'{}'}},{'role':'function',"
               "'name':'f','content':'1'}]}");
    const char *id =
        json_string_value(json_object_get(json_array_get(r.messages, 2), "tool_call_id"));
    const json_t *calls = json_object_get(json_array_get(r.messages, 1), "tool_calls");
    assert_string_equal(
        id, json_string_value(json_object_get(json_array_get(calls, 0), "id")));
    api_request_release(&r);
}

static void test_forms(void **state)
{
    (void)state;
    parse_good(&openai_chat, "{" HI ",'response_format':{'type':'json_object'}}");
    assert_int_equal(r.format, API_FORMAT_JSON);
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'response_format':{'type':'text'}}");
    assert_int_equal(r.format, API_FORMAT_TEXT);
    api_request_release(&r);
    parse_good(&openai_chat,
               "{" HI ",'response_format':{'type':'json_schema','json_schema'"
               ":{'name':'x','strict':true,'schema':{'type':'object'}}}}");
    assert_int_equal(r.format, API_FORMAT_SCHEMA);
    assert_json(r.schema, "{'type':'object'}");
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'json_schema':{'type':'array'}}");
    assert_int_equal(r.format, API_FORMAT_SCHEMA);
    assert_json(r.schema, "{'type':'array'}");
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'grammar':'root ::= [ab]'}");
    assert_int_equal(r.format, API_FORMAT_GRAMMAR);
    assert_string_equal(r.grammar, "root ::= [ab]");
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'grammar':'','chat_template_kwargs':{"
                             "'enable_thinking':false,'x':1}}");
    assert_int_equal(r.format, API_FORMAT_TEXT);
    assert_int_equal(r.think, API_THINK_OFF);
    assert_json(r.template_vars, "{'enable_thinking':false,'x':1}");
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'logit_bias':{'5':-100,'7':1.5}}");
    assert_int_equal(r.n_bias, 2);
    assert_true(r.bias[0].id == 5 && r.bias[0].bias == -100);
    assert_true(r.bias[1].id == 7 && r.bias[1].bias == 1.5f);
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'logit_bias':[[5,false],[0,3]]}");
    assert_int_equal(r.n_bias, 2);
    assert_true(r.bias[0].id == 5 && r.bias[0].bias == -100);
    assert_true(r.bias[1].id == 0 && r.bias[1].bias == 3);
    api_request_release(&r);
    parse_good(&openai_chat, "{" HI ",'logit_bias':{}}");
    assert_int_equal(r.n_bias, 0);
    api_request_release(&r);
}

static void test_prompts(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *prompts;
    } cases[] = {
        {"'a'", "['a']"},
        {"''", "['']"},
        {"['a','b']", "['a','b']"},
        {"[1,2147483647]", "[[1,2147483647]]"},
        {"[[1,2],[3]]", "[[1,2],[3]]"},
        {"['a',[3]]", "['a',[3]]"},
    };
    char request[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(request, sizeof request, "{'prompt':%s,'logprobs':0}", cases[i].sent);
        parse_good(&openai_completions, request);
        assert_json(r.prompts, cases[i].prompts);
        assert_true(r.raw);
        assert_int_equal(r.task, API_COMPLETION);
        assert_int_equal(r.n_logprobs, 0);
        api_request_release(&r);
    }
    parse_good(&openai_completions, "{'prompt':'a','n':2,'best_of':2,'suffix':''}");
    api_request_release(&r);

    parse_good(
        &openai_infill,
        "{'input_prefix':'int ','input_suffix':';','prompt':'x','input_extra':[{"
        "'filename':'a.c','text':'A'},{'text':'B'}],'n_predict':0,'stop':['\\n']}");
    assert_int_equal(r.task, API_INFILL);
    assert_json(r.prompts, "['int ','x','a.c','A','','B']");
    assert_string_equal(r.suffix, ";");
    assert_int_equal(r.max_tokens, 0);
    api_request_release(&r);
    parse_good(&openai_infill, "{}");
    assert_json(r.prompts, "['','']");
    assert_string_equal(r.suffix, "");
    api_request_release(&r);

    parse_good(&openai_embeddings,
               "{'input':['a','b'],'encoding_format':'base64','dimensions':3}");
    assert_int_equal(r.task, API_EMBED);
    assert_json(r.prompts, "['a','b']");
    assert_true(r.base64);
    assert_int_equal(r.dimensions, 3);
    api_request_release(&r);
}

static void test_responses(void **state)
{
    (void)state;
    parse_good(&openai_responses,
               "{'model':'m','input':'hi','instructions':'Be kind','store':true,"
               "'max_output_tokens':9,'reasoning':{'effort':'low','summary':'auto'},"
               "'text':{'format':{'type':'json_schema','name':'x','schema':{'type':"
               "'object'}},'verbosity':'low'},'truncation':'auto','include':["
               "'reasoning.encrypted_content'],'background':false,"
               "'previous_response_id':null}");
    assert_json(r.messages, "[{'role':'system','content':'Be kind'},{'role':'user',"
                            "'content':'hi'}]");
    assert_int_equal(r.max_tokens, 9);
    assert_string_equal(r.think_effort, "low");
    assert_int_equal(r.format, API_FORMAT_SCHEMA);
    assert_true(r.truncate);
    assert_int_equal(r.n_logprobs, -1);
    api_request_release(&r);

    /* Reasoning, text and calls of one answer become one message again. */
    parse_good(
        &openai_responses,
        "{'input':[{'role':'user','content':[{'type':'input_text','text':'hi'}]},"
        "{'type':'reasoning','id':'rs_1','summary':[],'content':[{'type':"
        "'reasoning_text','text':'hm'}],'encrypted_content':null},"
        "{'type':'message','id':'msg_1','role':'assistant','status':'completed',"
        "'content':[{'type':'output_text','text':'let me see','annotations':[]}]},"
        "{'type':'function_call','id':'fc_1','call_id':'c1','name':'f','arguments':"
        "'{`x`:1}','status':'completed'},{'type':'function_call','call_id':'c2',"
        "'name':'g','arguments':'{}'},"
        "{'type':'function_call_output','call_id':'c1','output':'one'},"
        "{'type':'function_call_output','call_id':'c2','output':[{'type':'input_text',"
        "'text':'two'}]},{'role':'developer','content':'d'},"
        "{'type':'message','role':'assistant','content':'a'},"
        "{'type':'message','role':'assistant','content':'b'}],"
        "'tools':[{'type':'function','name':'f','description':'F','strict':true,"
        "'parameters':{'type':'object'}}],'tool_choice':{'type':'function','name':'f'},"
        "'include':['message.output_text.logprobs'],'top_logprobs':2}");
    assert_json(
        r.messages,
        "[{'role':'user','content':'hi'},{'role':'assistant','content':'let me see',"
        "'reasoning_content':'hm','tool_calls':[{'id':'c1','type':'function','function':{"
        "'name':'f','arguments':{'x':1}}},{'id':'c2','type':'function','function':{"
        "'name':'g','arguments':{}}}]},"
        "{'role':'tool','content':'one','tool_call_id':'c1','name':'f'},"
        "{'role':'tool','content':'two','tool_call_id':'c2','name':'g'},"
        "{'role':'system','content':'d'},{'role':'assistant','content':'a'},"
        "{'role':'assistant','content':'b'}]");
    assert_json(r.tools, "[{'type':'function','function':{'name':'f','description':'F',"
                         "'parameters':{'type':'object'}}}]");
    assert_int_equal(r.tool_choice, API_TOOLS_NAMED);
    assert_int_equal(r.n_logprobs, 2);
    api_request_release(&r);

    parse_good(&openai_responses,
               "{'input':'a','tools':[{'type':'function','name':'f'},{'type':'function',"
               "'name':'g'}],'tool_choice':{'type':'allowed_tools','mode':'auto','tools':"
               "[{'type':'function','name':'g'}]}}");
    assert_int_equal(json_array_size(r.tools), 1);
    api_request_release(&r);
}

#define CALL_NESTED "{'id':'a','function':{'name':'f','arguments':{'a':%s}}}"

/* Numbers that are none do not come past the reader of JSON. */
static void test_no_numbers(void **state)
{
    (void)state;
    static const char *const none[] = {
        "1e400", "-1e400", "NaN", "Infinity", "0x10", "01", "18446744073709551616"};
    char text[64];
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        snprintf(text, sizeof text, "{\"temperature\":%s}", none[i]);
        assert_null(json_loads(text, 0, NULL));
    }
}

/* A turn of the assistant ends where another speaks, or reasons again. */
static void test_turns(void **state)
{
    (void)state;
    parse_good(&openai_responses,
               "{'input':[{'role':'user','content':'1'},"
               "{'type':'function_call','call_id':'c','name':'f','arguments':'{}'},"
               "{'type':'function_call_output','call_id':'c','output':'2'},"
               "{'type':'function_call','call_id':'d','name':'f','arguments':'{}'},"
               "{'role':'assistant','content':'3'},"
               "{'type':'reasoning','summary':[{'type':'summary_text','text':'a'},"
               "{'type':'summary_text','text':'b'}]},"
               "{'role':'assistant','content':'4'}]}");
    assert_json(
        r.messages,
        "[{'role':'user','content':'1'},{'role':'assistant','content':'',"
        "'tool_calls':[{'id':'c','type':'function','function':{'name':'f',"
        "'arguments':{}}}]},{'role':'tool','content':'2','tool_call_id':'c','name':"
        "'f'},{'role':'assistant','content':'','tool_calls':[{'id':'d','type':"
        "'function','function':{'name':'f','arguments':{}}}]},{'role':'assistant',"
        "'content':'3'},{'role':'assistant','content':'4','reasoning_content':"
        "'a\\nb'}]");
    api_request_release(&r);
}

/* As deep as the JSON reader goes at all, in each place that keeps JSON. */
static void test_deep(void **state)
{
    (void)state;
    enum { DEEP = 2000 };
    static char nest[2 * DEEP + 1], request[8 * DEEP];
    memset(nest, '[', DEEP);
    memset(nest + DEEP, ']', DEEP);
    static const char *const shapes[] = {
        "{" HI ",'json_schema':{'a':%s}}",
        "{" HI
        ",'tools':[{'type':'function','function':{'name':'f','parameters':{'a':%s}}}]}",
        "{" HI ",'chat_template_kwargs':{'a':%s}}",
        "{'messages':[{'role':'assistant','tool_calls':[" CALL_NESTED "]}]}",
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        snprintf(request, sizeof request, shapes[i], nest);
        parse_good(&openai_chat, request);
        api_request_release(&r);
    }
    snprintf(request, sizeof request, "{'messages':%s}", nest);
    assert_int_not_equal(parse(&openai_chat, request), STATUS_OK);
    snprintf(request, sizeof request, "{'prompt':%s}", nest);
    assert_int_not_equal(parse(&openai_completions, request), STATUS_OK);
    snprintf(request, sizeof request, "{'input':%s}", nest);
    assert_int_not_equal(parse(&openai_responses, request), STATUS_OK);
}

/* Limits on lists, at and behind their ends. */
static void test_limits(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        json_t *body = json_pack("{s:[{s:s, s:s}], s:[], s:{}}", "messages", "role",
                                 "user", "content", "x", "tools", "logit_bias");
        char name[32];
        for (int i = 0; i < API_TOOLS_MAX + over; i++) {
            snprintf(name, sizeof name, "f%d", i);
            json_array_append_new(json_object_get(body, "tools"),
                                  json_pack("{s:s, s:{s:s}}", "type", "function",
                                            "function", "name", name));
        }
        api_request_init(&r);
        assert_int_equal(openai_chat.parse(&r, body, &err) == STATUS_OK, !over);
        if (over) {
            assert_string_equal(err.param, "tools");
            json_decref(body);
        }
        api_request_release(&r);
    }
    for (int over = 0; over <= 1; over++) { // a name of 128 letters, and of 129
        char name[130] = "";
        memset(name, 'a', 128 + (size_t)over);
        json_t *body = json_pack("{s:s, s:[{s:s, s:s}]}", "input", "x", "tools", "type",
                                 "function", "name", name);
        api_request_init(&r);
        assert_int_equal(openai_responses.parse(&r, body, &err) == STATUS_OK, !over);
        if (over) {
            assert_string_equal(err.param, "tools[0].name");
            json_decref(body);
        }
        api_request_release(&r);
    }
    for (int over = 0; over <= 1; over++) {
        json_t *body = json_pack("{s:s, s:{}}", "prompt", "x", "logit_bias");
        char id[16];
        for (int i = 0; i < API_BIAS_MAX + over; i++) {
            snprintf(id, sizeof id, "%d", i);
            json_object_set_new(json_object_get(body, "logit_bias"), id, json_integer(1));
        }
        api_request_init(&r);
        assert_int_equal(openai_completions.parse(&r, body, &err) == STATUS_OK, !over);
        if (over) {
            assert_string_equal(err.param, "logit_bias");
            json_decref(body);
        }
        api_request_release(&r);
    }
    for (int over = 0; over <= 1; over++) {
        json_t *body = json_pack("{s:[]}", "input");
        for (int i = 0; i < API_PROMPTS_MAX + over; i++)
            json_array_append_new(json_object_get(body, "input"), json_string("x"));
        api_request_init(&r);
        assert_int_equal(openai_embeddings.parse(&r, body, &err) == STATUS_OK, !over);
        if (over)
            json_decref(body);
        api_request_release(&r);
    }
}

/* ---- no memory ---- */

static int allocations, failing, living; // failing: which fails, and for ever or once
static bool once, failed;

static void *count_malloc(size_t n)
{
    const int i = allocations++;
    if (failing >= 0 && (i == failing || (i > failing && !once))) {
        failed = true;
        return NULL;
    }
    living++;
    return malloc(n);
}

static void count_free(void *p)
{
    living -= p != NULL;
    free(p);
}

/* Whatever allocation of JSON fails, the error says so, and nothing is lost. */
static void test_no_memory(void **state)
{
    (void)state;
    static const struct {
        const struct api_operation *op;
        const char *request;
    } cases[] = {
        {&openai_chat,
         "{'messages':[{'role':'developer','content':[{'type':'text','text':'a'}]},"
         "{'role':'assistant','reasoning':'r','tool_calls':[{'id':'c','function':{'name':"
         "'f','arguments':'{`x`:[1]}'}},{'id':'d','function':{'name':'f','arguments':'x'}"
         "}]},{'role':'tool','tool_call_id':'c','content':'1'},{'role':'assistant',"
         "'function_call':{'name':'f'}},{'role':'function','content':'2'}],"
         "'tools':[" TOOL "," TOOL_G "],'tool_choice':{'type':'allowed_tools',"
         "'allowed_tools':{'mode':'auto','tools':[{'type':'function','function':{'name':"
         "'g'}}]}},'response_format':{'type':'json_schema','json_schema':{'schema':{}}},"
         "'chat_template_kwargs':{'x':1}}"},
        {&openai_chat, "{" HI ",'functions':[{'name':'f'}]}"},
        {&openai_completions, "{'prompt':['a',[1]]}"},
        {&openai_infill, "{'input_prefix':'a','input_extra':[{'text':'b'}]}"},
        {&openai_embeddings, "{'input':'a'}"},
        {&openai_responses,
         "{'instructions':'i','input':[{'type':'reasoning','content':[{'text':'r'}]},"
         "{'role':'assistant','content':'a'},{'type':'function_call','call_id':'c','name'"
         ":"
         "'f','arguments':'{}'},{'type':'function_call_output','call_id':'c','output':'o'"
         "}],'tools':[{'type':'function','name':'f'}]}"},
    };
    json_set_alloc_funcs(count_malloc, count_free);
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        once = i % 2;
        failing = -1;
        living = 0;
        json_t *body = json_loads(quoted(cases[i / 2].request), 0, NULL);
        assert_non_null(body);
        const int before = living;
        failed = true;
        for (int n = 0; failed; n++) {
            assert_true(n < 1000);
            allocations = 0;
            failed = false;
            failing = n;
            api_request_init(&r);
            json_incref(body);
            const enum status s = cases[i / 2].op->parse(&r, body, &err);
            failing = -1;
            if (s == STATUS_OK) // r has taken a reference
                api_request_release(&r);
            else
                json_decref(body);
            /* The reader of JSON may take one failure for bad arguments of a call. */
            if (!once || s != STATUS_OK)
                assert_int_equal(s, failed ? STATUS_NO_MEMORY : STATUS_OK);
            assert_int_equal(living, before);
        }
        json_decref(body);
        assert_int_equal(living, 0);
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),       cmocka_unit_test(test_absent),
        cmocka_unit_test(test_scalars),   cmocka_unit_test(test_messages),
        cmocka_unit_test(test_tools),     cmocka_unit_test(test_forms),
        cmocka_unit_test(test_prompts),   cmocka_unit_test(test_responses),
        cmocka_unit_test(test_deep),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_turns),     cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
