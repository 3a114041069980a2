/* prompt.h - the text that a template made, as tokens. */
#ifndef TEXT_PROMPT_H
#define TEXT_PROMPT_H

#include "text/template.h"
#include "text/tokenizer.h"

/* Append the tokens of a rendered text: special tokens where the template wrote them,
 * ordinary ones where input spells them.  bos goes in front if the file wants it and the
 * template has not written it. */
enum status prompt_encode(const struct tokenizer *t, struct tokens *out,
                          const struct template_output *text, struct error *err);

#endif
