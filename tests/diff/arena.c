#include "arena.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runner.h"

/* Stretches of the image. */
static const struct part {
    u32 addr, size, at;
    bool window;
} parts[] = {
    {BELOW, 0x1000, 0, false},
    {WINDOW, WINDOW_SIZE, 0x1000, true},
    {ABOVE, 0x1000, 0x3000, false}, /* number 2: arena_read_only */
    {LONE, LONE_SIZE, 0x4000, true},
};

u8 arena_image[IMAGE_BYTES];
bool arena_read_only;
static u8 native_image[IMAGE_BYTES], trapped_image[IMAGE_BYTES];
static u8 *storage[ARRAY_SIZE(parts)]; /* of a window: the bytes that the device keeps */

static u8 *native(const struct part *p)
{
    return (u8 *)(u64)p->addr;
}

/*
 * mprotect(2) behind the library's back: it must not learn that a window is memory for a while. Instructions of files
 * are met by it, those of code that a program makes itself are not.
 */
static long protect(const struct part *p, int prot)
{
    static const u8 code[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
    static void *made;
    long ret;

    if (!made) {
        made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(made, code, sizeof(code));
        mprotect(made, 4096, PROT_READ | PROT_EXEC);
    }
    __asm__ volatile("call *%5"
                     : "=a"(ret)
                     : "a"(SYS_mprotect), "D"((u64)p->addr), "S"((u64)p->size), "d"((long)prot), "r"(made)
                     : "rcx", "r11", "r10", "memory");
    return ret;
}

/* ---- where a window keeps its bytes: writes a mark through the trap and looks for it in what is shared ---- */

static u8 *find_mark(const u64 mark[4])
{
    FILE *f = fopen("/proc/self/maps", "r");
    unsigned long first, last;
    char line[300], access[8];
    u8 *found = NULL;

    while (f && !found && fgets(line, sizeof(line), f))
        if (sscanf(line, "%lx-%lx %7s", &first, &last, access) == 3 && strcmp(access, "rw-s") == 0 &&
            strstr(line, "mmioshim-arena"))
            found = memmem((const void *)first, last - first, mark, 32);
    if (f)
        fclose(f);
    return found;
}

static u8 *find_storage(const struct part *p)
{
    volatile u64 *window = (volatile u64 *)native(p);
    u64 mark[4];
    u8 *found;

    for (unsigned i = 0; i < 4; i++)
        window[i] = mark[i] = rnd();
    found = find_mark(mark);
    /* It must be the device's: a write there shows in the window. */
    if (found) {
        found[p->size - 1] = 0x5a;
        if (((volatile u8 *)window)[p->size - 1] != 0x5a)
            found = NULL;
    }
    return found;
}

static bool map_ordinary(const struct part *p)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

    return mmap(native(p), p->size, PROT_READ | PROT_WRITE, flags, -1, 0) == native(p);
}

bool arena_init(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        if (!parts[i].window && !map_ordinary(&parts[i])) {
            printf("Bail out! no memory at %#x\n", parts[i].addr);
            return false;
        }
        if (parts[i].window)
            storage[i] = find_storage(&parts[i]);
        if (parts[i].window && !storage[i]) {
            printf("Bail out! the window at %#x shows no storage\n", parts[i].addr);
            return false;
        }
        arena_randomise(parts[i].addr, parts[i].size);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        if (parts[i].window) {
            memcpy(storage[i], arena_image + parts[i].at, parts[i].size);
            if (protect(&parts[i], PROT_READ | PROT_WRITE) < 0)
                return false;
            memcpy(native(&parts[i]), arena_image + parts[i].at, parts[i].size);
            protect(&parts[i], PROT_NONE);
        } else {
            memcpy(native(&parts[i]), arena_image + parts[i].at, parts[i].size);
        }
    return true;
}

/* ---- contents ---- */

/* What of the image changed since both memories were made equal to it. */
static u32 stale_first = IMAGE_BYTES, stale_end;

static void put_part(const struct part *p, u64 addr, const u8 *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (addr + i - p->addr < p->size) {
            u32 at = (u32)(addr + i - p->addr) + p->at;

            arena_image[at] = bytes[i];
            stale_first = MIN(stale_first, at);
            stale_end = MAX(stale_end, at + 1);
        }
}

void arena_put(u64 addr, const void *bytes, unsigned n)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        if (addr - parts[i].addr < parts[i].size || parts[i].addr - addr < n)
            put_part(&parts[i], addr, bytes, n);
}

void arena_randomise(u64 addr, unsigned n)
{
    u8 bytes[256];

    for (unsigned done = 0; done < n; done += sizeof(bytes)) {
        unsigned piece = MIN(n - done, (unsigned)sizeof(bytes));

        random_bytes(bytes, piece);
        arena_put(addr + done, bytes, piece);
    }
}

u64 arena_address(unsigned offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        if (offset - parts[i].at < parts[i].size)
            return parts[i].addr + offset - parts[i].at;
    return 0;
}

static void refresh(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        const struct part *p = &parts[i];
        u32 first = MAX(stale_first, p->at), end = MIN(stale_end, p->at + p->size);

        if (first >= end)
            continue;
        memcpy(native(p) + (first - p->at), arena_image + first, end - first);
        if (p->window)
            memcpy(storage[i] + (first - p->at), arena_image + first, end - first);
    }
    stale_first = IMAGE_BYTES;
    stale_end = 0;
}

/* Copies what differs from the image into `out`, and puts the image back. */
static void take(const struct part *p, u8 *memory, u8 *out)
{
    memcpy(out + p->at, memory, p->size);
    if (memcmp(memory, arena_image + p->at, p->size) != 0)
        memcpy(memory, arena_image + p->at, p->size);
}

void arena_open(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        if (parts[i].window)
            protect(&parts[i], PROT_READ | PROT_WRITE);
    refresh();
    if (arena_read_only)
        protect(&parts[2], PROT_READ);
}

const u8 *arena_close(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        take(&parts[i], native(&parts[i]), native_image);
        if (parts[i].window)
            protect(&parts[i], PROT_NONE);
    }
    return native_image;
}

const u8 *arena_take(void)
{
    if (arena_read_only)
        protect(&parts[2], PROT_READ | PROT_WRITE);
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        take(&parts[i], parts[i].window ? storage[i] : native(&parts[i]), trapped_image);
    return trapped_image;
}
