#include "interpose/copy.h"

#include "base/mem.h"
#include "base/range.h"
#include "interpose/interpose.h"
#include "memory/ram.h"
#include "trap/backtrace.h"
#include "trap/probe.h"
#include "trap/trap.h"

#define MOST ((u64)0x7ffff000) /* MAX_RW_COUNT: the kernel moves no more at once, nor do we look at more */

/* Is all of a range of the machine RAM that is reached without a trap? */
static bool plain_ram(struct range machine)
{
    struct view_span span;

    if (view_trapped_any(interpose_view, machine))
        return false;
    for (u64 at = machine.base;; at = range_last(span.range) + 1) {
        span = view_find(interpose_view, at);
        if (span.kind != VIEW_RAM)
            return false;
        if (range_last(span.range) >= range_last(machine))
            return true;
    }
}

bool copy_touches_window(u64 at, u64 n)
{
    struct range r = {at, n};
    struct alias part;

    if (!range_valid(r))
        return false;
    while (alias_walk(r, &at, &part))
        if (!plain_ram((struct range){part.machine, part.range.size}))
            return true;
    return false;
}

unsigned copy_width(u64 machine, u64 left, u64 whole)
{
    if ((whole == 2 || whole == 4 || whole == 8) && left == whole && machine % whole == 0)
        return (unsigned)whole;
    return left >= 4 && machine % 4 == 0 ? 4 : 1;
}

/* What can be moved at once at an address: up to the end of its page, or one access. 0: nobody is there. */
static u64 move(u64 at, u8 *bytes, u64 left, u64 whole, bool to_program)
{
    u64 n = MIN(left, PAGE_SIZE - (at & ~PAGE_MASK)), machine;
    bool done;

    if (trap_concerns(at, &machine)) {
        n = copy_width(machine, left, whole);
        done = trap_allows(at, to_program) && trap_access(machine, bytes, (unsigned)n, to_program);
    } else {
        done = to_program ? probe_write(at, bytes, n) : probe_read(bytes, at, n);
    }
    return done ? n : 0;
}

u64 copy_reach(u64 at, u64 n, bool to_program)
{
    u64 done = 0, machine;
    u8 byte;

    while (done < n) {
        u64 here = at + done;
        bool ours = trap_concerns(here, &machine);

        if (ours ? !trap_allows(here, to_program) : to_program ? !probe_writable(here) : !probe_read(&byte, here, 1))
            break;
        done += MIN(n - done, PAGE_SIZE - (here & ~PAGE_MASK));
    }
    return done;
}

static u64 move_all(u64 at, u8 *bytes, u64 n, bool to_program)
{
    u64 done = 0, moved;

    while (done < n && (moved = move(at + done, bytes + done, n - done, n, to_program)))
        done += moved;
    return done;
}

u64 copy_in(void *to, u64 from, u64 n)
{
    return move_all(from, to, n, false);
}

u64 copy_out(u64 to, const void *from, u64 n)
{
    return move_all(to, (u8 *)(uintptr_t)from, n, true);
}

void copy_lint(const char *call, const struct iovec *vectors, unsigned count, bool to_program)
{
    u64 left = MOST;

    for (unsigned i = 0; i < count; i++) {
        u64 at = (u64)vectors[i].iov_base, n = MIN((u64)vectors[i].iov_len, left), end = at + n, machine;

        left -= n;
        if (!copy_touches_window(at, n))
            continue;
        for (; at < end; at = page_down(at) + PAGE_SIZE) {
            if (!trap_concerns(at, &machine) || !trap_allows(at, to_program))
                continue;
            trap_lint_buffer(machine, call);
            return;
        }
    }
}
