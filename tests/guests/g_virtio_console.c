/*
 * A driver of a virtio console: `g_virtio_console PROMPT [LINES [TIMES]]` says what it is told, then waits for lines by looking at
 * RAM alone, and says them in capitals.
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main
#include <ctype.h>

enum { RX = 0, TX = 1, ROOM = 256 };

struct ring {
    struct descriptor desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct available avail;
    struct used used __attribute__((aligned(4)));
};

static volatile struct ring *const rings = (volatile struct ring *)(RAM + 0x200000);
static char *const in = (char *)(RAM + 0x230000), *const out = (char *)(RAM + 0x220000);

static void queue(struct disk *d, unsigned number)
{
    memset((void *)(uintptr_t)&rings[number], 0, sizeof(rings[number]));
    rings[number].avail.flags = AVAIL_NO_INTERRUPT;
    reg_write(d, QUEUE_SEL, number);
    reg_write(d, QUEUE_NUM, QUEUE_SIZE);
    reg_write64(d, QUEUE_DESC, rings[number].desc);
    reg_write64(d, QUEUE_DRIVER, &rings[number].avail);
    reg_write64(d, QUEUE_DEVICE, &rings[number].used);
    reg_write(d, QUEUE_READY, 1);
}

/* One buffer, until it is used; how much of it was. */
static uint32_t pass(struct disk *d, unsigned number, void *buffer, uint32_t len)
{
    volatile struct ring *r = &rings[number];
    uint16_t before = r->used.idx;

    r->desc[0].addr = (uintptr_t)buffer;
    r->desc[0].len = len;
    r->desc[0].flags = number == RX ? DESC_WRITE : 0;
    r->avail.ring[r->avail.idx % QUEUE_SIZE] = 0;
    barrier();
    r->avail.idx++;
    barrier();
    reg_write(d, QUEUE_NOTIFY, number);
    while (r->used.idx == before)
        ;
    return r->used.ring[before % QUEUE_SIZE].len;
}

int main(int argc, char **argv)
{
    struct disk d = {.base = SLOTS};
    uint32_t n = 0;

    if (argc < 2 || reg_read(&d, DEVICE_ID) != 3 || negotiate(&d))
        return 1;
    queue(&d, RX);
    queue(&d, TX);
    reg_write(&d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    strcpy(out, argv[1]);
    for (int times = argc > 3 ? atoi(argv[3]) : 1; times > 0; times--)
        pass(&d, TX, out, (uint32_t)strlen(out));
    for (int lines = argc > 2 ? atoi(argv[2]) : 1; lines > 0; lines--) {
        n = 0;
        do {
            uint32_t got = pass(&d, RX, in + n, ROOM - n);

            for (uint32_t i = n; i < n + got; i++)
                out[i] = (char)toupper((unsigned char)in[i]);
            n += got;
        } while (in[n - 1] != '\n' && n < ROOM);
        pass(&d, TX, out, n);
    }
    reg_write(&d, STATUS, 0);
    return 0;
}
