#include "tensor/dtype.h"

#include <string.h>

#include "tensor/dequant.h"

const struct dtype_traits *dtype_find(uint32_t id)
{
    static const struct dtype_traits traits[] = {
#define DTYPE(id, NAME, name, elems, bytes, dequant) [id] = {name, elems, bytes, dequant},
#include "tensor/dtypes.def"
#undef DTYPE
    };
    if (id >= sizeof traits / sizeof *traits || !traits[id].name)
        return NULL;
    return &traits[id];
}

float dtype_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t mag = h & 0x7fff;
    uint32_t bits;
    float f;
    if (mag >= 0x7c00) { // infinity, NaN (made quiet, as the hardware does)
        bits = 0x7f800000 | (mag & 0x3ff) << 13 | (mag > 0x7c00 ? 0x400000 : 0);
    } else if (mag >= 0x400) {
        bits = (mag << 13) + ((127 - 15) << 23);
    } else { // subnormal: mag * 2^-24
        f = (float)mag * 0x1p-24f;
        memcpy(&bits, &f, sizeof bits);
    }
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t dtype_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, mag = bits & 0x7fffffff;
    uint32_t h;
    if (mag > 0x7f800000) { // NaN, quiet, with the upper bits of its payload
        h = 0x7e00 | (mag >> 13 & 0x3ff);
    } else if (mag >= 0x477ff000) { // 65520 and above round to infinity
        h = 0x7c00;
    } else if (mag >= 0x38800000) { // normal: drop 13 bits, nearest even
        h = (mag - ((127 - 15) << 23) + 0xfff + (mag >> 13 & 1)) >> 13;
    } else { // subnormal: adding 0.5 aligns the value so that its unit is 2^-24
        float g;
        memcpy(&g, &mag, sizeof g);
        g += 0.5f;
        memcpy(&h, &g, sizeof h);
        h -= 0x3f000000;
    }
    return (uint16_t)(sign | h);
}
