/*
 * A driver for unit tests: speaks to a virtio-mmio device in a mock of a
 * machine, by split and packed queues. It keeps to VIRTIO 1.2; the tests break
 * rules by writing to RAM and registers themselves.
 */
#ifndef MMIOSHIM_TESTS_VIRTIO_DRIVER_H
#define MMIOSHIM_TESTS_VIRTIO_DRIVER_H

#include "device_mock.h"

#include "virtio/mmio.h"
#include "virtio/virtio.h"

enum { DRIVER_RAM = 1 << 20, DRIVER_QUEUES = 6, DRIVER_DATA = 0x60000 /* offset of what tests use for data */ };

struct driver_queue {
    u32 size;
    u64 desc, driver, device; /* offsets in RAM */
    u16 avail, used;          /* split: running; packed: places */
    u16 avail_wrap, used_wrap;
    u16 free; /* split: next descriptor to use: the tests never have more than a table full */
};

static struct mock vm;
static struct driver_queue dq[DRIVER_QUEUES];
static bool driver_packed;

struct buffer {
    u64 addr;
    u32 length;
    bool write;
};

static inline void *at(u64 offset)
{
    return vm.ram + offset;
}

static inline u16 get16(u64 offset)
{
    u16 value;

    memcpy(&value, at(offset), 2);
    return value;
}

static inline u32 get32(u64 offset)
{
    u32 value;

    memcpy(&value, at(offset), 4);
    return value;
}

static inline void put16(u64 offset, u16 value)
{
    memcpy(at(offset), &value, 2);
}

static inline void put32(u64 offset, u32 value)
{
    memcpy(at(offset), &value, 4);
}

static inline void put64(u64 offset, u64 value)
{
    memcpy(at(offset), &value, 8);
}

/* A machine with something plugged into its slot. */
static inline void driver_machine(const char *attachment)
{
    static u8 ram[DRIVER_RAM];

    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, attachment) == NULL);
    memset(ram, 0, sizeof(ram));
    vm.ram = ram;
    vm.ram_size = sizeof(ram);
}

static inline u64 driver_offered(void)
{
    u64 low;

    wr(&vm, VIRTIO_DEVICE_FEATURES_SEL, 4, 0);
    low = rd(&vm, VIRTIO_DEVICE_FEATURES, 4);
    wr(&vm, VIRTIO_DEVICE_FEATURES_SEL, 4, 1);
    return low | rd(&vm, VIRTIO_DEVICE_FEATURES, 4) << 32;
}

/* 3.1.1, up to and with FEATURES_OK. True: the device agrees. */
static inline bool driver_negotiate(u64 features)
{
    wr(&vm, VIRTIO_STATUS, 4, 0);
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE);
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    for (u32 i = 0; i < 2; i++) {
        wr(&vm, VIRTIO_DRIVER_FEATURES_SEL, 4, i);
        wr(&vm, VIRTIO_DRIVER_FEATURES, 4, (u32)(features >> 32 * i));
    }
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    driver_packed = features & VIRTIO_F_RING_PACKED;
    return rd(&vm, VIRTIO_STATUS, 4) & VIRTIO_FEATURES_OK;
}

static inline void driver_area(u32 low, u64 offset)
{
    wr(&vm, low, 4, (u32)(MOCK_RAM + offset));
    wr(&vm, low + 4, 4, (MOCK_RAM + offset) >> 32);
}

static inline void driver_describe(u32 queue, u32 size)
{
    struct driver_queue *q = &dq[queue];

    *q = (struct driver_queue){.size = size, .avail_wrap = 1, .used_wrap = 1};
    q->desc = 0x10000ull * queue;
    q->driver = q->desc + 0x2000;
    q->device = q->desc + 0x4000;
    memset(at(q->desc), 0, 0x10000);
    wr(&vm, VIRTIO_QUEUE_SEL, 4, queue);
    wr(&vm, VIRTIO_QUEUE_NUM, 4, size);
    driver_area(VIRTIO_QUEUE_DESC_LOW, q->desc);
    driver_area(VIRTIO_QUEUE_DRIVER_LOW, q->driver);
    driver_area(VIRTIO_QUEUE_DEVICE_LOW, q->device);
}

static inline void driver_queue(u32 queue, u32 size)
{
    driver_describe(queue, size);
    wr(&vm, VIRTIO_QUEUE_READY, 4, 1);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 1);
}

static inline void driver_go(void)
{
    wr(&vm, VIRTIO_STATUS, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
    CHECK_EQ(rd(&vm, VIRTIO_STATUS, 4), 15);
}

/* All of it with one queue. */
static inline void driver_start(const char *attachment, u64 features, u32 size)
{
    driver_machine(attachment);
    CHECK(driver_negotiate(features | VIRTIO_F_VERSION_1));
    driver_queue(0, size);
    driver_go();
}

static inline void driver_descriptor(u64 offset, u64 addr, u32 length, u16 third, u16 fourth)
{
    put64(offset, addr);
    put32(offset + 8, length);
    put16(offset + 12, third);
    put16(offset + 14, fourth);
}

/* A chain of n descriptors from a place of the table on. */
static inline void driver_split_chain(const struct driver_queue *q, u16 head, const struct buffer *b, unsigned n, u16 flags)
{
    for (unsigned i = 0; i < n; i++) {
        u16 place = (u16)((head + i) % q->size), next = (u16)((place + 1) % q->size);

        driver_descriptor(q->desc + 16ull * place, b[i].addr, b[i].length,
                          (u16)(flags | (b[i].write ? VIRTIO_DESC_WRITE : 0) | (i + 1 < n ? VIRTIO_DESC_NEXT : 0)), next);
    }
}

static inline void driver_split_offer(struct driver_queue *q, u16 head)
{
    put16(q->driver + 4 + 2ull * (q->avail % q->size), head);
    put16(q->driver + 2, ++q->avail);
}

static inline void driver_packed_add(struct driver_queue *q, const struct buffer *b, unsigned n, u16 id, u16 flags)
{
    u64 first = q->desc + 16ull * q->avail;
    u16 head_flags = 0;

    for (unsigned i = 0; i < n; i++) {
        u64 place = q->desc + 16ull * q->avail;
        u16 f = (u16)(flags | (b[i].write ? VIRTIO_DESC_WRITE : 0) | (i + 1 < n ? VIRTIO_DESC_NEXT : 0) |
                      (q->avail_wrap ? 0x80 : 0x8000));

        driver_descriptor(place, b[i].addr, b[i].length, id, i ? f : get16(place + 14));
        head_flags = i ? head_flags : f;
        if (++q->avail == q->size) {
            q->avail = 0;
            q->avail_wrap ^= 1;
        }
    }
    put16(first + 14, head_flags);
}

/* Makes a chain available; its id. flags: INDIRECT, with one buffer. */
static inline u16 driver_add_flags(u32 queue, const struct buffer *b, unsigned n, u16 flags)
{
    struct driver_queue *q = &dq[queue];
    u16 id = q->free;

    q->free = (u16)((q->free + n) % q->size);
    if (driver_packed) {
        driver_packed_add(q, b, n, id, flags);
    } else {
        driver_split_chain(q, id, b, n, flags);
        driver_split_offer(q, id);
    }
    return id;
}

static inline u16 driver_add(u32 queue, const struct buffer *b, unsigned n)
{
    return driver_add_flags(queue, b, n, 0);
}

/* An indirect table at an offset of RAM. */
static inline u16 driver_add_indirect(u32 queue, u64 table, const struct buffer *b, unsigned n)
{
    struct buffer one = {MOCK_RAM + table, 16 * n, false};

    for (unsigned i = 0; i < n; i++) {
        u16 flags = (u16)((b[i].write ? VIRTIO_DESC_WRITE : 0) | (i + 1 < n && !driver_packed ? VIRTIO_DESC_NEXT : 0));

        driver_descriptor(table + 16ull * i, b[i].addr, b[i].length, driver_packed ? 0 : flags,
                          driver_packed ? flags : (u16)(i + 1));
    }
    return driver_add_flags(queue, &one, 1, VIRTIO_DESC_INDIRECT);
}

/* Notifies, and lets the device work. */
static inline void driver_kick(u32 queue)
{
    unsigned before = vm.soon;

    wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, queue);
    if (vm.soon != before)
        vm.dev.class->service(&vm.dev);
}

/* Takes a used chain; false: there is none. */
static inline bool driver_take(u32 queue, u32 *id, u32 *length)
{
    struct driver_queue *q = &dq[queue];

    if (driver_packed) {
        u64 place = q->desc + 16ull * q->used;
        u16 flags = get16(place + 14);

        if (!!(flags & 0x80) != q->used_wrap || !!(flags & 0x8000) != q->used_wrap)
            return false;
        *id = get16(place + 12);
        *length = get32(place + 8);
        return true; /* the caller tells how far it goes: driver_taken() */
    }
    if (q->used == get16(q->device + 2))
        return false;
    *id = get32(q->device + 4 + 8ull * (q->used % q->size));
    *length = get32(q->device + 4 + 8ull * (q->used % q->size) + 4);
    q->used++;
    return true;
}

/* Packed: a used chain took so many places. */
static inline void driver_taken(u32 queue, unsigned places)
{
    struct driver_queue *q = &dq[queue];

    if (!driver_packed)
        return;
    q->used = (u16)(q->used + places);
    if (q->used >= q->size) {
        q->used = (u16)(q->used - q->size);
        q->used_wrap ^= 1;
    }
}

/* What a test checks, with the place in VIRTIO 1.2 that says so. */
struct clause {
    const char *number, *says;
    void (*check)(void);
};

static inline void run_clauses(const struct clause *clauses, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        int before = unit_failures;

        clauses[i].check();
        if (unit_failures != before)
            printf("# %s: %s\n", clauses[i].number, clauses[i].says);
    }
}

static inline bool driver_broken(void)
{
    return rd(&vm, VIRTIO_STATUS, 4) & VIRTIO_NEEDS_RESET;
}

#endif
