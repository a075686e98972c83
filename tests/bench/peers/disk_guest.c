/*
 * A guest of QEMU's machine `microvm` that reads and writes blocks of a virtio disk, as tests/bench/disk.c does under the
 * library. Its command line says how long a sample takes, and how many there are: "TICKS COUNT", TICKS in units of 2^16
 * ticks of the time stamp counter. It says "read-1 REQUESTS TICKS", in hexadecimal, for each.
 */
#include "disk.h"

/* "microvm" machine type, QEMU documentation: up to 24 transports from here on, this far from each other. */
enum { SLOTS = 0xfeb00000u, SLOT_STEP = 0x200, NSLOTS = 24 };
enum { CONSOLE = 0xe9, END = 0xf4, FINISHED = 0x15 };

/* x86/HVM direct boot ABI: hvm_start_info. */
struct start_info {
    uint32_t magic, version, flags, modules;
    uint64_t module_list, command_line;
};

/* The entry is in a note (XEN_ELFNOTE_PHYS32_ENTRY); protected mode, flat segments, ebx is the start_info. */
__asm__(".pushsection .note.Xen, \"a\", @note\n"
        "	.long 4, 4, 18\n"
        "	.asciz \"Xen\"\n"
        "	.long begin\n"
        ".popsection\n"
        ".pushsection .text\n"
        ".globl begin\n"
        "begin:\n"
        "	movl %cr0, %eax\n"
        "	andl $0x9fffffff, %eax\n" /* caches on: CD and NW are set at reset */
        "	movl %eax, %cr0\n"
        "	movl $stack + 16384, %esp\n"
        "	pushl %ebx\n"
        "	call guest\n"
        ".popsection\n");

char stack[16384] __attribute__((used, aligned(16)));
static struct disk_memory memory;
static struct disk d;

static void out(uint16_t port, uint8_t byte)
{
    __asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"(port));
}

static void say(const char *text)
{
    for (; *text; text++)
        out(CONSOLE, (uint8_t)*text);
}

static void say_hex(uint64_t value)
{
    say(" ");
    for (int shift = 60; shift >= 0; shift -= 4)
        out(CONSOLE, (uint8_t) "0123456789abcdef"[value >> shift & 15]);
}

static uint64_t ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static uint32_t number(const char **text)
{
    uint32_t value = 0;

    while (**text == ' ')
        ++*text;
    for (; **text >= '0' && **text <= '9'; ++*text)
        value = 10 * value + (uint32_t)(**text - '0');
    return value;
}

static uint64_t once(uint32_t type, unsigned depth, uint32_t n)
{
    uint64_t start = ticks();

    return disk_run(&d, type, depth, n) ? ticks() - start : 0;
}

static void sample(const char *name, uint32_t type, unsigned depth, uint64_t least, uint32_t count)
{
    uint32_t n = depth;

    while (n < 1u << 20 && once(type, depth, n) < least)
        n *= 2;
    for (; count; count--) {
        say(name);
        say_hex(n);
        say_hex(once(type, depth, n));
        say("\n");
    }
}

__attribute__((used)) void guest(const struct start_info *info)
{
    const char *text = (const char *)(uintptr_t)info->command_line;
    uint64_t least = (uint64_t)number(&text) << 16;
    uint32_t count = number(&text);

    for (unsigned i = 0; i < NSLOTS && !d.blocks; i++)
        if (!disk_start(&d, SLOTS + i * SLOT_STEP, &memory))
            d.blocks = 0;
    if (d.blocks) {
        disk_run(&d, DISK_OUT, DISK_DEPTH, d.blocks);
        sample("read-1", DISK_IN, 1, least, count);
        sample("read-32", DISK_IN, DISK_DEPTH, least, count);
        sample("write-1", DISK_OUT, 1, least, count);
        sample("write-32", DISK_OUT, DISK_DEPTH, least, count);
    }
    out(END, FINISHED);
    for (;;)
        __asm__ volatile("hlt");
}
