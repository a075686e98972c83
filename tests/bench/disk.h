/*
 * A driver of a virtio disk that keeps `depth` requests of one block under way, over and over, at random places. To be
 * run on any machine: it knows a register window and some memory, and no operating system. Written to VIRTIO 1.2; the
 * numbers in comments are its sections.
 */
#ifndef BENCH_DISK_H
#define BENCH_DISK_H

#include <stdint.h>

enum { DISK_BLOCK = 4096, DISK_SECTOR = 512, DISK_DEPTH = 32, DISK_QUEUE = 128 };

/* Registers, 4.2.2 */
enum {
    DISK_MAGIC = 0x000, DISK_VERSION = 0x004, DISK_DEVICE_ID = 0x008, DISK_DRIVER_FEATURES = 0x020,
    DISK_DRIVER_FEATURES_SEL = 0x024, DISK_QUEUE_SEL = 0x030, DISK_QUEUE_NUM_MAX = 0x034, DISK_QUEUE_NUM = 0x038,
    DISK_QUEUE_READY = 0x044, DISK_NOTIFY = 0x050, DISK_STATUS = 0x070, DISK_DESC = 0x080, DISK_DRIVER = 0x090,
    DISK_DEVICE = 0x0a0, DISK_CAPACITY = 0x100,
};

enum { DISK_IN = 0, DISK_OUT = 1 }; /* 5.2.6 */

/* A queue (2.7), requests (5.2.6), and what they move: in memory where addresses are those of the device. */
struct disk_memory {
    struct { uint64_t addr; uint32_t len; uint16_t flags, next; } desc[DISK_QUEUE] __attribute__((aligned(16)));
    struct { uint16_t flags, idx, ring[DISK_QUEUE], event; } avail;
    struct { uint16_t flags, idx; struct { uint32_t id, len; } ring[DISK_QUEUE]; uint16_t event; } used __attribute__((aligned(4)));
    struct { uint32_t type, reserved; uint64_t sector; } request[DISK_DEPTH] __attribute__((aligned(8)));
    uint8_t status[DISK_DEPTH];
    uint8_t data[DISK_DEPTH][DISK_BLOCK] __attribute__((aligned(DISK_BLOCK)));
};

struct disk {
    uintptr_t base;
    volatile struct disk_memory *memory;
    uint32_t blocks;
    uint32_t random;
    uint16_t used; /* up to where answers were looked at */
};

static inline uint32_t disk_get(const struct disk *d, unsigned offset)
{
    return *(volatile uint32_t *)(d->base + offset);
}

static inline void disk_set(const struct disk *d, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(d->base + offset) = value;
}

/* A block of the disk: xorshift, and its high bits as a fraction. */
static inline uint32_t disk_random(uint32_t *state, uint32_t blocks)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return (uint32_t)((uint64_t)*state * blocks >> 32);
}

static inline void disk_area(const struct disk *d, unsigned offset, const volatile void *address)
{
    disk_set(d, offset, (uint32_t)(uintptr_t)address);
    disk_set(d, offset + 4, (uint32_t)((uint64_t)(uintptr_t)address >> 32));
}

/* The descriptors of a request stay as they are: header, data, status. */
static inline void disk_describe(volatile struct disk_memory *m, unsigned slot, uint32_t type)
{
    const volatile void *part[3] = {&m->request[slot], m->data[slot], &m->status[slot]};
    const uint32_t length[3] = {sizeof(m->request[slot]), DISK_BLOCK, 1};
    const uint16_t flags[3] = {1, type == DISK_OUT ? 1 : 3, 2};

    for (unsigned i = 0; i < 3; i++) {
        m->desc[3 * slot + i].addr = (uintptr_t)part[i];
        m->desc[3 * slot + i].len = length[i];
        m->desc[3 * slot + i].flags = flags[i];
        m->desc[3 * slot + i].next = (uint16_t)(3 * slot + i + 1);
    }
    m->request[slot].type = type;
    m->request[slot].reserved = 0;
}

/* 3.1.1. memory: zeroed. 0: there is no such disk, or it does not want. */
static inline int disk_start(struct disk *d, uintptr_t base, volatile struct disk_memory *memory)
{
    *d = (struct disk){.base = base, .memory = memory, .random = 1};
    if (disk_get(d, DISK_MAGIC) != 0x74726976 || disk_get(d, DISK_VERSION) != 2 || disk_get(d, DISK_DEVICE_ID) != 2)
        return 0;
    disk_set(d, DISK_STATUS, 0);
    disk_set(d, DISK_STATUS, 1 | 2);
    disk_set(d, DISK_DRIVER_FEATURES_SEL, 0);
    disk_set(d, DISK_DRIVER_FEATURES, 1u << 9); /* FLUSH, without which each write is one to the medium (5.2.6.2) */
    disk_set(d, DISK_DRIVER_FEATURES_SEL, 1);
    disk_set(d, DISK_DRIVER_FEATURES, 1); /* VERSION_1 */
    disk_set(d, DISK_STATUS, 1 | 2 | 8);
    disk_set(d, DISK_QUEUE_SEL, 0);
    if (!(disk_get(d, DISK_STATUS) & 8) || disk_get(d, DISK_QUEUE_NUM_MAX) < DISK_QUEUE)
        return 0;
    memory->avail.flags = 1; /* no interrupts */
    disk_set(d, DISK_QUEUE_NUM, DISK_QUEUE);
    disk_area(d, DISK_DESC, memory->desc);
    disk_area(d, DISK_DRIVER, &memory->avail);
    disk_area(d, DISK_DEVICE, &memory->used);
    disk_set(d, DISK_QUEUE_READY, 1);
    d->blocks = disk_get(d, DISK_CAPACITY) / (DISK_BLOCK / DISK_SECTOR);
    disk_set(d, DISK_STATUS, 1 | 2 | 8 | 4);
    return d->blocks != 0;
}

static inline void disk_submit(struct disk *d, unsigned slot)
{
    volatile struct disk_memory *m = d->memory;

    m->request[slot].sector = (uint64_t)disk_random(&d->random, d->blocks) * (DISK_BLOCK / DISK_SECTOR);
    m->status[slot] = 0xff;
    m->avail.ring[m->avail.idx % DISK_QUEUE] = (uint16_t)(3 * slot);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    m->avail.idx++;
}

/* The slot of a request that is done, when there is one. -1: none, -2: it failed. */
static inline int disk_done(struct disk *d)
{
    volatile struct disk_memory *m = d->memory;
    unsigned slot;

    if (m->used.idx == d->used)
        return -1;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    slot = m->used.ring[d->used++ % DISK_QUEUE].id / 3;
    return slot >= DISK_DEPTH || m->status[slot] != 0 ? -2 : (int)slot;
}

/* n requests, at most `depth` under way; each time that some are done, as many more, with one notification. */
static inline int disk_run(struct disk *d, uint32_t type, unsigned depth, uint32_t n)
{
    uint32_t begun = 0, ended = 0;

    for (unsigned slot = 0; slot < depth; slot++)
        disk_describe(d->memory, slot, type);
    for (; begun < depth && begun < n; begun++)
        disk_submit(d, begun);
    while (ended < n) {
        int slot;

        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        disk_set(d, DISK_NOTIFY, 0);
        while ((slot = disk_done(d)) == -1)
            __builtin_ia32_pause();
        for (; slot >= 0; slot = disk_done(d)) {
            ended++;
            if (begun < n) {
                disk_submit(d, (unsigned)slot);
                begun++;
            }
        }
        if (slot == -2)
            return 0;
    }
    return 1;
}

#endif
