/*
 * A driver of a virtio disk behind version 1 of the registers (VIRTIO 1.2, 4.2.4), as drivers were before VIRTIO 1.0:
 * `g_legacy FIRST N` writes N sectors to standard output.
 */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main

enum { GUEST_PAGE_SIZE = 0x028, QUEUE_ALIGN = 0x03c, QUEUE_PFN = 0x040, PAGE = 4096 };

/* 2.7.2 */
struct legacy {
    struct descriptor desc[QUEUE_SIZE];
    struct available avail;
    struct used used __attribute__((aligned(PAGE)));
};

static volatile struct legacy *const queue = (volatile struct legacy *)(RAM + 0x200000);

static int find_legacy(struct disk *d)
{
    for (unsigned i = 0; i < NSLOTS; i++) {
        d->base = SLOTS + i * SLOT_STEP;
        if (reg_read(d, MAGIC) == 0x74726976 && reg_read(d, VERSION) == 1 && reg_read(d, DEVICE_ID) == 2)
            return 0;
    }
    d->base = 0;
    return fail(d, "no legacy disk");
}

static int bring_up_legacy(struct disk *d)
{
    reg_write(d, GUEST_PAGE_SIZE, PAGE);
    reg_write(d, STATUS, 0);
    reg_write(d, STATUS, ACKNOWLEDGE);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER);
    reg_write(d, DEVICE_FEATURES_SEL, 0);
    d->features = reg_read(d, DEVICE_FEATURES) & (F_FLUSH | F_RO);
    reg_write(d, DRIVER_FEATURES_SEL, 0);
    reg_write(d, DRIVER_FEATURES, (uint32_t)d->features);
    reg_write(d, QUEUE_SEL, 0);
    if (reg_read(d, QUEUE_PFN) != 0 || reg_read(d, QUEUE_NUM_MAX) < QUEUE_SIZE)
        return fail(d, "no queue, or one that is in use");
    memset((void *)(uintptr_t)queue, 0, sizeof(*queue));
    reg_write(d, QUEUE_NUM, QUEUE_SIZE);
    reg_write(d, QUEUE_ALIGN, PAGE);
    reg_write(d, QUEUE_PFN, (uint32_t)((uintptr_t)queue / PAGE));
    d->capacity = reg_read(d, CONFIG_CAPACITY);
    reg_write(d, STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK);
    return 0;
}

static void put(unsigned i, volatile void *address, uint32_t len, uint16_t flags)
{
    queue->desc[i].addr = (uintptr_t)address;
    queue->desc[i].len = len;
    queue->desc[i].flags = flags;
    queue->desc[i].next = (uint16_t)(i + 1);
}

static int read_sector(struct disk *d, uint64_t sector)
{
    ram->request.type = REQUEST_IN;
    ram->request.sector = sector;
    put(0, &ram->request, sizeof(ram->request), DESC_NEXT);
    put(1, ram->data, SECTOR, DESC_NEXT | DESC_WRITE);
    put(2, &ram->status, 1, DESC_WRITE);
    queue->avail.ring[queue->avail.idx % QUEUE_SIZE] = 0;
    barrier();
    queue->avail.idx++;
    barrier();
    reg_write(d, QUEUE_NOTIFY, 0);
    while (queue->used.idx == d->last_used)
        ;
    d->last_used++;
    fwrite((void *)(uintptr_t)ram->data, SECTOR, 1, stdout);
    return ram->status;
}

int main(int argc, char **argv)
{
    struct disk d = {0};

    if (argc < 3 || find_legacy(&d) || bring_up_legacy(&d))
        return 1;
    for (uint64_t i = 0; i < strtoull(argv[2], NULL, 0); i++)
        if (read_sector(&d, strtoull(argv[1], NULL, 0) + i))
            return 2;
    reg_write(&d, QUEUE_PFN, 0);
    reg_write(&d, STATUS, 0);
    return 0;
}
