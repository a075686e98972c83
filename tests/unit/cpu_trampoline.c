/*
 * Trampolines in an ordinary process: the CPU runs an instruction as it stands, and then its trampoline, which asks a
 * device made of a few instructions. Same registers, flags, vectors and memory.
 */
#include "cpu_harness.h"

#include "cpu/trampoline.h"
#include "cpu_cases.h"
#include "cpu_form.h"
#include "cpu_point.h"

GROUP(integer, CASES_INTEGER, FORMS);
GROUP(high_byte, CASES_HIGH_BYTE, FORMS_WITHOUT_REX);
GROUP(sse, CASES_SSE, FORMS);
GROUP(avx, CASES_AVX, FORMS);
GROUP(x87, CASES_X87, FORMS);

/* ---- the site's data and the thread's storage; the device below knows their layout ---- */

struct site {
    u64 minus_base, mask, enter, enter_again, settle;
    u64 tail, tail_again; /* 40, 48 */
    u64 bytes;            /* 56 */
    u64 writes;           /* 64: the first access is a write */
    u64 modifies;         /* 72 */
};

struct storage {
    u8 scratch[64];
    u64 rax, rcx, r11, flags, address, here, call;
} __attribute__((aligned(64)));

static __thread struct storage storage;

u64 device_fs __asm__("device_fs") __attribute__((used)); /* of the storage, from fs */
u64 device_reads __asm__("device_reads") __attribute__((used));
u64 device_writes __asm__("device_writes") __attribute__((used));
u64 device_wrong __asm__("device_wrong") __attribute__((used));
u8 device_stack[256] __asm__("device_stack") __attribute__((used));
extern const char device_enter[], device_enter_again[], device_settle[];

/* rax: the address, rcx: what `here` was, r11: the site. All other registers, and the flags, are the program's. */
__asm__(".text\n"
        "device_settle: ud2\n"
        "device_begin:\n"
        "    mov %rax, device_address(%rip); mov %rcx, device_here(%rip)\n"
        "    mov %rsi, device_rsi(%rip); mov %rdi, device_rdi(%rip); mov %rdx, device_rdx(%rip)\n"
        "    mov device_fs(%rip), %rdx\n"
        "    add %fs:0, %rdx\n"
        "    cmpq $0, 104(%rdx)\n" /* the thread is marked */
        "    je 1f\n"
        "    incq device_wrong(%rip)\n"
        "1:  cmp %rax, 96(%rdx)\n"
        "    je 2f\n"
        "    incq device_wrong(%rip)\n"
        "2:  mov 56(%r11), %rcx\n"
        "    cld\n"
        "    jmp *device_next(%rip)\n"
        "device_read:\n"
        "    incq device_reads(%rip)\n"
        "    mov %rax, %rsi; mov %rdx, %rdi; rep movsb\n"
        "    jmp *device_done(%rip)\n"
        "device_write:\n"
        "    incq device_writes(%rip)\n"
        "    mov %rdx, %rsi; mov %rax, %rdi; rep movsb\n"
        "    jmp *device_done(%rip)\n"
        ".globl device_enter, device_enter_again, device_settle\n"
        "device_enter:\n"
        "    mov %rsp, device_rsp(%rip); lea device_stack+256(%rip), %rsp; pushfq\n"
        "    mov %rax, device_address(%rip); lea 3f(%rip), %rax; mov %rax, device_done(%rip)\n"
        "    lea device_read(%rip), %rax\n"
        "    cmpq $0, 64(%r11)\n"
        "    je 4f\n"
        "    lea device_write(%rip), %rax\n"
        "4:  mov %rax, device_next(%rip)\n"
        "    mov device_address(%rip), %rax\n"
        "    jmp device_begin\n"
        "3:  mov device_here(%rip), %rcx\n"
        "    cmpq $0, 72(%r11)\n"
        "    je 6f\n"
        "    mov %rcx, 112(%rdx)\n" /* between the two accesses */
        "    jmp 7f\n"
        "6:  mov %rcx, 104(%rdx)\n"
        "7:  mov device_rsi(%rip), %rsi; mov device_rdi(%rip), %rdi; mov device_rdx(%rip), %rdx\n"
        "    popfq; mov device_rsp(%rip), %rsp\n"
        "    jmp *40(%r11)\n"
        "device_enter_again:\n"
        "    mov %rsp, device_rsp(%rip); lea device_stack+256(%rip), %rsp; pushfq\n"
        "    mov %rax, device_address(%rip); lea 5f(%rip), %rax; mov %rax, device_done(%rip)\n"
        "    lea device_write(%rip), %rax; mov %rax, device_next(%rip)\n"
        "    mov device_address(%rip), %rax\n"
        "    jmp device_begin\n"
        "5:  mov device_here(%rip), %rcx\n"
        "    mov %rcx, 104(%rdx)\n"
        "    mov device_rsi(%rip), %rsi; mov device_rdi(%rip), %rdi; mov device_rdx(%rip), %rdx\n"
        "    popfq; mov device_rsp(%rip), %rsp\n"
        "    jmp *48(%r11)\n"
        ".bss\n .balign 8\n"
        "device_address: .skip 8\n device_here: .skip 8\n device_rsi: .skip 8\n device_rdi: .skip 8\n"
        "device_rdx: .skip 8\n device_next: .skip 8\n device_done: .skip 8\n device_rsp: .skip 8\n .text\n");

_Static_assert(offsetof(struct storage, address) == 96 && offsetof(struct storage, here) == 104 &&
                   offsetof(struct storage, call) == 112 && offsetof(struct site, tail) == 40 &&
                   offsetof(struct site, modifies) == 72, "the assembler above");

static const struct trampoline_data layout = {
    .minus_base = offsetof(struct site, minus_base), .mask = offsetof(struct site, mask), .enter = offsetof(struct site, enter),
    .enter_again = offsetof(struct site, enter_again), .settle = offsetof(struct site, settle),
};
static struct trampoline_block block;

static void init(void)
{
    u64 fs;

    harness_init();
    __asm__("movq %%fs:0, %0" : "=r"(fs));
#define FROM_FS(field) ((i32)((u64)&storage.field - fs))
    block = (struct trampoline_block){.rax = FROM_FS(rax), .rcx = FROM_FS(rcx), .r11 = FROM_FS(r11),
                                      .flags = FROM_FS(flags), .address = FROM_FS(address), .scratch = FROM_FS(scratch),
                                      .here = FROM_FS(here), .call = FROM_FS(call)};
    device_fs = (u64)FROM_FS(scratch);
    for (i32 *f = &block.rax; f <= &block.call; f++)
        CHECK(*f < 0);
}

#define TRAMPOLINE (code + 0x900)
#define SITE       ((struct site *)(void *)(code + 0xd00))

static bool make(struct trampoline *t, const struct cpu_insn *insn, u64 at, bool pext)
{
    struct trampoline_order order = {.insn = insn, .at = at, .code = (const u8 *)at, .avail = 64, .reach = 5,
                                     .place = (u64)TRAMPOLINE, .data = (u64)SITE, .block = &block, .layout = &layout,
                                     .kind = trampoline_kind(insn), .has_pext = pext};

    if (!trampoline_make(t, &order))
        return false;
    memcpy(TRAMPOLINE, t->code, t->size);
    *SITE = (struct site){.minus_base = -(u64)data, .mask = -(u64)DATA_BYTES, .enter = (u64)device_enter,
                          .enter_again = (u64)device_enter_again, .settle = (u64)device_settle,
                          .tail = order.place + t->tail, .tail_again = order.place + t->tail_again, .bytes = insn->size,
                          .writes = order.kind == TRAMPOLINE_STORE, .modifies = order.kind == TRAMPOLINE_MODIFY};
    return true;
}

static void check_marks(const char *name, const struct trampoline *t, const struct cpu_insn *insn)
{
    const struct trampoline_mark *m = t->mark;
    struct trampoline_mark at;

    if (!t->marks || m[0].at || m[0].state || m[0].back)
        complain(name, "the first mark", m[0].at, 0);
    for (unsigned i = 1; i < t->marks; i++)
        if (m[i].at <= m[i - 1].at || m[i].at >= t->size || (m[i].back && (m[i].back < insn->length || m[i].back > 24)))
            complain(name, "a mark", m[i].at, m[i - 1].at);
    for (unsigned i = 0; i < t->marks; i++)
        if ((m[i].state & TRAMPOLINE_AFTER && m[i].back) || (m[i].state & TRAMPOLINE_AFTER && m[i].state & TRAMPOLINE_MARKED))
            complain(name, "the state of a mark", m[i].state, m[i].back);
    at = trampoline_mark_at(m, t->marks, t->followers);
    if (at.state || at.back != insn->length)
        complain(name, "the mark of what follows", at.state, at.back);
    at = trampoline_mark_at(m, t->marks, trampoline_kind(insn) == TRAMPOLINE_MODIFY ? t->tail_again : t->tail);
    if (!(at.state & TRAMPOLINE_AFTER) || !(at.state & TRAMPOLINE_RAX) || !(at.state & TRAMPOLINE_RCX) ||
        !(at.state & TRAMPOLINE_R11))
        complain(name, "the mark behind the access", at.state, TRAMPOLINE_AFTER);
    at = trampoline_mark_at(m, t->marks, t->again);
    if (at.back || (at.state & (TRAMPOLINE_AFTER | TRAMPOLINE_MARKED)))
        complain(name, "the mark on the way back to the instruction", at.state, 0);
}

static void check_accesses(const char *name, const struct cpu_insn *insn, bool window)
{
    u64 reads = window && insn->reads, writes = window && insn->writes;

    if (device_reads != reads || device_writes != writes)
        complain(name, "accesses", device_reads << 8 | device_writes, reads << 8 | writes);
    if (device_wrong || storage.here != 1)
        complain(name, "the thread's mark", device_wrong, 0);
}

/* window: the operand is in the range that the site compares with. */
static void compare_trampoline(const char *name, const struct cpu_insn *insn, const struct machine *start, bool window)
{
    static struct machine plain, jumped;
    static u8 before[DATA_BYTES], after[DATA_BYTES];

    plain = jumped = *start;
    memcpy(before, data, DATA_BYTES);
    if (run_native(&plain, insn->length)) /* a fault: seen in a program, tests/patch.bats */
        return;
    memcpy(after, data, DATA_BYTES);
    memcpy(data, before, DATA_BYTES);
    device_reads = device_writes = device_wrong = 0;
    storage.here = 1;
    if (!window)
        SITE->minus_base = -((u64)1 << 46);
    jumped.rip = (u64)TRAMPOLINE;
    if (run_native(&jumped, 0))
        complain(name, "a fault in the trampoline", 1, 0);
    jumped.rip = plain.rip;
    check_accesses(name, insn, window);
    compare_machines(name, &jumped, &plain);
    compare_data(name, data, after);
    memcpy(data, before, DATA_BYTES);
}

static unsigned made;
static bool has_pext;

static void try_case(const struct form_case *c)
{
    static struct trampoline t;
    static struct machine m;
    struct cpu_insn insn;
    bool more;

    if (!cpu_decode(&insn, c->bytes, (unsigned)c->length, &more) || trampoline_kind(&insn) == TRAMPOLINE_NATIVE)
        return;
    for (unsigned i = 0; i < 12; i++) {
        rnd_machine(&m);
        tame_bit_offsets(&m, c->text);
        rnd_bytes(data, DATA_BYTES);
        point_to(&m, (enum form)c->form, i & 4 ? target + (rnd() & 63) : target);
        m.rip = place(c->bytes, (unsigned)c->length);
        if (!make(&t, &insn, m.rip, has_pext && i % 2)) {
            complain(c->text, "no trampoline", 0, 1);
            return;
        }
        CHECK(t.size <= TRAMPOLINE_MAX && t.marks <= TRAMPOLINE_MARKS);
        check_marks(c->text, &t, &insn);
        compare_trampoline(c->text, &insn, &m, i % 3 != 0);
    }
    made++;
}

static void try_group(const struct form_case *first, const struct form_case *last, unsigned least)
{
    init();
    has_pext = __builtin_cpu_supports("bmi2");
    for (const struct form_case *c = first; c < last; c++)
        try_case(c);
    printf("# %u of %u have trampolines\n", made, (unsigned)(last - first));
    CHECK(made >= least);
}

TEST(integer) { try_group(integer_first, integer_last, 700); }
TEST(high_byte) { try_group(high_byte_first, high_byte_last, 30); }
TEST(sse) { try_group(sse_first, sse_last, 600); }
TEST(avx) { try_group(avx_first, avx_last, 500); }

/* What the x87 remembers of its last instruction would show. */
TEST(x87_has_none) { try_group(x87_first, x87_last, 0); CHECK(made < 40); }

/* ---- flags ---- */

#define CF 0x1u
#define ZF 0x40u
#define ALL_FLAGS 0x8d5u

static u32 wanted(const char *bytes, unsigned n)
{
    return cpu_flags_wanted((const u8 *)bytes, n);
}

#define WANTED(bytes) wanted(bytes, sizeof(bytes) - 1)

TEST(flags_wanted)
{
    harness_init();
    CHECK_EQ(WANTED("\x01\xc8\xc3"), 0);             /* add: all are written; then unknown */
    CHECK_EQ(WANTED("\x89\xc8\x01\xc8"), 0);         /* mov, add */
    CHECK_EQ(WANTED("\x11\xc8"), CF);                /* adc */
    CHECK_EQ(WANTED("\x0f\x94\xc0\x39\xc8"), ZF);    /* sete, cmp */
    CHECK_EQ(WANTED("\x72\x02\x01\xc8") & CF, CF);   /* jb */
    CHECK_EQ(WANTED("\x72\x02\x01\xc8"), ALL_FLAGS); /* and who knows what the branch leads to */
    CHECK_EQ(WANTED("\xff\xc0\x11\xc8"), CF);        /* inc keeps CF */
    CHECK_EQ(WANTED("\xff\xc0"), CF);                /* which then nobody has written */
    CHECK_EQ(WANTED("\xd3\xe0\x01\xc8"), 0);         /* shl by cl may write nothing; add does */
    CHECK_EQ(WANTED("\xd3\xe0\x0f\x94\xc0\x01\xc8"), ZF);
    CHECK_EQ(WANTED("\xeb\x01\x90\x01\xc8"), 0);     /* jmp to the add */
    CHECK_EQ(WANTED("\xeb\x10"), ALL_FLAGS);         /* out of what is known */
    CHECK_EQ(WANTED("\xc3"), ALL_FLAGS);
    CHECK_EQ(WANTED("\xe8\x00\x00\x00\x00\x01\xc8"), ALL_FLAGS); /* call */
    CHECK_EQ(WANTED("\x9c\x01\xc8") & ALL_FLAGS, ALL_FLAGS); /* pushf */
    CHECK_EQ(WANTED("\x9f\x01\xc8"), 0xd5);          /* lahf: all but OF */
    CHECK_EQ(WANTED("\x48"), ALL_FLAGS);             /* half an instruction */
}
