/*
 * A driver of virtio over PCI (VIRTIO 1.2, 4.1): finds a function by its ids, and its structures by its capabilities.
 *   i_virtio [msix] [window] blk SECTOR    prints what a sector begins with
 *   i_virtio [msix] [window] rng           prints how many bytes came
 *   i_virtio net                           sends a frame, and receives it
 * msix: by messages, which only the log sees; else by the ISR register. window: a few registers by way of the capability
 * that is a window into the BARs, 4.1.4.9.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ECAM 0x30000000ul
#define RAM  0x80100000ul

#define R8(a)  (*(volatile uint8_t *)(a))
#define R16(a) (*(volatile uint16_t *)(a))
#define R32(a) (*(volatile uint32_t *)(a))

static uintptr_t function; /* its configuration space */
static uintptr_t common, notify, isr, device, window;
static uint32_t multiplier;
static int messages;

static void fail(const char *what)
{
    printf("%s\n", what);
    exit(1);
}

static void find(unsigned type)
{
    for (unsigned place = 0; place < 256 * 8; place++) {
        function = ECAM + ((uintptr_t)place << 12);
        if (R16(function) == 0x1af4 && R16(function + 2) == 0x1040 + type)
            return;
    }
    fail("no such function");
}

static uintptr_t bar(unsigned n)
{
    uint32_t low = R32(function + 0x10 + 4 * n);
    uint64_t high = (low & 6) == 4 ? R32(function + 0x14 + 4 * n) : 0;

    return high << 32 | (low & ~15u);
}

static void structures(void)
{
    for (unsigned at = R8(function + 0x34); at; at = R8(function + at + 1)) {
        uintptr_t cap = function + at, where;

        if (R8(cap) == 0x11 && messages)
            messages = (int)at;
        if (R8(cap) != 9)
            continue;
        where = R8(cap + 3) < 5 ? bar(R8(cap + 4)) + R32(cap + 8) : 0;
        switch (R8(cap + 3)) {
        case 1:
            common = where;
            break;
        case 2:
            notify = where;
            multiplier = R32(cap + 16);
            break;
        case 3:
            isr = where;
            break;
        case 4:
            device = where;
            break;
        case 5:
            window = cap;
            break;
        }
    }
}

/* Vectors: 0 the configuration, 1 + queue. */
static void enable_messages(void)
{
    uintptr_t cap = function + (unsigned)messages, table = bar(R32(cap + 4) & 7) + (R32(cap + 4) & ~7u);

    for (unsigned v = 0; v <= (R16(cap + 2) & 0x7ffu); v++) {
        R32(table + 16 * v) = 0xfee00000;
        R32(table + 16 * v + 4) = 0;
        R32(table + 16 * v + 8) = 0x40 + v;
        R32(table + 16 * v + 12) = 0;
    }
    R16(cap + 2) = 0x8000 | R16(cap + 2);
    R16(common + 0x10) = 0;
    if (R16(common + 0x10) != 0)
        fail("no vector for the configuration");
}

struct queue {
    uintptr_t desc, avail, used;
    unsigned size;
};

static struct queue queues[2];

static void start_queue(unsigned n)
{
    struct queue *q = &queues[n];
    uintptr_t at = RAM + 0x10000 * n;

    R16(common + 0x16) = (uint16_t)n;
    q->size = R16(common + 0x18);
    if (q->size > 8)
        q->size = 8;
    R16(common + 0x18) = (uint16_t)q->size;
    q->desc = at;
    q->avail = at + 0x1000;
    q->used = at + 0x2000;
    memset((void *)at, 0, 0x3000);
    R32(common + 0x20) = (uint32_t)q->desc;
    R32(common + 0x24) = 0;
    R32(common + 0x28) = (uint32_t)q->avail;
    R32(common + 0x2c) = 0;
    R32(common + 0x30) = (uint32_t)q->used;
    R32(common + 0x34) = 0;
    if (messages) {
        R16(common + 0x1a) = (uint16_t)(1 + n);
        if (R16(common + 0x1a) != 1 + n)
            fail("no vector for the queue");
    }
    R16(common + 0x1c) = 1;
    if (R16(common + 0x1c) != 1)
        fail("the queue cannot be enabled");
}

static void start(unsigned type, unsigned n)
{
    find(type);
    R16(function + 4) = 6; /* memory, bus master */
    structures();
    R8(common + 0x14) = 0;
    R8(common + 0x14) = 1;
    R8(common + 0x14) = 3;
    R32(common + 0x08) = 1;
    R32(common + 0x0c) = 1; /* VERSION_1 */
    R8(common + 0x14) = 11;
    if (R8(common + 0x14) != 11)
        fail("features are not accepted");
    if (messages)
        enable_messages();
    for (unsigned i = 0; i < n; i++)
        start_queue(i);
    R8(common + 0x14) = 15;
}

static void describe(unsigned n, unsigned i, uintptr_t addr, uint32_t length, unsigned flags)
{
    uintptr_t d = queues[n].desc + 16 * i;

    *(volatile uint64_t *)d = addr;
    R32(d + 8) = length;
    R16(d + 12) = (uint16_t)flags;
    R16(d + 14) = (uint16_t)(i + 1);
}

static void tell(unsigned n)
{
    R16(queues[n].avail + 4 + 2 * (R16(queues[n].avail + 2) % queues[n].size)) = 0;
    R16(queues[n].avail + 2)++;
    R16(common + 0x16) = (uint16_t)n;
    R16(notify + multiplier * R16(common + 0x1e)) = (uint16_t)n;
}

static void check_interrupt(void)
{
    unsigned got = R8(isr);

    if (got != (messages ? 0u : 1u) || R8(isr))
        fail("the ISR register is wrong");
}

/* device_status, read by way of configuration space alone */
static unsigned through_window(uint32_t offset, unsigned width)
{
    R8(window + 4) = 4;
    R32(window + 8) = offset;
    R32(window + 12) = width;
    return width == 1 ? R8(window + 16) : width == 2 ? R16(window + 16) : R32(window + 16);
}

static void blk(unsigned sector)
{
    uintptr_t header = RAM + 0x8000, data = RAM + 0x9000, status = RAM + 0x8100;

    start(2, 1);
    printf("capacity %u\n", R32(device));
    R32(header) = 0;
    R32(header + 4) = 0;
    R32(header + 8) = sector;
    R32(header + 12) = 0;
    R8(status) = 0xff;
    describe(0, 0, header, 16, 1);
    describe(0, 1, data, 512, 3);
    describe(0, 2, status, 1, 2);
    tell(0);
    check_interrupt();
    printf("status %u used %u: %.16s\n", R8(status), R16(queues[0].used + 2), (char *)data);
}

static void rng(void)
{
    start(4, 1);
    describe(0, 0, RAM + 0x8000, 64, 2);
    tell(0);
    check_interrupt();
    printf("used %u, %u bytes\n", R16(queues[0].used + 2), R32(queues[0].used + 8));
}

static void net(void)
{
    uintptr_t in = RAM + 0x8000, out = RAM + 0x9000;

    start(1, 2);
    describe(0, 0, in, 1536, 2);
    tell(0);
    memset((void *)out, 0, 12);
    memset((void *)(out + 12), 0x5a, 60);
    describe(1, 0, out, 72, 0);
    tell(1);
    printf("sent %u received %u, %u bytes %02x\n", R16(queues[1].used + 2), R16(queues[0].used + 2), R32(queues[0].used + 8),
           R8(in + 20));
}

int main(int argc, char **argv)
{
    int i = 1, look = 0;

    for (; i < argc && (strcmp(argv[i], "msix") == 0 || strcmp(argv[i], "window") == 0); i++) {
        messages |= argv[i][0] == 'm';
        look |= argv[i][0] == 'w';
    }
    if (i < argc && strcmp(argv[i], "blk") == 0)
        blk((unsigned)atoi(argv[i + 1]));
    else if (i < argc && strcmp(argv[i], "rng") == 0)
        rng();
    else
        net();
    if (look)
        printf("window %x %x %x\n", through_window(0x14, 1), through_window(0x12, 2), through_window(0x3f00, 4));
    return 0;
}
