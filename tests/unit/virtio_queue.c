/* Queues point by point against VIRTIO 1.2: what is right works, what is wrong breaks the device and nothing else. */
#include "virtio_driver.h"

#define DATA (MOCK_RAM + DRIVER_DATA)

/* The rng fills with 1, 2, 3, ... */
static void expect_random(u64 offset, u32 n)
{
    for (u32 i = 0; i < n; i++)
        CHECK_EQ(*(u8 *)at(offset + i), (u8)(i + 1));
    CHECK_EQ(*(u8 *)at(offset + n), 0);
}

static void expect_used(u32 id, u32 length, unsigned places)
{
    u32 got_id = ~0u, got_length = ~0u;

    CHECK(driver_take(0, &got_id, &got_length));
    driver_taken(0, places);
    CHECK_EQ(got_id, id);
    CHECK_EQ(got_length, length);
}

static void expect_none(void)
{
    u32 id = 0, length = 0;

    CHECK(!driver_take(0, &id, &length));
}

static void expect_broken(void)
{
    u8 ram[64];

    CHECK(driver_broken());
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 2, 2);
    CHECK(vm.line[0]);
    /* It stands still: nothing is used, nothing is written. */
    expect_none();
    memcpy(ram, at(DRIVER_DATA), sizeof(ram));
    driver_kick(0);
    CHECK(memcmp(ram, at(DRIVER_DATA), sizeof(ram)) == 0);
    /* And a reset mends it. */
    CHECK(driver_negotiate(VIRTIO_F_VERSION_1));
    driver_queue(0, 8);
    driver_go();
    driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
    driver_kick(0);
    expect_used(0, 4, 1);
    CHECK(!driver_broken());
}

/* --- both kinds --- */

static void one(u64 features)
{
    driver_start("rng", features, 8);
    CHECK_EQ(driver_add(0, (struct buffer[]){{DATA, 16, true}}, 1), 0);
    expect_none();
    driver_kick(0);
    expect_used(0, 16, 1);
    expect_none();
    expect_random(DRIVER_DATA, 16);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
    CHECK(vm.line[0]);
    CHECK_EQ(vm.transfers, 1);
    wr(&vm, VIRTIO_INTERRUPT_ACK, 4, 1);
    CHECK(!vm.line[0]);
}

static void many(u64 features, u32 size, unsigned rounds)
{
    driver_start("rng", features, size);
    for (unsigned round = 0; round < rounds; round++) {
        for (u32 i = 0; i < size / 2; i++)
            driver_add(0, (struct buffer[]){{DATA + 64 * i, i + 1, true}, {DATA + 64 * i + 32, 1, true}}, 2);
        driver_kick(0);
        for (u32 i = 0; i < size / 2; i++) {
            u32 id = 0, length = 0;

            CHECK(driver_take(0, &id, &length));
            driver_taken(0, 2);
            CHECK_EQ(length, i + 2);
        }
        expect_none();
        CHECK(!driver_broken());
        if (unit_failures)
            return;
    }
    CHECK_EQ(vm.transfers, rounds * (size / 2) * 2);
}

static void indirect(u64 features)
{
    driver_start("rng", features | VIRTIO_F_INDIRECT_DESC, 8);
    driver_add_indirect(0, 0x8000, (struct buffer[]){{DATA, 3, true}, {DATA + 16, 2, true}, {DATA + 32, 1, true}}, 3);
    driver_kick(0);
    expect_used(0, 6, 1);
    expect_random(DRIVER_DATA, 3);
    expect_random(DRIVER_DATA + 32, 1);
    driver_add(0, (struct buffer[]){{DATA + 64, 5, true}}, 1); /* and a direct one behind it */
    driver_kick(0);
    expect_used(1, 5, 1);
}

static void split_one(void)
{
    one(0);
}

static void packed_one(void)
{
    one(VIRTIO_F_RING_PACKED);
}

static void in_order(void)
{
    one(VIRTIO_F_IN_ORDER);
    one(VIRTIO_F_IN_ORDER | VIRTIO_F_RING_PACKED);
}

static void split_wraps(void)
{
    many(0, 8, 20000); /* past 65536 entries */
    many(0, 256, 10);
    many(0, 2, 10);
}

static void packed_wraps(void)
{
    many(VIRTIO_F_RING_PACKED, 8, 1000);
    many(VIRTIO_F_RING_PACKED, 10, 1000); /* 2.8: not a power of 2 */
    many(VIRTIO_F_RING_PACKED, 7, 1000);  /* chains lie across the end of the ring */
    many(VIRTIO_F_RING_PACKED, 256, 10);
}

static void split_indirect(void)
{
    indirect(0);
}

static void packed_indirect(void)
{
    indirect(VIRTIO_F_RING_PACKED);
}

static void empty_kick(void)
{
    for (int packed = 0; packed < 2; packed++) {
        driver_start("rng", packed ? VIRTIO_F_RING_PACKED : 0, 8);
        driver_kick(0);
        expect_none();
        CHECK(!driver_broken());
        CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 0);
    }
}

static void readable_is_left_alone(void)
{
    for (int packed = 0; packed < 2; packed++) {
        driver_start("rng", packed ? VIRTIO_F_RING_PACKED : 0, 8);
        driver_add(0, (struct buffer[]){{DATA, 8, false}, {DATA + 16, 8, true}}, 2);
        driver_add(0, (struct buffer[]){{DATA + 32, 8, false}}, 1);
        driver_kick(0);
        expect_used(0, 8, 2);
        expect_used(2, 0, 1);
        CHECK_EQ(*(u8 *)at(DRIVER_DATA), 0);
        expect_random(DRIVER_DATA + 16, 8);
        CHECK_EQ(*(u8 *)at(DRIVER_DATA + 32), 0);
    }
}

static void bad_buffer(void)
{
    for (int packed = 0; packed < 2; packed++) {
        driver_start("rng", packed ? VIRTIO_F_RING_PACKED : 0, 8);
        driver_add(0, (struct buffer[]){{0x1000, 8, true}}, 1);                                 /* below RAM */
        driver_add(0, (struct buffer[]){{MOCK_RAM + DRIVER_RAM - 4, 8, true}}, 1);              /* over its end */
        driver_add(0, (struct buffer[]){{UINT64_MAX - 3, 8, true}}, 1);                         /* around the end of all */
        driver_add(0, (struct buffer[]){{DATA, 4, true}, {0x1000, 8, true}, {DATA, 1, true}}, 3); /* the first is done */
        driver_kick(0);
        expect_used(0, 0, 1);
        expect_used(1, 0, 1);
        expect_used(2, 0, 1);
        expect_used(3, 4, 3);
        CHECK_EQ(vm.refused, 4);
        CHECK(!driver_broken());
    }
}

static void order_of_buffers(void)
{
    for (int packed = 0; packed < 2; packed++) {
        driver_start("rng", packed ? VIRTIO_F_RING_PACKED : 0, 8);
        driver_add(0, (struct buffer[]){{DATA, 8, true}, {DATA, 8, false}}, 2);
        driver_kick(0);
        expect_broken();
    }
}

static void too_many_bytes(void)
{
    for (int packed = 0; packed < 2; packed++) {
        driver_start("rng", packed ? VIRTIO_F_RING_PACKED : 0, 8);
        driver_add(0, (struct buffer[]){{DATA, UINT32_MAX, true}, {DATA, 2, true}}, 2);
        driver_kick(0);
        expect_broken();
    }
}

/* --- split --- */

static void bad_head(void)
{
    driver_start("rng", 0, 8);
    driver_split_offer(&dq[0], 8);
    driver_kick(0);
    expect_broken();
    driver_start("rng", 0, 8);
    driver_split_offer(&dq[0], 0xffff);
    driver_kick(0);
    expect_broken();
}

static void bad_next(void)
{
    driver_start("rng", 0, 8);
    driver_descriptor(0, DATA, 4, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT, 8);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    expect_broken();
}

static void loops(void)
{
    driver_start("rng", 0, 8);
    driver_descriptor(0, DATA, 1, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT, 0);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    expect_broken();
    driver_start("rng", 0, 8);
    for (u16 i = 0; i < 8; i++)
        driver_descriptor(16u * i, DATA, 1, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT, (i + 1) % 8);
    driver_split_offer(&dq[0], 3);
    driver_kick(0);
    expect_broken();
}

static void index_runs_away(void)
{
    driver_start("rng", 0, 8);
    put16(dq[0].driver + 2, 9);
    driver_kick(0);
    expect_broken();
    driver_start("rng", 0, 8);
    put16(dq[0].driver + 2, 0xffff); /* back by one */
    driver_kick(0);
    expect_broken();
}

static void indirect_wrong(u32 length, u16 flags, u64 features)
{
    driver_start("rng", features, 8);
    driver_descriptor(0x8000, DATA, 4, VIRTIO_DESC_WRITE, 0);
    driver_descriptor(0, MOCK_RAM + 0x8000, length, flags, 1);
    driver_descriptor(16, DATA, 4, VIRTIO_DESC_WRITE, 0);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    expect_broken();
}

static void bad_indirect(void)
{
    indirect_wrong(16, VIRTIO_DESC_INDIRECT, 0);                                            /* not negotiated */
    indirect_wrong(0, VIRTIO_DESC_INDIRECT, VIRTIO_F_INDIRECT_DESC);                        /* empty */
    indirect_wrong(24, VIRTIO_DESC_INDIRECT, VIRTIO_F_INDIRECT_DESC);                       /* one and a half */
    indirect_wrong(16, VIRTIO_DESC_INDIRECT | VIRTIO_DESC_NEXT, VIRTIO_F_INDIRECT_DESC);    /* both */
}

static void bad_table(void)
{
    /* one inside another */
    driver_start("rng", VIRTIO_F_INDIRECT_DESC, 8);
    driver_descriptor(0x8000, MOCK_RAM + 0x8000, 16, VIRTIO_DESC_INDIRECT, 0);
    driver_descriptor(0, MOCK_RAM + 0x8000, 16, VIRTIO_DESC_INDIRECT, 0);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    expect_broken();
    /* next outside it */
    driver_start("rng", VIRTIO_F_INDIRECT_DESC, 8);
    driver_descriptor(0x8000, DATA, 4, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT, 1);
    driver_descriptor(0, MOCK_RAM + 0x8000, 16, VIRTIO_DESC_INDIRECT, 0);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    expect_broken();
    /* a loop in it, longer than the queue, and not in RAM */
    driver_start("rng", VIRTIO_F_INDIRECT_DESC, 8);
    for (u16 i = 0; i < 64; i++)
        driver_descriptor(0x8000 + 16u * i, DATA, 1, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT, (i + 1) % 64);
    driver_descriptor(0, MOCK_RAM + 0x8000, 64 * 16, VIRTIO_DESC_INDIRECT, 0);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    expect_broken();
    driver_start("rng", VIRTIO_F_INDIRECT_DESC, 8);
    driver_descriptor(0, UINT64_MAX - 15, 0xfffffff0, VIRTIO_DESC_INDIRECT, 0);
    driver_split_offer(&dq[0], 0);
    driver_kick(0);
    CHECK_EQ(vm.refused, 1);
    expect_broken();
}

static void ring_not_in_ram(void)
{
    static const u32 area[] = {VIRTIO_QUEUE_DESC_LOW, VIRTIO_QUEUE_DRIVER_LOW, VIRTIO_QUEUE_DEVICE_LOW};

    for (int packed = 0; packed < 2; packed++) {
        for (unsigned i = 0; i < 3; i++) {
            driver_machine("rng");
            CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | (packed ? VIRTIO_F_RING_PACKED : 0)));
            driver_describe(0, 8);
            wr(&vm, area[i], 4, 0x1000);
            wr(&vm, VIRTIO_QUEUE_READY, 4, 1);
            driver_go();
            driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
            driver_kick(0);
            if (packed && i == 2) { /* the device area of a packed queue is nothing that we write */
                CHECK(!driver_broken());
                continue;
            }
            CHECK(vm.refused > 0);
            if (i == 0 || !packed)
                expect_broken();
            else
                CHECK(driver_broken());
        }
    }
}

static void queue_addresses(void)
{
    static const struct {
        u64 features;
        u32 size, area, low;
    } wrong[] = {
        {0, 0, 0, 0},
        {0, 6, 0, 0},   /* 2.7: a power of 2 */
        {0, 8, VIRTIO_QUEUE_DESC_LOW, 8},
        {0, 8, VIRTIO_QUEUE_DRIVER_LOW, 1},
        {0, 8, VIRTIO_QUEUE_DEVICE_LOW, 2},
        {VIRTIO_F_RING_PACKED, 8, VIRTIO_QUEUE_DESC_LOW, 8},
        {VIRTIO_F_RING_PACKED, 8, VIRTIO_QUEUE_DRIVER_LOW, 2},
        {VIRTIO_F_RING_PACKED, 8, VIRTIO_QUEUE_DEVICE_LOW, 2},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        driver_machine("rng");
        CHECK(driver_negotiate(VIRTIO_F_VERSION_1 | wrong[i].features));
        driver_describe(0, wrong[i].size);
        if (wrong[i].area)
            wr(&vm, wrong[i].area, 4, (u32)MOCK_RAM + 0x6000 + wrong[i].low);
        CHECK_EQ(wr_status(&vm, VIRTIO_QUEUE_READY, 4, 1), MMIOSHIM_GUEST_BUG);
        CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
    }
}

static void no_interrupt_flag(void)
{
    driver_start("rng", 0, 8);
    put16(dq[0].driver, 1);
    driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
    driver_kick(0);
    expect_used(0, 4, 1);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 0);
    put16(dq[0].driver, 0);
    driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
    driver_kick(0);
    CHECK_EQ(rd(&vm, VIRTIO_INTERRUPT_STATUS, 4), 1);
}

/* Interrupts of `count` requests that are used one kick each, with an event at `event`. */
static unsigned split_interrupts(u16 event, unsigned count, bool together)
{
    unsigned interrupts = 0;

    driver_start("rng", VIRTIO_F_EVENT_IDX, 8);
    put16(dq[0].driver, 1); /* 2.7.7.1: to be ignored with EVENT_IDX */
    put16(dq[0].driver + 4 + 16, event);
    for (unsigned i = 0; i < count; i++) {
        driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
        if (together && i + 1 < count)
            continue;
        driver_kick(0);
        interrupts += rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 1;
        wr(&vm, VIRTIO_INTERRUPT_ACK, 4, 1);
    }
    return interrupts;
}

static void split_events(void)
{
    CHECK_EQ(split_interrupts(0, 1, false), 1);
    CHECK_EQ(split_interrupts(1, 1, false), 0);
    CHECK_EQ(split_interrupts(2, 6, false), 1);
    CHECK_EQ(split_interrupts(2, 6, true), 1);
    CHECK_EQ(split_interrupts(6, 6, true), 0);
    CHECK_EQ(split_interrupts(0xffff, 6, true), 0);
    /* avail_event: from where on the device wants to be notified, 2.7.10 */
    CHECK_EQ(split_interrupts(0, 3, false), 1);
    CHECK_EQ(get16(dq[0].device + 4 + 8 * 8), 3);
}

/* Somebody makes requests as fast as the device answers: who notified goes on nevertheless, and none is forgotten. */
static void endless_supply(void)
{
    driver_start("rng", 0, 8);
    driver_split_chain(&dq[0], 0, (struct buffer[]){{DATA, 4, true}}, 1, 0);
    vm.feed = MOCK_RAM + dq[0].driver + 2;
    driver_kick(0);
    CHECK_EQ(vm.transfers, VIRTIO_AT_ONCE);
    CHECK_EQ(get16(dq[0].device + 2), (u16)VIRTIO_AT_ONCE);
    vm.feed = 0;
    put16(dq[0].driver + 2, (u16)(get16(dq[0].driver + 2) + 1)); /* one more, without a notification */
    vm.soon = 0;
    rd(&vm, VIRTIO_INTERRUPT_STATUS, 4);
    CHECK_EQ(vm.soon, 1);
    vm.dev.class->service(&vm.dev);
    CHECK_EQ(vm.transfers, VIRTIO_AT_ONCE + 1);
    rd(&vm, VIRTIO_INTERRUPT_STATUS, 4);
    CHECK_EQ(vm.soon, 1);
    CHECK(!driver_broken());
}

/* --- packed --- */

static unsigned packed_interrupts(u16 flags, u16 place, unsigned count, bool together)
{
    unsigned interrupts = 0;

    driver_start("rng", VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED, 8);
    put16(dq[0].driver, place);
    put16(dq[0].driver + 2, flags);
    for (unsigned i = 0; i < count; i++) {
        driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
        if (together && i + 1 < count)
            continue;
        driver_kick(0);
        interrupts += rd(&vm, VIRTIO_INTERRUPT_STATUS, 4) & 1;
        wr(&vm, VIRTIO_INTERRUPT_ACK, 4, 1);
    }
    return interrupts;
}

static void packed_events(void)
{
    CHECK_EQ(packed_interrupts(0, 0, 4, false), 4);
    CHECK_EQ(packed_interrupts(1, 0x8000, 4, false), 0);
    CHECK_EQ(packed_interrupts(2, 0x8000, 1, false), 1);
    CHECK_EQ(packed_interrupts(2, 0x8001, 1, false), 0);
    CHECK_EQ(packed_interrupts(2, 0x8002, 6, false), 1);
    CHECK_EQ(packed_interrupts(2, 0x8002, 6, true), 1);
    CHECK_EQ(packed_interrupts(2, 0x8006, 6, true), 0);
    CHECK_EQ(packed_interrupts(2, 0x0002, 8, false), 0);  /* of the next time around */
    CHECK_EQ(packed_interrupts(2, 0x0002, 11, false), 1);
    CHECK_EQ(packed_interrupts(2, 0x8007, 8, true), 1); /* used up to the very end of the ring */
    CHECK_EQ(packed_interrupts(2, 0xffff, 8, true), 0);  /* no place of the ring */
}

static void packed_flags(void)
{
    driver_start("rng", VIRTIO_F_RING_PACKED, 8);
    /* 2.8.1: made available is AVAIL without USED; anything else is none. */
    for (u16 i = 0; i < 4; i++) {
        driver_descriptor(0, DATA, 4, 0, (u16)(VIRTIO_DESC_WRITE | (i & 1 ? 0x80 : 0) | (i & 2 ? 0x8000 : 0)));
        if (i != 1) {
            driver_kick(0);
            CHECK_EQ(vm.transfers, 0);
        }
    }
    driver_descriptor(0, DATA, 4, 0x1234, VIRTIO_DESC_WRITE | 0x80);
    driver_kick(0);
    CHECK_EQ(get16(14), 0x8082); /* 2.8.6: used, and WRITE says that there is a length */
    expect_used(0x1234, 4, 1);
}

static void packed_endless(void)
{
    driver_start("rng", VIRTIO_F_RING_PACKED, 8);
    for (u16 i = 0; i < 8; i++)
        driver_descriptor(16u * i, DATA, 1, 0, VIRTIO_DESC_WRITE | VIRTIO_DESC_NEXT | 0x80);
    driver_kick(0);
    expect_broken();
}

static void packed_bad_indirect(void)
{
    static const struct {
        u64 addr;
        u32 length;
        u16 flags;
        bool feature;
    } wrong[] = {
        {MOCK_RAM + 0x8000, 16, VIRTIO_DESC_INDIRECT, false},
        {MOCK_RAM + 0x8000, 0, VIRTIO_DESC_INDIRECT, true},
        {MOCK_RAM + 0x8000, 17, VIRTIO_DESC_INDIRECT, true},
        {MOCK_RAM + 0x8000, 16, VIRTIO_DESC_INDIRECT | VIRTIO_DESC_NEXT, true},
        {MOCK_RAM + 0x8000, 16 * 9, VIRTIO_DESC_INDIRECT, true}, /* longer than the queue */
        {0x1000, 16, VIRTIO_DESC_INDIRECT, true},
        {MOCK_RAM + 0x9000, 16, VIRTIO_DESC_INDIRECT, true}, /* one inside another */
    };

    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        driver_start("rng", VIRTIO_F_RING_PACKED | (wrong[i].feature ? VIRTIO_F_INDIRECT_DESC : 0), 8);
        for (unsigned j = 0; j < 9; j++)
            driver_descriptor(0x8000 + 16 * j, DATA, 1, 0, VIRTIO_DESC_WRITE);
        driver_descriptor(0x9000, MOCK_RAM + 0x8000, 16, 0, VIRTIO_DESC_INDIRECT);
        driver_descriptor(0, wrong[i].addr, wrong[i].length, 0, wrong[i].flags | 0x80);
        driver_kick(0);
        expect_broken();
    }
}

static void ring_reset(void)
{
    for (int packed = 0; packed < 2; packed++) {
        driver_start("rng", VIRTIO_F_RING_RESET | (packed ? VIRTIO_F_RING_PACKED : 0), 8);
        driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
        driver_kick(0);
        expect_used(0, 4, 1);
        wr(&vm, VIRTIO_QUEUE_SEL, 4, 0);
        wr(&vm, VIRTIO_QUEUE_RESET, 4, 1);
        CHECK_EQ(rd(&vm, VIRTIO_QUEUE_RESET, 4), 0);
        CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 0);
        CHECK_EQ(wr_status(&vm, VIRTIO_QUEUE_NOTIFY, 4, 0), MMIOSHIM_GUEST_BUG);
        driver_queue(0, 4); /* 2.6.1: with another size, without a reset of the device */
        driver_add(0, (struct buffer[]){{DATA + 64, 8, true}}, 1);
        driver_kick(0);
        expect_used(0, 8, 1);
    }
    driver_start("rng", 0, 8);
    CHECK_EQ(wr_status(&vm, VIRTIO_QUEUE_RESET, 4, 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(rd(&vm, VIRTIO_QUEUE_READY, 4), 1);
}

static void notification_data(void)
{
    driver_start("rng", VIRTIO_F_NOTIFICATION_DATA, 8);
    driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
    driver_kick(0x00010000); /* next offset 1 */
    expect_used(0, 4, 1);
    driver_start("rng", 0, 8);
    CHECK_EQ(wr_status(&vm, VIRTIO_QUEUE_NOTIFY, 4, 0x00010000), MMIOSHIM_GUEST_BUG);
}

static const struct clause both[] = {
    {"2.6.1", "a queue is reset alone", ring_reset},
    {"2.7.4.2, 2.8.4", "writable buffers come behind readable ones", order_of_buffers},
    {"2.7.5.1, 2.8.19", "at most 2^32 bytes in a chain", too_many_bytes},
    {"2.6, 2.7.4", "a buffer outside RAM fails its request alone", bad_buffer},
    {"2.7.4.1", "what is readable is not written", readable_is_left_alone},
    {"2.7, 2.8", "sizes and alignment", queue_addresses},
    {"2.1.2", "rings outside RAM break the device", ring_not_in_ram},
    {"2.7.13", "a notification without a buffer is nothing", empty_kick},
    {"2.9", "notification data", notification_data},
    {"6, IN_ORDER", "buffers are used in the order in which they were made available", in_order},
};

static const struct clause split[] = {
    {"2.7.8", "a request is used with its id and length", split_one},
    {"2.7.6", "indices run on past 2^16", split_wraps},
    {"2.7.5.3", "indirect descriptors", split_indirect},
    {"2.7.5", "a head lies inside the table", bad_head},
    {"2.7.5", "next lies inside the table", bad_next},
    {"2.7.5.3.1", "a chain ends", loops},
    {"2.7.6", "no more is available than fits", index_runs_away},
    {"2.7.5.3.1", "indirect descriptors that must not be", bad_indirect},
    {"2.7.5.3.2", "indirect tables that must not be", bad_table},
    {"2.7.13", "requests that never end", endless_supply},
    {"2.7.7", "NO_INTERRUPT", no_interrupt_flag},
    {"2.7.7.2, 2.7.10", "used_event and avail_event", split_events},
};

static const struct clause packed[] = {
    {"2.8.6", "a request is used with its id and length", packed_one},
    {"2.8.1", "wrap counters", packed_wraps},
    {"2.8.7", "indirect descriptors", packed_indirect},
    {"2.8.1", "available and used flags", packed_flags},
    {"2.8.5", "a chain ends", packed_endless},
    {"2.8.7", "indirect descriptors that must not be", packed_bad_indirect},
    {"2.8.14", "event suppression", packed_events},
};

TEST(both_kinds)
{
    run_clauses(both, ARRAY_SIZE(both));
}

TEST(split_queues)
{
    run_clauses(split, ARRAY_SIZE(split));
}

TEST(packed_queues)
{
    run_clauses(packed, ARRAY_SIZE(packed));
}

/* The same where the device sees memory itself: it asks for nothing in it but what the driver wants of interrupts. */
TEST(memory_itself)
{
    mock_direct = true;
    run_clauses(both, ARRAY_SIZE(both));
    run_clauses(split, ARRAY_SIZE(split));
    run_clauses(packed, ARRAY_SIZE(packed));
    for (int kind = 0; kind < 2; kind++) {
        driver_start("rng", kind ? VIRTIO_F_RING_PACKED : 0, 8);
        driver_add(0, (struct buffer[]){{DATA, 4, true}}, 1);
        driver_kick(0);
        expect_used(0, 4, 1);
        CHECK_EQ(vm.fetches, 1);
    }
}
