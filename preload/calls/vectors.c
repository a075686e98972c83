/* The program's vector registers: around code that may change them, and in signal frames that we make. */
#include "calls/vectors.h"

#include <signal.h>

#include "base/mem.h"
#include "calls/calls.h"
#include "base/trapsafe.h"

#define HEADER_END 576            /* of the header of an XSAVE area (SDM vol. 1, 13.4) */
#define TILES      ((u64)3 << 17) /* AMX, configuration and data: nobody we call touches them */
#define TILE_DATA  ((u64)1 << 18) /* 8 KiB of them */

static u64 xgetbv(u32 which)
{
    u32 low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(which));
    return (u64)high << 32 | low;
}

static u64 component_end(u32 component)
{
    u32 a = 13, b, c = component, d;

    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)); /* EAX: bytes, EBX: offset (SDM vol. 1, 13.2) */
    return (u64)a + b;
}

/* Bytes of an area of the standard format, with or without the tiles' data. Kept: CPUID is slow in virtual machines. */
static u64 area_size(bool data)
{
    static u64 sizes[2];
    u64 *size = &sizes[data], end = HEADER_END, enabled = xgetbv(0);

    if (*size)
        return *size;
    for (u64 rest = enabled & (data ? ~(u64)3 : ~(TILE_DATA | 3)); rest; rest &= rest - 1)
        end = MAX(end, component_end((u32)__builtin_ctzll(rest)));
    return *size = end;
}

static void save(u8 *area, u64 components)
{
    memset(area + 512, 0, 64);
    __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"((u32)components), "d"((u32)(components >> 32)) : "memory");
}

void calls_guarded(void (*function)(void *), void *argument)
{
    u64 components = xgetbv(0) & ~TILES;
    u8 *area = (u8 *)(((u64)__builtin_alloca(area_size(false) + 64) + 63) & ~(u64)63);

    save(area, components);
    function(argument);
    __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"((u32)components), "d"((u32)(components >> 32)) : "memory");
}

/*
 * What the kernel has room for in this thread's frames. It takes one that is larger for one of FXSAVE, and everything
 * but x87 and xmm is in its initial state then (Linux arch/x86/kernel/fpu/signal.c, check_xstate_in_sigframe). For the
 * tiles' data there is room from their first use on; XINUSE (xgetbv with ECX = 1, on every CPU that has tiles) tells.
 */
static u64 frame_components(void)
{
    u64 enabled = xgetbv(0);

    return enabled & TILE_DATA && !(xgetbv(1) & TILE_DATA) ? enabled & ~TILE_DATA : enabled;
}

/* Offsets and magic numbers: Linux arch/x86/include/uapi/asm/sigcontext.h. */
struct sw_reserved {
    u32 magic, extended_size;
    u64 features;
    u32 size;
};

void vectors_save(u8 *area)
{
    u64 components = frame_components(), size = area_size(components & TILE_DATA);
    u32 magic = FP_XSTATE_MAGIC2;
    struct sw_reserved sw = {FP_XSTATE_MAGIC1, (u32)size + 4, components, (u32)size};

    save(area, components);
    memcpy(area + 464, &sw, sizeof(sw));
    memcpy(area + size, &magic, sizeof(magic));
}
