/* estimate.c - tokens of a prompt whose tokenizer is not at hand.
 *
 * What byte-pair vocabularies of 100,000 to 250,000 tokens make of text: a word of Latin
 * letters is a token for each 6 letters or part of them, digits are one each or three
 * together, punctuation is about one for two signs, other scripts one for 1.5
 * characters.  The factor that is left is learnt from what backends count. */
#include <string.h>

#include "router/internal.h"

enum { DEPTH_MAX = 64, MESSAGE_TOKENS = 4 };

static double tokens_of_text(const char *s, size_t n)
{
    double tokens = 0;
    for (size_t i = 0; i < n;) {
        const unsigned char c = (unsigned char)s[i];
        size_t k = i + 1;
        if ((c | 32) >= 'a' && (c | 32) <= 'z') {
            while (k < n && (s[k] | 32) >= 'a' && (s[k] | 32) <= 'z')
                k++;
            tokens += 1 + (double)((k - i - 1) / 6);
        } else if (c >= '0' && c <= '9') {
            while (k < n && s[k] >= '0' && s[k] <= '9')
                k++;
            tokens += (double)(k - i) * 0.7;
        } else if (c >= 0x80) {
            while (k < n && ((unsigned char)s[k] & 0xc0) == 0x80)
                k++;
            tokens += c >= 0xe0 ? 0.7 : 0.45;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            while (k < n && s[k] == s[i]) // indentation is one token
                k++;
            tokens += k - i > 1 ? 1 : 0;
        } else {
            tokens += c == '\n' ? 0.7 : 0.55;
        }
        i = k;
    }
    return tokens;
}

static double tokens_of_value(const json_t *v, int depth)
{
    double tokens = 0;
    const char *name;
    json_t *m;
    size_t i;
    if (depth > DEPTH_MAX)
        return 0;
    switch (json_typeof(v)) {
    case JSON_STRING:
        return tokens_of_text(json_string_value(v), json_string_length(v));
    case JSON_OBJECT:
        json_object_foreach((json_t *)v, name, m)
        {
            // Images and the like are not read as text.
            if (!strcmp(name, "data") || !strcmp(name, "image_url") ||
                !strcmp(name, "images") || !strcmp(name, "cache_control"))
                continue;
            tokens +=
                2 + tokens_of_text(name, strlen(name)) + tokens_of_value(m, depth + 1);
        }
        return tokens;
    case JSON_ARRAY:
        json_array_foreach(v, i, m)
        {
            tokens +=
                (json_is_object(m) ? MESSAGE_TOKENS : 1) + tokens_of_value(m, depth + 1);
        }
        return tokens;
    default:
        return 1;
    }
}

int estimate_tokens(const json_t *body)
{
    static const char *const parts[] = {"messages",     "system",  "tools",
                                        "prompt",       "suffix",  "input",
                                        "instructions", "content", "functions"};
    double tokens = 8;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *v = json_object_get(body, parts[i]);
        tokens += v ? tokens_of_value(v, 0) : 0;
    }
    return tokens < 1e9 ? (int)tokens : 1000000000;
}
