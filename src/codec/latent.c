/* latent.c - values that are the first channels of the keys, read from key pages. */
#include "codec/latent.h"

#include <string.h>

#include "codec/parts.h"
#include "turboquant.h"

bool tq_latent_supported(enum tq_type t, int dk, int dv)
{
    if (!tq_type_supported(t, TQ_KEY, dk) || !tq_type_supported(t, TQ_VALUE, dv))
        return false;
    if (tq_type_compressed(t))
        return dk == TQ_DIM_MAX && dv == TQ_PART_MAX;
    return dv <= dk;
}

/* Byte i of out[j] <- byte j of in[i]. */
static void transpose_bytes(uint32_t *out, const uint32_t *in)
{
    const uint32_t even = 0x00ff00ffu, low = 0xffffu;
    const uint32_t a = (in[0] & even) | (in[1] & even) << 8;
    const uint32_t b = (in[2] & even) | (in[3] & even) << 8;
    const uint32_t c = (in[0] >> 8 & even) | (in[1] & ~even);
    const uint32_t d = (in[2] >> 8 & even) | (in[3] & ~even);
    out[0] = (a & low) | b << 16;
    out[1] = (c & low) | d << 16;
    out[2] = a >> 16 | (b & ~low);
    out[3] = c >> 16 | (d & ~low);
}

void tq_latent_levels(int8_t *v, const uint8_t *k, int d, int tile0, int tile1)
{
    for (int tile = tile0; tile < tile1; tile++)
        for (int i = 0; i < d; i += 4)
            for (int j = 0; j < 16; j += 4) {
                uint32_t keys[4], dims[4];
                memcpy(keys, k + tile * 16 * d + i * 16 + j * 4, sizeof keys);
                transpose_bytes(dims, keys);
                for (int n = 0; n < 4; n++)
                    dims[n] ^= 0x80808080u; // level + 128 to two's complement
                memcpy(v + (16 * tile + j) * d + i * 4, dims, sizeof dims);
            }
}

/* Elements of one tile: rows [16][dv] <- page [dk][16]. */
static void rows_of_16_bits(uint16_t *rows, const uint16_t *page, int dv)
{
    for (int i = 0; i < dv; i++)
        for (int j = 0; j < TQ_TILE_TOKENS; j++)
            rows[j * dv + i] = page[i * TQ_TILE_TOKENS + j];
}

static void rows_of_32_bits(uint32_t *rows, const uint8_t *page, int dv)
{
    for (int i = 0; i < dv; i++)
        for (int j = 0; j < TQ_TILE_TOKENS; j++)
            memcpy(&rows[j * dv + i], page + 4 * (i * TQ_TILE_TOKENS + j), 4);
}

void tq_latent_rows(void *rows, const void *page, int element_bytes, int dk, int dv,
                    int tile0, int tile1)
{
    for (int tile = tile0; tile < tile1; tile++) {
        const uint8_t *from =
            (const uint8_t *)page + tile * TQ_TILE_TOKENS * dk * element_bytes;
        const int to = tile * TQ_TILE_TOKENS * dv;
        if (element_bytes == 2)
            rows_of_16_bits((uint16_t *)rows + to, (const void *)from, dv);
        else
            rows_of_32_bits((uint32_t *)rows + to, from, dv);
    }
}
