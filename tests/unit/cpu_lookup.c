/* The cache of decoded instructions, the pools of stubs, refusals and disassembly. */
#include "cpu_harness.h"

#include <pthread.h>

#include "cpu/plan.h"

static const u8 xadd[] = {0xf0, 0x0f, 0xc1, 0x0f};                         /* lock xadd [rdi], ecx */
static const u8 load[] = {0x8b, 0x07};                                     /* mov eax, [rdi] */
static const u8 store[] = {0x48, 0xc7, 0x47, 0x08, 0x01, 0x02, 0x03, 0x04}; /* mov qword [rdi+8], imm */

/* ---- lookup ---- */

TEST(lookup_follows_the_bytes)
{
    const struct cpu_insn *first, *second;

    harness_init();
    memcpy(code, xadd, sizeof(xadd));
    first = cpu_lookup((u64)code);
    CHECK(first && first->length == 4 && first->reads && first->writes && first->size == 4);
    CHECK(cpu_lookup((u64)code) == first);
    memcpy(code, load, sizeof(load));
    second = cpu_lookup((u64)code);
    CHECK(second && second != first && second->length == 2 && !second->writes);
    memcpy(code + 100, xadd, sizeof(xadd));
    CHECK(cpu_lookup((u64)code + 100) == first); /* the same bytes elsewhere */
    cpu_forget();
    CHECK(cpu_lookup((u64)code) == second);
}

TEST(lookup_reads_no_page_it_need_not)
{
    u8 *pages;
    const struct cpu_insn *insn;

    harness_init();
    pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned before = 1; before <= sizeof(store); before++) { /* bytes on the first page */
        u8 *at = pages + PAGE_SIZE - before;

        memcpy(at, store, sizeof(store));
        cpu_forget();
        insn = cpu_lookup((u64)at);
        CHECK(insn && insn->length == sizeof(store));
        CHECK(cpu_lookup((u64)at) == insn);
        mprotect(pages + PAGE_SIZE, PAGE_SIZE, PROT_NONE);
        insn = cpu_lookup((u64)at);
        CHECK(before == sizeof(store) ? insn && insn->length == sizeof(store) : !insn);
        cpu_forget();
        insn = cpu_lookup((u64)at);
        CHECK(before == sizeof(store) ? insn && insn->length == sizeof(store) : !insn);
        mprotect(pages + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE);
    }
}

TEST(lookup_of_unmapped_code)
{
    harness_init();
    CHECK(cpu_lookup(0) == NULL);
    CHECK(cpu_lookup(guard) == NULL);
    CHECK(cpu_lookup(guard + PAGE_SIZE - 3) == NULL);
    CHECK(cpu_lookup(0x8000000000000000u) == NULL);
    CHECK(cpu_lookup(~(u64)0) == NULL);
}

static void *many_lookups(void *arg)
{
    u64 *wrong = arg, seed = (u64)arg;

    for (unsigned i = 0; i < 200000; i++) {
        u8 *at;
        const struct cpu_insn *insn;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        at = data + (seed >> 33) % (DATA_BYTES / 16) * 16;
        insn = cpu_lookup((u64)at);
        if (!insn || memcmp(insn->bytes, at, insn->length) != 0 || insn->length != 7 || insn->size != 4)
            (*wrong)++;
    }
    return NULL;
}

TEST(lookup_by_threads)
{
    pthread_t threads[4];
    u64 wrong[4] = {0};

    harness_init();
    for (unsigned i = 0; i < DATA_BYTES; i += 16) { /* add, or, adc, sbb gs:[rdi+disp32], each displacement its own */
        const u8 bytes[7] = {0x65, (u8)(0x01 | (i >> 4 & 3) << 3), 0x87, (u8)(i >> 4), (u8)(i >> 12), 1, 0};

        memcpy(data + i, bytes, sizeof(bytes));
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, many_lookups, &wrong[i]);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK_EQ(wrong[i], 0);
    }
}

/* ---- stubs ---- */

static bool decodes(struct cpu_insn *insn, const u8 *bytes, unsigned n)
{
    bool more;

    return cpu_decode(insn, bytes, n, &more);
}

TEST(equal_stubs_are_one)
{
    static const u8 other[] = {0xf0, 0x41, 0x0f, 0xc1, 0x4d, 0x40}; /* lock xadd [r13+0x40], ecx */
    struct cpu_insn a, b;

    harness_init();
    CHECK(decodes(&a, xadd, sizeof(xadd)) && decodes(&b, other, sizeof(other)));
    CHECK_EQ(plan_of(&a)->stub_length, 3);
    CHECK(plan_of(&b)->stub_length == 4); /* an empty REX stays: it may choose spl and the like */
    CHECK(decodes(&b, xadd + 1, 3));
    CHECK(plan_of(&a)->stub == plan_of(&b)->stub);
}

static unsigned mappings(const char *mode)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[400];
    unsigned n = 0;

    while (maps && fgets(line, sizeof(line), maps))
        if (strstr(line, "mmioshim-stubs") && strstr(line, mode))
            n++;
    if (maps)
        fclose(maps);
    return n;
}

TEST(pools_are_never_writable_and_executable)
{
    struct cpu_insn insn;

    harness_init();
    CHECK(decodes(&insn, xadd, sizeof(xadd)));
    CHECK_EQ(mappings("rw-s"), 1);
    CHECK_EQ(mappings("r-xs"), 1);
    CHECK_EQ(mappings("wx"), 0);
}

/* More different stubs than a pool has slots; each still does what its bytes say. */
TEST(pools_grow)
{
    struct cpu_insn insn;
    struct cpu_state state;
    struct cpu_result result;
    static struct machine m;

    harness_init();
    rnd_machine(&m);
    m.gpr[RDI] = target;
    for (u32 i = 0; i < 40000; i++) { /* add dword [rdi], imm32 */
        u8 bytes[6] = {0x81, 0x07};

        memcpy(bytes + 2, &i, 4);
        if (!decodes(&insn, bytes, 6) || insn.refusal)
            break;
        if (i % 1000)
            continue;
        *(u32 *)target = 5;
        m.rip = (u64)code;
        to_state(&state, &m);
        CHECK_EQ(cpu_run(&insn, &state, &plain_bus, &result), CPU_DONE);
        CHECK_EQ(*(u32 *)target, 5 + i);
    }
    CHECK(!insn.refusal);
    CHECK_EQ(mappings("r-xs"), 2);
}

TEST(pools_after_fork)
{
    struct cpu_insn before, after;
    struct cpu_state state;
    struct cpu_result result;
    static struct machine m;
    static const u8 other[] = {0x81, 0x07, 0x11, 0x22, 0x33, 0x44};
    int status;
    pid_t pid;

    harness_init();
    rnd_machine(&m);
    m.gpr[RDI] = target;
    CHECK(decodes(&before, xadd, sizeof(xadd)));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        cpu_after_fork();
        CHECK(decodes(&after, other, sizeof(other)));
        CHECK_EQ(mappings("r-xs"), 2);
        CHECK(((u64)plan_of(&after)->stub ^ (u64)plan_of(&before)->stub) >= PAGE_SIZE);
        to_state(&state, &m);
        CHECK_EQ(cpu_run(&before, &state, &plain_bus, &result), CPU_DONE); /* old stubs still work */
        to_state(&state, &m);
        CHECK_EQ(cpu_run(&after, &state, &plain_bus, &result), CPU_DONE);
        fflush(stdout);
        _exit(unit_failures != 0);
    }
    waitpid(pid, &status, 0);
    CHECK_EQ(status, 0);
}

/* A program that has no descriptor left must not lose the access. */
TEST(stubs_without_descriptors)
{
    struct cpu_insn insn;
    struct cpu_state state;
    struct cpu_result result;
    static struct machine m;

    harness_init();
    cpu_after_fork(); /* the next stub needs a new pool */
    while (dup(1) >= 0)
        continue;
    rnd_machine(&m);
    m.gpr[RDI] = target;
    CHECK(decodes(&insn, xadd, sizeof(xadd)));
    CHECK(!insn.refusal);
    *(u32 *)target = 7;
    m.gpr[RCX] = 1;
    to_state(&state, &m);
    CHECK_EQ(cpu_run(&insn, &state, &plain_bus, &result), CPU_DONE);
    CHECK_EQ(*(u32 *)target, 8);
    CHECK_EQ(state.gpr[RCX], 7);
}

/* ---- decode ---- */

TEST(truncated_instructions)
{
    struct cpu_insn insn;
    bool more;

    harness_init();
    for (unsigned n = 1; n < sizeof(store); n++) {
        more = false;
        CHECK(!cpu_decode(&insn, store, n, &more));
        CHECK(more);
    }
    CHECK(cpu_decode(&insn, store, sizeof(store), &more));
    CHECK(!cpu_decode(&insn, (const u8 *)"\x06", 1, &more)); /* push es: not in 64-bit mode */
    CHECK(!more);
    CHECK_STR(insn.refusal, "instruction unknown to the decoder");
    CHECK(!cpu_decode(&insn, (const u8 *)"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", 15, &more));
    CHECK(!more);
}

TEST(refusals)
{
    static const struct {
        const char *bytes;
        unsigned length;
        const char *why;
    } cases[] = {
        {"\xff\x28", 2, "far transfer"},
        {"\x48\xff\x18", 3, "far transfer"},
        {"\xcb", 1, "far transfer"},
        {"\x48\xcf", 2, "far transfer"},
        {"\x8e\x20", 2, "fs load: fs is the thread's data"},
        {"\x0f\xa1", 2, "fs load: fs is the thread's data"},
        {"\x0f\xb4\x00", 3, "fs load: fs is the thread's data"},
        {"\x48\x0f\xc7\x28", 4, "privileged instruction"},
        {"\x0f\xc7\x18", 3, "privileged instruction"},
        {"\xc4\xe2\x7b\x4b\x04\x07", 6, "AMX tile"},
        {"\xc4\xe2\x78\x49\x00", 5, "AMX tile"},
        {"\x0f\x01\x38", 3, "privileged instruction"},
        {"\x0f\x01\x10", 3, "privileged instruction"},
        {"\xf2\x0f\x38\xf8\x00", 5, "enqueue command"},
        {"\x0f\x38\xf6\x00", 4, "shadow stack"},
        {"\x0f\xb9\x00", 3, "undefined instruction"},
        {"\x90", 1, "no memory operand"},
        {"\x48\x8d\x07", 3, "no memory operand"},
        {"\x01\xc8", 2, "no memory operand"},
    };
    struct cpu_state state = {.rip = 0};
    struct cpu_result result;
    struct cpu_insn insn;

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        if (!decodes(&insn, (const u8 *)cases[i].bytes, cases[i].length) || insn.length != cases[i].length)
            complain(cases[i].why, "not decoded", i, 0);
        if (insn.refusal)
            CHECK_STR(insn.refusal, cases[i].why);
        else
            complain(cases[i].why, "not refused", i, 0);
        CHECK_EQ(cpu_run(&insn, &state, &plain_bus, &result), CPU_REFUSED);
        CHECK(result.refusal == insn.refusal);
    }
}

TEST(operands)
{
    struct cpu_state state = {.rip = 0x1000, .gpr = {[RDI] = 0x2000, [RSP] = 0x3000, [RCX] = (u64)-1}};
    struct cpu_insn insn;
    unsigned size;
    u64 addr;

    harness_init();
#define OPERAND(bytes, want_addr, want_size) \
    do { \
        CHECK(decodes(&insn, (const u8 *)bytes, sizeof(bytes) - 1)); \
        CHECK(cpu_operand(&insn, &state, &addr, &size)); \
        CHECK_EQ(addr, want_addr); \
        CHECK_EQ(size, want_size); \
    } while (0)
    OPERAND("\x8b\x05\x10\x00\x00\x00", 0x1016, 4);   /* mov eax, [rip+0x10] */
    OPERAND("\xf3\x48\xab", 0x2000, 8);               /* rep stosq */
    OPERAND("\x0f\xa3\x0f", 0x1ffc, 4);               /* bt [rdi], ecx: bit -1 */
    OPERAND("\x50", 0x2ff8, 8);                       /* push rax */
    OPERAND("\x8f\x04\x24", 0x3008, 8);               /* pop [rsp] */
    OPERAND("\x0f\xae\x3f", 0x2000, 1);               /* clflush */
    OPERAND("\xd8\x44\x8f\x04", 0x2000, 4);           /* fadd [rdi+rcx*4+4] */
    CHECK(decodes(&insn, (const u8 *)"\xec", 1));
    CHECK(!cpu_operand(&insn, &state, &addr, &size));
}

TEST(disassembly)
{
    static const struct {
        const char *bytes;
        unsigned length;
        u64 rip;
        const char *text;
    } cases[] = {
        {"\x88\x10", 2, 0, "mov byte ptr [rax], dl"},
        {"\x8b\x05\x10\x00\x00\x00", 6, 0, "mov eax, dword ptr [rip+0x10]"},
        {"\x8b\x05\x10\x00\x00\x00", 6, 0x1000, "mov eax, dword ptr [0x1016]"},
        {"\xf3\x48\xa5", 3, 0, "rep movsq"},
        {"\xc7\x07\xab\x00\x00\x00", 6, 0, "mov dword ptr [rdi], 0xab"},
        {"\x06", 1, 0, "(unknown)"},
    };

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[200];
        struct fmt out = FMT_INIT(text);

        cpu_disassemble((const u8 *)cases[i].bytes, cases[i].length, cases[i].rip, &out);
        CHECK_STR(fmt_end(&out), cases[i].text);
    }
}
