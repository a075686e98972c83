/* The records and the map of binary transcripts: what goes in comes out, and prints the same. */
#include "trace/ringfile.h"
#include "trace/ringmap.h"

#include "trace_sample.h"
#include "unit.h"

static const struct trace_names *names = &sample_names;

static void print(const struct trace_record *r, char *text, size_t n)
{
    struct fmt f = {.buf = text, .cap = n};

    trace_print_text(&f, r, names, TRACE_SHOW_TIME);
    trace_print_json(&f, r, names, 0);
    fmt_end(&f);
}

/* Packs and unpacks a record; what the reader adds is taken over. Both print the same. */
static void check_round_trip(const struct trace_record *r)
{
    struct ring_slot slots[8] = {0};
    struct trace_record back;
    static char was[8192], is[8192];
    unsigned n = ring_slots(ring_more(r));

    CHECK(n <= 5);
    ring_pack(slots, r, 3, r->seq, r->time);
    CHECK_EQ(slots[0].slots, n);
    CHECK_EQ(slots[0].site, 3);
    for (unsigned i = n; i < 8; i++)
        CHECK_EQ(slots[i].type, 0);
    CHECK(ring_unpack(slots, &back));
    back.pid = r->pid;
    back.tid = r->tid;
    back.pid_ordinal = r->pid_ordinal;
    back.tid_ordinal = r->tid_ordinal;
    back.pc = r->pc;
    back.insn_len = r->insn_len;
    memcpy(back.insn, r->insn, sizeof(back.insn));
    print(r, was, sizeof(was));
    print(&back, is, sizeof(is));
    CHECK(strlen(was) > 20);
    CHECK_STR(is, was);
}

TEST(accesses_of_every_width)
{
    for (unsigned width = 1; width <= 64; width++) {
        struct trace_record r = sample_access(0, REG_LSR, 5, width % 2, width, 0x61);

        for (unsigned i = 0; i < width; i++)
            r.value[i] = (u8)(i * 7 + 1);
        r.seq = (u64)1 << 40 | width;
        r.stack = 7;
        check_round_trip(&r);
        CHECK_EQ(ring_slots(ring_more(&r)), width > 8 ? 2 : 1);
    }
}

TEST(arrays_of_registers_holes_and_ports)
{
    for (u16 element = 0; element < 8; element++) {
        struct trace_record r = sample_access(1, REG_PRIORITY, 0x100 + 4u * element, TRACE_READ, 4, element);

        r.element = element;
        check_round_trip(&r);
    }
    for (unsigned flags = 0; flags < 8; flags++) {
        struct trace_record r = sample_access(1, TRACE_NONE, 0x1234, TRACE_WRITE, 4, 5);

        r.flags = (u8)flags;
        r.type = flags & 1 ? TRACE_PORT : TRACE_MMIO;
        check_round_trip(&r);
        r.device = TRACE_NONE;
        check_round_trip(&r);
    }
}

TEST(everything_that_is_no_access)
{
    for (u8 type = TRACE_LINT; type <= TRACE_FAULT; type++) {
        struct trace_record r = sample_access(1, REG_MAGIC, 0, TRACE_READ, 8, 0);

        r.type = type;
        r.seq = type == TRACE_LINT ? 9 : 0;
        memcpy(r.text, "rule\0text of the finding", 24);
        check_round_trip(&r);
        memset(r.text, 'x', TRACE_TEXT - 1);
        check_round_trip(&r);
    }
    for (u64 count = 1; count; count <<= 9) {
        struct trace_record r = {.type = TRACE_REPEAT, .seq = 77, .device = TRACE_NONE, .reg = TRACE_NONE};

        memcpy(r.value, &count, sizeof(count));
        check_round_trip(&r);
    }
}

TEST(what_is_no_event_is_refused)
{
    struct trace_record r = sample_access(0, REG_LSR, 5, TRACE_READ, 16, 0);
    struct ring_slot slots[2] = {0};

    CHECK(!ring_unpack(slots, &r));
    ring_pack(slots, &r, 0, 1, 1);
    CHECK(ring_unpack(slots, &r));
    slots[0].slots = 1; /* a wide value needs two */
    CHECK(!ring_unpack(slots, &r));
    slots[0].slots = 2;
    slots[0].width = 65;
    CHECK(!ring_unpack(slots, &r));
    slots[0].width = 0;
    CHECK(!ring_unpack(slots, &r));
    slots[0].width = 4;
    slots[0].type = RING_SITE;
    CHECK(!ring_unpack(slots, &r));
}

TEST(a_header_says_what_is_wrong)
{
    static u8 page[8192];
    struct ring_header h = {.magic = RING_MAGIC, .version = RING_VERSION, .slot = RING_SLOT, .id = 5, .complete = 5};
    char text[200];
    struct fmt error = FMT_INIT(text);

    h.map = 4096;
    h.map_size = 4096;
    CHECK_EQ(ring_check(&h, 8192, &error), 0);
    CHECK_EQ(ring_check(&h, 8191, &error), -1);
    CHECK_STR(fmt_end(&error), "a binary transcript that was cut off in its memory map");
    error.len = 0;
    h.complete = 0;
    CHECK_EQ(ring_check(&h, 8192, &error), -1);
    CHECK_STR(fmt_end(&error), "a binary transcript whose beginning was never finished");
    error.len = 0;
    h.version++;
    CHECK_EQ(ring_check(&h, 8192, &error), -1);
    CHECK_STR(fmt_end(&error), "a binary transcript of version 2; this is for version 1");
    error.len = 0;
    CHECK_EQ(ring_check((void *)page, 8192, &error), -1);
    CHECK_STR(fmt_end(&error), "no binary transcript");
}

TEST(the_map_comes_back)
{
    static const struct trace_bank banks[] = {{"memory@80000000", {0x80000000, 0x20000000}}, {"memory@0", {0, 4096}}};
    struct trace_device devices[] = {sample_devices[0], sample_devices[1], sample_devices[0],
                                     {"bare@1", NULL, NULL, {1, 2}, NULL, 0, true, false}};
    struct ring_map map = {banks, ARRAY_SIZE(banks), devices, ARRAY_SIZE(devices)}, back;
    static char buf[8192], pool[8192 * 32 + 64];
    struct fmt out = FMT_INIT(buf);

    ringmap_write(&out, &map);
    CHECK(!out.full);
    CHECK_EQ(ringmap_read(&back, buf, out.len, pool, ringmap_pool(out.len)), 0);
    CHECK_EQ(back.nbanks, 2);
    CHECK_EQ(back.ndevices, 4);
    CHECK_EQ(back.banks[0].range.size, 0x20000000);
    CHECK(back.devices[0].registers == back.devices[2].registers);
    CHECK(back.devices[3].port && back.devices[3].nregisters == 0);
    for (u32 i = 0; i < 3; i++) {
        CHECK_STR(back.devices[i].name, devices[i].name);
        CHECK_STR(back.devices[i].compatible, devices[i].compatible);
        CHECK_EQ(back.devices[i].nregisters, devices[i].nregisters);
        for (u16 k = 0; k < devices[i].nregisters; k++) {
            const struct mmioshim_register *was = &devices[i].registers[k], *is = &back.devices[i].registers[k];

            CHECK_STR(is->name, was->name);
            CHECK_EQ(is->offset, was->offset);
            CHECK_EQ(is->count, was->count);
            CHECK_EQ(is->stride, was->stride);
            CHECK_EQ(is->flags, was->flags);
            CHECK_EQ(is->nfields, was->nfields);
            for (u8 f = 0; f < was->nfields; f++)
                CHECK_STR(is->fields[f].name, was->fields[f].name);
        }
    }
    /* Every beginning of it is refused. */
    for (size_t n = 0; n < out.len; n++)
        CHECK_EQ(ringmap_read(&back, buf, n, pool, ringmap_pool(n)), -1);
}
