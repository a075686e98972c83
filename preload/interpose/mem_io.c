/* read(2) and write(2) on /dev/mem: RAM is copied, registers are accessed at the width that the program asks for. */
#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/copy.h"
#include "interpose/files.h"
#include "interpose/interpose.h"
#include "memory/dma.h"
#include "trap/backtrace.h"
#include "trap/thread.h"
#include "trap/trap.h"

/* What lies at addr: RAM up to the end of its page, or one access. */
static long move_some(u64 buf, size_t left, size_t whole, u64 addr, bool write)
{
    size_t n = MIN(left, PAGE_SIZE - (addr & ~PAGE_MASK));
    struct view_span span = view_find(interpose_view, addr);
    u8 bytes[PAGE_SIZE];
    bool done;

    if (span.kind == VIEW_RAM)
        n = MIN(n, range_last(span.range) - addr + 1);
    else
        n = copy_width(addr, left, whole);
    if (write && !probe_read(bytes, buf, n))
        return -EFAULT;
    if (span.kind == VIEW_RAM)
        done = write ? dma_write(addr, bytes, n) : dma_read(addr, bytes, n);
    else
        done = trap_access(addr, bytes, (unsigned)n, write);
    if (!done || (!write && !probe_write(buf, bytes, n)))
        return -EFAULT;
    return (long)n;
}

long files_mem_move(u64 buf, u64 n, u64 offset, bool write)
{
    size_t done = 0;
    long got = 0;

    n = MIN(n, (size_t)0x7ffff000);
    while (done < n && (got = move_some(buf + done, n - done, n, offset + done, write)) > 0)
        done += (size_t)got;
    return done || got >= 0 ? (long)done : got;
}

long files_mem_stream(int fd, u64 buf, u64 n, bool write)
{
    long offset = sys(SYS_lseek, fd, 0, SEEK_CUR);
    long done;

    if (offset < 0)
        return offset;
    done = files_mem_move(buf, n, (u64)offset, write);
    if (done > 0)
        sys(SYS_lseek, fd, offset + done, SEEK_SET);
    return done;
}
