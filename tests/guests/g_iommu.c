/* flags: -lpthread */
/*
 * A driver of a virtio IOMMU (VIRTIO 1.2, 5.13), in the second slot, and of a disk behind it, in the first. Arguments are
 * what it does, one after another; each says how it ended.
 *
 *   attach:DOMAIN:ENDPOINT[:FLAGS]  detach:DOMAIN:ENDPOINT  map:DOMAIN:FIRST:LAST:TARGET:FLAGS  unmap:DOMAIN:FIRST:LAST
 *   probe:ENDPOINT  bypass:VALUE  faults  reset
 *   offset:VALUE  what the disk calls an address, less what we call it
 *   disk          brings it up
 *   read:SECTOR   reads it to RAM + 0x101000 and tells how it begins
 *   straddle:SECTOR  reads it to 16 bytes before RAM + 0x102000 in bus addresses; tells what is at RAM + 0x1230ff0, +0x1000000
 *   race:N        a thread reads sectors to RAM + 0x101000 all the time, which is mapped and unmapped N times meanwhile; what is
 *                 written there behind an unmap must stay
 *
 * With "-keep" first the IOMMU stays as somebody left it.
 */
#include <pthread.h>

static unsigned long bus_offset;
#define BUS_OFFSET bus_offset
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main

enum { ATTACH = 1, DETACH, MAP, UNMAP, PROBE, BYPASS = 0x124, PROPERTIES = 64, EVENTS = 8 };

struct queue {
    struct descriptor desc[QUEUE_SIZE] __attribute__((aligned(16)));
    struct available avail;
    struct used used __attribute__((aligned(4)));
};

struct report {
    uint8_t reason, reserved[3];
    uint32_t flags, endpoint, reserved1;
    uint64_t address;
};

static volatile struct {
    struct queue queue[2] __attribute__((aligned(4096)));
    uint8_t out[80], in[PROPERTIES + 4];
    struct report reports[EVENTS];
} *const shared = (void *)(RAM + 0x300000);

static struct disk iommu = {.base = SLOTS + SLOT_STEP}, disk;
static uint16_t reported;

static void offer(unsigned number, unsigned head)
{
    volatile struct queue *q = &shared->queue[number];

    q->avail.ring[q->avail.idx % QUEUE_SIZE] = (uint16_t)head;
    barrier();
    q->avail.idx++;
    barrier();
    reg_write(&iommu, QUEUE_NOTIFY, number);
}

static void set(unsigned number, unsigned i, const volatile void *buffer, uint32_t len, uint16_t flags)
{
    shared->queue[number].desc[i].addr = (uintptr_t)buffer; /* nobody translates for the IOMMU itself */
    shared->queue[number].desc[i].len = len;
    shared->queue[number].desc[i].flags = flags;
    shared->queue[number].desc[i].next = (uint16_t)(i + 1);
}

static int start(void)
{
    uint64_t features = 0x57; /* all but MMIO and the old BYPASS */

    if (reg_read(&iommu, DEVICE_ID) != 23)
        return fail(&iommu, "no IOMMU");
    memset((void *)(uintptr_t)shared, 0, sizeof(*shared));
    reported = 0;
    reg_write(&iommu, STATUS, 0);
    reg_write(&iommu, STATUS, ACKNOWLEDGE | DRIVER);
    reg_write(&iommu, DRIVER_FEATURES_SEL, 0);
    reg_write(&iommu, DRIVER_FEATURES, (uint32_t)features);
    reg_write(&iommu, DRIVER_FEATURES_SEL, 1);
    reg_write(&iommu, DRIVER_FEATURES, 1);
    reg_write(&iommu, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
    if (!(reg_read(&iommu, STATUS) & FEATURES_OK))
        return fail(&iommu, "it does not agree");
    for (unsigned i = 0; i < 2; i++) {
        reg_write(&iommu, QUEUE_SEL, i);
        reg_write(&iommu, QUEUE_NUM, QUEUE_SIZE);
        for (unsigned half = 0; half < 2; half++) {
            reg_write(&iommu, QUEUE_DESC + 4 * half, (uint32_t)((uintptr_t)shared->queue[i].desc >> 32 * half));
            reg_write(&iommu, QUEUE_DRIVER + 4 * half, (uint32_t)((uintptr_t)&shared->queue[i].avail >> 32 * half));
            reg_write(&iommu, QUEUE_DEVICE + 4 * half, (uint32_t)((uintptr_t)&shared->queue[i].used >> 32 * half));
        }
        reg_write(&iommu, QUEUE_READY, 1);
    }
    reg_write(&iommu, STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    for (unsigned i = 0; i < EVENTS; i++) {
        set(1, i, &shared->reports[i], sizeof(shared->reports[i]), DESC_WRITE);
        offer(1, i);
    }
    return 0;
}

/* Status, or -1: it came back unwritten. */
static int command(unsigned type, const void *body, unsigned n, unsigned in)
{
    uint16_t before = shared->queue[0].used.idx;

    memset((void *)(uintptr_t)shared->out, 0, sizeof(shared->out));
    memset((void *)(uintptr_t)shared->in, 0xee, sizeof(shared->in));
    shared->out[0] = (uint8_t)type;
    memcpy((void *)(uintptr_t)(shared->out + 4), body, n);
    set(0, 0, shared->out, 4 + n, DESC_NEXT);
    set(0, 1, shared->in, in, DESC_WRITE);
    offer(0, 0);
    while (shared->queue[0].used.idx == before)
        ;
    return shared->queue[0].used.ring[before % QUEUE_SIZE].len == in ? shared->in[in - 4] : -1;
}

/* The buffer's address is one of the bus only. */
static int straddle(uint64_t sector)
{
    char *low = (char *)(RAM + 0x1230ff0), *high = (char *)(RAM + 0x1000000);

    memset(low, '-', 16);
    memset(high, '-', SECTOR);
    ram->request.type = REQUEST_IN;
    ram->request.sector = sector;
    describe(0, &ram->request, sizeof(ram->request), DESC_NEXT);
    describe(1, (void *)(RAM + 0x101ff0), SECTOR, DESC_NEXT | DESC_WRITE);
    describe(2, &ram->status, 1, DESC_WRITE);
    ram->avail.ring[ram->avail.idx % QUEUE_SIZE] = 0;
    barrier();
    ram->avail.idx++;
    barrier();
    reg_write(&disk, QUEUE_NOTIFY, 0);
    while (ram->used.idx == disk.last_used)
        ;
    disk.last_used++;
    printf("straddle:%u: %u, \"%.16s\", \"%.16s\"\n", (unsigned)sector, (unsigned)ram->status, low, high);
    return 0;
}

static volatile int racing;
static volatile unsigned long hits, misses;

static void *reader(void *unused)
{
    while (racing) {
        int status = submit(&disk, REQUEST_IN, 1, SECTOR);

        if (status == 0)
            hits++;
        else
            misses++;
    }
    return unused;
}

/* The page is at 0x101000 of the bus. */
static void race(unsigned long n)
{
    uint32_t words[8] = {1};
    uint64_t range[3] = {0x101000, 0x101fff, (uintptr_t)ram->data};
    unsigned long stale = 0, seen;
    pthread_t thread;

    racing = 1;
    pthread_create(&thread, NULL, reader, NULL);
    for (unsigned long i = 0; i < n; i++) {
        memcpy(words + 1, range, 24);
        words[7] = 3;
        if (command(MAP, words, 32, 4))
            stale += 1000000;
        for (seen = hits; i % 4 == 0 && hits == seen;)
            ;
        words[5] = 0;
        if (command(UNMAP, words, 24, 4))
            stale += 1000000;
        memset((void *)(uintptr_t)ram->data, '!', SECTOR);
        for (seen = misses; i % 4 == 0 && misses == seen;)
            ;
        for (unsigned k = 0; k < SECTOR; k++)
            stale += ram->data[k] != '!';
    }
    racing = 0;
    pthread_join(thread, NULL);
    printf("race:%lu: %lu bytes too late, reads %s, refusals %s\n", n, stale, hits ? "some" : "none", misses ? "some" : "none");
}

static void faults(void)
{
    for (; reported != shared->queue[1].used.idx; reported++) {
        unsigned id = shared->queue[1].used.ring[reported % QUEUE_SIZE].id;
        volatile struct report *r = &shared->reports[id];

        printf("fault: reason %u, flags %#x, endpoint %u, address %#llx\n", (unsigned)r->reason, (unsigned)r->flags,
               (unsigned)r->endpoint, (unsigned long long)r->address);
        offer(1, id);
    }
}

static void run(const char *what, const uint64_t *n)
{
    uint32_t words[18] = {(uint32_t)n[0], (uint32_t)n[1], (uint32_t)n[2]};
    int status = 0;

    if (strncmp(what, "attach", 6) == 0) {
        status = command(ATTACH, words, 16, 4);
    } else if (strncmp(what, "detach", 6) == 0) {
        status = command(DETACH, words, 16, 4);
    } else if (strncmp(what, "map", 3) == 0) {
        memcpy(words + 1, n + 1, 24);
        words[7] = (uint32_t)n[4];
        status = command(MAP, words, 32, 4);
    } else if (strncmp(what, "unmap", 5) == 0) {
        memcpy(words + 1, n + 1, 16);
        words[5] = 0;
        status = command(UNMAP, words, 24, 4);
    } else if (strncmp(what, "probe", 5) == 0) {
        words[1] = words[2] = 0;
        status = command(PROBE, words, 68, PROPERTIES + 4);
    } else if (strncmp(what, "bypass", 6) == 0) {
        *(volatile uint8_t *)(iommu.base + BYPASS) = (uint8_t)n[0];
    } else if (strncmp(what, "offset", 6) == 0) {
        bus_offset = n[0];
        return;
    } else if (strncmp(what, "faults", 6) == 0) {
        faults();
        return;
    } else if (strncmp(what, "straddle", 8) == 0) {
        straddle(n[0]);
        return;
    } else if (strncmp(what, "race", 4) == 0) {
        race(n[0]);
        return;
    } else if (strncmp(what, "disk", 4) == 0) {
        status = bring_up(&disk);
    } else if (strncmp(what, "read", 4) == 0) {
        memset((void *)(uintptr_t)ram->data, '-', SECTOR);
        status = submit(&disk, REQUEST_IN, n[0], SECTOR);
        printf("%.15s ", (char *)(uintptr_t)ram->data);
    } else {
        status = start();
    }
    printf("%s: %d\n", what, status);
}

int main(int argc, char **argv)
{
    int i = 1;

    if (argc > 1 && strcmp(argv[1], "-keep") == 0)
        i++;
    else if (start())
        return 1;
    for (; i < argc; i++) {
        uint64_t n[5] = {0};
        char *at = argv[i];

        for (unsigned k = 0; k < 5 && (at = strchr(at, ':')); k++)
            n[k] = strtoull(++at, NULL, 0);
        run(argv[i], n);
        fflush(stdout);
    }
    return 0;
}
