/*
 * A driver of a virtio console with two ports, by VIRTIO 1.2, 5.3: says on standard error what the device tells of
 * them, and on each port in capitals what it hears there, until it hears "bye" on the second.
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main
#include <ctype.h>
#include <sched.h>

enum { RX0, TX0, CONTROL_RX, CONTROL_TX, RX1, TX1, QUEUES, ROOM = 64 };
enum { F_MULTIPORT = 2 };
enum { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

struct control {
    uint32_t id;
    uint16_t event, value;
};

struct ring {
    struct descriptor desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct available avail;
    struct used used __attribute__((aligned(4)));
    uint8_t data[QUEUE_SIZE][ROOM] __attribute__((aligned(8)));
};

static volatile struct ring *const rings = (volatile struct ring *)(RAM + 0x200000);
static uint16_t seen[QUEUES];
static struct disk d = {.base = SLOTS};

static void offer(unsigned q, unsigned i, uint32_t length)
{
    volatile struct ring *r = &rings[q];

    r->desc[i].addr = (uintptr_t)r->data[i];
    r->desc[i].len = length;
    r->desc[i].flags = q % 2 == 0 ? DESC_WRITE : 0;
    r->avail.ring[r->avail.idx % QUEUE_SIZE] = (uint16_t)i;
    barrier();
    r->avail.idx++;
    barrier();
    reg_write(&d, QUEUE_NOTIFY, q);
}

static void queue(unsigned q)
{
    memset((void *)(uintptr_t)&rings[q], 0, sizeof(rings[q]));
    rings[q].avail.flags = AVAIL_NO_INTERRUPT;
    reg_write(&d, QUEUE_SEL, q);
    if (reg_read(&d, QUEUE_NUM_MAX) < QUEUE_SIZE)
        exit(3);
    reg_write(&d, QUEUE_NUM, QUEUE_SIZE);
    reg_write64(&d, QUEUE_DESC, rings[q].desc);
    reg_write64(&d, QUEUE_DRIVER, &rings[q].avail);
    reg_write64(&d, QUEUE_DEVICE, &rings[q].used);
    reg_write(&d, QUEUE_READY, 1);
}

static void send(unsigned q, const void *data, uint32_t length)
{
    uint16_t before = rings[q].used.idx;

    memcpy((void *)(uintptr_t)rings[q].data[0], data, length);
    offer(q, 0, length);
    while (rings[q].used.idx == before)
        ;
}

static void say(uint32_t id, uint16_t event, uint16_t value)
{
    send(CONTROL_TX, &(struct control){id, event, value}, sizeof(struct control));
}

/* Returns the length of a message, whose text is copied; 0: there is none. */
static uint32_t take(unsigned q, char *text)
{
    volatile struct ring *r = &rings[q];
    uint32_t id, length;

    if (r->used.idx == seen[q])
        return 0;
    id = r->used.ring[seen[q] % QUEUE_SIZE].id;
    length = r->used.ring[seen[q]++ % QUEUE_SIZE].len;
    memcpy(text, (const void *)(uintptr_t)r->data[id], length);
    text[length] = 0;
    offer(q, id, ROOM);
    return length;
}

static void hear(void)
{
    char text[ROOM + 1];
    struct control m;

    if (!take(CONTROL_RX, text))
        return;
    memcpy(&m, text, sizeof(m));
    switch (m.event) {
    case DEVICE_ADD:
        fprintf(stderr, "port %u\n", m.id);
        say(m.id, PORT_READY, 1);
        break;
    case CONSOLE_PORT:
        fprintf(stderr, "port %u is a console\n", m.id);
        say(m.id, PORT_OPEN, 1);
        break;
    case PORT_NAME:
        fprintf(stderr, "port %u is %s\n", m.id, text + sizeof(m));
        say(m.id, PORT_OPEN, 1);
        break;
    case PORT_OPEN:
        fprintf(stderr, "port %u: %s\n", m.id, m.value ? "open" : "closed");
        break;
    }
}

static int echo(unsigned rx)
{
    char text[ROOM + 1];
    uint32_t n = take(rx, text);

    for (uint32_t i = 0; i < n; i++)
        text[i] = (char)toupper((unsigned char)text[i]);
    if (n)
        send(rx + 1, text, n);
    return n && strstr(text, "BYE");
}

int main(void)
{
    reg_write(&d, STATUS, 0);
    reg_write(&d, STATUS, ACKNOWLEDGE | DRIVER);
    reg_write(&d, DEVICE_FEATURES_SEL, 0);
    if (reg_read(&d, DEVICE_ID) != 3 || !(reg_read(&d, DEVICE_FEATURES) & F_MULTIPORT) || reg_read(&d, 0x104) != 2)
        return 2;
    reg_write(&d, DRIVER_FEATURES_SEL, 0);
    reg_write(&d, DRIVER_FEATURES, F_MULTIPORT);
    reg_write(&d, DRIVER_FEATURES_SEL, 1);
    reg_write(&d, DRIVER_FEATURES, 1);
    reg_write(&d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    for (unsigned q = 0; q < QUEUES; q++)
        queue(q);
    reg_write(&d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned q = 0; q < QUEUES; q += 2)
        for (unsigned i = 0; i < QUEUE_SIZE; i++)
            offer(q, i, ROOM);
    say(0, DEVICE_READY, 1);
    for (;;) {
        hear();
        echo(RX0);
        if (echo(RX1))
            break;
        sched_yield();
    }
    reg_write(&d, STATUS, 0);
    return 0;
}
