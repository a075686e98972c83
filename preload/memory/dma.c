#include "memory/dma.h"

#include "base/mem.h"
#include "memory/dirty.h"
#include "base/trapsafe.h"

static const struct view *view;

void dma_start(const struct machine *machine, const struct view *v)
{
    (void)machine;
    view = v;
}

/* Is all of it RAM? */
static bool all_ram(u64 addr, size_t len)
{
    while (len) {
        struct view_span span = view_find(view, addr);
        u64 n;

        if (span.kind != VIEW_RAM)
            return false;
        n = MIN(len, range_last(span.range) - addr + 1);
        addr += n;
        len -= n;
    }
    return true;
}

/* Where this process reaches RAM at addr, and how many bytes from there on. */
static u8 *reach(u64 addr, size_t *len)
{
    *len = MIN(*len, PAGE_SIZE - (addr & ~PAGE_MASK));
    return view_trapped(view, addr) ? ram_carved(addr) : (u8 *)addr;
}

bool dma_read(u64 addr, void *buf, size_t len)
{
    if (!all_ram(addr, len))
        return false;
    for (size_t n = len; len; len -= n, n = len) {
        const u8 *from = reach(addr, &n);

        if (!from)
            return false;
        memcpy(buf, from, n);
        buf = (u8 *)buf + n;
        addr += n;
    }
    return true;
}

bool dma_write(u64 addr, const void *buf, size_t len)
{
    if (!all_ram(addr, len))
        return false;
    for (size_t n = len; len; len -= n, n = len) {
        u8 *to = reach(addr, &n);

        if (!to)
            return false;
        dirty_allow(addr, n);
        dirty_mark(addr, n);
        memcpy(to, buf, n);
        buf = (const u8 *)buf + n;
        addr += n;
    }
    return true;
}
