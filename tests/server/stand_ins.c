/* stand_ins.c - the simplest that can stand for parts of the program that a build does
 * not have: weak, so that the parts themselves win. */
#include "grammar/grammar.h"

#define WEAK __attribute__((weak))

WEAK enum status grammar_open(struct grammar **out, const struct grammar_source *src,
                              struct error *err)
{
    (void)src;
    *out = NULL;
    return fail(err, STATUS_UNSUPPORTED, "no grammars in this build");
}

WEAK void grammar_close(struct grammar *g)
{
    (void)g;
}
