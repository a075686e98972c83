/*
 * packets: what a frame of 64 bytes costs a driver of a virtio network card, batches of 64 with one doorbell. In a
 * loopback each comes back and is received too. Written to VIRTIO 1.2, polled.
 *
 *   packets NAME BATCH...   a line "NAME-BATCH" for each
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/measure.h"

#define SLOT 0x10001000ul
#define AREA 0x80100000ul /* in RAM: rings of both queues, then buffers */

enum { QUEUE = 256, ROOM = 2048, HEADER = 12, FRAME = 64, RX = 0, TX = 1 };
enum { DEVICE_ID = 0x08, FEATURES_SEL = 0x24, FEATURES = 0x20, QUEUE_SEL = 0x30, QUEUE_NUM = 0x38, QUEUE_READY = 0x44,
       NOTIFY = 0x50, STATUS = 0x70, DESC = 0x80, DRIVER = 0x90, DEVICE = 0xa0 };
enum { WRITE = 2, NO_INTERRUPT = 1 };

struct ring {
    struct { uint64_t addr; uint32_t len; uint16_t flags, next; } desc[QUEUE];
    struct { uint16_t flags, index, ring[QUEUE], event; } avail;
    struct { uint16_t flags, index; struct { uint32_t id, len; } ring[QUEUE]; uint16_t event; } used
        __attribute__((aligned(4)));
};

static struct ring *const rings = (struct ring *)AREA; /* RX, TX */
static uint8_t *const buffers = (uint8_t *)(AREA + 0x10000);
static uint16_t received, batch;
static uint64_t arrived;

SITE void reg(unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(SLOT + offset) = value;
}

static void queue(unsigned number, unsigned flags, uint32_t len)
{
    struct ring *r = &rings[number];
    uint64_t areas[] = {(uintptr_t)r->desc, (uintptr_t)&r->avail, (uintptr_t)&r->used};

    r->avail.flags = NO_INTERRUPT;
    for (unsigned i = 0; i < QUEUE; i++) {
        r->desc[i].addr = (uintptr_t)buffers + (number * QUEUE + i) * ROOM;
        r->desc[i].len = len;
        r->desc[i].flags = (uint16_t)flags;
        r->avail.ring[i] = (uint16_t)i;
    }
    reg(QUEUE_SEL, number);
    reg(QUEUE_NUM, QUEUE);
    for (unsigned i = 0; i < 3; i++) {
        reg(DESC + 0x10 * i, (uint32_t)areas[i]);
        reg(DESC + 0x10 * i + 4, (uint32_t)(areas[i] >> 32));
    }
    reg(QUEUE_READY, 1);
}

static void begin(void)
{
    memset(buffers, 0, 2 * QUEUE * ROOM);
    reg(STATUS, 0);
    reg(STATUS, 1);
    reg(STATUS, 3);
    reg(FEATURES_SEL, 1);
    reg(FEATURES, 1); /* VERSION_1 */
    reg(STATUS, 11);
    queue(RX, WRITE, ROOM);
    queue(TX, 0, HEADER + FRAME);
    reg(STATUS, 15);
    rings[RX].avail.index = QUEUE;
}

/* Receives what is there, and gives the buffers back. */
static void receive(void)
{
    struct ring *r = &rings[RX];
    uint16_t there = __atomic_load_n(&r->used.index, __ATOMIC_ACQUIRE), index = r->avail.index;

    for (; received != there; received++) {
        arrived += r->used.ring[received % QUEUE].len == HEADER + FRAME;
        r->avail.ring[index++ % QUEUE] = (uint16_t)r->used.ring[received % QUEUE].id;
    }
    __atomic_store_n(&r->avail.index, index, __ATOMIC_RELEASE);
}

static void run(long n, void *at)
{
    struct ring *r = &rings[TX];

    for (long i = 0; i < n; i += batch) {
        uint16_t index = r->avail.index;

        for (unsigned k = 0; k < batch; k++, index++)
            r->avail.ring[index % QUEUE] = index % QUEUE;
        __atomic_store_n(&r->avail.index, index, __ATOMIC_RELEASE);
        reg(NOTIFY, TX);
        while (__atomic_load_n(&r->used.index, __ATOMIC_ACQUIRE) != index)
            ;
        receive();
    }
    *(uint64_t *)at += (uint64_t)(n + batch - 1) / batch * batch;
}

int main(int argc, char **argv)
{
    uint64_t sent = 0;

    pin_last();
    if (*(volatile uint32_t *)(SLOT + DEVICE_ID) != 1) {
        fprintf(stderr, "packets: no network card\n");
        return 1;
    }
    begin();
    for (int i = 2; i < argc; i++) {
        char name[64];
        struct job job = {name, run, NULL, &sent, 0};

        batch = (uint16_t)atoi(argv[i]);
        snprintf(name, sizeof(name), "%s-%s", argv[1], argv[i]);
        measure(&job);
    }
    if (strcmp(argv[1], "loopback") == 0 && arrived != sent) {
        fprintf(stderr, "packets: %lu of %lu came back\n", (unsigned long)arrived, (unsigned long)sent);
        return 1;
    }
    reg(STATUS, 0);
    return 0;
}
