/*
 * Stubs: executable copies of instructions. A pool is a memfd mapped twice,
 * once writable and once executable, so no page is ever both. Its first slot
 * counts the used ones; the count lies in the shared pages, so that a process
 * that was cloned without telling us still takes slots of its own.
 */
#include <errno.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/sys.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

#define POOL_BYTES ((u32)1 << 20)
#define POOL_SLOTS (POOL_BYTES / STUB_SLOT)

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3: else vm.memfd_noexec may forbid it */
#endif

struct pool {
    u8 *writable;
    const u8 *executable;
};

/* Stubs by content: a tree of hash bits, insertion by one compare and exchange. */
struct stub {
    struct stub *child[4];
    const u8 *code;
    u8 length;
    u8 bytes[15];
};

static struct pool *current;
static struct stub *root;

static int pool_file(void)
{
    long fd = sys(SYS_memfd_create, "mmioshim-stubs", MFD_CLOEXEC | MFD_EXEC);

    if (fd == -EINVAL)
        fd = sys(SYS_memfd_create, "mmioshim-stubs", MFD_CLOEXEC);
    if (fd >= 0 && sys(SYS_ftruncate, fd, POOL_BYTES) < 0) {
        sys_close((int)fd);
        fd = -1;
    }
    return fd < 0 ? -1 : (int)fd;
}

static bool pool_map(struct pool *pool)
{
    int fd = pool_file();
    void *rw, *rx;

    if (fd < 0)
        return false;
    rw = sys_mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = sys_mmap(NULL, POOL_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    sys_close(fd);
    if (sys_failed((long)rw) || sys_failed((long)rx)) {
        if (!sys_failed((long)rw))
            sys_munmap(rw, POOL_BYTES);
        if (!sys_failed((long)rx))
            sys_munmap(rx, POOL_BYTES);
        return false;
    }
    sys(SYS_madvise, rw, POOL_BYTES, MADV_DONTDUMP);
    sys(SYS_madvise, rx, POOL_BYTES, MADV_DONTDUMP);
    pool->writable = rw;
    pool->executable = rx;
    *(u32 *)rw = 1;
    return true;
}

static void pool_unmap(struct pool *pool)
{
    sys_munmap(pool->writable, POOL_BYTES);
    sys_munmap((void *)pool->executable, POOL_BYTES);
}

/* The pool that takes the next stub; `full` is the one that has no more room. */
static struct pool *pool_next(struct pool *full)
{
    struct pool *fresh = cpu_arena(sizeof(*fresh));

    if (!fresh || !pool_map(fresh))
        return NULL;
    if (!__atomic_compare_exchange_n(&current, &full, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        pool_unmap(fresh);
        return full;
    }
    return fresh;
}

/*
 * The instruction, then jmp *8(%rsp) back to stub.S, then int3.
 * x86 keeps instruction fetch coherent with stores to the same physical page;
 * the slot was never executed, so nothing stale of it can be in a pipeline.
 */
static void write_slot(u8 *slot, const u8 *bytes, unsigned length)
{
    static const u8 back[] = {0xff, 0x64, 0x24, 0x08};

    memset(slot, 0xcc, STUB_SLOT);
    memcpy(slot, bytes, length);
    memcpy(slot + length, back, sizeof(back));
}

/* No descriptor or no memfd to be had: one page for one stub, written before it is made executable. */
static const u8 *write_page(const u8 *bytes, unsigned length)
{
    u8 *page = sys_pages(PAGE_SIZE);

    if (!page)
        return NULL;
    write_slot(page, bytes, length);
    if (sys_mprotect(page, PAGE_SIZE, PROT_READ | PROT_EXEC) < 0) {
        sys_munmap(page, PAGE_SIZE);
        return NULL;
    }
    return page;
}

static const u8 *write_stub(const u8 *bytes, unsigned length)
{
    struct pool *pool = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    u32 slot;

    while (pool) {
        slot = __atomic_load_n((u32 *)pool->writable, __ATOMIC_RELAXED);
        if (slot < POOL_SLOTS)
            slot = __atomic_fetch_add((u32 *)pool->writable, 1, __ATOMIC_RELAXED);
        if (slot < POOL_SLOTS) {
            write_slot(pool->writable + slot * STUB_SLOT, bytes, length);
            return pool->executable + slot * STUB_SLOT;
        }
        pool = pool_next(pool);
    }
    pool = pool_next(NULL);
    return pool ? write_stub(bytes, length) : write_page(bytes, length);
}

static u64 hash(const u8 *bytes, unsigned length)
{
    u64 h = 0xcbf29ce484222325u + length; /* FNV-1a */

    for (unsigned i = 0; i < length; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

static struct stub *new_stub(const u8 *bytes, unsigned length)
{
    struct stub *s = cpu_arena(sizeof(*s));

    if (!s)
        return NULL;
    s->code = write_stub(bytes, length);
    s->length = (u8)length;
    memcpy(s->bytes, bytes, length);
    return s->code ? s : NULL;
}

const u8 *stub_make(const u8 *bytes, unsigned length)
{
    struct stub **place = &root, *fresh = NULL;
    u64 h = hash(bytes, length);

    for (;;) {
        struct stub *s = __atomic_load_n(place, __ATOMIC_ACQUIRE);

        if (!s) {
            if (!fresh)
                fresh = new_stub(bytes, length);
            if (!fresh)
                return NULL;
            if (__atomic_compare_exchange_n(place, &s, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return fresh->code;
        }
        if (s->length == length && memcmp(s->bytes, bytes, length) == 0)
            return s->code;
        place = &s->child[h >> 62];
        h <<= 2;
    }
}

int stub_init(void)
{
    return current || pool_next(NULL) ? 0 : -1;
}

void stub_after_fork(void)
{
    __atomic_store_n(&current, NULL, __ATOMIC_RELEASE);
}
