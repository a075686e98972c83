/* read(2) and write(2) on /dev/mem: RAM is copied, registers are accessed at the width that the program asks for. */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "memory/dma.h"
#include "trap/backtrace.h"
#include "trap/thread.h"
#include "trap/trap.h"

/* One access of a register: of 1, 2, 4 or 8 bytes when that is all that is asked for, else in words of 4, else bytes. */
static unsigned width_at(u64 addr, size_t left, size_t whole)
{
    if ((whole == 2 || whole == 4 || whole == 8) && left == whole && addr % whole == 0)
        return (unsigned)whole;
    return left >= 4 && addr % 4 == 0 ? 4 : 1;
}

/* What lies at addr: RAM up to the end of its page, or one access. */
static long move_some(void *buf, size_t left, size_t whole, u64 addr, bool write)
{
    size_t n = MIN(left, PAGE_SIZE - (addr & ~PAGE_MASK));
    struct view_span span = view_find(interpose_view, addr);
    u8 bytes[PAGE_SIZE];
    bool done;

    if (span.kind == VIEW_RAM)
        n = MIN(n, range_last(span.range) - addr + 1);
    else
        n = width_at(addr, left, whole);
    if (write && !probe_read(bytes, (u64)buf, n))
        return -EFAULT;
    if (span.kind == VIEW_RAM)
        done = write ? dma_write(addr, bytes, n) : dma_read(addr, bytes, n);
    else
        done = trap_access(addr, bytes, (unsigned)n, write);
    if (!done || (!write && !probe_write((u64)buf, bytes, n)))
        return -EFAULT;
    return (long)n;
}

ssize_t files_mem_move(void *buf, size_t n, unsigned long offset, bool write)
{
    size_t done = 0;
    u64 mask;
    long got = 0;

    n = MIN(n, (size_t)0x7ffff000);
    signals_mask(&mask);
    while (done < n && (got = move_some((u8 *)buf + done, n - done, n, offset + done, write)) > 0)
        done += (size_t)got;
    signals_restore(&mask);
    return done || got >= 0 ? (ssize_t)done : interpose_result(got);
}

ssize_t files_mem_stream(int fd, void *buf, size_t n, bool write)
{
    long offset = sys(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done;

    if (offset < 0)
        return interpose_result(offset);
    done = files_mem_move(buf, n, (u64)offset, write);
    if (done > 0)
        sys(SYS_lseek, fd, offset + done, SEEK_SET);
    return done;
}
