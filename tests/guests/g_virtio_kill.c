/*
 * A child that reads through the disk is killed in the middle, ROUNDS times; the parent goes on with the same queue. Every
 * request must end once, with its data.
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 8, ENTRIES = 32, BYTES = 8 * SECTOR };

struct big {
    struct descriptor desc[ENTRIES];
    struct { uint16_t flags, idx, ring[ENTRIES], event; } avail;
    struct { uint16_t flags, idx; struct { uint32_t id, len; } ring[ENTRIES]; uint16_t event; } used __attribute__((aligned(4)));
    struct request request[DEPTH] __attribute__((aligned(8)));
    uint8_t status[DEPTH];
};

static volatile struct big *const big = (volatile struct big *)(RAM + 0x300000);
static uint8_t *const data = (uint8_t *)(RAM + 0x310000);

static void put(unsigned i, const volatile void *address, uint32_t len, uint16_t flags)
{
    big->desc[i] = (struct descriptor){(uintptr_t)address, len, flags, (uint16_t)(i + 1)};
}

static int set_up(struct disk *d)
{
    if (find(d) || negotiate(d))
        return -1;
    memset((void *)(uintptr_t)big, 0, sizeof(*big));
    reg_write(d, QUEUE_SEL, 0);
    reg_write(d, QUEUE_NUM, ENTRIES);
    reg_write64(d, QUEUE_DESC, big->desc);
    reg_write64(d, QUEUE_DRIVER, &big->avail);
    reg_write64(d, QUEUE_DEVICE, &big->used);
    reg_write(d, QUEUE_READY, 1);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned i = 0; i < DEPTH; i++) {
        put(3 * i, &big->request[i], sizeof(struct request), DESC_NEXT);
        put(3 * i + 1, data + i * BYTES, BYTES, DESC_NEXT | DESC_WRITE);
        put(3 * i + 2, &big->status[i], 1, DESC_WRITE);
        big->status[i] = 0xff; /* once: a child may die between two batches */
    }
    return 0;
}

/* All descriptors at once, as long as this process lives. */
static void child(struct disk *d)
{
    for (unsigned n = 0;; n++) {
        for (unsigned i = 0; i < DEPTH; i++) {
            big->request[i].sector = (n + i) % 64 * 8;
            big->avail.ring[(uint16_t)(big->avail.idx + i) % ENTRIES] = (uint16_t)(3 * i);
        }
        barrier();
        big->avail.idx = (uint16_t)(big->avail.idx + DEPTH);
        reg_write(d, QUEUE_NOTIFY, 0);
    }
}

/* The last DEPTH used entries are those of the last DEPTH requests, in order. */
static int check(uint16_t before)
{
    uint16_t made = (uint16_t)(big->avail.idx - before);

    if (big->used.idx != big->avail.idx)
        return fprintf(stderr, "%u requests, %u ended\n", made, (unsigned)(uint16_t)(big->used.idx - before));
    for (unsigned i = 0; made && i < DEPTH; i++) {
        unsigned entry = (uint16_t)(big->used.idx - DEPTH + i) % ENTRIES;

        if (big->used.ring[entry].id != 3 * i || big->used.ring[entry].len != BYTES + 1 || big->status[i] != 0)
            return fprintf(stderr, "request %u: id %u, length %u, status %u\n", i, (unsigned)big->used.ring[entry].id,
                           (unsigned)big->used.ring[entry].len, big->status[i]);
        if (memcmp(data + i * BYTES + 16, data + i * BYTES, 16) != 0)
            return fprintf(stderr, "request %u: not its data\n", i);
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    struct disk d = {0};

    if (set_up(&d))
        return 1;
    for (unsigned i = 0; i < rounds; i++) {
        struct timespec delay = {0, (long)(200000 + i * 37 % 100 * 20000)};
        uint16_t before = big->avail.idx;
        pid_t pid = fork();

        if (pid == 0)
            child(&d);
        nanosleep(&delay, NULL);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        /*
         * It may have died before it could notify: that is not the device's to know. And a look at a register shows that
         * somebody is there to go on.
         */
        reg_write(&d, QUEUE_NOTIFY, 0);
        if ((reg_read(&d, STATUS) & NEEDS_RESET) || check(before))
            return 2;
    }
    printf("%u rounds\n", rounds);
    return 0;
}
