/*
 * Code that comes, goes and changes: libraries, mappings of files, a program
 * that rewrites itself, code that was written a moment ago. What runs must be
 * what is there now; what is nobody else's must not change.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parts.h"
#include "text.h"

#define PAGE 4096u
#define HOT 40u /* runs after which every site is hot */

/* --- libraries --- */

/* NUMBER LIBRARY...: each is loaded, run and unloaded by turns. */
void reload(int argc, char **argv)
{
    unsigned times = (unsigned)argument(argc, argv, 0, 10), again = 0, gone = 0;
    const void *last[16] = {0}, *everywhere = NULL;
    struct lane lane;

    lane_fill(&lane, 9, 9);
    for (unsigned i = 0; i < times; i++) {
        const char *name = argv[1 + (int)i % (argc - 1)];
        void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
        struct set set = set_of(library);
        const struct link_map *map = library;
        Dl_info info;

        again += everywhere == (void *)map->l_addr && last[i % 16] != set.all;
        everywhere = (void *)map->l_addr;
        last[i % 16] = set.all;
        /* Hot, or for some not quite. */
        for (unsigned r = 0; r < (i % 3 == 2 ? 5 : HOT / 2); r++)
            for (unsigned k = 0; k < set.n; k++)
                if (!set.all[k].fixed)
                    lane_run(&lane, &set.all[k], 2);
        lane_check(&lane, name);
        dlclose(library);
        gone += dladdr(everywhere, &info) == 0;
    }
    printf("loads %u\nagain %u\ngone %u\n", times, again, gone);
}

/* --- functions of a few bytes --- */

typedef uint64_t small_fn(volatile void *at, uint64_t x);

/* A number to return stands at `constant`, of 4 bytes; 0: none. */
static const struct small {
    const char *name;
    uint8_t length, constant, code[29];
} smalls[] = {
    /* mov eax,[rdi]; lea rax,[rax+rsi+K]; ret */
    {"load", 11, 6, {0x8b, 0x07, 0x48, 0x8d, 0x84, 0x30, 0x11, 0, 0, 0, 0xc3}},
    /* mov [rdi],esi; mov eax,K; ret */
    {"store", 8, 3, {0x89, 0x37, 0xb8, 0x22, 0, 0, 0, 0xc3}},
    /* add dword [rdi],K; mov eax,[rdi]; ret */
    {"add", 9, 2, {0x81, 0x07, 0x33, 0, 0, 0, 0x8b, 0x07, 0xc3}},
    /* mov [rdi],sil; mov [rdi+1],sil; mov [rdi+2],sil; movzx eax,byte [rdi+1]; add rax,K; ret */
    {"bytes", 22, 17, {0x40, 0x88, 0x37, 0x40, 0x88, 0x77, 1, 0x40, 0x88, 0x77, 2, 0x0f, 0xb6, 0x47, 1, 0x48, 0x05, 0x44, 0, 0, 0, 0xc3}},
    /* mov dword [rdi],K; mov eax,[rdi]; ret */
    {"constant", 9, 2, {0xc7, 0x07, 0x55, 0, 0, 0, 0x8b, 0x07, 0xc3}},
    /* mov eax,[rdi]; mov ecx,[rdi+4]; add rax,rcx; add rax,K; ret */
    {"two", 15, 10, {0x8b, 0x07, 0x8b, 0x4f, 4, 0x48, 0x01, 0xc8, 0x48, 0x05, 0x66, 0, 0, 0, 0xc3}},
};
#define SMALLS (sizeof(smalls) / sizeof(*smalls))

/* What the function does, in C. */
static uint64_t model(unsigned which, uint32_t k, uint8_t *memory, uint64_t x)
{
    uint32_t w[2];

    memcpy(w, memory, 8);
    switch (which) {
    case 0: return (uint64_t)w[0] + x + k;
    case 1: w[0] = (uint32_t)x; memcpy(memory, w, 4); return k;
    case 2: w[0] += k; memcpy(memory, w, 4); return w[0];
    case 3: memset(memory, (uint8_t)x, 3); return (uint8_t)x + (uint64_t)k;
    case 4: memcpy(memory, &k, 4); return k;
    default: return (uint64_t)w[0] + w[1] + k;
    }
}

static void put_small(uint8_t *at, unsigned which, uint32_t k)
{
    memcpy(at, smalls[which].code, smalls[which].length);
    memcpy(at + smalls[which].constant, &k, 4);
}

/* `times` runs by turns on the window and on memory; each does what the code there should. */
static void run_small(const uint8_t *at, unsigned which, uint32_t k, unsigned times, const char *who)
{
    static uint64_t random = 4711;
    uint8_t should[8], got[8], memory[8];
    volatile uint64_t *window = (volatile uint64_t *)window_of(11);
    uint64_t begin = next_random(&random);

    memcpy(should, &begin, 8);
    memcpy(memory, &begin, 8);
    *window = begin;
    for (unsigned i = 0; i < times; i++) {
        uint64_t x = next_random(&random), want = model(which, k, should, x);

        if (((small_fn *)(uintptr_t)at)(window, x) != want || ((small_fn *)(uintptr_t)at)(memory, x) != want)
            FAIL("%s: %s returns something else, run %u", who, smalls[which].name, i);
        add(&comparisons, 2);
    }
    begin = *window;
    memcpy(got, &begin, 8);
    if (memcmp(got, should, 8) != 0 || memcmp(memory, should, 8) != 0)
        FAIL("%s: %s leaves something else", who, smalls[which].name);
    add(&calls_made, times);
}

/* --- mappings of files --- */

/* A page with function `first` at 0, the next one right behind it, and so on. */
static int code_file(unsigned first, uint32_t k)
{
    char name[] = "/tmp/stress-XXXXXX";
    int fd = mkstemp(name);
    uint8_t page[PAGE];
    unsigned at = 0;

    memset(page, 0xcc, PAGE);
    for (unsigned i = 0; i < SMALLS; i++) {
        put_small(page + at, (first + i) % SMALLS, k + i);
        at += smalls[(first + i) % SMALLS].length;
    }
    unlink(name);
    if (fd < 0 || write(fd, page, PAGE) != PAGE)
        exit(93);
    return fd;
}

static void run_page(const uint8_t *page, unsigned first, uint32_t k, unsigned times, const char *who)
{
    for (unsigned i = 0; i < SMALLS; i++) {
        run_small(page, (first + i) % SMALLS, k + i, times, who);
        page += smalls[(first + i) % SMALLS].length;
    }
}

/* What runs, and stays as it is. */
static void run_unchanged(uint8_t *page, unsigned first, uint32_t k, unsigned times, const char *who)
{
    uint8_t before[PAGE];

    memcpy(before, page, PAGE);
    run_page(page, first, k, times, who);
    if (memcmp(before, page, PAGE) != 0)
        FAIL("%s: its bytes changed", who);
    add(&comparisons, 1);
}

static uint8_t *map_code(void *at, int fd, int flags)
{
    uint8_t *page = mmap(at, PAGE, PROT_READ | PROT_EXEC, flags | (at ? MAP_FIXED : 0), fd, 0);

    if (page == MAP_FAILED) {
        perror("mmap of code");
        exit(93);
    }
    return page;
}

/* [ROUNDS]: files with other code at the same address, by munmap, over it, moved away, thrown away. */
void mapped(int argc, char **argv)
{
    unsigned rounds = (unsigned)argument(argc, argv, 0, 12);
    int fds[SMALLS];
    uint8_t *page, *other = NULL;

    for (unsigned i = 0; i < SMALLS; i++)
        fds[i] = code_file(i, 1000 * (i + 1));
    page = map_code(NULL, fds[0], MAP_PRIVATE);
    for (unsigned r = 0; r < rounds; r++) {
        unsigned n = r % SMALLS;

        run_page(page, n, 1000 * (n + 1), HOT, "mapped");
        if (r % 4 == 3) { /* from now on it runs at another address */
            if (other)
                munmap(other, PAGE);
            other = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other) != other)
                exit(93);
            run_page(other, n, 1000 * (n + 1), HOT, "moved");
        } else if (r % 4 == 2) {
            madvise(page, PAGE, MADV_DONTNEED);
            run_page(page, n, 1000 * (n + 1), HOT, "read again");
        } else if (r % 4 == 1) {
            munmap(page, PAGE);
        }
        n = (r + 1) % SMALLS;
        map_code(page, fds[n], MAP_PRIVATE);
    }
    munmap(page, PAGE);
    page = map_code(NULL, fds[1], MAP_SHARED);
    run_unchanged(page, 1, 2000, 1000, "shared text");
    printf("mappings %u\n", rounds);
}

/* --- code of the program's own making --- */

static void one_jit(uint8_t *page, unsigned first, uint32_t k, int writable, int final)
{
    unsigned at = 0;

    CHECK(mprotect(page, PAGE, writable) == 0);
    for (unsigned i = 0; i < SMALLS; i++) {
        put_small(page + at, (first + i) % SMALLS, k + i);
        at += smalls[(first + i) % SMALLS].length;
    }
    CHECK(mprotect(page, PAGE, final) == 0);
    run_unchanged(page, first, k, k % 2 ? 1000 : HOT, "anonymous code");
}

/* Anonymous, always writable or not, and shared: two mappings of one memory. */
void jit(int argc, char **argv)
{
    int rw = PROT_READ | PROT_WRITE, rx = PROT_READ | PROT_EXEC, fd = memfd_create("code", 0);
    uint8_t *page = mmap(NULL, PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *from, *to;
    unsigned rounds = (unsigned)argument(argc, argv, 0, 8), at;

    for (unsigned r = 0; r < rounds; r++)
        one_jit(page, r % SMALLS, 100 * r + r % 3, r % 2 ? rw : rw | PROT_EXEC, r % 2 ? rx : rw | PROT_EXEC);
    CHECK(ftruncate(fd, PAGE) == 0);
    from = mmap(NULL, PAGE, rw, MAP_SHARED, fd, 0);
    to = mmap(NULL, PAGE, rx, MAP_SHARED, fd, 0);
    for (unsigned r = 0; r < rounds; r++) {
        at = 0;
        for (unsigned i = 0; i < SMALLS; i++) {
            put_small(from + at, (r + i) % SMALLS, 77 * r + i);
            at += smalls[(r + i) % SMALLS].length;
        }
        run_unchanged(to, r % SMALLS, 77 * r, r ? HOT : 1000, "shared code");
    }
    printf("rounds %u\n", rounds);
}

/* --- a program that rewrites itself --- */

/* Two pages of text of the program's own file; the compiler knows nothing of what is there. */
extern uint8_t own_code[2 * PAGE];
__asm__(".text\n.balign 4096\n.globl own_code\n.type own_code, @object\nown_code: .fill 8192, 1, 0xcc\n.size own_code, 8192\n");

static unsigned long pagesum(const uint8_t *page)
{
    unsigned long sum = 0;

    for (unsigned i = 0; i < PAGE; i++)
        sum = sum * 31 + page[i];
    return sum;
}

static void protect(int prot)
{
    CHECK(mprotect(own_code, PAGE, prot) == 0);
}

static void write_memory(const uint8_t *at, unsigned which, uint32_t k)
{
    int fd = open("/proc/self/mem", O_RDWR);
    uint8_t code[32];

    put_small(code, which, k);
    CHECK(pwrite(fd, code, smalls[which].length, (off_t)(uintptr_t)at) == smalls[which].length);
    close(fd);
}

/*
 * How: "apart" writes while the page cannot be run; "writable" keeps it so that it can be run and written from the
 * beginning on; "opened" makes it so when its sites are hot, and writes once more without a word; "number" changes the
 * constant in place; "mem" writes through /proc/self/mem.
 */
static void rewrite_once(const char *how, unsigned r, uint32_t *k, unsigned long *sum)
{
    int rwx = PROT_READ | PROT_WRITE | PROT_EXEC, rx = PROT_READ | PROT_EXEC;
    unsigned which = r % SMALLS;
    bool mem = strcmp(how, "mem") == 0;

    if (!mem) {
        protect(strcmp(how, "apart") == 0 ? PROT_READ | PROT_WRITE : rwx);
        if (*sum != pagesum(own_code))
            FAIL("%s: before round %u the page is not what was written there", how, r);
    }
    if (strcmp(how, "number") == 0 && r % 2) { /* the same code as before */
        which = (r - 1) % SMALLS;
        *(volatile uint32_t *)(own_code + smalls[which].constant) += 5;
        *k += 5;
    } else {
        *k = r * 10 + 1;
        if (mem)
            write_memory(own_code, which, *k);
        else
            put_small(own_code, which, *k);
    }
    *sum = mem ? 0 : pagesum(own_code);
    if (strcmp(how, "apart") == 0 || strcmp(how, "number") == 0)
        protect(rx);
    run_small(own_code, which, *k, HOT, how);
    if (strcmp(how, "opened") == 0) {
        put_small(own_code, (which + 1) % SMALLS, *k);
        run_small(own_code, (which + 1) % SMALLS, *k, HOT, how);
        protect(rx);
        run_small(own_code, (which + 1) % SMALLS, *k, HOT, how);
        protect(rwx);
        *sum = pagesum(own_code);
    }
}

/* HOW [ROUNDS] */
void rewritten(int argc, char **argv)
{
    const char *how = argc > 0 ? argv[0] : "apart";
    unsigned rounds = (unsigned)argument(argc, argv, 1, 20);
    unsigned long sum = pagesum(own_code);
    uint32_t k = 0;

    for (unsigned r = 0; r < rounds; r++)
        rewrite_once(how, r, &k, &sum);
    printf("rounds %u\n", rounds);
}
