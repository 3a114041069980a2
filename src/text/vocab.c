#include "text/vocab.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"

#define KEY_TOKENS "tokenizer.ggml.tokens"
#define KEY_TYPES "tokenizer.ggml.token_type"
#define KEY_SCORES "tokenizer.ggml.scores"

/* A hash table that a file has filled with collisions would make opening slow. */
enum { PROBE_MAX = 4096 };

static const char *vocab_string(const struct vocab_strings *a, int32_t i, size_t *n)
{
    *n = a->at[i + 1] - a->at[i];
    return a->data + a->at[i];
}

const char *vocab_text(const struct vocab *v, int32_t id, size_t *n)
{
    return vocab_string(&v->text, id, n);
}

const char *vocab_piece(const struct vocab *v, int32_t id, size_t *n)
{
    return vocab_string(&v->piece, id, n);
}

/* ---- the table of words ---- */

static uint32_t word_hash(const char *s, size_t n)
{
    uint64_t h = n, x;
    for (; n > 8; s += 8, n -= 8) {
        memcpy(&x, s, 8);
        h = rng_mix(h ^ x);
    }
    x = 0;
    memcpy(&x, s, n);
    return (uint32_t)rng_mix(h ^ x);
}

int32_t vocab_find(const struct vocab *v, const char *s, size_t n)
{
    if (n > v->word_bytes_max)
        return -1;
    const uint32_t hash = word_hash(s, n);
    for (uint32_t i = hash & v->slot_mask; v->slot[i].id >= 0;
         i = (i + 1) & v->slot_mask) {
        size_t have;
        if (v->slot[i].hash != hash)
            continue;
        const char *p = vocab_piece(v, v->slot[i].id, &have);
        if (have == n && !memcmp(p, s, n))
            return v->slot[i].id;
    }
    return -1;
}

/* False if the table degenerates.  The first of two equal words stays. */
static bool word_insert(struct vocab *v, int32_t id)
{
    size_t n;
    const char *s = vocab_piece(v, id, &n);
    if (n > v->word_bytes_max)
        v->word_bytes_max = n;
    if (vocab_find(v, s, n) >= 0)
        return true;
    const uint32_t hash = word_hash(s, n);
    uint32_t i = hash & v->slot_mask;
    for (int probe = 0; v->slot[i].id >= 0; i = (i + 1) & v->slot_mask)
        if (++probe > PROBE_MAX)
            return false;
    v->slot[i] = (struct vocab_slot){hash, id};
    return true;
}

/* ---- pieces ---- */

/* Byte of each character of GPT-2's alphabet: the printable Latin-1 characters stand for
 * themselves, the other 68 bytes are U+0100.. in order.  -1 is none. */
static int alphabet_byte(uint32_t c)
{
    static const unsigned char other[] = {
        0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,
        14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25,  26,  27,
        28,  29,  30,  31,  32,  127, 128, 129, 130, 131, 132, 133, 134, 135,
        136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149,
        150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 173,
    };
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255))
        return (int)c;
    return c >= 256 && c < 256 + sizeof other ? other[c - 256] : -1;
}

size_t vocab_byte_decode(char *dst, const char *s, size_t n, bool *pure)
{
    size_t len = 0;
    *pure = true;
    for (size_t i = 0; i < n;) {
        const unsigned char *p = (const unsigned char *)s + i;
        const size_t k = utf8_char_bytes(s + i, n - i);
        const uint32_t c = k == 1   ? p[0]
                           : k == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu)
                                    : UINT32_MAX;
        const int byte = alphabet_byte(c);
        if (byte >= 0) {
            dst[len++] = (char)byte;
        } else {
            *pure = false;
            memcpy(dst + len, p, k ? k : 1);
            len += k ? k : 1;
        }
        i += k ? k : 1;
    }
    return len;
}

/* U+2581 stands for a space. */
static size_t spaces_decode(char *dst, const char *s, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= 3 && !memcmp(s + i, "\xe2\x96\x81", 3)) {
            dst[len++] = ' ';
            i += 3;
        } else {
            dst[len++] = s[i++];
        }
    }
    return len;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789ABCDEF", *p = memchr(digits, c, 16);
    return p ? (int)(p - digits) : -1;
}

/* The value of "<0xHH>", -1 if s is something else. */
static int byte_token_value(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>')
        return -1;
    const int hi = hex_digit(s[3]), lo = hex_digit(s[4]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

static bool is_word(const struct vocab *v, int32_t id, bool pure)
{
    size_t n;
    const char *s = vocab_text(v, id, &n);
    if (n == 0 || (v->bpe && !pure))
        return false;
    if (v->type[id] == TOKEN_NORMAL)
        return true;
    /* Raw spaces cannot come up: the text to merge has U+2581 in their place. */
    return !v->bpe && v->type[id] == TOKEN_USER && !memchr(s, ' ', n);
}

static void note_space_inside(struct vocab *v, const char *s, size_t n)
{
    for (size_t i = 1; i < n; i++)
        v->space_inside |= s[i] == ' ' && s[i - 1] != ' ';
}

static enum status add_pieces(struct vocab *v, struct error *err)
{
    uint32_t len = 0;
    for (int32_t id = 0; id < v->n; id++) {
        size_t n, k;
        bool pure = false;
        const char *s = vocab_text(v, id, &n);
        char *dst = v->piece.data + len;
        const int type = v->type[id], byte = byte_token_value(s, n);
        v->piece.at[id] = len;
        if (type == TOKEN_BYTE) {
            if (byte < 0)
                return fail(err, STATUS_BAD_FILE,
                            KEY_TOKENS "[%d] is a byte token but not written <0xHH>", id);
            k = 1;
            dst[0] = (char)byte;
            if (v->byte_id[byte] < 0)
                v->byte_id[byte] = id;
        } else if (v->bpe && type == TOKEN_NORMAL) {
            k = vocab_byte_decode(dst, s, n, &pure);
        } else if (!v->bpe && (type == TOKEN_NORMAL || type == TOKEN_USER)) {
            k = spaces_decode(dst, s, n);
        } else {
            memcpy(dst, s, k = n);
        }
        v->piece.at[id + 1] = len += (uint32_t)k;
        if (!is_word(v, id, pure))
            continue;
        note_space_inside(v, dst, k);
        if (!word_insert(v, id))
            return fail(err, STATUS_BAD_FILE,
                        KEY_TOKENS "[%d]: too many tokens with equal hashes", id);
    }
    return STATUS_OK;
}

/* ---- reading ---- */

static enum status read_tokens(struct vocab *v, const struct gguf *g, struct error *err)
{
    struct gguf_strings a = {0};
    enum status st = gguf_strings_open(&a, g, KEY_TOKENS, err);
    if (st)
        return st;
    size_t total = 0;
    if (a.n < 1 || a.n > VOCAB_MAX) {
        st = fail(err, STATUS_BAD_FILE,
                  KEY_TOKENS " has %zu entries, supported is 1 to %d", a.n,
                  (int)VOCAB_MAX);
        goto out;
    }
    for (size_t i = 0; i < a.n; i++) {
        const size_t n = gguf_strings_at(&a, i).n;
        total += n;
        if (n > TOKEN_BYTES_MAX || total >= UINT32_MAX) {
            st = fail(err, STATUS_BAD_FILE, KEY_TOKENS "[%zu] has %zu bytes, at most %d",
                      i, n, (int)TOKEN_BYTES_MAX);
            goto out;
        }
    }
    v->n = (int)a.n;
    v->text.data = mem_array(total, 1);
    v->text.at = mem_array(a.n + 1, sizeof *v->text.at);
    v->piece.data = mem_array(total, 1);
    v->piece.at = mem_array(a.n + 1, sizeof *v->piece.at);
    if (!v->text.data || !v->text.at || !v->piece.data || !v->piece.at) {
        st =
            fail(err, STATUS_NO_MEMORY, "no memory for a vocabulary of %zu bytes", total);
        goto out;
    }
    uint32_t len = 0;
    for (size_t i = 0; i < a.n; i++) {
        const struct gguf_str s = gguf_strings_at(&a, i);
        if (s.n)
            memcpy(v->text.data + len, s.s, s.n);
        v->text.at[i + 1] = len += (uint32_t)s.n;
    }
out:
    gguf_strings_close(&a);
    return st;
}

/* Position of an array with one entry a token, -1 (with an error if it has another
 * length). */
static enum status find_column(int *out, const struct gguf *g, const char *key, int n,
                               struct error *err)
{
    *out = gguf_find(g, key);
    if (*out < 0)
        return STATUS_OK;
    if (gguf_kv_type(g, *out) != GGUF_ARR)
        return fail(err, STATUS_BAD_FILE, "%s is not an array", key);
    if (gguf_kv_count(g, *out) != (uint64_t)n)
        return fail(err, STATUS_BAD_FILE, "%s has %llu entries for %d tokens", key,
                    (unsigned long long)gguf_kv_count(g, *out), n);
    return STATUS_OK;
}

static enum status read_types(struct vocab *v, const struct gguf *g, struct error *err)
{
    int at;
    const enum status st = find_column(&at, g, KEY_TYPES, v->n, err);
    if (st)
        return st;
    if (at < 0 && !v->bpe)
        return fail(err, STATUS_BAD_FILE, KEY_TYPES " is missing");
    for (int i = 0; i < v->n; i++) {
        int64_t type = TOKEN_NORMAL;
        if (at >= 0 && !gguf_kv_elem_int(g, at, (uint64_t)i, &type))
            return fail(err, STATUS_BAD_FILE, KEY_TYPES " is not an array of integers");
        if (type < 0 || type > TOKEN_BYTE)
            return fail(err, STATUS_BAD_FILE, KEY_TYPES "[%d] is %lld, not 1 to 6", i,
                        (long long)type);
        v->type[i] = type ? (uint8_t)type : TOKEN_NORMAL;
    }
    return STATUS_OK;
}

/* Unsigned integers in the reverse order of floats: the sign bit flips positive numbers,
 * all bits flip negative ones. */
static uint32_t score_prio(float score)
{
    uint32_t u;
    score += 0.0f; // -0 is 0
    memcpy(&u, &score, sizeof u);
    return ~(u & 0x80000000u ? ~u : u | 0x80000000u);
}

static enum status read_scores(struct vocab *v, const struct gguf *g, struct error *err)
{
    int at;
    const enum status st = find_column(&at, g, KEY_SCORES, v->n, err);
    if (st)
        return st;
    if (at < 0)
        return fail(err, STATUS_BAD_FILE, KEY_SCORES " is missing");
    v->prio = mem_array((size_t)v->n, sizeof *v->prio);
    if (!v->prio)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d token scores", v->n);
    for (int i = 0; i < v->n; i++) {
        double x;
        if (!gguf_kv_elem_f64(g, at, (uint64_t)i, &x) || !(x >= -3e38 && x <= 3e38))
            return fail(err, STATUS_BAD_FILE, KEY_SCORES "[%d] is not a finite number",
                        i);
        v->prio[i] = score_prio((float)x);
    }
    return STATUS_OK;
}

enum status vocab_open(struct vocab *v, const struct gguf *g, bool bpe, struct error *err)
{
    *v = (struct vocab){.bpe = bpe};
    enum status st = read_tokens(v, g, err);
    if (st)
        goto out;
    size_t n_slot = 16;
    while (n_slot < (size_t)v->n * 3 / 2)
        n_slot *= 2;
    v->slot_mask = (uint32_t)n_slot - 1;
    v->type = mem_array((size_t)v->n, 1);
    v->eog = mem_array((size_t)v->n, 1);
    v->visible = mem_array((size_t)v->n, 1);
    v->slot = mem_array(n_slot, sizeof *v->slot);
    if (!v->type || !v->eog || !v->visible || !v->slot) {
        st = fail(err, STATUS_NO_MEMORY, "no memory for a vocabulary of %d tokens", v->n);
        goto out;
    }
    for (size_t i = 0; i < n_slot; i++)
        v->slot[i].id = -1;
    for (int i = 0; i < 256; i++)
        v->byte_id[i] = -1;
    st = read_types(v, g, err);
    if (st)
        goto out;
    st = vocab_know(v, g, err);
    if (!st && !bpe)
        st = read_scores(v, g, err);
    if (st)
        goto out;
    st = add_pieces(v, err);
    for (int i = 0; !st && bpe && i < 256; i++) {
        const char c = (char)i;
        v->byte_id[i] = vocab_find(v, &c, 1);
    }
out:
    if (st)
        vocab_release(v);
    return st;
}

void vocab_release(struct vocab *v)
{
    mem_free(v->text.data);
    mem_free(v->text.at);
    mem_free(v->piece.data);
    mem_free(v->piece.at);
    mem_free(v->type);
    mem_free(v->eog);
    mem_free(v->visible);
    mem_free(v->rstrip);
    mem_free(v->prio);
    mem_free(v->slot);
    *v = (struct vocab){0};
}
