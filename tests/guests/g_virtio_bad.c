/* A disk driver that gives the device addresses where no RAM is, and then a chain that makes no sense. */
#define main example_main
#include "../../examples/virtio-blk.c"
#undef main

/* A read of a sector into an address of our choice. */
static int read_to(struct disk *d, uint64_t address)
{
    ram->request.type = REQUEST_IN;
    ram->request.sector = 0;
    ram->status = 0xff;
    describe(0, &ram->request, sizeof(ram->request), DESC_NEXT);
    describe(1, (void *)(uintptr_t)address, SECTOR, DESC_NEXT | DESC_WRITE);
    describe(2, &ram->status, 1, DESC_WRITE);
    ram->avail.ring[ram->avail.idx % QUEUE_SIZE] = 0;
    ram->avail.idx++;
    reg_write(d, QUEUE_NOTIFY, 0);
    while (ram->used.idx == d->last_used)
        ;
    d->last_used++;
    return ram->status;
}

int main(void)
{
    struct disk d = {0};
    int window, end;

    if (bring_up(&d))
        return 1;
    window = read_to(&d, 0x10000000);        /* the UART */
    end = read_to(&d, 0x9ffffff8);           /* over the end of RAM */
    /* The available ring moves to another window, whose registers must not be touched. */
    reg_write(&d, QUEUE_READY, 0);
    reg_write64(&d, QUEUE_DRIVER, (void *)(SLOTS - 2));
    reg_write(&d, QUEUE_READY, 1);
    reg_write(&d, QUEUE_NOTIFY, 0);
    printf("status %d, status %d, needs reset %u\n", window, end, (unsigned)(reg_read(&d, STATUS) & NEEDS_RESET));
    return 0;
}
