/*
 * A driver of a virtio network card: `g_virtio_net N` sends N frames, broadcast, of an experimental type, and tells what
 * has arrived by then.
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main

enum { RX = 0, TX = 1, HEADER = 12, FRAME = 60, ROOM = 1536 };

struct ring {
    struct descriptor desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct available avail;
    struct used used __attribute__((aligned(4)));
};

static volatile struct ring *const rings = (volatile struct ring *)(RAM + 0x200000);
static uint8_t *const buffers = (uint8_t *)(RAM + 0x210000), *const out = (uint8_t *)(RAM + 0x220000);

/* Nothing but version 1: what negotiate() takes are features of a disk. */
static int agree(struct disk *d)
{
    reg_write(d, STATUS, 0);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER);
    reg_write(d, DRIVER_FEATURES_SEL, 1);
    reg_write(d, DRIVER_FEATURES, F_VERSION_1 >> 32);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    return reg_read(d, STATUS) & FEATURES_OK ? 0 : -1;
}

static void queue(struct disk *d, unsigned number)
{
    memset((void *)(uintptr_t)&rings[number], 0, sizeof(rings[number])); /* who was here before left his own */
    reg_write(d, QUEUE_SEL, number);
    reg_write(d, QUEUE_NUM, QUEUE_SIZE);
    reg_write64(d, QUEUE_DESC, rings[number].desc);
    reg_write64(d, QUEUE_DRIVER, &rings[number].avail);
    reg_write64(d, QUEUE_DEVICE, &rings[number].used);
    reg_write(d, QUEUE_READY, 1);
}

static void offer(struct disk *d, unsigned number, unsigned i, void *buffer, uint32_t len, uint16_t flags)
{
    volatile struct ring *r = &rings[number];

    r->desc[i].addr = (uintptr_t)buffer;
    r->desc[i].len = len;
    r->desc[i].flags = flags;
    r->avail.ring[r->avail.idx % QUEUE_SIZE] = (uint16_t)i;
    barrier();
    r->avail.idx++;
    barrier();
    reg_write(d, QUEUE_NOTIFY, number);
}

int main(int argc, char **argv)
{
    struct disk d = {.base = SLOTS};
    unsigned frames = argc > 1 ? (unsigned)atoi(argv[1]) : 1;

    if (reg_read(&d, DEVICE_ID) != 1 || agree(&d))
        return 1;
    queue(&d, RX);
    queue(&d, TX);
    reg_write(&d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned i = 0; i < QUEUE_SIZE; i++)
        offer(&d, RX, i, buffers + i * ROOM, ROOM, DESC_WRITE);
    for (unsigned i = 0; i < frames; i++) {
        memset(out, 0, HEADER);
        memset(out + HEADER, 0xff, 6);
        memcpy(out + HEADER + 6, "\x52\x54\x00\x12\x34\x56\x88\xb5", 8);
        memset(out + HEADER + 14, (int)('a' + i), FRAME - 14);
        offer(&d, TX, 0, out, HEADER + FRAME, 0);
        if (rings[TX].used.idx != (uint16_t)(i + 1))
            return 2;
    }
    for (uint16_t i = 0; i < rings[RX].used.idx; i++) {
        uint8_t *frame = buffers + rings[RX].used.ring[i % QUEUE_SIZE].id * ROOM + HEADER;

        printf("%u bytes, type %02x%02x: %.4s\n", (unsigned)rings[RX].used.ring[i % QUEUE_SIZE].len - HEADER, frame[12],
               frame[13], (char *)frame + 14);
    }
    reg_write(&d, STATUS, 0);
    return 0;
}
