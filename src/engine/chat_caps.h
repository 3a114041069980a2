/* chat_caps.h - what a chat template can print, found by asking it. */
#ifndef ENGINE_CHAT_CAPS_H
#define ENGINE_CHAT_CAPS_H

#include <jansson.h>
#include <stdbool.h>

#include "text/output.h"
#include "text/template.h"
#include "text/tokenizer.h"

struct chat_caps {
    const struct output_format *format; // how the model writes calls
    bool empty_tools;                   // no tools must be a list, not none
    bool system, late_system; // system messages: the first one; later ones in place
    bool consecutive;         // two users in a row
    bool tools;               // writes the tools, ...
    bool native;              // ... and calls and results too, as `format` reads them
    bool parallel;            // a message may have several calls
    bool short_ids;           // ids of calls are 9 letters and digits
    bool args_string;         // arguments are JSON text, not objects
    bool null_content;        // a message with calls has no content
    bool thinking_field;      // reasoning is the member `thinking`
    bool thinks;              // the model reasons, or can be told to
    bool think_switch;        // enable_thinking
    bool effort;              // reasoning_effort
};

/* Render the template some dozen times with small conversations.  tokenizer may be NULL.
 */
void chat_caps_probe(struct chat_caps *out, const struct template *t, const char *source,
                     size_t n, const struct tokenizer *tokenizer);

struct chat_render {
    const struct template *template;
    const struct tokenizer *tokenizer; // NULL: bos and eos are ""
    json_t *messages;                  // as the template wants them
    json_t *tools;                     // NULL: none
    bool empty_tools;
    bool generation; // ends with the beginning of the assistant's answer
    json_t *vars;    // NULL: none
};

enum status chat_render(const struct chat_render *r, struct template_output *out,
                        struct error *err);

/* Whether the text ends inside of reasoning that the template opened. */
bool chat_ends_in_reasoning(const struct output_format *f,
                            const struct template_output *text);

#endif
