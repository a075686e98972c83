/*
 * Parallel NOR flash, against the data sheets of AMD (Am29F010B, Am29F040B, Am29LV065D) and SST (SST39SF010A, SST39VF040);
 * the query against JESD68.01. Section names are in the comments.
 */
#include "device_mock.h"

#define KB 1024u
#define NODE(text) {STRINGS("compatible", text), END}
#define MS 1000000ull

enum { DQ2 = 0x04, DQ3 = 0x08, DQ5 = 0x20, DQ6 = 0x40, DQ7 = 0x80 };

static const struct mock_property am040[] = NODE("amd,am29f040b\0jedec-flash"), sst040[] = NODE("sst,sst39vf040\0jedec-flash"),
                                  jedec[] = NODE("jedec-flash"), am065[] = NODE("amd,am29lv065d\0cfi-flash"),
                                  sst010[] = NODE("sst,sst39sf010a"), am010[] = NODE("amd,am29f010b");
static struct mock m;
static u8 disk[8 << 20];
static u32 first_unlock, second_unlock;

static void with_disk(u32 size)
{
    for (u32 i = 0; i < size; i++)
        disk[i] = (u8)(i * 7 + i / 256);
    m.disk = disk;
    m.disk_size = size;
}

static void start(const struct mock_property *node, u32 size, u32 unlock1, u32 unlock2)
{
    CHECK(mock_create(&m, &class_flash, size, node) == NULL);
    m.clock = 1000 * MS;
    first_unlock = unlock1;
    second_unlock = unlock2;
}

static void amd(void)
{
    start(am040, 512 * KB, 0x555, 0x2aa);
}

static void sst(void)
{
    start(sst040, 512 * KB, 0x5555, 0x2aaa);
}

static u8 get(u32 at)
{
    return (u8)rd(&m, at, 1);
}

static void put(u32 at, u8 value)
{
    wr(&m, at, 1, value);
    if (m.soon) /* as the core does, before the program goes on */
        class_flash.service(&m.dev);
    m.soon = 0;
}

static void unlock(void)
{
    put(first_unlock, 0xaa);
    put(second_unlock, 0x55);
}

static void command(u8 value)
{
    unlock();
    put(first_unlock, value);
}

static void program(u32 at, u8 value)
{
    command(0xa0);
    put(at, value);
}

static void erase(u32 at, u8 how)
{
    command(0x80);
    unlock();
    put(at, how);
}

/* "Toggle Bit I": reads until DQ6 stands; how many reads toggled. */
static unsigned poll(u32 at)
{
    unsigned n = 0;
    u8 last = get(at), now;

    while (((now = get(at)) ^ last) & DQ6) {
        last = now;
        n++;
        if (n > 1000)
            break;
    }
    return n;
}

/* "Autoselect Codes" and the like: maker, device. */
TEST(identities)
{
    static const struct {
        const struct mock_property *node;
        u32 size, unlock1, unlock2;
        u8 maker, device;
    } chips[] = {
        {am010, 128 * KB, 0x555, 0x2aa, 0x01, 0x20},    {am040, 512 * KB, 0x555, 0x2aa, 0x01, 0xa4},
        {am065, 8192 * KB, 0, 0, 0x01, 0x93},           {sst010, 128 * KB, 0x5555, 0x2aaa, 0xbf, 0xb5},
        {sst040, 512 * KB, 0x5555, 0x2aaa, 0xbf, 0xd7}, {jedec, 128 * KB, 0x5555, 0x2aaa, 0xbf, 0xb5},
        {jedec, 512 * KB, 0x5555, 0x2aaa, 0xbf, 0xd7},  {jedec, 8192 * KB, 0x555, 0x2aa, 0x01, 0x93},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++) {
        start(chips[i].node, chips[i].size, chips[i].unlock1, chips[i].unlock2);
        CHECK_EQ(get(0), 0xff);
        command(0x90);
        CHECK_EQ(get(0), chips[i].maker);
        CHECK_EQ(get(1), chips[i].device);
        CHECK_EQ(get(2), 0); /* not protected */
        put(0, 0xf0);
        CHECK_EQ(get(0), 0xff);
        command(0x90);
        command(0xf0); /* the long exit of SST's */
        CHECK_EQ(get(0), 0xff);
        CHECK_EQ(class_flash.disk_bytes(&m.dev), chips[i].size);
    }
}

/* Which address lines the unlock cycles look at: A10 to A0 of AMD's, A14 to A0 of SST's, none of the Am29LV065D. */
TEST(unlock_addresses)
{
    static const struct {
        const struct mock_property *node;
        u32 size, unlock1, unlock2;
        bool works;
    } tries[] = {
        {am040, 512 * KB, 0x5555, 0x2aaa, true},  {am040, 512 * KB, 0x7fd55, 0x7fbaa, false}, {am040, 512 * KB, 0x7fd55, 0x7f2aa, true},
        {am040, 512 * KB, 0xaaa, 0x555, false},   {sst040, 512 * KB, 0x5555, 0x2aaa, true},   {sst040, 512 * KB, 0x7d555, 0x7aaaa, true},
        {sst040, 512 * KB, 0x555, 0x2aa, false},  {am065, 8192 * KB, 7, 9, true},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(tries); i++) {
        start(tries[i].node, tries[i].size, tries[i].unlock1, tries[i].unlock2);
        wr_status(&m, tries[i].unlock1, 1, 0xaa);
        wr_status(&m, tries[i].unlock2, 1, 0x55);
        wr_status(&m, tries[i].unlock1, 1, 0x90);
        CHECK_EQ(get(0) != 0xff, tries[i].works);
    }
}

/* "Byte Program Command Sequence", "DQ7: Data# Polling", "DQ6: Toggle Bit I". */
TEST(programming)
{
    amd();
    program(0x12345, 0x5a);
    CHECK_EQ(get(0) & (DQ7 | DQ5 | DQ3 | DQ2), DQ7); /* DQ7 is that of the data, inverted */
    CHECK(poll(0x12345) >= 1);
    CHECK_EQ(get(0x12345), 0x5a);
    program(0x12346, 0x80);
    CHECK_EQ(get(0x12346) & DQ7, 0);
    poll(0);
    CHECK_EQ(get(0x12346), 0x80);
    CHECK_EQ(get(0x12344), 0xff);
    CHECK_EQ(get(0x12347), 0xff);
}

/* "The system must not program a bit from 0 back to 1": DQ5 until reset; SST's chips only leave the bit. */
TEST(programming_ones)
{
    amd();
    program(0x100, 0x0f);
    poll(0);
    command(0xa0);
    CHECK_EQ(wr_status(&m, 0x100, 1, 0xf0), MMIOSHIM_GUEST_BUG);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(get(0) & DQ5, DQ5);
    m.clock += 1000000 * MS;
    CHECK_EQ(get(0) & DQ5, DQ5);
    put(0, 0xf0);
    CHECK_EQ(get(0x100), 0);
    sst();
    program(0x100, 0x0f);
    poll(0);
    command(0xa0);
    CHECK_EQ(wr_status(&m, 0x100, 1, 0xff), MMIOSHIM_GUEST_BUG);
    poll(0);
    CHECK_EQ(get(0x100), 0x0f);
}

/* "Sector Erase Command Sequence": one sector and no more; DQ7 is 0, DQ2 toggles in it alone. */
TEST(sector_erase)
{
    amd();
    with_disk(512 * KB);
    erase(0x2abcd, 0x30);
    CHECK_EQ(get(0x20000) & DQ7, 0);
    CHECK((get(0x20000) ^ get(0x20000)) & DQ2);
    CHECK_EQ(get(0x10000) & DQ2, 0);
    poll(0x20000);
    for (u32 i = 0; i < 512 * KB && !unit_failures; i++)
        CHECK_EQ(get(i), i / (64 * KB) == 2 ? 0xff : (u8)(i * 7 + i / 256));
    sst();
    with_disk(512 * KB);
    erase(0x7fff, 0x30);
    CHECK_EQ(get(0x7000) & (DQ7 | DQ3), 0);
    poll(0x7000);
    for (u32 i = 0; i < 512 * KB && !unit_failures; i++)
        CHECK_EQ(get(i), i / (4 * KB) == 7 ? 0xff : (u8)(i * 7 + i / 256));
    CHECK_EQ(disk[0x6fff], (u8)(0x6fff * 7 + 0x6f));
    CHECK_EQ(disk[0x7000], 0xff);
}

/* "Chip Erase Command Sequence". */
TEST(chip_erase)
{
    amd();
    with_disk(512 * KB);
    erase(0x555, 0x10);
    CHECK_EQ(get(0x70000) & DQ3, DQ3); /* no more sectors */
    CHECK(poll(0) > 1);
    for (u32 i = 0; i < 512 * KB && !unit_failures; i++)
        CHECK_EQ(get(i) & disk[i], 0xff);
    with_disk(512 * KB);
    erase(0x123, 0x10); /* not its address */
    CHECK_EQ(get(0), 0xff);
    CHECK_EQ(disk[7], 49);
}

/* "DQ3: Sector Erase Timer": more sectors while it is 0. */
TEST(several_sectors)
{
    amd();
    with_disk(512 * KB);
    erase(0x00000, 0x30);
    CHECK_EQ(get(0) & DQ3, 0);
    put(0x30000, 0x30);
    put(0x70000, 0x30);
    CHECK_EQ(get(0) & DQ3, 0);
    while (!(get(0) & DQ3))
        ;
    CHECK_EQ(wr_status(&m, 0x40000, 1, 0x30), MMIOSHIM_GUEST_BUG);
    poll(0);
    for (u32 s = 0; s < 8; s++)
        CHECK_EQ(get(s * 64 * KB + 5) == 0xff, s == 0 || s == 3 || s == 7);
}

/* "Erase Suspend/Erase Resume Commands". */
TEST(erase_suspend)
{
    amd();
    with_disk(512 * KB);
    erase(0x10000, 0x30);
    put(0, 0xb0);
    CHECK_EQ(get(0x20001), (u8)(0x20001 * 7 + 0x200)); /* other sectors are read, */
    CHECK_EQ(get(0x10000) & (DQ7 | DQ6), DQ7);
    CHECK((get(0x10000) ^ get(0x10000)) & DQ2);
    CHECK_EQ((get(0x10000) ^ get(0x10000)) & DQ6, 0);
    program(0x20001, 0); /* programmed, */
    poll(0x20001);
    CHECK_EQ(get(0x20001), 0);
    command(0x90); /* and the autoselect codes */
    CHECK_EQ(get(1), 0xa4);
    put(0, 0xf0);
    command(0xa0);
    CHECK_EQ(wr_status(&m, 0x10004, 1, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(get(0x10000) & (DQ7 | DQ6), DQ7);
    put(0, 0x30);
    CHECK_EQ(get(0x20001) & DQ7, 0);
    poll(0x10000);
    CHECK_EQ(get(0x10000), 0xff);
    CHECK_EQ(get(0x20001), 0);
    /* Not during a chip erase, and no such thing in SST's */
    erase(0x555, 0x10);
    CHECK_EQ(wr_status(&m, 0, 1, 0xb0), MMIOSHIM_GUEST_BUG);
    sst();
    erase(0, 0x30);
    CHECK_EQ(wr_status(&m, 0, 1, 0xb0), MMIOSHIM_GUEST_BUG);
}

/* Longest times: a driver that waits so long instead of polling reads the array. */
TEST(times)
{
    static const struct {
        const struct mock_property *node;
        u32 unlock1, unlock2;
        u64 program, sector, chip; /* ns */
    } chips[] = {
        {am040, 0x555, 0x2aa, 300000, 8000 * MS, 64000 * MS},
        {sst040, 0x5555, 0x2aaa, 20000, 25 * MS, 100 * MS},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++) {
        start(chips[i].node, 512 * KB, chips[i].unlock1, chips[i].unlock2);
        program(0, 0x7f);
        m.clock += chips[i].program - 1;
        CHECK_EQ(get(0) & DQ7, DQ7);
        m.clock++;
        CHECK_EQ(get(0), 0x7f);
        erase(0, 0x30);
        m.clock += chips[i].sector - 1;
        CHECK_EQ(get(0) & DQ7, 0);
        m.clock++;
        CHECK_EQ(get(0), 0xff);
        erase(chips[i].unlock1, 0x10);
        m.clock += chips[i].chip - 1;
        CHECK_EQ(get(0) & DQ7, 0);
        m.clock++;
        CHECK_EQ(get(0), 0xff);
    }
}

/* "Writing incorrect address and data values or writing them in the improper sequence resets the device". */
TEST(broken_sequences)
{
    static const u32 writes[][6] = {
        /* address << 8 | data */
        {0x555aa, 0x55555, 0x55590}, {0x555aa, 0x2aaaa, 0x55590}, {0x555aa, 0x2aa55, 0x2aa90}, {0x2aaaa, 0x55555, 0x55590},
        {0x555aa, 0x2aa55, 0x555f0}, {0x55590},                   {0x555aa, 0x2aa55, 0x55580, 0x55530},
        {0x555aa, 0x2aa55, 0x55580, 0x555aa, 0x2aa55, 0x555a0},   {0x555aa, 0x2aa55, 0x55580, 0x555aa, 0x55530},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
        amd();
        with_disk(512 * KB);
        for (unsigned k = 0; k < 6 && writes[i][k]; k++)
            CHECK(wr_status(&m, writes[i][k] >> 8, 1, writes[i][k] & 0xff) <= MMIOSHIM_GUEST_BUG);
        CHECK_EQ(get(1), 7);
        CHECK_EQ(get(3), 21);
        program(3, 0); /* and the next command is understood */
        poll(3);
        CHECK_EQ(get(3), 0);
    }
    amd();
    CHECK_EQ(wr_status(&m, 0x1000, 1, 0x12), MMIOSHIM_GUEST_BUG); /* as if it were memory */
    CHECK_EQ(get(0x1000), 0xff);
    program(0, 0);
    CHECK_EQ(wr_status(&m, 0x555, 1, 0xaa), MMIOSHIM_GUEST_BUG); /* "ignored during an embedded algorithm" */
    poll(0);
    CHECK_EQ(get(0), 0);
}

/* JESD68.01, tables 1 to 4: 8 MB in 128 sectors of 64 KB, AMD's command set. */
TEST(query)
{
    static const struct {
        u8 at, value;
    } want[] = {
        {0x10, 'Q'}, {0x11, 'R'}, {0x12, 'Y'}, {0x13, 2},    {0x14, 0}, {0x15, 0x40}, {0x16, 0},    {0x17, 0},   {0x1b, 0x27},
        {0x1c, 0x36}, {0x1d, 0},  {0x21, 10},  {0x27, 23},   {0x28, 0}, {0x29, 0},    {0x2a, 0},    {0x2c, 1},   {0x2d, 0x7f},
        {0x2e, 0},   {0x2f, 0},   {0x30, 1},   {0x40, 'P'},  {0x41, 'R'}, {0x42, 'I'}, {0x43, '1'}, {0x46, 2},
    };

    start(am065, 8192 * KB, 0x555, 0x2aa);
    put(0x55, 0x98);
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
        CHECK_EQ(get(want[i].at), want[i].value);
    put(0, 0xf0);
    CHECK_EQ(get(0x10), 0xff);
    amd();
    put(0x55, 0x98); /* has none */
    CHECK_EQ(get(0x10), 0xff);
}

/* Write through: each byte is in the file before the program goes on. */
TEST(host_end)
{
    amd();
    with_disk(512 * KB);
    CHECK_EQ(get(0x1234), (u8)(0x1234 * 7 + 0x12));
    CHECK_EQ(m.transfers, 1);
    get(0x1235);
    CHECK_EQ(m.transfers, 1);
    erase(0x10000, 0x30);
    CHECK_EQ(disk[0x1ffff], 0xff);
    poll(0);
    program(0x1ffff, 0x12);
    CHECK_EQ(disk[0x1ffff], 0x12);
    /* Of a disk that fails: DQ5 */
    poll(0);
    m.disk_error = -5;
    program(0x1fffe, 0x12);
    for (unsigned i = 0; i < 10; i++)
        CHECK_EQ(get(0) & DQ5, DQ5);
    put(0, 0xf0);
    m.disk_error = 0;
    CHECK_EQ(get(0x1ffff), 0x12);
}

/* "Sector Protection": of an end that may only be read. */
TEST(protection)
{
    amd();
    with_disk(512 * KB);
    m.disk_readonly = true;
    command(0x90);
    CHECK_EQ(get(0x10002), 1);
    put(0, 0xf0);
    command(0xa0);
    CHECK_EQ(wr_status(&m, 1, 1, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(get(1), 7);
    command(0x80);
    unlock();
    CHECK_EQ(wr_status(&m, 0x555, 1, 0x10), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(get(1), 7);
    CHECK_EQ(disk[1], 7);
    CHECK_EQ(m.soon, 0);
}

TEST(reset)
{
    amd();
    program(5, 0x55);
    class_flash.reset(&m.dev, MMIOSHIM_RESET_WARM);
    CHECK_EQ(get(5), 0x55);
    command(0x90);
    class_flash.reset(&m.dev, MMIOSHIM_RESET_COLD);
    CHECK_EQ(get(0), 0xff);
    CHECK_EQ(get(5), 0x55);
}

TEST(nodes)
{
    static const struct mock_property wide[] = {STRINGS("compatible", "jedec-flash"), CELL("bank-width", 2), END};
    static const struct mock_property one[] = {STRINGS("compatible", "jedec-flash"), CELL("bank-width", 1), END};
    u64 value;

    CHECK(mock_create(&m, &class_flash, 512 * KB, wide) != NULL);
    CHECK(mock_create(&m, &class_flash, 512 * KB, one) == NULL);
    CHECK(mock_create(&m, &class_flash, 256 * KB, jedec) != NULL);
    CHECK(mock_create(&m, &class_flash, 256 * KB, am040) != NULL);
    start(am010, 1024 * KB, 0x555, 0x2aa); /* address lines that are not connected: it is seen eight times */
    program(0x20003, 0x42);
    poll(0);
    for (u32 i = 0; i < 8; i++)
        CHECK_EQ(get(i * 128 * KB + 3), 0x42);
    CHECK_EQ(rd_status(&m, 0, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, 0, 2, 0), MMIOSHIM_BAD_WIDTH);
}

/* What the log calls an access. */
TEST(views)
{
    amd();
    CHECK_STR(class_flash.registers[class_flash.view(&m.dev) - 1].name, "ARRAY");
    command(0x90);
    CHECK_STR(class_flash.registers[class_flash.view(&m.dev) - 1].name, "ID");
    command(0xa0);
    CHECK_STR(class_flash.registers[class_flash.view(&m.dev) - 1].name, "PROGRAM");
    put(0, 0);
    CHECK_STR(class_flash.registers[class_flash.view(&m.dev) - 1].name, "STATUS");
    poll(0);
    CHECK_STR(class_flash.registers[class_flash.view(&m.dev) - 1].name, "ARRAY");
    CHECK_EQ(class_flash.register_offset(&m.dev, 0x7ffff), 0);
}
