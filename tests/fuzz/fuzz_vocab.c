/* fuzz_vocab.c - a GGUF file as a vocabulary: opens or is refused with a text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void encode_and_decode(const struct tokenizer *t)
{
    static const char text[] = "hello  w\xc3\xa9 12\n<|im_end|>aab\xff";
    struct tokens ids;
    struct error err = {0};
    tokens_init(&ids);
    if (tokenizer_encode(t, &ids, text, sizeof text - 1, NULL, 3, &err))
        abort();
    for (size_t i = 0; i < ids.n; i++) {
        size_t k;
        const char *p = tokenizer_piece(t, ids.id[i], i % 2, &k);
        volatile char last = k ? p[k - 1] : 0;
        (void)last;
        p = tokenizer_text(t, ids.id[i], &k);
        last = k ? p[k - 1] : 0;
    }
    tokens_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct error err = {0};
    if (gguf_open_memory(&g, data, n, &err))
        return 0;
    if (tokenizer_open(&t, g, &err)) {
        if (!err.text[0])
            abort();
    } else {
        encode_and_decode(t);
    }
    tokenizer_close(t);
    gguf_close(g);
    return 0;
}
