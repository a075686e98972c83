/*
 * A driver of a virtio network card, as it would run on a board: it finds the
 * card behind one of eight register windows, sets up its queues in RAM, and
 * sleeps until the card interrupts: its line goes through the PLIC to the
 * hart, and SIGIO stands for the trap. Written to VIRTIO 1.2; the numbers in
 * comments are its sections. Addresses are those of QEMU's RISC-V machine `virt`.
 *
 *   virtio-net             says which card there is, sends three frames, and looks at what comes back (a loopback)
 *   virtio-net send N      sends N frames to everybody
 *   virtio-net receive N   waits for N frames, and says what they are
 *   virtio-net ping N      sends N frames, one after another, each when the one before was answered
 *   virtio-net echo N      answers N frames
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS     0x10001000ul
#define SLOT_STEP 0x1000ul
#define NSLOTS    8u
#define PLIC      0x0c000000ul
#ifndef RAM
#define RAM 0x80000000ul
#endif

/* Registers, 4.2.2 */
enum {
    MAGIC = 0x000, VERSION = 0x004, DEVICE_ID = 0x008,
    DEVICE_FEATURES = 0x010, DEVICE_FEATURES_SEL = 0x014, DRIVER_FEATURES = 0x020, DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030, QUEUE_NUM_MAX = 0x034, QUEUE_NUM = 0x038, QUEUE_READY = 0x044, QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060, INTERRUPT_ACK = 0x064, STATUS = 0x070,
    QUEUE_DESC = 0x080, QUEUE_DRIVER = 0x090, QUEUE_DEVICE = 0x0a0,
    CONFIG_GENERATION = 0x0fc, CONFIG_MAC = 0x100, CONFIG_STATUS = 0x106,
};

/* Status, 2.1 */
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64, FAILED = 128 };

#define F_MAC       (1ull << 5) /* 5.1.3 */
#define F_STATUS    (1ull << 16)
#define F_VERSION_1 (1ull << 32) /* 6 */

enum { LINK_UP = 1 }; /* 5.1.4 */
enum { USED = 1, CONFIG_CHANGE = 2 }; /* why it interrupted, 4.2.2 */

/* A queue, 2.7; receiveq1 is 0 and transmitq1 is 1, 5.1.2 */
enum { RX = 0, TX = 1, QUEUE_SIZE = 16, DESC_WRITE = 2, AVAIL_NO_INTERRUPT = 1 };

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

struct header { /* 5.1.6 */
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers;
};

enum { FRAME = 60, FRAME_MAX = 1514, TYPE = 0x88b5 /* IEEE 802: for experiments */ };

struct packet {
    struct header header;
    uint8_t to[6], from[6], type[2], text[FRAME_MAX - 14];
};

struct queue {
    struct descriptor desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct available avail __attribute__((aligned(2)));
    struct used used __attribute__((aligned(4)));
    struct packet packets[QUEUE_SIZE] __attribute__((aligned(2048)));
};

/* What the card and we share: in RAM, where physical addresses are ours. */
static volatile struct queue *const queues = (volatile struct queue *)(RAM + 0x200000);

static struct card {
    uintptr_t base;
    unsigned irq;
    uint64_t features;
    uint8_t mac[6];
    uint16_t taken; /* from receiveq1 */
} card;

static volatile sig_atomic_t link_changed;
static volatile uint16_t arrived; /* as used.idx of receiveq1: how far the interrupt has looked */

static volatile uint32_t *plic(unsigned offset)
{
    return (volatile uint32_t *)(PLIC + offset);
}

static uint32_t reg_read(unsigned offset)
{
    return *(volatile uint32_t *)(card.base + offset);
}

static void reg_write(unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(card.base + offset) = value;
}

static void reg_write64(unsigned offset, const volatile void *address)
{
    reg_write(offset, (uint32_t)(uintptr_t)address);
    reg_write(offset + 4, (uint32_t)((uint64_t)(uintptr_t)address >> 32));
}

static void barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static int fail(const char *why)
{
    if (card.base)
        reg_write(STATUS, reg_read(STATUS) | FAILED);
    fprintf(stderr, "virtio-net: %s\n", why);
    return -1;
}

/* --- interrupts: claimed from the PLIC, acknowledged at the card (4.2.3.4), completed --- */

static void trap(int signal)
{
    uint32_t source = *plic(0x200004), cause;

    (void)signal;
    if (source != card.irq)
        return;
    cause = reg_read(INTERRUPT_STATUS);
    reg_write(INTERRUPT_ACK, cause);
    if (cause & CONFIG_CHANGE)
        link_changed = 1;
    arrived = queues[RX].used.idx; /* behind the acknowledgement: what comes later interrupts again */
    *plic(0x200004) = source;
}

static void enable_interrupt(void)
{
    struct sigaction action = {.sa_handler = trap};
    sigset_t io;

    sigemptyset(&io);
    sigaddset(&io, SIGIO);
    sigprocmask(SIG_BLOCK, &io, NULL);
    sigaction(SIGIO, &action, NULL);
    *plic(4 * card.irq) = 1;
    *plic(0x2000) = 1u << card.irq;
    *plic(0x200000) = 0;
}

/* SIGIO is blocked, and comes only here: nothing that arrives between a look and the sleep is missed. */
static void wait_for_interrupt(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigsuspend(&none);
}

/* --- bring-up, 3.1.1 --- */

__attribute__((noinline)) static int find(void)
{
    for (unsigned i = 0; i < NSLOTS; i++) {
        card.base = SLOTS + i * SLOT_STEP;
        card.irq = 1 + i;
        if (reg_read(MAGIC) == 0x74726976 && reg_read(VERSION) == 2 && reg_read(DEVICE_ID) == 1)
            return 0;
    }
    card.base = 0;
    return fail("no network card");
}

__attribute__((noinline)) static int negotiate(void)
{
    uint64_t offered;

    reg_write(STATUS, 0);
    reg_write(STATUS, ACKNOWLEDGE);
    reg_write(STATUS, ACKNOWLEDGE | DRIVER);
    reg_write(DEVICE_FEATURES_SEL, 0);
    offered = reg_read(DEVICE_FEATURES);
    reg_write(DEVICE_FEATURES_SEL, 1);
    offered |= (uint64_t)reg_read(DEVICE_FEATURES) << 32;
    card.features = offered & (F_VERSION_1 | F_MAC | F_STATUS);
    reg_write(DRIVER_FEATURES_SEL, 0);
    reg_write(DRIVER_FEATURES, (uint32_t)card.features);
    reg_write(DRIVER_FEATURES_SEL, 1);
    reg_write(DRIVER_FEATURES, (uint32_t)(card.features >> 32));
    reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(reg_read(STATUS) & FEATURES_OK))
        return fail("the card does not agree to its own features");
    return 0;
}

__attribute__((noinline)) static int set_up_queue(unsigned number)
{
    volatile struct queue *q = &queues[number];

    reg_write(QUEUE_SEL, number);
    if (reg_read(QUEUE_READY) != 0 || reg_read(QUEUE_NUM_MAX) < QUEUE_SIZE)
        return fail("no queue, or one that is too small");
    memset((void *)(uintptr_t)q, 0, sizeof(*q));
    for (unsigned i = 0; i < QUEUE_SIZE; i++) {
        q->desc[i].addr = (uintptr_t)&q->packets[i];
        q->desc[i].len = sizeof(struct packet);
        q->desc[i].flags = number == RX ? DESC_WRITE : 0;
    }
    reg_write(QUEUE_NUM, QUEUE_SIZE);
    reg_write64(QUEUE_DESC, q->desc);
    reg_write64(QUEUE_DRIVER, &q->avail);
    reg_write64(QUEUE_DEVICE, &q->used);
    reg_write(QUEUE_READY, 1);
    return 0;
}

/* 4.2.2.2: fields of a byte are read as bytes; what belongs together is, when the generation stays the same */
__attribute__((noinline)) static void read_mac(void)
{
    uint32_t before;

    do {
        before = reg_read(CONFIG_GENERATION);
        for (unsigned i = 0; i < 6; i++)
            card.mac[i] = *(volatile uint8_t *)(card.base + CONFIG_MAC + i);
    } while (reg_read(CONFIG_GENERATION) != before);
}

static void offer(unsigned number, unsigned i)
{
    volatile struct available *avail = &queues[number].avail;

    avail->ring[avail->idx % QUEUE_SIZE] = (uint16_t)i;
    barrier();
    avail->idx++;
    barrier();
}

static void notify(unsigned number)
{
    reg_write(QUEUE_NOTIFY, number);
}

/* 5.1.5.1: without STATUS the link is always up */
__attribute__((noinline)) static void wait_for_link(void)
{
    while (card.features & F_STATUS) {
        if (*(volatile uint16_t *)(card.base + CONFIG_STATUS) & LINK_UP)
            return;
        while (!link_changed)
            wait_for_interrupt();
        link_changed = 0;
    }
}

__attribute__((noinline)) static int bring_up(void)
{
    if (find() || negotiate() || set_up_queue(RX) || set_up_queue(TX))
        return -1;
    read_mac();
    queues[TX].avail.flags = AVAIL_NO_INTERRUPT; /* when a frame is gone is of no interest before the next */
    enable_interrupt();
    reg_write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        offer(RX, i);
    notify(RX);
    wait_for_link();
    return 0;
}

/* --- frames --- */

/* The buffer for the next one to send. */
static volatile struct packet *next_packet(void)
{
    return &queues[TX].packets[queues[TX].avail.idx % QUEUE_SIZE];
}

/* Sends it, `frame` bytes long, as soon as the queue has room. */
__attribute__((noinline)) static int transmit(uint32_t frame)
{
    volatile struct queue *q = &queues[TX];
    unsigned i = q->avail.idx % QUEUE_SIZE;

    memset((void *)(uintptr_t)&q->packets[i].header, 0, sizeof(struct header));
    q->desc[i].len = (uint32_t)sizeof(struct header) + frame;
    offer(TX, i);
    notify(TX);
    while ((uint16_t)(q->avail.idx - q->used.idx) == QUEUE_SIZE)
        if (reg_read(STATUS) & NEEDS_RESET)
            return fail("the card needs a reset");
    return 0;
}

static int send_text(const uint8_t *to, unsigned number)
{
    volatile struct packet *p = next_packet();

    memcpy((void *)(uintptr_t)p->to, to, 6);
    memcpy((void *)(uintptr_t)p->from, card.mac, 6);
    p->type[0] = TYPE >> 8;
    p->type[1] = TYPE & 0xff;
    memset((void *)(uintptr_t)p->text, 0, FRAME - 14);
    snprintf((char *)(uintptr_t)p->text, FRAME - 14, "frame %u", number);
    return transmit(FRAME);
}

/* The next frame that arrives; its length. It is ours until give_back(). */
__attribute__((noinline)) static uint32_t receive(volatile struct packet **packet)
{
    volatile struct queue *q = &queues[RX];
    uint16_t at = card.taken;

    while (arrived == at)
        wait_for_interrupt();
    barrier();
    *packet = &q->packets[q->used.ring[at % QUEUE_SIZE].id];
    return q->used.ring[at % QUEUE_SIZE].len - (uint32_t)sizeof(struct header);
}

static void give_back(void)
{
    uint16_t at = card.taken++;

    offer(RX, queues[RX].used.ring[at % QUEUE_SIZE].id);
    notify(RX);
}

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static int send_frames(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (send_text(everybody, i))
            return -1;
    while (queues[TX].used.idx != queues[TX].avail.idx) /* until they are gone */
        if (reg_read(STATUS) & NEEDS_RESET)
            return fail("the card needs a reset");
    return 0;
}

static int receive_frames(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        volatile struct packet *p;
        uint32_t n = receive(&p);

        printf("%u bytes, type %02x%02x: %.40s\n", n, p->type[0], p->type[1], (char *)(uintptr_t)p->text);
        fflush(stdout);
        give_back();
    }
    return 0;
}

static int ping(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        volatile struct packet *p;
        char text[20];

        snprintf(text, sizeof(text), "frame %u", i);
        if (send_text(everybody, i))
            return -1;
        if (receive(&p) != FRAME || memcmp((void *)(uintptr_t)p->to, card.mac, 6) != 0 ||
            strcmp((char *)(uintptr_t)p->text, text) != 0)
            return fail("that is no answer");
        give_back();
    }
    printf("%u answers\n", count);
    return 0;
}

static int echo(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        volatile struct packet *p, *answer = next_packet();
        uint32_t n = receive(&p);

        memcpy((void *)(uintptr_t)answer->to, (void *)(uintptr_t)p->from, 6);
        memcpy((void *)(uintptr_t)answer->from, card.mac, 6);
        memcpy((void *)(uintptr_t)answer->type, (void *)(uintptr_t)p->type, n - 12);
        give_back();
        if (transmit(n))
            return -1;
    }
    while (queues[TX].used.idx != queues[TX].avail.idx)
        if (reg_read(STATUS) & NEEDS_RESET)
            return fail("the card needs a reset");
    printf("%u echoes\n", count);
    return 0;
}

__attribute__((noinline)) static int demonstrate(void)
{
    printf("%02x:%02x:%02x:%02x:%02x:%02x: the link is up\n", card.mac[0], card.mac[1], card.mac[2], card.mac[3],
           card.mac[4], card.mac[5]);
    return send_frames(3) || receive_frames(3) ? -1 : 0;
}

int main(int argc, char **argv)
{
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    const char *what = argc > 1 ? argv[1] : "";
    int ret;

    if (bring_up())
        return 1;
    if (strcmp(what, "send") == 0)
        ret = send_frames(count);
    else if (strcmp(what, "receive") == 0)
        ret = receive_frames(count);
    else if (strcmp(what, "ping") == 0)
        ret = ping(count);
    else if (strcmp(what, "echo") == 0)
        ret = echo(count);
    else
        ret = demonstrate();
    reg_write(STATUS, 0);
    return ret ? 1 : 0;
}
