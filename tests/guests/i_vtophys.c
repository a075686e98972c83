/*
 * Memory for DMA as drivers in user space get it: huge pages, whose physical address /proc/self/pagemap tells, handed to a
 * virtio disk (VIRTIO 1.2) whose registers are mapped from /dev/mem. Writes sector 1, reads sector 0.
 *   i_vtophys file PATH | anonymous | memfd
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE  (2ul << 20)
#define PAGES 2

static volatile uint32_t *find_disk(void)
{
    int fd = open("/dev/mem", O_RDWR | O_SYNC);

    for (off_t at = 0x10001000; at < 0x10009000; at += 0x1000) {
        volatile uint32_t *r = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

        if (r != MAP_FAILED && r[0] == 0x74726976 && r[2] == 2)
            return r;
    }
    errx(1, "no disk");
}

static uint64_t physical(const volatile void *p)
{
    int fd = open("/proc/self/pagemap", O_RDONLY);
    uint64_t word = 0, frame;

    if (pread(fd, &word, 8, (uintptr_t)p / 4096 * 8) != 8)
        err(1, "pagemap");
    close(fd);
    frame = word & ((1ull << 55) - 1);
    if (!(word >> 63) || !frame)
        errx(1, "page is not there: %#lx", word);
    return frame * 4096 + (uintptr_t)p % 4096;
}

static uint8_t *memory(int argc, char **argv)
{
    int fd = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;
    void *p;

    if (strcmp(argv[1], "file") == 0 && argc > 2)
        fd = open(argv[2], O_CREAT | O_RDWR, 0600);
    else if (strcmp(argv[1], "memfd") == 0)
        fd = memfd_create("dma", MFD_HUGETLB);
    if (strcmp(argv[1], "anonymous") != 0) {
        if (fd < 0 || ftruncate(fd, PAGES * HUGE) < 0)
            err(1, "%s", argv[1]);
        flags = MAP_SHARED;
    }
    p = mmap(NULL, PAGES * HUGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (p == MAP_FAILED)
        err(1, "mmap");
    if (fd >= 0)
        close(fd);
    if (argc > 2)
        unlink(argv[2]);
    return p;
}

struct ring {
    struct { uint64_t addr; uint32_t len; uint16_t flags, next; } desc[8];
    struct { uint16_t flags, index, ring[8]; } avail;
    uint8_t pad[4096 - 128 - 20];
    struct { uint16_t flags, index; struct { uint32_t id, len; } ring[8]; } used;
};

static void set64(volatile uint32_t *low, uint64_t value)
{
    low[0] = (uint32_t)value;
    low[1] = (uint32_t)(value >> 32);
}

static void start(volatile uint32_t *r, volatile struct ring *ring)
{
    r[0x70 / 4] = 0;
    r[0x70 / 4] = 1 | 2; /* ACKNOWLEDGE, DRIVER */
    r[0x24 / 4] = 1;     /* DriverFeaturesSel: VERSION_1 is bit 32 */
    r[0x20 / 4] = 1;
    r[0x24 / 4] = 0;
    r[0x20 / 4] = 0;
    r[0x70 / 4] = 1 | 2 | 8; /* FEATURES_OK */
    r[0x30 / 4] = 0;
    r[0x38 / 4] = 8;
    set64(&r[0x80 / 4], physical(ring));
    set64(&r[0x90 / 4], physical(&ring->avail));
    set64(&r[0xa0 / 4], physical(&ring->used));
    r[0x44 / 4] = 1;
    r[0x70 / 4] = 1 | 2 | 4 | 8; /* DRIVER_OK */
}

/* type 0: from the disk, 1: to it. */
static void transfer(volatile uint32_t *r, volatile struct ring *ring, uint8_t *buffer, uint32_t type, uint64_t sector)
{
    static uint16_t done;
    volatile uint8_t *head = (volatile uint8_t *)ring + 8192, *status = head + 64;

    memcpy((void *)head, &(struct { uint32_t type, zero; uint64_t sector; }){type, 0, sector}, 16);
    *status = 0xff;
    ring->desc[0].addr = physical(head), ring->desc[0].len = 16, ring->desc[0].flags = 1, ring->desc[0].next = 1;
    ring->desc[1].addr = physical(buffer), ring->desc[1].len = 512, ring->desc[1].flags = type ? 1 : 3, ring->desc[1].next = 2;
    ring->desc[2].addr = physical(status), ring->desc[2].len = 1, ring->desc[2].flags = 2;
    ring->avail.ring[ring->avail.index % 8] = 0;
    __sync_synchronize();
    ring->avail.index++;
    __sync_synchronize();
    r[0x50 / 4] = 0;
    done++;
    for (long i = 0; ring->used.index != done && i < 1000000000; i++)
        ;
    if (*status)
        errx(1, "status %#x", *status);
}

int main(int argc, char **argv)
{
    uint8_t *p = memory(argc, argv), *data = p + HUGE + 1536;
    volatile uint32_t *disk = find_disk();

    memset(p, 0, HUGE);
    start(disk, (volatile struct ring *)p);
    strcpy((char *)data, "written through a huge page");
    transfer(disk, (volatile struct ring *)p, data, 1, 1);
    transfer(disk, (volatile struct ring *)p, data, 0, 0);
    printf("%s %#lx %#lx\n", data, physical(p), physical(data));
    return 0;
}
