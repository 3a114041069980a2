#include "router/token_estimate.h"

#include <limits.h>
#include <math.h>

#include "base/utf8.h"

enum {
    MESSAGE_TOKENS = 5, // role and marks around a message, in common templates
    LONG_RUN = 12,      // letters of a word; what is longer is no word
    LEARN_LEAST = 64,   // tokens of a prompt that says something
    LEARN_LATE = 16,    // prompts that an average is of
};

static const double factor_most = 3, ratio_most = 8;

/* Tokens of one of each kind.  ASCII: least squares over 39 pieces of 10 kB (English
 * prose, C, Python, JavaScript, CSS, Markdown, JSON, make) with SmolLM2's vocabulary of
 * 49,152: 2.4 % off (rms), 6 % at worst.  Others: one token for three bytes, two for a
 * character of four, which is more than large vocabularies need; a prompt that turns out
 * longer than thought costs more than one that turns out shorter. */
static const double prior[ESTIMATE_KINDS] = {
    [ESTIMATE_WORD] = 0.83,  [ESTIMATE_LETTER] = 0.05,    [ESTIMATE_RARE] = 0.36,
    [ESTIMATE_DIGIT] = 1.4,  [ESTIMATE_MARKS] = 0.34,     [ESTIMATE_MARK] = 0.4,
    [ESTIMATE_BLANK] = 2.06, [ESTIMATE_TWO_BYTES] = 0.34, [ESTIMATE_CJK] = 0.34,
    [ESTIMATE_OTHER] = 0.5,
};

/* What a byte of ASCII is a run of; the kind of the run. */
static enum estimate_kind kind_of_run(unsigned char c)
{
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
        return ESTIMATE_WORD;
    if (c >= '0' && c <= '9')
        return ESTIMATE_DIGIT;
    return c == ' ' || (c >= '\t' && c <= '\r') ? ESTIMATE_BLANK : ESTIMATE_MARKS;
}

/* The run text[0..n) of one kind. */
static void count_ascii(struct estimate_text *t, enum estimate_kind run, const char *text,
                        size_t n)
{
    if (run == ESTIMATE_DIGIT) {
        t->n[ESTIMATE_DIGIT] += n;
    } else if (run == ESTIMATE_BLANK) {
        t->n[ESTIMATE_BLANK] += n > 1 || text[0] != ' ';
    } else if (run == ESTIMATE_MARKS) {
        t->n[ESTIMATE_MARKS]++;
        t->n[ESTIMATE_MARK] += n;
    } else {
        t->n[ESTIMATE_WORD]++;
        t->n[ESTIMATE_LETTER] += n;
        for (size_t i = 0; i < n; i++)
            t->n[ESTIMATE_RARE] += i >= LONG_RUN || !(text[i] & 0x20);
    }
}

void token_estimate_count(struct estimate_text *t, const char *text, size_t n)
{
    for (size_t i = 0, bytes; i < n; i += bytes) {
        bytes = utf8_char_bytes(text + i, n - i);
        if (bytes == 1) {
            const enum estimate_kind run = kind_of_run((unsigned char)text[i]);
            while (i + bytes < n && (unsigned char)text[i + bytes] < 0x80 &&
                   kind_of_run((unsigned char)text[i + bytes]) == run)
                bytes++;
            count_ascii(t, run, text + i, bytes);
        } else {
            const enum estimate_kind kind = bytes == 2   ? ESTIMATE_TWO_BYTES
                                            : bytes == 3 ? ESTIMATE_CJK
                                                         : ESTIMATE_OTHER;
            bytes = bytes ? bytes : 1;
            t->n[kind] += bytes;
        }
    }
}

void token_estimate_init(struct estimate_model *m)
{
    *m = (struct estimate_model){0};
    for (int k = 0; k < ESTIMATE_KINDS; k++)
        m->factor[k] = 1;
}

/* Tokens of one kind. */
static double tokens_of_kind(const struct estimate_model *m,
                             const struct estimate_text *t, int k)
{
    return (m ? m->factor[k] : 1) * prior[k] * (double)t->n[k];
}

static double estimate_of(const struct estimate_model *m, const struct estimate_text *t)
{
    double sum = MESSAGE_TOKENS * (double)t->n_message;
    for (int k = 0; k < ESTIMATE_KINDS; k++)
        sum += tokens_of_kind(m, t, k);
    return sum;
}

int token_estimate_tokens(const struct estimate_model *m, const struct estimate_text *t)
{
    const double n = ceil(estimate_of(m, t));
    return n < INT_MAX ? (int)n : INT_MAX;
}

/* Each kind answers for its part of the prompt: what is all of one kind teaches that one,
 * and kinds that never come alone share what is off. */
void token_estimate_learn(struct estimate_model *m, const struct estimate_text *t,
                          int n_token)
{
    const double sum = estimate_of(m, t);
    const double ratio = n_token / (sum > 0 ? sum : 1);
    if (n_token < LEARN_LEAST || sum < LEARN_LEAST || ratio > ratio_most ||
        ratio < 1 / ratio_most)
        return;
    m->n_seen++;
    const double late = m->n_seen < LEARN_LATE ? (double)m->n_seen : LEARN_LATE;
    m->error += (fabs(ratio - 1) - m->error) / late;
    double share[ESTIMATE_KINDS];
    for (int k = 0; k < ESTIMATE_KINDS; k++)
        share[k] = tokens_of_kind(m, t, k) / sum;
    for (int k = 0; k < ESTIMATE_KINDS; k++) {
        m->weight[k] = fmin(m->weight[k] + share[k], LEARN_LATE);
        if (m->weight[k] <= 0)
            continue;
        const double rate = share[k] / fmax(m->weight[k], 1);
        const double f = m->factor[k] * pow(ratio, rate);
        m->factor[k] = fmin(fmax(f, 1 / factor_most), factor_most);
    }
}
