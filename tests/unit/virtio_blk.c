/* virtio-blk request by request against VIRTIO 1.2, 5.2. */
#include "virtio_driver.h"

enum { IN, OUT, FLUSH = 4, GET_ID = 8, GET_LIFETIME = 10, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK, IOERR, UNSUPP };

enum { HEADER = DRIVER_DATA, STATUS_BYTE = DRIVER_DATA + 0x100, DATA = DRIVER_DATA + 0x1000, DISK = 64 * 512 };

#define ALL (VIRTIO_F_VERSION_1 | 1 << 1 | 1 << 2 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 14)

static u8 disk[DISK];

static void plug(const char *attachment)
{
    driver_machine(attachment);
    for (unsigned i = 0; i < DISK; i++)
        disk[i] = (u8)(i / 512 * 7 + i);
    vm.disk = disk;
    vm.disk_size = DISK;
}

static void start_with(const char *attachment, u64 features)
{
    plug(attachment);
    CHECK(driver_negotiate(features));
    driver_queue(0, 16);
    driver_go();
}

static void start(void)
{
    start_with("blk:disk.img", ALL);
}

static void header(u32 type, u64 sector)
{
    put32(HEADER, type);
    put32(HEADER + 4, 0);
    put64(HEADER + 8, sector);
    *(u8 *)at(STATUS_BYTE) = 0xee;
}

/* Makes one chain of buffers available and waits for it; the status byte. */
static u8 submit(const struct buffer *b, unsigned n, u32 *used)
{
    u32 id = 0, length = 0;

    driver_add(0, b, n);
    driver_kick(0);
    CHECK(driver_take(0, &id, &length));
    driver_taken(0, n);
    if (used)
        *used = length;
    return *(u8 *)at(STATUS_BYTE);
}

/* The usual form: header, data, status. */
static u8 request(u32 type, u64 sector, u32 bytes, bool to_ram)
{
    struct buffer b[] = {{MOCK_RAM + HEADER, 16, false}, {MOCK_RAM + DATA, bytes, to_ram}, {MOCK_RAM + STATUS_BYTE, 1, true}};
    u32 used;
    u8 status;

    header(type, sector);
    if (!bytes)
        b[1] = b[2];
    status = submit(b, bytes ? 3 : 2, &used);
    CHECK_EQ(used, to_ram ? bytes + 1 : 1);
    return status;
}

/* A discard or write-zeroes request of one range. */
static u8 range(u32 type, u64 sector, u32 sectors, u32 flags)
{
    put64(DATA, sector);
    put32(DATA + 8, sectors);
    put32(DATA + 12, flags);
    return request(type, 0, 16, false);
}

static void reads(void)
{
    start();
    CHECK_EQ(request(IN, 3, 1024, true), OK);
    CHECK(memcmp(at(DATA), disk + 3 * 512, 1024) == 0);
    CHECK_EQ(*(u8 *)at(DATA + 1024), 0);
    CHECK_EQ(request(IN, 63, 512, true), OK);
    CHECK(memcmp(at(DATA), disk + 63 * 512, 512) == 0);
    CHECK_EQ(vm.transfers, 6); /* header, data, status of each */
}

static void writes(void)
{
    u8 before[DISK];

    start();
    memcpy(before, disk, DISK);
    memset(at(DATA), 0xa5, 1024);
    CHECK_EQ(request(OUT, 5, 1024, false), OK);
    CHECK(memcmp(disk + 5 * 512, at(DATA), 1024) == 0);
    CHECK(memcmp(disk, before, 5 * 512) == 0 && memcmp(disk + 7 * 512, before + 7 * 512, DISK - 7 * 512) == 0);
}

static void outside(void)
{
    static const struct {
        u64 sector;
        u32 bytes;
    } wrong[] = {{64, 512}, {63, 1024}, {UINT64_MAX, 512}, {UINT64_MAX / 512, 512}, {(u64)1 << 55, 512}, {0, DISK + 512}, {0, 100}};
    u8 before[DISK];

    start();
    memcpy(before, disk, DISK);
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        CHECK_EQ(request(OUT, wrong[i].sector, wrong[i].bytes, false), IOERR);
        CHECK_EQ(request(IN, wrong[i].sector, wrong[i].bytes, true), IOERR);
    }
    CHECK(memcmp(before, disk, DISK) == 0);
}

/* 2.7.4.1: however the driver cuts it */
static void framing(void)
{
    struct buffer b[7] = {
        {MOCK_RAM + HEADER, 3, false},      {MOCK_RAM + HEADER + 3, 13, false}, {MOCK_RAM + DATA, 511, true},
        {MOCK_RAM + DATA + 511, 0, true},   {MOCK_RAM + DATA + 511, 500, true}, {MOCK_RAM + DATA + 1011, 13, true},
        {MOCK_RAM + STATUS_BYTE, 1, true},
    };
    struct buffer two[2] = {{MOCK_RAM + HEADER, 16, false}, {MOCK_RAM + DATA, 513, true}};
    struct buffer out[2] = {{MOCK_RAM + HEADER, 16 + 512, false}, {MOCK_RAM + STATUS_BYTE, 1, true}};
    u32 used;

    start();
    header(IN, 2);
    CHECK_EQ(submit(b, 7, &used), OK);
    CHECK_EQ(used, 1025);
    CHECK(memcmp(at(DATA), disk + 2 * 512, 1024) == 0);
    header(IN, 9);
    submit(two, 2, &used); /* the status is the last byte of the data's buffer */
    CHECK_EQ(used, 513);
    CHECK_EQ(*(u8 *)at(DATA + 512), OK);
    CHECK(memcmp(at(DATA), disk + 9 * 512, 512) == 0);
    header(OUT, 11);
    memset(at(HEADER + 16), 0x3c, 512 - 256); /* the data follows the header in one buffer, over the status byte */
    CHECK_EQ(submit(out, 2, &used), OK);
    CHECK(memcmp(disk + 11 * 512, at(HEADER + 16), 200) == 0);
}

static void malformed(void)
{
    struct buffer no_status[] = {{MOCK_RAM + HEADER, 16, false}};
    struct buffer short_header[] = {{MOCK_RAM + HEADER, 15, false}, {MOCK_RAM + STATUS_BYTE, 1, true}};
    struct buffer only_status[] = {{MOCK_RAM + STATUS_BYTE, 1, true}};
    struct buffer bad_header[] = {{0x1000, 16, false}, {MOCK_RAM + STATUS_BYTE, 1, true}};
    struct buffer bad_data[] = {{MOCK_RAM + HEADER, 16, false}, {0x1000, 512, true}, {MOCK_RAM + STATUS_BYTE, 1, true}};
    struct buffer bad_status[] = {{MOCK_RAM + HEADER, 16, false}, {MOCK_RAM + DATA, 512, true}, {0x1000, 1, true}};
    u32 used = 99;

    start();
    header(IN, 0);
    CHECK_EQ(submit(short_header, 2, NULL), IOERR);
    CHECK_EQ(submit(only_status, 1, NULL), IOERR);
    CHECK_EQ(submit(bad_header, 2, NULL), IOERR);
    header(IN, 0);
    CHECK_EQ(submit(bad_data, 3, NULL), IOERR);
    header(IN, 0);
    CHECK_EQ(submit(bad_status, 3, &used), 0xee);
    CHECK_EQ(used, 0);
    CHECK(!driver_broken());
    driver_add(0, no_status, 1);
    driver_kick(0);
    CHECK(driver_broken());
}

static void unknown_types(void)
{
    static const u32 types[] = {2, 3, 5, 6, 7, 9, GET_LIFETIME, 12, 14, 0x80000000, 0xffffffff};

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
        CHECK_EQ(request(types[i], 0, 512, true), UNSUPP);
}

static void get_id(void)
{
    start_with("blk:disk.img,serial=DISK0123456789ABCDEF", ALL);
    CHECK_EQ(request(GET_ID, 0, 20, true), OK);
    CHECK(memcmp(at(DATA), "DISK0123456789ABCDEF", 20) == 0);
    start();
    memset(at(DATA), 0xee, 32);
    CHECK_EQ(request(GET_ID, 0, 20, true), OK);
    CHECK(memcmp(at(DATA), "mmioshim\0\0\0\0\0\0\0\0\0\0\0\0\xee", 21) == 0);
}

static void flush(void)
{
    start();
    CHECK_EQ(request(FLUSH, 0, 0, false), OK);
    CHECK_EQ(vm.flushes, 1);
    vm.disk_error = -5;
    CHECK_EQ(request(FLUSH, 0, 0, false), IOERR);
    CHECK_EQ(request(IN, 0, 512, true), IOERR);
    CHECK_EQ(request(OUT, 0, 512, false), IOERR);
}

/* 5.2.6.2: what is written is safe when the request ends, unless the driver has taken flushing upon itself */
static void write_through(void)
{
    start();
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 32, 1), 1);
    CHECK_EQ(request(OUT, 0, 512, false), OK);
    CHECK_EQ(vm.flushes, 0);
    wr(&vm, VIRTIO_CONFIG + 32, 1, 0);
    CHECK_EQ(request(OUT, 0, 512, false), OK);
    CHECK_EQ(vm.flushes, 1);
    CHECK_EQ(wr_status(&vm, VIRTIO_CONFIG + 32, 1, 2), MMIOSHIM_READ_ONLY);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 32, 1), 1);
    start_with("blk:disk.img", VIRTIO_F_VERSION_1);
    CHECK_EQ(wr_status(&vm, VIRTIO_CONFIG + 32, 1, 0), MMIOSHIM_READ_ONLY);
    CHECK_EQ(request(OUT, 0, 512, false), OK);
    CHECK_EQ(vm.flushes, 1);
    start_with("blk:disk.img", VIRTIO_F_VERSION_1 | 1 << 9);
    CHECK_EQ(request(OUT, 0, 512, false), OK);
    CHECK_EQ(vm.flushes, 0);
}

static void discard(void)
{
    start();
    CHECK_EQ(range(DISCARD, 4, 2, 0), OK);
    CHECK_EQ(disk[4 * 512], 0xdd);
    CHECK_EQ(disk[6 * 512 - 1], 0xdd);
    CHECK(disk[6 * 512] != 0xdd);
    CHECK_EQ(range(DISCARD, 4, 2, 1), UNSUPP);
    CHECK_EQ(range(DISCARD, 63, 2, 0), IOERR);
    CHECK_EQ(range(DISCARD, UINT64_MAX, 2, 0), IOERR);
    CHECK_EQ(range(DISCARD, 0, UINT32_MAX, 0), IOERR);
    CHECK_EQ(request(DISCARD, 0, 15, false), IOERR);
    start_with("blk:disk.img", VIRTIO_F_VERSION_1);
    CHECK_EQ(range(DISCARD, 4, 2, 0), UNSUPP);
    CHECK_EQ(range(WRITE_ZEROES, 4, 2, 0), UNSUPP);
}

static void write_zeroes(void)
{
    start();
    CHECK_EQ(range(WRITE_ZEROES, 8, 1, 0), OK);
    CHECK_EQ(disk[8 * 512 + 5] | disk[9 * 512 - 1], 0);
    CHECK_EQ(range(WRITE_ZEROES, 9, 1, 1), OK);
    CHECK_EQ(disk[9 * 512 + 5], 0);
    CHECK_EQ(range(WRITE_ZEROES, 9, 1, 2), UNSUPP);
    CHECK_EQ(range(WRITE_ZEROES, 64, 1, 0), IOERR);
    for (u32 i = 0; i < 65; i++) {
        put64(DATA + 16 * i, 0);
        put32(DATA + 16 * i + 8, 1);
        put32(DATA + 16 * i + 12, 0);
    }
    CHECK_EQ(request(WRITE_ZEROES, 0, 64 * 16, false), OK);
    CHECK_EQ(request(WRITE_ZEROES, 0, 65 * 16, false), IOERR);
}

static void readonly(void)
{
    u8 before[DISK];

    start_with("blk:disk.img,readonly", VIRTIO_F_VERSION_1 | 1 << 5);
    CHECK_EQ(driver_offered() & (1 << 5 | 1 << 13 | 1 << 14), 1 << 5);
    memcpy(before, disk, DISK);
    CHECK_EQ(request(OUT, 0, 512, false), IOERR);
    CHECK_EQ(range(DISCARD, 0, 1, 0), UNSUPP);
    CHECK_EQ(range(WRITE_ZEROES, 0, 1, 0), UNSUPP);
    CHECK(memcmp(before, disk, DISK) == 0);
    CHECK_EQ(request(IN, 0, 512, true), OK);
}

static void configuration(void)
{
    u64 value;

    plug("blk:disk.img,block-size=4096");
    CHECK_EQ(rd(&vm, VIRTIO_DEVICE_ID, 4), 2);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG, 4), 64);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 4, 4), 0);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 8, 4), 1 << 22);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 0xc, 4), 254);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 0x14, 4), 4096);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 0x1a, 2), 1);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 0x2c, 4), 8);
    CHECK_EQ(rd_status(&vm, VIRTIO_CONFIG, 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&vm, VIRTIO_CONFIG + 2, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&vm, VIRTIO_CONFIG + 64, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(wr_status(&vm, VIRTIO_CONFIG, 4, 1), MMIOSHIM_READ_ONLY);
    CHECK_EQ(driver_offered() & UINT32_MAX & ~(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX), ALL & UINT32_MAX);
}

static void options(void)
{
    static const char *const wrong[] = {
        "blk", "blk:", "blk:,readonly", "blk:x,writable", "blk:x,serial=123456789012345678901", "blk:x,block-size=513",
        "blk:x,block-size=8192", "blk:x,block-size=", "blk:x,", "blk:x,block-size=512x", "blk,readonly",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, wrong[i]) != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "blk:a:b,readonly,block-size=1024") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "disk:a:b,readonly");
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "blk:memory,block-size=1024,size=4M") == NULL);
    CHECK_STR(class_virtio_mmio.end(&vm.dev), "memory,size=4M");
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "blk:memory,export=x") != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "blk:memory.img,size=4M") != NULL);
}

static void depth(u64 features)
{
    u32 id, length, seen = 0;

    plug("blk:disk.img");
    CHECK(driver_negotiate(features));
    driver_queue(0, 256);
    driver_go();
    for (u32 i = 0; i < 64; i++) {
        u64 head = 0x60000 + 32 * i, data = 0x70000 + 512 * i;
        struct buffer b[] = {{MOCK_RAM + head, 16, false}, {MOCK_RAM + data, 512, true}, {MOCK_RAM + head + 16, 1, true}};

        put32(head, IN);
        put64(head + 8, 63 - i);
        *(u8 *)at(head + 16) = 0xee;
        driver_add(0, b, 3);
    }
    driver_kick(0);
    while (driver_take(0, &id, &length)) {
        driver_taken(0, 3);
        CHECK_EQ(length, 513);
        seen++;
    }
    CHECK_EQ(seen, 64);
    for (u32 i = 0; i < 64; i++)
        CHECK(memcmp(at(0x70000 + 512 * i), disk + 512 * (63 - i), 512) == 0 && *(u8 *)at(0x60010 + 32 * i) == OK);
    CHECK_EQ(vm.irq_changes, 1);
}

static void many_at_once(void)
{
    depth(ALL);
    depth(ALL | VIRTIO_F_RING_PACKED);
    depth(ALL | VIRTIO_F_EVENT_IDX | VIRTIO_F_IN_ORDER | VIRTIO_F_INDIRECT_DESC);
}

/* A process is killed at any step that the device makes, and another one goes on. */
static unsigned killed_at(unsigned step, u64 features)
{
    static const struct { u32 type; u64 sector; } wanted[] = {{IN, 3}, {OUT, 7}, {IN, 7}, {GET_ID, 0}};
    u32 id = 0, length = 0, seen = 0;
    unsigned steps;

    start_with("blk:disk.img", features);
    for (u32 i = 0; i < ARRAY_SIZE(wanted); i++) {
        u64 head = 0x60000 + 64 * i, data = 0x70000 + 512 * i;
        bool out = wanted[i].type == OUT;
        struct buffer b[] = {{MOCK_RAM + head, 16, false}, {MOCK_RAM + data, wanted[i].type == GET_ID ? 20 : 512, !out},
                             {MOCK_RAM + head + 16, 1, true}};

        put32(head, wanted[i].type);
        put64(head + 8, wanted[i].sector);
        *(u8 *)at(head + 16) = 0xee;
        if (out)
            memset(at(data), 0x6b, 512);
        driver_add(0, b, 3);
    }
    wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, 0);
    steps = mock_steps(&vm, step);
    if (steps <= step)
        CHECK_EQ(virtio_of(&vm.dev)->notified, 0);
    rd(&vm, VIRTIO_STATUS, 4);
    vm.dev.class->service(&vm.dev);
    while (driver_take(0, &id, &length)) {
        driver_taken(0, 3);
        CHECK_EQ(id, 3 * seen % 16);
        CHECK_EQ(length, seen == 1 ? 1 : seen == 3 ? 21 : 513);
        CHECK_EQ(*(u8 *)at(0x60010 + 64 * seen), OK);
        seen++;
    }
    CHECK_EQ(seen, ARRAY_SIZE(wanted));
    CHECK(memcmp(at(0x70000), disk + 3 * 512, 512) == 0);
    CHECK_EQ(disk[7 * 512], 0x6b);
    CHECK_EQ(*(u8 *)at(0x70000 + 2 * 512 + 511), 0x6b);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(!driver_broken());
    return steps;
}

static void takeover(void)
{
    static const u64 features[] = {ALL, ALL | VIRTIO_F_RING_PACKED, ALL | VIRTIO_F_EVENT_IDX};

    for (unsigned f = 0; f < ARRAY_SIZE(features); f++) {
        unsigned steps = killed_at(UINT32_MAX, features[f]);

        CHECK(steps > 20);
        for (unsigned i = 0; i < steps; i++)
            killed_at(i, features[f]);
    }
}

/* --- a disk that answers later --- */

static void start_later(u64 features)
{
    plug("blk:nbd:socket");
    vm.later = true;
    CHECK(driver_negotiate(features));
    driver_queue(0, 16);
    driver_go();
}

/* Request i of several: header, data, status in places of its own. */
static void add_later(u32 i, u32 type, u64 sector)
{
    u64 head = 0x60000 + 64 * i, data = 0x70000 + 512 * i;
    bool out = type == OUT;
    struct buffer b[] = {{MOCK_RAM + head, 16, false}, {MOCK_RAM + data, type == GET_ID ? 20 : 512, !out},
                         {MOCK_RAM + head + 16, 1, true}};

    put32(head, type);
    put64(head + 8, sector);
    *(u8 *)at(head + 16) = 0xee;
    if (out)
        memset(at(data), 0x6b, 512);
    driver_add(0, b, 3);
}

static unsigned take_later(u32 first)
{
    u32 id = 0, length = 0, seen = 0;

    for (; driver_take(0, &id, &length); seen++) {
        driver_taken(0, 3);
        CHECK_EQ(id, 3 * (first + seen) % 16);
        CHECK_EQ(*(u8 *)at(0x60010 + 64 * (first + seen)), OK);
    }
    return seen;
}

static void serve(void)
{
    vm.dev.class->service(&vm.dev);
}

/* The trap only asks; the worker begins what there is, and ends it in order. */
static void later(void)
{
    start_later(ALL);
    add_later(0, IN, 3);
    add_later(1, GET_ID, 0);
    add_later(2, OUT, 7);
    vm.elsewhere = true;
    driver_kick(0);
    CHECK_EQ(vm.nbegun, 0);
    CHECK_EQ(take_later(0), 0);
    vm.elsewhere = false;
    serve();
    CHECK_EQ(vm.nbegun, 2);
    CHECK_EQ(take_later(0), 0);
    CHECK(virtio_of(&vm.dev)->notified);
    vm.nending = 1;
    serve();
    CHECK_EQ(take_later(0), 2); /* and what had its answer at once, behind it */
    CHECK(memcmp(at(0x70000), disk + 3 * 512, 512) == 0);
    CHECK(disk[7 * 512] != 0x6b);
    vm.nending = 1;
    serve();
    CHECK_EQ(take_later(2), 1);
    CHECK_EQ(disk[7 * 512], 0x6b);
    CHECK_EQ(virtio_of(&vm.dev)->notified, 0);
    CHECK_EQ(vm.nended, 2);
}

static void later_fails(void)
{
    start_later(ALL);
    vm.nending = 8;
    CHECK_EQ(request(OUT, 64, 512, false), IOERR);
    CHECK_EQ(request(IN, 0, 100, true), IOERR);
    CHECK_EQ(request(2, 0, 512, true), UNSUPP);
    CHECK_EQ(request(IN, 0, 0, true), OK);
    CHECK_EQ(vm.nended, 0);
    vm.disk_error = -5;
    CHECK_EQ(request(FLUSH, 0, 0, false), IOERR);
    CHECK_EQ(request(IN, 0, 512, true), IOERR);
    vm.disk_error = 0;
    CHECK_EQ(request(IN, 0, 1536, true), OK);
    CHECK(memcmp(at(DATA), disk, 1536) == 0);
    CHECK_EQ(range(DISCARD, 4, 2, 0), OK);
    CHECK_EQ(disk[4 * 512], 0xdd);
    CHECK_EQ(range(WRITE_ZEROES, 4, 2, 1), OK);
    CHECK_EQ(disk[4 * 512], 0);
    CHECK_EQ(range(DISCARD, 4, 2, 1), UNSUPP);
    CHECK_EQ(request(DISCARD, 0, 32, false), IOERR);
    CHECK_EQ(rd(&vm, VIRTIO_CONFIG + 0x28, 4), 1);
}

static void later_write_through(void)
{
    start_later(ALL);
    vm.nending = 8;
    CHECK_EQ(request(OUT, 0, 512, false), OK);
    CHECK_EQ(vm.flushes, 0);
    wr(&vm, VIRTIO_CONFIG + 32, 1, 0);
    CHECK_EQ(request(OUT, 0, 512, false), OK);
    CHECK_EQ(request(IN, 0, 512, true), OK);
    CHECK_EQ(vm.flushes, 1);
}

/* What was under way before a reset is forgotten, and touches RAM no more. */
static void later_reset(void)
{
    start_later(ALL);
    add_later(0, IN, 3);
    driver_kick(0);
    CHECK_EQ(vm.nbegun, 1);
    memset(at(0x70000), 0x11, 512);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    vm.nending = 1;
    CHECK(driver_negotiate(ALL));
    driver_queue(0, 16);
    driver_go();
    add_later(0, GET_ID, 0);
    driver_kick(0);
    CHECK_EQ(vm.nended, 0);
    CHECK_EQ(take_later(0), 1);
    CHECK_EQ(*(u8 *)at(0x70000 + 511), 0x11);
}

/* The worker is killed at any step, with what it had begun: another one finds that it has begun nothing. */
static unsigned later_killed_at(unsigned step, u64 features)
{
    unsigned steps;

    start_later(features);
    add_later(0, IN, 3);
    add_later(1, OUT, 7);
    add_later(2, GET_ID, 0);
    add_later(3, IN, 9);
    vm.elsewhere = true;
    wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, 0);
    vm.elsewhere = false;
    serve();
    vm.nending = 3;
    steps = mock_steps(&vm, step);
    if (steps > step)
        vm.nbegun = 0;
    vm.nending = 8;
    serve();
    serve();
    CHECK_EQ(take_later(0), 4);
    CHECK(memcmp(at(0x70000), disk + 3 * 512, 512) == 0 && memcmp(at(0x70000 + 3 * 512), disk + 9 * 512, 512) == 0);
    CHECK_EQ(disk[7 * 512], 0x6b);
    CHECK_EQ(virtio_of(&vm.dev)->notified, 0);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(!driver_broken());
    return steps;
}

/* The first service only begins: there, too. */
static unsigned later_killed_early(unsigned step, u64 features)
{
    unsigned steps;

    start_later(features);
    add_later(0, IN, 3);
    add_later(1, OUT, 7);
    add_later(2, GET_ID, 0);
    vm.elsewhere = true;
    wr(&vm, VIRTIO_QUEUE_NOTIFY, 4, 0);
    vm.elsewhere = false;
    vm.nending = 2;
    steps = mock_steps(&vm, step);
    if (steps > step)
        vm.nbegun = 0;
    vm.nending = 8;
    serve();
    serve();
    CHECK_EQ(take_later(0), 3);
    CHECK(memcmp(at(0x70000), disk + 3 * 512, 512) == 0);
    CHECK_EQ(disk[7 * 512], 0x6b);
    CHECK(!driver_broken());
    return steps;
}

static void later_takeover(void)
{
    static const u64 features[] = {ALL, ALL | VIRTIO_F_RING_PACKED, ALL | VIRTIO_F_EVENT_IDX};

    for (unsigned f = 0; f < ARRAY_SIZE(features); f++) {
        unsigned steps = later_killed_at(UINT32_MAX, features[f]), early = later_killed_early(UINT32_MAX, features[f]);

        CHECK_EQ(early > 40, true);
        CHECK_EQ(steps > 30, true);
        for (unsigned i = 0; i < steps; i++)
            later_killed_at(i, features[f]);
        for (unsigned i = 0; i < early; i++)
            later_killed_early(i, features[f]);
    }
}

/* --- polled rings --- */

static void polled_by(u64 features, const char *how, enum mmioshim_poll wanted)
{
    u64 flags = features & VIRTIO_F_RING_PACKED ? 2 : 0; /* 2.7.8, 2.8.14 */

    plug(how);
    CHECK_EQ(vm.polled, MMIOSHIM_POLL_OFF);
    CHECK(driver_negotiate(features));
    driver_queue(0, 16);
    driver_go();
    CHECK_EQ(vm.polled, wanted);
    CHECK_EQ(get16(dq[0].device + flags), 0);
    CHECK(!vm.dev.class->poll(&vm.dev, false));
    CHECK_EQ(get16(dq[0].device + flags), 1);
    add_later(0, IN, 3);
    CHECK_EQ(vm.soon, 0);
    CHECK(vm.dev.class->poll(&vm.dev, false));
    CHECK_EQ(take_later(0), 1);
    CHECK_EQ(vm.line[0], true);
    add_later(1, IN, 4);
    CHECK(vm.dev.class->poll(&vm.dev, true)); /* the last look finds one */
    CHECK_EQ(get16(dq[0].device + flags), 0);
    CHECK_EQ(take_later(1), 1);
    CHECK(!vm.dev.class->poll(&vm.dev, true));
    vm.polled = MMIOSHIM_POLL_OFF; /* as the worker does then; a notification begins it anew */
    add_later(2, IN, 5);
    driver_kick(0);
    CHECK_EQ(take_later(2), 1);
    CHECK_EQ(vm.polled, wanted);
    wr(&vm, VIRTIO_STATUS, 4, 0);
    CHECK_EQ(vm.polled, MMIOSHIM_POLL_OFF);
}

static void polled(void)
{
    polled_by(ALL, "blk:disk.img,poll=on", MMIOSHIM_POLL_MOVING);
    polled_by(ALL | VIRTIO_F_RING_PACKED, "blk:disk.img,poll=always,serial=y,poll=on", MMIOSHIM_POLL_MOVING);
    polled_by(ALL, "blk:disk.img,poll=always,serial=x", MMIOSHIM_POLL_ALWAYS);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "blk:disk.img,poll=onward") != NULL);
    CHECK(mock_plug(&vm, &class_virtio_mmio, 0x1000, "rng,poll=on") == NULL);
}

static const struct clause clauses[] = {
    {"5.2.6", "a read", reads},
    {"5.2.6", "a write", writes},
    {"5.2.6.2", "outside the disk, or parts of a sector", outside},
    {"2.7.4.1", "requests are cut as the driver likes", framing},
    {"5.2.6", "requests that make no sense", malformed},
    {"5.2.6.2", "types that nobody knows are UNSUPP", unknown_types},
    {"5.2.6", "GET_ID", get_id},
    {"5.2.6", "FLUSH", flush},
    {"5.2.6.2", "writethrough and writeback", write_through},
    {"5.2.6, 5.2.6.2", "DISCARD", discard},
    {"5.2.6, 5.2.6.2", "WRITE_ZEROES", write_zeroes},
    {"5.2.3, 5.2.6.2", "RO", readonly},
    {"5.2.4", "configuration", configuration},
    {"5.2.6", "many requests at once", many_at_once},
    {"", "a process is killed in the middle of requests", takeover},
    {"", "a disk that answers later", later},
    {"5.2.6.2", "and its failures", later_fails},
    {"5.2.6.2", "and what is safe", later_write_through},
    {"2.4", "and a reset", later_reset},
    {"", "and a worker that is killed", later_takeover},
    {"2.7.10, 2.8.14", "rings that are polled", polled},
    {"", "options of an attachment", options},
};

TEST(clauses)
{
    run_clauses(clauses, ARRAY_SIZE(clauses));
}
