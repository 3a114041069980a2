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
