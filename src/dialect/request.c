#include "dialect/request.h"

#include <math.h>
#include <stddef.h>

#include "base/mem.h"

void api_request_init(struct api_request *r)
{
    *r = (struct api_request){
        .model = "",
        .parallel_tool_calls = true,
        .n = 1,
        .max_tokens = -1,
        .kv_tail = -1,
        .sampling = {.temperature = NAN,
                     .top_p = NAN,
                     .min_p = NAN,
                     .typical_p = NAN,
                     .repeat_penalty = NAN,
                     .presence_penalty = NAN,
                     .frequency_penalty = NAN,
                     .top_k = -1,
                     .repeat_last_n = -1},
        .n_logprobs = -1,
        .session = "",
    };
}

void api_request_release(struct api_request *r)
{
    json_decref(r->messages);
    json_decref(r->tools);
    json_decref(r->template_vars);
    json_decref(r->prompts);
    json_decref(r->schema);
    json_decref(r->body);
    mem_free(r->bias);
    api_request_init(r);
}
