/*
 * The PLIC against RISC-V Platform-Level Interrupt Controller Specification 1.0.0. The title of the section that a test
 * is about stands before it.
 */
#include "device_mock.h"

#define PRIORITY(id)     (4 * (u64)(id))
#define PENDING(word)    (0x1000 + 4 * (u64)(word))
#define ENABLE(ctx, word) (0x2000 + 0x80 * (u64)(ctx) + 4 * (u64)(word))
#define THRESHOLD(ctx)   (0x200000 + 0x1000 * (u64)(ctx))
#define CLAIM(ctx)       (0x200004 + 0x1000 * (u64)(ctx))

enum { SIZE = 0x600000, NDEV = 96 };

/* Contexts 0 to 3: two harts with two modes each. */
static const u8 wires[4 * 8] = {0, 0, 0, 1, 0, 0, 0, 11, 0, 0, 0, 1, 0, 0, 0, 9,
                                0, 0, 0, 2, 0, 0, 0, 11, 0, 0, 0, 2, 0, 0, 0, 9};
static const struct mock_property node[] = {
    CELL("riscv,ndev", NDEV), {"interrupts-extended", sizeof(wires), wires, {0}}, END,
};

static struct mock m;

static void setup(void)
{
    CHECK(mock_create(&m, &class_sifive_plic, SIZE, node) == NULL);
}

static void wire(unsigned id, bool level)
{
    class_sifive_plic.irq_in(&m.dev, id, level);
}

static void enable(unsigned ctx, unsigned id, unsigned priority)
{
    wr(&m, PRIORITY(id), 4, priority);
    wr(&m, ENABLE(ctx, id / 32), 4, rd(&m, ENABLE(ctx, id / 32), 4) | 1u << id % 32);
}

static bool pending(unsigned id)
{
    return rd(&m, PENDING(id / 32), 4) >> id % 32 & 1;
}

/* "Memory Map" */
TEST(registers_that_are_there)
{
    u64 value;

    setup();
    CHECK_EQ(rd_status(&m, PRIORITY(0), 4, &value), MMIOSHIM_NO_REGISTER); /* interrupt source 0 does not exist */
    CHECK_EQ(rd(&m, PRIORITY(1), 4), 0);
    CHECK_EQ(rd(&m, PRIORITY(NDEV), 4), 0);
    CHECK_EQ(rd_status(&m, PRIORITY(NDEV + 1), 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd(&m, PENDING(3), 4), 0);
    CHECK_EQ(rd_status(&m, PENDING(4), 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd(&m, ENABLE(3, 3), 4), 0);
    CHECK_EQ(rd_status(&m, ENABLE(3, 4), 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, ENABLE(4, 0), 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd(&m, THRESHOLD(3), 4), 0);
    CHECK_EQ(rd(&m, CLAIM(3), 4), 0);
    CHECK_EQ(rd_status(&m, CLAIM(3) + 4, 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, THRESHOLD(4), 4, &value), MMIOSHIM_NO_REGISTER);
    CHECK_EQ(rd_status(&m, SIZE - 4, 4, &value), MMIOSHIM_NO_REGISTER);
}

/* "Memory Map": registers are 32 bits wide */
TEST(words_only)
{
    u64 value;

    setup();
    wire(1, true);
    enable(0, 1, 1);
    CHECK_EQ(rd_status(&m, CLAIM(0), 1, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, CLAIM(0), 2, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, THRESHOLD(0), 8, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(rd_status(&m, PRIORITY(1) + 2, 4, &value), MMIOSHIM_BAD_WIDTH);
    CHECK_EQ(wr_status(&m, PRIORITY(1), 8, 7), MMIOSHIM_BAD_WIDTH);
    CHECK(pending(1));
    CHECK_EQ(rd(&m, PRIORITY(1), 4), 1);
}

/* "Interrupt Priorities": "Priority value 0 is reserved to mean never interrupt" */
TEST(priority_zero_never_interrupts)
{
    setup();
    enable(0, 5, 0);
    wire(5, true);
    CHECK(pending(5));
    CHECK(!m.line[0]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 0);
    CHECK(pending(5));
    wr(&m, PRIORITY(5), 4, 1);
    CHECK(m.line[0]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 5);
}

/* "Interrupt Priorities": a WARL field of three bits here */
TEST(priorities_have_three_bits)
{
    setup();
    for (unsigned v = 0; v < 32; v++) {
        wr(&m, PRIORITY(7), 4, v);
        CHECK_EQ(rd(&m, PRIORITY(7), 4), v & 7);
        wr(&m, THRESHOLD(1), 4, v);
        CHECK_EQ(rd(&m, THRESHOLD(1), 4), v & 7);
    }
    wr(&m, PRIORITY(7), 4, 0xffffffff);
    CHECK_EQ(rd(&m, PRIORITY(7), 4), 7);
}

/* "Interrupt Priorities": "ties between global interrupts of the same priority are broken by the Interrupt ID" */
TEST(the_lowest_number_wins_among_equals)
{
    static const unsigned ids[] = {64, 33, 32, 96, 31, 2};
    static const unsigned order[] = {2, 31, 32, 33, 64, 96};

    setup();
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        enable(0, ids[i], 3);
        wire(ids[i], true);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        CHECK_EQ(rd(&m, CLAIM(0), 4), order[i]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 0);
}

TEST(the_highest_priority_wins)
{
    setup();
    for (unsigned p = 1; p <= 7; p++) {
        enable(0, 10 + p, p);
        wire(10 + p, true);
    }
    for (unsigned p = 7; p >= 1; p--)
        CHECK_EQ(rd(&m, CLAIM(0), 4), 10 + p);
}

/* "Interrupt Pending Bits": "the pending bit is read-only" */
TEST(pending_bits)
{
    setup();
    wire(1, true);
    wire(96, true);
    wire(0, true);
    wire(97, true);
    wire(5000, true);
    CHECK_EQ(rd(&m, PENDING(0), 4), 2);
    CHECK_EQ(rd(&m, PENDING(1), 4), 0);
    CHECK_EQ(rd(&m, PENDING(3), 4), 1);
    CHECK_EQ(wr_status(&m, PENDING(0), 4, 0), MMIOSHIM_READ_ONLY);
    CHECK_EQ(rd(&m, PENDING(0), 4), 2);
    CHECK_EQ(m.irq_changes, 0); /* pending, not enabled */
}

/* "Interrupt Gateways", level-sensitive: once accepted, a request "remains present" though the source deasserts */
TEST(a_request_outlives_its_wire)
{
    setup();
    enable(0, 9, 1);
    wire(9, true);
    wire(9, false);
    CHECK(pending(9));
    CHECK(m.line[0]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 9);
    CHECK(!m.line[0]);
    wr(&m, CLAIM(0), 4, 9);
    CHECK(!pending(9)); /* the wire is low */
    CHECK(!m.line[0]);
}

/* "Interrupt Enables" */
TEST(enables)
{
    setup();
    wr(&m, ENABLE(1, 0), 4, 0xffffffff);
    CHECK_EQ(rd(&m, ENABLE(1, 0), 4), 0xfffffffe); /* bit 0 of word 0 is hardwired to zero */
    wr(&m, ENABLE(1, 3), 4, 0xffffffff);
    CHECK_EQ(rd(&m, ENABLE(1, 3), 4), 1);
    CHECK_EQ(rd(&m, ENABLE(0, 0), 4), 0);
    wr(&m, PRIORITY(4), 4, 1);
    wire(4, true);
    CHECK(!m.line[0] && m.line[1] && !m.line[2] && !m.line[3]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 0); /* not enabled there */
    wr(&m, ENABLE(1, 0), 4, 0);
    CHECK(!m.line[1]);
    CHECK(pending(4));
    CHECK_EQ(rd(&m, CLAIM(1), 4), 0);
}

/* "Priority Thresholds": masks priorities "less than or equal to threshold"; 0 permits all but 0 */
TEST(thresholds)
{
    setup();
    enable(0, 3, 4);
    wire(3, true);
    for (unsigned threshold = 0; threshold < 8; threshold++) {
        wr(&m, THRESHOLD(0), 4, threshold);
        CHECK_EQ(m.line[0], threshold < 4);
    }
    /* "Interrupt Claim Process": "not affected by the setting of the priority threshold register" */
    CHECK(!m.line[0]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 3);
}

/* "Interrupt Claim Process" */
TEST(claim_takes_the_request)
{
    setup();
    enable(0, 10, 1);
    enable(2, 10, 1);
    wire(10, true);
    CHECK(m.line[0] && m.line[2]); /* both are told */
    CHECK_EQ(rd(&m, CLAIM(2), 4), 10);
    CHECK(!m.line[0] && !m.line[2]);
    CHECK(!pending(10));
    CHECK_EQ(rd(&m, CLAIM(0), 4), 0); /* "the first to claim" has it */
    /* The gateway forwards nothing until completion, whatever the wire does. */
    wire(10, false);
    wire(10, true);
    wire(10, true);
    CHECK(!pending(10) && !m.line[0]);
    /* "Interrupt Completion" */
    wr(&m, CLAIM(2), 4, 10);
    CHECK(pending(10) && m.line[0] && m.line[2]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 10);
}

/* "Interrupt Completion": what does not match an enabled source is ignored */
TEST(completions_that_are_ignored)
{
    setup();
    enable(0, 10, 1);
    wire(10, true);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 10);
    CHECK_EQ(wr_status(&m, CLAIM(0), 4, 0), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(wr_status(&m, CLAIM(0), 4, 11), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(wr_status(&m, CLAIM(0), 4, NDEV + 1), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(wr_status(&m, CLAIM(0), 4, 0xffffffff), MMIOSHIM_GUEST_BUG);
    CHECK_EQ(wr_status(&m, CLAIM(1), 4, 10), MMIOSHIM_GUEST_BUG); /* not enabled for this context */
    CHECK(!pending(10));
    wr(&m, ENABLE(0, 0), 4, 0);
    CHECK_EQ(wr_status(&m, CLAIM(0), 4, 10), MMIOSHIM_GUEST_BUG);
    CHECK(!pending(10));
    /* "The PLIC does not check whether the completion ID is the same as the last claim ID for that target." */
    wr(&m, ENABLE(3, 0), 4, 1u << 10);
    wr(&m, CLAIM(3), 4, 10);
    CHECK(pending(10));
    CHECK_EQ(wr_status(&m, CLAIM(3), 4, 10), MMIOSHIM_GUEST_BUG); /* it is not being handled */
    CHECK(pending(10));
}

/* Sources are handled one inside another, completions come in any order. */
TEST(nested_claims)
{
    setup();
    enable(0, 1, 1);
    enable(0, 2, 2);
    wire(1, true);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 1);
    CHECK(!m.line[0]);
    wire(2, true);
    CHECK(m.line[0]);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 2);
    wire(2, false);
    wire(1, false);
    wr(&m, CLAIM(0), 4, 1);
    wr(&m, CLAIM(0), 4, 2);
    CHECK(!m.line[0]);
    CHECK_EQ(m.irq_changes, 4);
}

TEST(reset)
{
    setup();
    enable(0, 1, 1);
    wire(1, true);
    wire(2, true);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 1);
    class_sifive_plic.reset(&m.dev, MMIOSHIM_RESET_WARM); /* wires are what they are */
    CHECK_EQ(rd(&m, PENDING(0), 4), 6);
    CHECK_EQ(rd(&m, PRIORITY(1), 4), 0);
    CHECK_EQ(rd(&m, ENABLE(0, 0), 4), 0);
    class_sifive_plic.reset(&m.dev, MMIOSHIM_RESET_COLD);
    CHECK_EQ(rd(&m, PENDING(0), 4), 0);
    CHECK(!m.line[0]);
}

TEST(save_and_load)
{
    u8 blob[2048], bad[2048];
    long size;

    setup();
    enable(0, 1, 1);
    enable(1, 40, 2);
    wr(&m, THRESHOLD(3), 4, 5);
    wire(1, true);
    wire(40, true);
    CHECK_EQ(rd(&m, CLAIM(0), 4), 1);
    size = class_sifive_plic.save(&m.dev, blob, sizeof(blob));
    CHECK(size > 0 && (size_t)size <= sizeof(blob));

    setup();
    CHECK_EQ(class_sifive_plic.load(&m.dev, 1, blob, (size_t)size), 0);
    CHECK(!m.line[0] && m.line[1]);
    CHECK_EQ(rd(&m, THRESHOLD(3), 4), 5);
    wr(&m, CLAIM(0), 4, 1); /* it is still being handled */
    CHECK(m.line[0]);
    CHECK_EQ(rd(&m, CLAIM(1), 4), 40);

    CHECK_EQ(class_sifive_plic.load(&m.dev, 2, blob, (size_t)size), -1);
    CHECK_EQ(class_sifive_plic.load(&m.dev, 1, blob, (size_t)size - 1), -1);
    memset(bad, 0xff, sizeof(bad));
    CHECK_EQ(class_sifive_plic.load(&m.dev, 1, bad, (size_t)size), -1);
}

TEST(nodes)
{
    static const struct mock_property bad[][3] = {
        {END},
        {CELL("riscv,ndev", 0), END},
        {CELL("riscv,ndev", 1024), END},
        {CELL("riscv,ndev", 10), {"interrupts-extended", 12, wires, {0}}, END},
    };
    static const struct mock_property most[] = {CELL("riscv,ndev", 1023), END};
    u64 value;

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *why = mock_create(&m, &class_sifive_plic, SIZE, bad[i]);

        CHECK(why && strlen(why) > 10);
    }
    CHECK(mock_create(&m, &class_sifive_plic, 0x203000, node)); /* four contexts do not fit */
    CHECK(mock_create(&m, &class_sifive_plic, 0x204000, node) == NULL);
    CHECK(mock_create(&m, &class_sifive_plic, SIZE, most) == NULL);
    CHECK_EQ(rd(&m, PRIORITY(1023), 4), 0);
    CHECK_EQ(rd(&m, PENDING(31), 4), 0);
    CHECK_EQ(rd_status(&m, THRESHOLD(0), 4, &value), MMIOSHIM_NO_REGISTER); /* no context at all */
    wire(1023, true);
    CHECK_EQ(rd(&m, PENDING(31), 4), 0x80000000);
}
