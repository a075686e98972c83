/*
 * A driver of a virtio disk, as it would run on a board: it finds the disk
 * behind one of eight register windows, sets up a queue in RAM, and sleeps
 * until the disk interrupts: its line goes through the PLIC to the hart, and
 * SIGIO stands for the trap. Written to VIRTIO 1.2; the numbers in comments are
 * its sections. Addresses are those of QEMU's RISC-V machine `virt`.
 *
 *   virtio-blk                 says what disk there is, writes a sector, and reads it back
 *   virtio-blk read FIRST N    N sectors to standard output
 *   virtio-blk write FIRST     standard input to the disk
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS     0x10001000ul
#define SLOT_STEP 0x1000ul
#define NSLOTS    8u
#define SECTOR    512u
#define PLIC      0x0c000000ul
#ifndef INTERRUPTS
#define INTERRUPTS 1 /* 0: polls */
#endif
#ifndef RAM
#define RAM 0x80000000ul
#endif
#ifndef BUS_OFFSET
#define BUS_OFFSET 0ul /* what devices call an address, less what we call it */
#endif

/* Registers, 4.2.2 */
enum {
    MAGIC = 0x000, VERSION = 0x004, DEVICE_ID = 0x008,
    DEVICE_FEATURES = 0x010, DEVICE_FEATURES_SEL = 0x014, DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030, QUEUE_NUM_MAX = 0x034, QUEUE_NUM = 0x038, QUEUE_READY = 0x044, QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060, INTERRUPT_ACK = 0x064, STATUS = 0x070, QUEUE_DESC = 0x080, QUEUE_DRIVER = 0x090, QUEUE_DEVICE = 0x0a0,
    CONFIG_GENERATION = 0x0fc, CONFIG_CAPACITY = 0x100,
};

/* Status, 2.1 */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64, FAILED = 128 };

#define F_RO        (1ull << 5) /* 5.2.3 */
#define F_FLUSH     (1ull << 9)
#define F_VERSION_1 (1ull << 32) /* 6 */
#define F_ACCESS_PLATFORM (1ull << 33) /* what the disk gets are bus addresses: here they are, see bus_address() */

/* A queue, 2.7 */
enum { QUEUE_SIZE = 8, DESC_NEXT = 1, DESC_WRITE = 2, AVAIL_NO_INTERRUPT = 1 };

struct descriptor {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct available {
    uint16_t flags, idx, ring[QUEUE_SIZE], used_event;
};

struct used {
    uint16_t flags, idx;
    struct { uint32_t id, len; } ring[QUEUE_SIZE];
    uint16_t avail_event;
};

/* Requests, 5.2.6 */
enum { REQUEST_IN = 0, REQUEST_OUT = 1, REQUEST_FLUSH = 4, REQUEST_GET_ID = 8 };

struct request {
    uint32_t type, reserved;
    uint64_t sector;
};

/* What the disk and we share: in RAM, where physical addresses are ours. */
struct shared {
    struct descriptor desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct available avail __attribute__((aligned(2)));
    struct used used __attribute__((aligned(4)));
    struct request request __attribute__((aligned(8)));
    uint8_t status;
    uint8_t data[8 * SECTOR] __attribute__((aligned(4096)));
};

static volatile struct shared *const ram = (volatile struct shared *)(RAM + 0x100000);

struct disk {
    uintptr_t base;
    uint64_t features, capacity;
    uint16_t last_used;
    uint32_t irq; /* at the PLIC */
};

static uint32_t reg_read(const struct disk *d, unsigned offset)
{
    return *(volatile uint32_t *)(d->base + offset);
}

static void reg_write(const struct disk *d, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(d->base + offset) = value;
}

static uint64_t bus_address(const volatile void *address)
{
    return (uintptr_t)address + BUS_OFFSET;
}

static void reg_write64(const struct disk *d, unsigned offset, const volatile void *address)
{
    reg_write(d, offset, (uint32_t)bus_address(address));
    reg_write(d, offset + 4, (uint32_t)(bus_address(address) >> 32));
}

static void barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static int fail(const struct disk *d, const char *why)
{
    if (d->base)
        reg_write(d, STATUS, reg_read(d, STATUS) | FAILED);
    fprintf(stderr, "virtio-blk: %s\n", why);
    return -1;
}

/* --- interrupts: claimed from the PLIC, acknowledged at the disk (4.2.2), completed --- */

static const struct disk *heard; /* NULL: it is polled */

static volatile uint32_t *plic(unsigned offset)
{
    return (volatile uint32_t *)(PLIC + offset);
}

static void trap(int signal)
{
    uint32_t source = *plic(0x200004);

    (void)signal;
    if (source != heard->irq)
        return;
    reg_write(heard, INTERRUPT_ACK, reg_read(heard, INTERRUPT_STATUS));
    *plic(0x200004) = source;
}

__attribute__((noinline)) static void enable_interrupt(const struct disk *d)
{
    struct sigaction action = {.sa_handler = trap};
    sigset_t io;

    heard = d;
    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    sigprocmask(SIG_BLOCK, &io, NULL);
    sigaction(SIGIO, &action, NULL);
    *plic(4 * d->irq) = 1;
    *plic(0x2000) = 1u << d->irq;
    *plic(0x200000) = 0;
    ram->avail.flags = 0;
}

/* SIGIO is blocked, and comes only here: nothing that arrives between a look and the sleep is missed. */
__attribute__((noinline)) static void wait_for_interrupt(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigsuspend(&none);
}

/* --- bring-up, 3.1.1 --- */

__attribute__((noinline)) static int find(struct disk *d)
{
    for (unsigned i = 0; i < NSLOTS; i++) {
        d->base = SLOTS + i * SLOT_STEP;
        d->irq = 1 + i;
        if (reg_read(d, MAGIC) == 0x74726976 && reg_read(d, VERSION) == 2 && reg_read(d, DEVICE_ID) == 2)
            return 0;
    }
    d->base = 0;
    return fail(d, "no disk");
}

__attribute__((noinline)) static int negotiate(struct disk *d)
{
    uint64_t offered;

    reg_write(d, STATUS, 0);
    reg_write(d, STATUS, ACKNOWLEDGE);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER);
    reg_write(d, DEVICE_FEATURES_SEL, 0);
    offered = reg_read(d, DEVICE_FEATURES);
    reg_write(d, DEVICE_FEATURES_SEL, 1);
    offered |= (uint64_t)reg_read(d, DEVICE_FEATURES) << 32;
    d->features = offered & (F_VERSION_1 | F_ACCESS_PLATFORM | F_FLUSH | F_RO);
    reg_write(d, DRIVER_FEATURES_SEL, 0);
    reg_write(d, DRIVER_FEATURES, (uint32_t)d->features);
    reg_write(d, DRIVER_FEATURES_SEL, 1);
    reg_write(d, DRIVER_FEATURES, (uint32_t)(d->features >> 32));
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(reg_read(d, STATUS) & FEATURES_OK))
        return fail(d, "the disk does not agree to its own features");
    return 0;
}

__attribute__((noinline)) static int set_up_queue(struct disk *d)
{
    reg_write(d, QUEUE_SEL, 0);
    if (reg_read(d, QUEUE_READY) != 0 || reg_read(d, QUEUE_NUM_MAX) < QUEUE_SIZE)
        return fail(d, "no queue, or one that is too small");
    memset((void *)(uintptr_t)ram, 0, sizeof(*ram));
    ram->avail.flags = AVAIL_NO_INTERRUPT; /* nobody would hear them yet */
    reg_write(d, QUEUE_NUM, QUEUE_SIZE);
    reg_write64(d, QUEUE_DESC, ram->desc);
    reg_write64(d, QUEUE_DRIVER, &ram->avail);
    reg_write64(d, QUEUE_DEVICE, &ram->used);
    reg_write(d, QUEUE_READY, 1);
    return 0;
}

/* 4.2.2.2: a 64-bit field is read in halves, which belong together when the generation stays the same */
__attribute__((noinline)) static uint64_t read_capacity(const struct disk *d)
{
    uint32_t before, low, high;

    do {
        before = reg_read(d, CONFIG_GENERATION);
        low = reg_read(d, CONFIG_CAPACITY);
        high = reg_read(d, CONFIG_CAPACITY + 4);
    } while (reg_read(d, CONFIG_GENERATION) != before);
    return (uint64_t)high << 32 | low;
}

__attribute__((noinline)) static int bring_up(struct disk *d)
{
    if (find(d) || negotiate(d) || set_up_queue(d))
        return -1;
    d->capacity = read_capacity(d);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    return 0;
}

/* --- requests --- */

static void describe(unsigned i, const volatile void *address, uint32_t len, uint16_t flags)
{
    ram->desc[i].addr = bus_address(address);
    ram->desc[i].len = len;
    ram->desc[i].flags = flags;
    ram->desc[i].next = (uint16_t)(i + 1);
}

/* One request, from ram->data or to it; waits until it is done. The status, or -1. */
__attribute__((noinline)) static int submit(struct disk *d, uint32_t type, uint64_t sector, uint32_t bytes)
{
    uint16_t data_flags = type == REQUEST_OUT ? DESC_NEXT : DESC_NEXT | DESC_WRITE;
    unsigned n = 0;

    ram->request.type = type;
    ram->request.sector = sector;
    ram->status = 0xff;
    describe(n++, &ram->request, sizeof(ram->request), DESC_NEXT);
    if (bytes)
        describe(n++, ram->data, bytes, data_flags);
    describe(n, &ram->status, 1, DESC_WRITE);
    ram->avail.ring[ram->avail.idx % QUEUE_SIZE] = 0;
    barrier();
    ram->avail.idx++;
    barrier();
    reg_write(d, QUEUE_NOTIFY, 0);
    if (heard)
        wait_for_interrupt();
    while (ram->used.idx == d->last_used) {
        if (reg_read(d, STATUS) & NEEDS_RESET)
            return fail(d, "the disk needs a reset");
        if (heard)
            wait_for_interrupt();
    }
    barrier();
    d->last_used++;
    return ram->status;
}

static int read_sectors(struct disk *d, uint64_t first, uint64_t count)
{
    while (count) {
        uint32_t n = count < 8 ? (uint32_t)count : 8;

        if (submit(d, REQUEST_IN, first, n * SECTOR) != 0)
            return fail(d, "a read failed");
        fwrite((void *)(uintptr_t)ram->data, SECTOR, n, stdout);
        first += n;
        count -= n;
    }
    return 0;
}

static int write_sectors(struct disk *d, uint64_t first)
{
    uint8_t buffer[sizeof(ram->data)];
    size_t n;

    while ((n = fread(buffer, SECTOR, sizeof(buffer) / SECTOR, stdin)) > 0) {
        memcpy((void *)(uintptr_t)ram->data, buffer, n * SECTOR);
        if (submit(d, REQUEST_OUT, first, (uint32_t)(n * SECTOR)) != 0)
            return fail(d, "a write failed");
        first += n;
    }
    if ((d->features & F_FLUSH) && submit(d, REQUEST_FLUSH, 0, 0) != 0)
        return fail(d, "a flush failed");
    return 0;
}

__attribute__((noinline)) static int demonstrate(struct disk *d)
{
    if (submit(d, REQUEST_GET_ID, 0, 20) != 0)
        return fail(d, "the disk has no name");
    printf("%.20s: %llu sectors%s\n", (char *)(uintptr_t)ram->data, (unsigned long long)d->capacity,
           d->features & F_RO ? ", read only" : "");
    if (d->features & F_RO)
        return 0;
    memset((void *)(uintptr_t)ram->data, 0x5a, SECTOR);
    if (submit(d, REQUEST_OUT, d->capacity - 1, SECTOR) != 0)
        return fail(d, "a write failed");
    memset((void *)(uintptr_t)ram->data, 0, SECTOR);
    if (submit(d, REQUEST_IN, d->capacity - 1, SECTOR) != 0)
        return fail(d, "a read failed");
    for (unsigned i = 0; i < SECTOR; i++)
        if (ram->data[i] != 0x5a)
            return fail(d, "what was read is not what was written");
    puts("the last sector holds what was written");
    return 0;
}

int main(int argc, char **argv)
{
    struct disk d = {0};
    int ret;

    if (bring_up(&d))
        return 1;
    if (INTERRUPTS)
        enable_interrupt(&d);
    if (argc > 3 && strcmp(argv[1], "read") == 0)
        ret = read_sectors(&d, strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
    else if (argc > 2 && strcmp(argv[1], "write") == 0)
        ret = write_sectors(&d, strtoull(argv[2], NULL, 0));
    else
        ret = demonstrate(&d);
    reg_write(&d, STATUS, 0);
    return ret ? 1 : 0;
}
