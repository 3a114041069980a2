/* test_openai.c - requests of OpenAI's dialect: what they become. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "openai_request.h"

static void assert_json(const json_t *v, const char *text)
{
    char *got = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_non_null(got);
    assert_string_equal(got, quoted(text));
    free(got);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent),    cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_messages),  cmocka_unit_test(test_tools),
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_responses), cmocka_unit_test(test_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
