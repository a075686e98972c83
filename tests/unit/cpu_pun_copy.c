/* Copies of instructions that run elsewhere: exact bytes, and the same effects when the CPU runs both. */
#include "unit.h"

#include <sys/mman.h>

#include "cpu/cpu.h"
#include "cpu/pun.h"

static unsigned from_hex(const char *hex, u8 *out)
{
    unsigned n = 0;

    for (; *hex; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};

        out[n++] = (u8)strtoul(digits, NULL, 16);
    }
    return n;
}

static void start(void)
{
    char error[256];
    struct fmt out = FMT_INIT(error);

    CHECK_EQ(cpu_init(&out), 0);
}

/* ---- bytes ---- */

#define FROM ((u64)0x555500001000)
#define TO   ((u64)0x555510002000) /* 0x10001000 behind it */

static const struct {
    const char *from, *to; /* to NULL: not copyable */
} cases[] = {
    {"89d8", "89d8"},
    {"c3", "c3"},
    {"f0834424fc00", "f0834424fc00"},
    {"8b0500000010", "8b0500f0ffff"},                         /* [rip+0x10000000] */
    {"c7050000001078563412", "c70500f0ffff78563412"},         /* an immediate behind the displacement */
    {"488d0d10000000", "488d0d10f0ffef"},
    {"c5fc280510000000", "c5fc280510f0ffef"},                 /* vmovaps */
    {"62f17c48280510000000", "62f17c48280510f0ffef"},         /* the same with EVEX */
    {"0fba251000000003", "0fba2510f0ffef03"},
    {"eb10", "e90df0ffef"},
    {"e910000000", "e910f0ffef"},
    {"7410", "0f840cf0ffef"},
    {"0f8410000000", "0f8410f0ffef"},
    {"2e7410", "0f840df0ffef"},                               /* a hint */
    {"e810000000", "6805100000c744240455550000e903f0ffef"},
    {"ffd0", "6802100000c744240455550000ffe0"},
    {"41ffd3", "6803100000c74424045555000041ffe3"},
    {"ff1510000000", "6806100000c744240455550000ff2503f0ffef"},
    {"e2fe", "e202eb05e9f7efffef"},
    {"67e3fe", "67e302eb05e9f7efffef"},
    {"ff2510000000", "ff2510f0ffef"},
    {"ffe0", "ffe0"},
    {"ff24c5000000ff", "ff24c5000000ff"},
    {"cc", NULL},
    {"cd80", NULL},
    {"f1", NULL},
    {"0f05", NULL},
    {"0f34", NULL},
    {"f30f1efa", NULL},
    {"c7f800000000", NULL},
    {"c6f800", NULL},
    {"ff10", NULL},       /* call through memory */
    {"ff5008", NULL},
    {"ffd4", NULL},       /* call rsp */
    {"ff18", NULL},       /* far */
    {"66e910000000", NULL},
    {"668b0510000000", "668b0510f0ffef"},
    {"678b0510000000", NULL}, /* [eip+0x10] */
    {"678b00", "678b00"},
};

TEST(bytes)
{
    start();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        u8 from[16], want[PUN_COPY], out[PUN_COPY];
        unsigned n = from_hex(cases[i].from, from), expected, got;

        got = pun_copy(from, n, FROM, TO, out);
        expected = cases[i].to ? from_hex(cases[i].to, want) : 0;
        CHECK_EQ(pun_copyable(from, n), expected != 0);
        if (got == expected && memcmp(out, want, expected) == 0)
            continue;
        CHECK(!"the copy is as expected");
        printf("# %s:", cases[i].from);
        for (unsigned k = 0; k < got; k++)
            printf("%02x", out[k]);
        printf("\n");
    }
}

TEST(what_is_out_of_reach_is_not_copied)
{
    static const char *const relative[] = {"8b0510000000", "eb10", "e910000000", "7410", "e810000000", "e210", "ff1510000000"};
    u8 bytes[16], out[PUN_COPY];

    start();
    for (unsigned i = 0; i < sizeof(relative) / sizeof(relative[0]); i++) {
        unsigned n = from_hex(relative[i], bytes);

        CHECK(pun_copy(bytes, n, FROM, FROM + 0x7e000000, out));
        CHECK(pun_copy(bytes, n, FROM, FROM - 0x7e000000, out));
        CHECK(!pun_copy(bytes, n, FROM, FROM + 0x7f001000, out));
        CHECK(!pun_copy(bytes, n, FROM, FROM - 0x7f001000, out));
        CHECK(!pun_copy(bytes, n - 1, FROM, TO, out));
        CHECK(!pun_copy(bytes, n + 1, FROM, TO, out));
    }
}

/* ---- effects ---- */

struct effects {
    u64 result; /* where it went: 1 behind the instruction, 2 to its target, else a return address */
    u64 rcx, flags, data;
};

static u8 *page; /* code at 0, a target at 0x70, data at 0xc0; copies at 0x800 */

#define CODE   0
#define TARGET 0x70
#define DATA   0xc0
#define COPY   0x800

static struct effects enter(u64 at, u64 rcx, u64 flags)
{
    struct effects e = {.rcx = rcx};
    u64 entry = (u64)page + at;

    __asm__ volatile("lea -256(%%rsp), %%rsp\n"
                     "push %[flags]\n"
                     "popfq\n"
                     "call *%[entry]\n"
                     "pushfq\n"
                     "pop %[out]\n"
                     "lea 256(%%rsp), %%rsp\n"
                     : "=&a"(e.result), "+c"(e.rcx), [out] "=&r"(e.flags)
                     : [flags] "r"(flags), [entry] "r"(entry), "d"((u64)page + TARGET)
                     : "memory", "cc");
    memcpy(&e.data, page + DATA, 8);
    return e;
}

/* The instruction with a way out behind it, and where it leads; a copy elsewhere that jumps back. */
static void lay_out(const u8 *insn, unsigned length, bool call)
{
    unsigned n;

    memset(page, 0xcc, 0x1000);
    memset(page + DATA, 0x11, 16);
    memcpy(page + CODE, insn, length);
    memcpy(page + CODE + length, "\xb8\x01\0\0\0\xc3", 6); /* mov eax, 1; ret */
    if (call)
        memcpy(page + TARGET, "\x58\xc3", 2); /* pop rax; ret: to the caller of all */
    else
        memcpy(page + TARGET, "\xb8\x02\0\0\0\xc3", 6);
    n = pun_copy(insn, length, (u64)page + CODE, (u64)page + COPY, page + COPY);
    CHECK(n && n <= PUN_COPY);
    n += pun_copy((const u8 *)"\xe9\0\0\0\0", 5, (u64)page + CODE + length - 5, (u64)page + COPY + n, page + COPY + n);
}

static void compare(u64 rcx, u64 flags)
{
    struct effects in_place, elsewhere;

    memset(page + DATA, 0x11, 16);
    in_place = enter(CODE, rcx, flags);
    memset(page + DATA, 0x11, 16);
    elsewhere = enter(COPY, rcx, flags);
    CHECK_EQ(elsewhere.result, in_place.result);
    CHECK_EQ(elsewhere.rcx, in_place.rcx);
    CHECK_EQ(elsewhere.flags, in_place.flags);
    CHECK_EQ(elsewhere.data, in_place.data);
}

static void run(const u8 *insn, unsigned length, bool call)
{
    lay_out(insn, length, call);
    for (u64 rcx = 0; rcx < 3; rcx++)
        for (unsigned set = 0; set < 64; set++)
            compare(rcx, 0x202 | (set & 1) | (set & 2) << 1 | (u64)(set & 4) << 2 | (u64)(set & 8) << 3 | (u64)(set & 16) << 3 |
                             (u64)(set & 32) << 6);
}

TEST(effects)
{
    static const struct {
        u8 length, bytes[15];
        bool call;
    } others[] = {
        {2, {0xeb, TARGET - 2}, false},
        {5, {0xe9, TARGET - 5}, false},
        {2, {0xe0, TARGET - 2}, false},
        {2, {0xe1, TARGET - 2}, false},
        {2, {0xe2, TARGET - 2}, false},
        {2, {0xe3, TARGET - 2}, false},
        {3, {0x67, 0xe3, TARGET - 3}, false},
        {5, {0xe8, TARGET - 5}, true},
        {2, {0xff, 0xd2}, true},
        {2, {0xff, 0xe2}, false},
        {7, {0x48, 0xff, 0x05, DATA - 7}, false},                   /* inc qword ptr [rip+x] */
        {7, {0x48, 0x8d, 0x0d, DATA - 7}, false},                   /* lea rcx, [rip+x] */
        {10, {0xc7, 0x05, DATA - 10, 0, 0, 0, 1, 2, 3, 4}, false}, /* mov dword ptr [rip+x], imm32 */
        {8, {0x83, 0x25, DATA - 8, 0, 0, 0, 0x0f, 0x90}, false},
    };
    u8 insn[6];

    start();
    page = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (u8 condition = 0; condition < 16; condition++) {
        insn[0] = 0x70 | condition;
        insn[1] = TARGET - 2;
        run(insn, 2, false);
        memcpy(insn, (u8[]){0x0f, 0x80 | condition, TARGET - 6, 0, 0, 0}, 6);
        run(insn, 6, false);
    }
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        run(others[i].bytes, others[i].length - (others[i].bytes[others[i].length - 1] == 0x90), others[i].call);
}

TEST(a_call_through_a_pointer_returns_behind_the_original)
{
    u8 insn[6] = {0xff, 0x15, DATA + 8 - 6};
    u64 target;

    start();
    page = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    lay_out(insn, 6, true);
    target = (u64)page + TARGET;
    memcpy(page + DATA + 8, &target, 8);
    CHECK_EQ(enter(CODE, 0, 0x202).result, (u64)page + CODE + 6);
    CHECK_EQ(enter(COPY, 0, 0x202).result, (u64)page + CODE + 6);
}
