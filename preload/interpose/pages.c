/* What becomes of pages that are mapped: their protection, advice about them, locks. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/fmt.h"
#include "base/mem.h"
#include "base/sys.h"
#include "interpose/interpose.h"
#include "interpose/memory.h"
#include "memory/dirty.h"
#include "patch/patch.h"
#include "trap/backtrace.h"

/* --- mprotect --- */

/* Would the kernel take this protection key? */
static long try_key(int key)
{
    void *page = sys_pages(PAGE_SIZE);
    long ret;

    if (!page)
        return -ENOMEM;
    ret = sys(SYS_pkey_mprotect, page, PAGE_SIZE, PROT_READ, key);
    sys_munmap(page, PAGE_SIZE);
    return ret;
}

static enum call_answer protect(struct call *call, int key)
{
    struct range r = call_pages(call->a[0], call->a[1]);
    int prot = (int)call->a[2];
    long ret;

    if (prot & PROT_WRITE)
        patch_leave_alone(r.base, r.size);
    if ((prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)) || !call_on_machine(r))
        return CALL_PASS;
    ret = key == -1 ? 0 : try_key(key);
    return call_done(call, ret < 0 ? ret : dirty_protect(r, prot, key));
}

enum call_answer call_mprotect(struct call *call)
{
    return protect(call, -1);
}

enum call_answer call_pkey_mprotect(struct call *call)
{
    return protect(call, (int)call->a[3]);
}

/* --- madvise --- */

/* Advice that concerns the machine; to all other RAM is a file like any other. */
static bool of_concern(int advice)
{
    return advice == MADV_REMOVE || advice == MADV_POPULATE_WRITE || advice == MADV_DONTFORK || advice == MADV_DOFORK;
}

static long advise_fork(struct range r, u64 length, int advice)
{
    long ret;

    alias_hold();
    ret = sys(SYS_madvise, r.base, length, advice);
    if (ret == 0)
        alias_fork(r, advice == MADV_DOFORK);
    alias_release();
    return ret;
}

static long advise(u64 addr, u64 length, int advice)
{
    struct range r = call_pages(addr, length);

    if (call_on_machine(r)) {
        if (advice == MADV_DONTFORK || advice == MADV_DOFORK)
            return advise_fork(r, length, advice);
        if (advice == MADV_REMOVE && alias_sealed(r))
            return -EACCES;
        dirty_touch(r); /* it is changed, or is made writable */
    }
    return sys(SYS_madvise, addr, length, advice);
}

enum call_answer call_madvise(struct call *call)
{
    int advice = (int)call->a[2];

    /* What comes back is the file's, at a time that we do not know: nothing of ours may come there meanwhile. */
    if ((advice == MADV_DONTNEED || advice == MADV_REMOVE) && patch_covers(call->a[0], call->a[1]))
        patch_leave_alone(call->a[0], page_up(call->a[1]));
    if (!of_concern(advice) || !call_on_machine(call_pages(call->a[0], call->a[1])))
        return CALL_PASS;
    return call_done(call, advise(call->a[0], call->a[1], advice));
}

/* Is a descriptor a pidfd of this process? From Linux 6.14 on, some numbers are. */
static bool is_ourselves(int fd)
{
    char path[48], text[512] = "", pid[32];
    struct fmt p = FMT_INIT(path), want = FMT_INIT(pid);

    if (fd == -10000 || fd == -10001) /* PIDFD_SELF_THREAD, PIDFD_SELF_THREAD_GROUP */
        return true;
    fmt_printf(&p, "/proc/self/fdinfo/%d", fd);
    fmt_printf(&want, "\nPid:\t%d\n", sys_getpid());
    return fd >= 0 && sys_read_file(fmt_end(&p), text, sizeof(text) - 1) > 0 && strstr(text, fmt_end(&want));
}

/* For other processes the kernel takes nothing of concern (process_madvise(2)), for this one from 6.13 on. */
enum call_answer call_process_madvise(struct call *call)
{
    struct iovec none = {0}, one;
    int advice = (int)call->a[3];
    u64 done = 0;
    long ret;

    if (!of_concern(advice) || call->a[2] > UIO_MAXIOV || !is_ourselves((int)call->a[0]))
        return CALL_PASS;
    ret = sys(SYS_process_madvise, call->a[0], &none, 1, call->a[3], call->a[4]);
    for (u64 i = 0; ret == 0 && i < call->a[2]; i++) {
        if (!probe_read(&one, call->a[1] + i * sizeof(one), sizeof(one)))
            ret = -EFAULT;
        else
            ret = advise((u64)one.iov_base, one.iov_len, advice);
        if (ret == 0)
            done += one.iov_len;
    }
    return call_done(call, done ? (long)done : ret);
}

/* --- mlock --- */

struct locker {
    const struct call *call;
    long error;
};

static void lock_range(struct locker *l, u64 from, u64 size)
{
    if (!l->error && size)
        l->error = sys((long)l->call->nr, from, size, l->call->a[2]);
}

static void lock_stretch(void *context, const struct stretch *s)
{
    lock_range(context, s->addr, s->ram.size);
}

/* As with every mapping of a device, there is nothing to lock in a window, mlock(2) passes it by. */
enum call_answer call_mlock(struct call *call)
{
    struct range r = {page_down(call->a[0]), page_up(call->a[1] + (call->a[0] & ~PAGE_MASK))};
    u64 from = r.base, at = from;
    struct locker l = {call, 0};
    struct alias part;

    if (!call_on_machine(r))
        return CALL_PASS;
    l.error = sys((long)call->nr, r.base, 0, call->a[2]); /* what it refuses whatever there is */
    while (alias_walk(r, &at, &part)) {
        lock_range(&l, from, part.range.base - from);
        alias_stretches(interpose_view, interpose_machine->desc, &part, lock_stretch, &l);
        from = at;
    }
    lock_range(&l, from, r.size - (from - r.base));
    return call_done(call, l.error);
}
