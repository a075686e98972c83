/* Each tactic from bytes made by hand, in an address space that offers a few rooms only: exact bytes. */
#include "unit.h"

#include "cpu/cpu.h"
#include "cpu/pun.h"

#define BASE ((u64)0x555500001000)

struct offers {
    u64 at[12];
    unsigned n;
    unsigned taken;
};

static u8 bytes[512], before[512];
static unsigned size;
static struct offers offers;
static u64 foreign_at;
static struct pun_function around;
static struct pun_book book;
static struct pun_plan plan;

static bool take(void *context, u64 first, u64 last, u64 step, unsigned room, u64 *at)
{
    (void)context;
    CHECK_EQ(room, PUN_ROOM);
    CHECK(first >= 0x10000 && last < 0x7fffffffe000); /* where programs have memory */
    CHECK(first <= last && (step == 1 || step == 1 << 8 || step == 1 << 16 || step == 1 << 24));
    for (unsigned i = 0; i < offers.n; i++)
        if (offers.at[i] >= first && offers.at[i] <= last && (offers.at[i] - first) % step == 0) {
            *at = offers.at[i];
            offers.at[i] = 0;
            offers.taken++;
            return true;
        }
    return false;
}

static void give_back(void *context, u64 at, unsigned room)
{
    (void)context;
    (void)room;
    offers.taken--;
    for (unsigned i = 0; i < offers.n; i++)
        if (!offers.at[i]) {
            offers.at[i] = at;
            return;
        }
}

static bool is_foreign(void *context, u64 at, unsigned n)
{
    (void)context;
    return foreign_at - at < n;
}

static bool function_of(void *context, u64 at, struct pun_function *f)
{
    (void)context;
    *f = around;
    return at - f->begin < f->end - f->begin;
}

static const struct pun_space space = {.take = take, .give_back = give_back};
static struct pun_text text = {.base = BASE, .bytes = bytes, .foreign = is_foreign, .function = function_of};

static unsigned from_hex(const char *hex, u8 *out)
{
    unsigned n = 0;

    for (; *hex; hex++) {
        char digits[3] = {hex[0], hex[1], 0};

        if (*hex == ' ')
            continue;
        out[n++] = (u8)strtoul(digits, NULL, 16);
        hex++;
    }
    return n;
}

static void begin(const char *hex)
{
    char error[256];
    struct fmt out = FMT_INIT(error);

    CHECK_EQ(cpu_init(&out), 0);
    size = from_hex(hex, bytes);
    memcpy(before, bytes, sizeof(before));
    text.size = size;
    pun_init(&book, calloc(1, PUN_LEAST), PUN_LEAST);
}

static void offer(u64 at)
{
    offers.at[offers.n++] = at;
}

/* An offer that a jump from there reaches with that displacement. */
static void offer_at(unsigned offset, u32 displacement)
{
    offer(BASE + offset + 5 + (u64)(i64)(i32)displacement);
}

static bool planned(unsigned offset)
{
    return pun_plan(&book, &text, BASE + offset, &space, &plan);
}

static void check_write(unsigned i, unsigned offset, const char *hex)
{
    u8 want[64];
    unsigned n = from_hex(hex, want);

    CHECK(i < plan.nwrites);
    CHECK_EQ(plan.writes[i].at, BASE + offset);
    CHECK_EQ(plan.writes[i].length, n);
    CHECK(!memcmp(plan.writes[i].was, bytes + offset, n));
    if (memcmp(plan.writes[i].bytes, want, n) == 0)
        return;
    CHECK(!"the bytes are those");
    printf("#  ");
    for (unsigned k = 0; k < plan.writes[i].length; k++)
        printf(" %02x", plan.writes[i].bytes[k]);
    printf("\n");
}

static bool has_jump(unsigned offset, u64 room, unsigned length, bool copy)
{
    for (unsigned i = 0; i < plan.njumps; i++)
        if (plan.jumps[i].insn == BASE + offset && plan.jumps[i].room == room)
            return plan.jumps[i].length == length && plan.jumps[i].copy == copy;
    return false;
}

static void commit(void)
{
    pun_commit(&book, &plan);
    for (unsigned i = 0; i < plan.nwrites; i++)
        memcpy(bytes + (plan.writes[i].at - BASE), plan.writes[i].bytes, plan.writes[i].length);
}

static void check_originals(void)
{
    u8 seen[512];

    for (unsigned at = 0; at < size; at += 64) {
        memcpy(seen + at, bytes + at, 64);
        pun_original(&book, BASE + at, seen + at, 64);
    }
    CHECK(!memcmp(seen, before, size));
}

/* ---- tactics ---- */

TEST(a_long_instruction_has_room)
{
    begin("c70001000000 c3");
    offer_at(0, 0x11223344);
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_WHOLE);
    CHECK_EQ(plan.nwrites, 1);
    check_write(0, 0, "e944332211");
    CHECK_EQ(plan.njumps, 1);
    CHECK(has_jump(0, BASE + 5 + 0x11223344, 6, false));
    commit();
    check_originals();
}

TEST(bytes_that_follow_end_the_displacement)
{
    begin("8907 488943 18 c3");
    offer_at(0, 0x438948ff); /* d0 is free */
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_FOLLOWING);
    check_write(0, 0, "e9ff");
    CHECK_EQ(plan.nwrites, 1);
    CHECK(has_jump(0, BASE + 5 + 0x438948ff, 2, false));
}

TEST(a_negative_displacement)
{
    begin("8907 4889c3 c3");
    offer_at(0, 0xc3894810);
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_FOLLOWING);
    check_write(0, 0, "e910");
}

TEST(prefixes_move_the_displacement)
{
    begin("894710 4889c3 4889d1 c3");
    offer_at(1, 0xc3894822); /* 2e e9 22 | 48 89 c3 */
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_PREFIXED);
    check_write(0, 0, "2ee922");
}

TEST(two_prefixes)
{
    begin("894710 488943 18 4889d1 c3");
    offer_at(2, 0x18438948); /* nothing is free */
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_PREFIXED);
    check_write(0, 0, "2e2ee9");
}

TEST(an_evicted_successor_gives_other_bytes)
{
    /* e9 d0 d1 | e9 20: the successor's lowest byte becomes the site's highest. */
    begin("894710 488943ff c3");
    offer(BASE + 5 + 0x20e93456);
    offer_at(3, 0xc3210020); /* e9 20 00 21 | c3 */
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_SUCCESSOR);
    CHECK_EQ(plan.nwrites, 2);
    check_write(0, 0, "e95634");
    check_write(1, 3, "e9200021");
    CHECK_EQ(plan.njumps, 2);
    CHECK(has_jump(0, BASE + 5 + 0x20e93456, 3, false));
    CHECK(has_jump(3, BASE + 8 + 0xffffffffc3210020, 4, true));
    CHECK_EQ(plan.writes[1].insn, BASE + 3);
    CHECK_EQ(offers.taken, 2);
    commit();
    check_originals();
    /* It becomes hot itself. */
    CHECK(planned(3));
    CHECK_EQ(plan.tactic, PUN_RETARGET);
    CHECK_EQ(plan.nwrites, 0);
    CHECK_EQ(plan.njumps, 1);
    CHECK(has_jump(3, BASE + 8 + 0xffffffffc3210020, 4, false));
    CHECK(!pun_find(&book, BASE + 3)->site);
    commit();
    CHECK(pun_find(&book, BASE + 3)->site);
}

TEST(one_byte)
{
    begin("a4 48894318 c3");
    offer_at(0, 0x18438948);
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_FOLLOWING);
    check_write(0, 0, "e9");
    pun_cancel(&plan, &space);
    CHECK_EQ(offers.taken, 0);
    offers.at[0]++;
    CHECK(!planned(0));
    CHECK_EQ(offers.taken, 0);
}

TEST(padding_behind_the_function)
{
    begin("894710 4889c3 c3 0f1f8000000000 90 55 c3");
    around = (struct pun_function){.begin = BASE, .end = BASE + 7, .after = BASE + 15};
    offer_at(7, 0x12345678);
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_GAP);
    CHECK_EQ(plan.nwrites, 2);
    check_write(0, 0, "eb05");
    check_write(1, 7, "e978563412");
    CHECK_EQ(plan.writes[1].insn, BASE);
    CHECK_EQ(plan.njumps, 1);
    CHECK(has_jump(0, BASE + 12 + 0x12345678, 3, false));
    commit();
    check_originals();
    /* The second time there are three bytes left, and those of the next function. */
    offer_at(12, 0xc3561122);
    CHECK(!planned(3));
    offer_at(12, 0xc3551122);
    CHECK(planned(3));
    CHECK_EQ(plan.tactic, PUN_GAP);
    check_write(0, 3, "eb07");
    check_write(1, 12, "e92211");
}

TEST(padding_of_others)
{
    begin("894710 4889c3 c3 0f1f8000000000 90 55 c3");
    around = (struct pun_function){.begin = BASE, .end = BASE + 7, .after = BASE + 15};
    offer_at(7, 0x12345678);
    foreign_at = BASE + 10;
    CHECK(!planned(0));
    foreign_at = BASE + 15;
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_GAP);
}

TEST(padding_that_something_runs_into)
{
    begin("894710 4889c3 8907 0f1f8000000000 90 55 c3");
    around = (struct pun_function){.begin = BASE, .end = BASE + 8, .after = BASE + 16};
    offer_at(8, 0x12345678);
    CHECK(!planned(0));
}

TEST(a_neighbour_has_a_landing)
{
    /* The site's own displacements lead nowhere; the mov of ten bytes has room for two jumps. */
    begin("894710 48c78000000000 00000000 c3");
    offer_at(3 + 6, 0x05060708);
    offer_at(3, 0x01020304);
    around = (struct pun_function){.begin = BASE, .end = BASE + size};
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_NEIGHBOUR);
    CHECK_EQ(plan.nwrites, 3);
    check_write(0, 0, "eb07");
    check_write(1, 3, "e904030201");
    check_write(2, 9, "e908070605");
    CHECK_EQ(plan.writes[2].insn, BASE);
    CHECK_EQ(plan.njumps, 2);
    CHECK(has_jump(0, BASE + 14 + 0x05060708, 3, false));
    CHECK(has_jump(3, BASE + 8 + 0x01020304, 11, true));
    commit();
    check_originals();
    CHECK(pun_find(&book, BASE) && pun_find(&book, BASE + 3) && pun_find(&book, BASE + 9) && !pun_find(&book, BASE + 4));
    /* Both are there now. */
    CHECK(planned(3));
    CHECK_EQ(plan.tactic, PUN_RETARGET);
    CHECK(has_jump(3, BASE + 8 + 0x01020304, 11, false));
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_RETARGET);
    CHECK(has_jump(0, BASE + 14 + 0x05060708, 3, false));
}

TEST(a_neighbour_before_the_site_if_the_function_is_known)
{
    begin("48c78000000000 00000000 894710 c3");
    offer_at(6, 0x05060708);
    offer_at(0, 0x01020304);
    CHECK(!planned(11));
    around = (struct pun_function){.begin = BASE, .end = BASE + size};
    CHECK(planned(11));
    CHECK_EQ(plan.tactic, PUN_NEIGHBOUR);
    check_write(0, 0, "e904030201");
    check_write(1, 6, "e908070605");
    check_write(2, 11, "ebf9");
}

TEST(behind_a_jump_there_may_be_data)
{
    /* The long mov is evicted only if the branch before the jump leads to it. */
    begin("894710 7402 eb0b 48c78000000000 00000000 c3");
    offer_at(7 + 6, 0x05060708);
    offer_at(7, 0x01020304);
    around = (struct pun_function){.begin = BASE, .end = BASE + size};
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_NEIGHBOUR);
    check_write(1, 7, "e904030201");
    pun_cancel(&plan, &space);
    bytes[4] = 0x0d;
    CHECK(!planned(0));
}

TEST(a_predecessor_is_planned_again)
{
    begin("8807 894710 48894318 c3");
    offer_at(0, 0x10478933);
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_FOLLOWING);
    check_write(0, 0, "e933");
    commit();
    offer_at(3, 0x43894870);      /* 2e e9 70 | 48 89 43 */
    offer(BASE + 5 + 0x70e92e44); /* e9 44 | 2e e9 70 */
    CHECK(planned(2));
    CHECK(plan.repunned);
    CHECK_EQ(plan.tactic, PUN_PREFIXED);
    CHECK_EQ(plan.nwrites, 2);
    check_write(0, 0, "e944");
    check_write(1, 2, "2ee970");
    CHECK(has_jump(0, BASE + 5 + 0x70e92e44, 2, false));
    CHECK(has_jump(2, BASE + 8 + 0x43894870, 3, false));
    commit();
    check_originals();
}

/* ---- what is left alone ---- */

TEST(no_farther_than_allowed)
{
    begin("c70001000000 c3");
    offer(BASE + 10 + (u64)PUN_REACH + 1); /* with prefixes the jump ends up to 5 bytes later */
    offer(BASE + 5 - (u64)PUN_REACH - 1);
    CHECK(!planned(0));
    offers.n = 0;
    offer(BASE + 5 + (u64)PUN_REACH);
    CHECK(planned(0));
    pun_cancel(&plan, &space);
    offers.n = 0;
    offer(BASE + 5 - (u64)PUN_REACH);
    CHECK(planned(0));
}

TEST(rooms_are_where_programs_have_memory)
{
    static const u64 bases[] = {0x10000, 0x400000, 0x7ffffff00000, 0x7fffffffd000};

    begin("c70001000000 894710 4889c3 8907 488943 18 c3");
    for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        text.base = bases[i];
        CHECK(!pun_plan(&book, &text, bases[i], &space, &plan)); /* take() looks at what it is asked for */
        CHECK(!pun_plan(&book, &text, bases[i] + 6, &space, &plan));
        CHECK(!pun_plan(&book, &text, bases[i] + 12, &space, &plan));
    }
}

TEST(int3_and_system_calls_are_not_touched)
{
    static const char *const streams[] = {"cc c3 9090909090", "0f05 9090909090", "cd80 9090909090", "0f34 9090909090",
                                          "8907 cc 111111", "8907 0f05 1111", "894710 0f05 11"};

    for (unsigned i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        begin(streams[i]);
        offers.n = 0;
        for (unsigned p = 0; p < 3; p++) {
            u32 displacement;

            memcpy(&displacement, bytes + 1 + p, 4);
            offer(BASE + p + 5 + (u64)(i64)(i32)displacement);
        }
        CHECK(!planned(0));
    }
}

TEST(bytes_of_others_are_not_touched)
{
    begin("8907 48894318 c3");
    offer_at(0, 0x438948ff);
    for (foreign_at = BASE; foreign_at < BASE + 5; foreign_at++)
        CHECK(!planned(0));
    CHECK(planned(0));
}

TEST(a_lock_prefix_that_is_jumped_over)
{
    begin("7401 f00fb10d00000010 c3");
    offer_at(2, 0x11223344);
    CHECK(!planned(2));
    bytes[1] = 2;
    CHECK(planned(2));
    pun_cancel(&plan, &space);
    /* Nor is one evicted; without the prefix it would be: e9 56 34 | e9 20 11 | c3 11. */
    begin("894710 f0ff0f c3 111111");
    offers.n = 0;
    offer(BASE + 5 + 0x20e93456);
    offer_at(3, 0x11c31120);
    CHECK(!planned(0));
    bytes[3] = 0x3e;
    CHECK(planned(0));
    CHECK_EQ(plan.tactic, PUN_SUCCESSOR);
}

TEST(text_ends)
{
    begin("8907 488943");
    offer_at(0, 0x438948ff);
    CHECK(planned(0));
    pun_cancel(&plan, &space);
    text.size--;
    CHECK(!planned(0));
    CHECK(!planned(size));
    CHECK(!pun_plan(&book, &text, BASE - 1, &space, &plan));
}

TEST(inside_of_a_patched_instruction_there_is_none)
{
    begin("c70001000000 c3");
    offer_at(0, 0x11223344);
    CHECK(planned(0));
    commit();
    for (unsigned i = 1; i < 6; i++) {
        CHECK(pun_involves(&book, BASE + i, 1));
        CHECK(!planned(i));
    }
    CHECK(!pun_involves(&book, BASE + 6, 1));
}

TEST(what_a_jump_relies_on_is_known)
{
    begin("8907 48894318 c3");
    offer_at(0, 0x438948ff);
    CHECK(planned(0));
    commit();
    for (unsigned i = 0; i < 5; i++)
        CHECK(pun_involves(&book, BASE + i, 1));
    CHECK(!pun_involves(&book, BASE + 5, 1));
    CHECK(!pun_involves(&book, BASE - 1, 1));
    CHECK(pun_involves(&book, BASE - 4, 5));
}

TEST(forgotten_text)
{
    u8 seen[6];

    begin("c70001000000 8907 48894318 c3");
    for (unsigned round = 0; round < 5000; round++) {
        offers.n = 0;
        offer_at(0, 0x11223344);
        CHECK(planned(0));
        CHECK_EQ(plan.tactic, PUN_WHOLE);
        pun_commit(&book, &plan);
        memset(seen, 0, sizeof(seen));
        CHECK(pun_original(&book, BASE, seen, 6) && seen[0] == 0xc7);
        pun_forget(&book, BASE + 1, 100);
        CHECK(pun_find(&book, BASE));
        pun_forget(&book, BASE - 100, 101);
        CHECK(!pun_find(&book, BASE) && !pun_original(&book, BASE, seen, 6));
    }
}

TEST(a_full_book_refuses)
{
    unsigned n = 0;

    begin("c70001000000");
    for (; n < 10000; n++) {
        offers.n = 0;
        offer_at(0, 0x11223344);
        text.base = BASE + n * 8;
        offers.at[0] += n * 8;
        if (!pun_plan(&book, &text, text.base, &space, &plan))
            break;
        pun_commit(&book, &plan);
    }
    CHECK(n > 500 && n < 10000);
    CHECK_EQ(offers.taken, n);
    text.base = BASE;
    pun_forget(&book, BASE, 1 << 20);
    CHECK(planned(0));
}
