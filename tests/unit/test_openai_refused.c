/* test_openai_refused.c - requests of OpenAI's dialect that are refused, and with which
 * field at fault; limits, depth, and memory that is short. */
#include <stdio.h>

#include "openai_request.h"

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

#define CALL_NESTED "{'id':'a','function':{'name':'f','arguments':{'a':%s}}}"

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
        cmocka_unit_test(test_bad),       cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_deep),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
