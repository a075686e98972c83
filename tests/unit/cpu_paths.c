/* Instructions whose memory is not a plain ModRM operand. */
#include "cpu_direct.h"

/* ---- string instructions ---- */

CODE(movsb_, "movsb");
CODE(movsw_, "rep movsw");
CODE(movsl_, "rep movsl");
CODE(movsq_, "rep movsq");
CODE(movsb_gs, "rep movsb %gs:(%rsi), %es:(%rdi)");
CODE(movsb_67, "rep movsb (%esi), (%edi)");
CODE(stosb_, "rep stosb");
CODE(stosq_, "rep stosq");
CODE(stosl_, "stosl");
CODE(stosw_67, "rep stosw %ax, (%edi)");
CODE(lodsb_, "lodsb");
CODE(lodsw_, "lodsw");
CODE(lodsl_, "rep lodsl");
CODE(lodsq_gs, "lodsq %gs:(%rsi), %rax");
CODE(scasb_ne, "repne scasb");
CODE(scasw_e, "repe scasw");
CODE(scasl_, "scasl");
CODE(scasq_ne, "repne scasq");
CODE(cmpsb_e, "repe cmpsb");
CODE(cmpsw_ne, "repne cmpsw");
CODE(cmpsl_, "cmpsl");
CODE(cmpsq_e, "repe cmpsq");
CODE(movsb_f2, ".byte 0xf2, 0xa4");
CODE(cmpsb_gs67, "repe cmpsb (%edi), %gs:(%esi)");

static const struct {
    const char *name;
    const u8 *bytes, *end;
    bool gs, narrow;
} strings[] = {
#define S(n, gs, narrow) {#n, n, n##_end, gs, narrow}
    S(movsb_, 0, 0), S(movsw_, 0, 0), S(movsl_, 0, 0), S(movsq_, 0, 0), S(movsb_gs, 1, 0), S(movsb_67, 0, 1),
    S(stosb_, 0, 0), S(stosq_, 0, 0), S(stosl_, 0, 0), S(stosw_67, 0, 1), S(lodsb_, 0, 0), S(lodsw_, 0, 0),
    S(lodsl_, 0, 0), S(lodsq_gs, 1, 0), S(scasb_ne, 0, 0), S(scasw_e, 0, 0), S(scasl_, 0, 0), S(scasq_ne, 0, 0),
    S(cmpsb_e, 0, 0), S(cmpsw_ne, 0, 0), S(cmpsl_, 0, 0), S(cmpsq_e, 0, 0), S(movsb_f2, 0, 0), S(cmpsb_gs67, 1, 1),
};

/* Equal stretches, so that comparisons run for a while. */
static void string_data(void)
{
    static const u8 fill[] = {0, 0xff, 0x41};
    u8 byte = fill[rnd() % 3];

    memset(data, byte, DATA_BYTES);
    for (unsigned i = 0; i < 6; i++)
        data[DATA_BYTES / 2 - 1024 + rnd() % 2048] = (u8)rnd();
    if (rnd() & 1)
        memset(&m.gpr[RAX], byte, 8);
}

static void string_registers(bool gs, bool narrow, u64 source, u64 destination)
{
    u64 high = narrow ? rnd() << 32 : 0;

    m.gpr[RCX] = rnd() % 70 | high;
    if (narrow && !(u32)m.gpr[RCX]) /* CPUs differ in what they do to the upper half of rcx then */
        m.gpr[RCX]++;
    m.gpr[RSI] = (u32)(source - (gs ? gs_base : 0)) | high;
    m.gpr[RDI] = (u32)destination | high;
}

TEST(string_instructions)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(strings); i++) {
        decode(strings[i].bytes, strings[i].end);
        for (unsigned round = 0; round < 300; round++) {
            start();
            string_data();
            string_registers(strings[i].gs, strings[i].narrow, target - rnd() % 900, target + rnd() % 900);
            compare(strings[i].name);
        }
    }
}

TEST(string_fault_keeps_progress)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(strings); i++) {
        unsigned n;

        decode(strings[i].bytes, strings[i].end);
        n = insn.size;
        for (unsigned round = 0; round < 100; round++) {
            start();
            string_data();
            m.flags &= ~(u64)FLAG_DF;
            /* Upper halves zero: with prefix 67, CPUs differ in when they clear them. */
            string_registers(strings[i].gs, false, guard - n * (rnd() % 40), target);
            if (rnd() & 1)
                string_registers(strings[i].gs, false, target, guard - n * (rnd() % 40));
            compare(strings[i].name);
        }
    }
}

TEST(string_compare_fault)
{
    harness_init();
    DECODE(cmpsb_e);
    start();
    memset(data, 0x33, DATA_BYTES);
    m.flags &= ~(u64)FLAG_DF;
    m.gpr[RCX] = 100;
    m.gpr[RSI] = guard - 10;
    m.gpr[RDI] = target;
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_ACCESS);
    CHECK_EQ(result.fault_addr, guard);
    CHECK(!result.fault_write);
    CHECK_EQ(m.gpr[RCX], 90);
    CHECK_EQ(m.gpr[RSI], guard);
    CHECK_EQ(m.gpr[RDI], target + 10);
}

TEST(string_leaves_the_window)
{
    u64 rip;

    harness_init();
    reset_bus();
    DECODE(movsl_);
    start();
    m.flags &= ~(u64)FLAG_DF;
    m.gpr[RCX] = 100;
    m.gpr[RSI] = target;
    m.gpr[RDI] = target + 1024;
    bus_state.ours = (struct span){target, 40};
    rip = place(insn.bytes, insn.length);
    m.rip = rip;
    CHECK_EQ(emulate(&insn, &m, &result), CPU_DONE);
    CHECK_EQ(m.rip, rip);
    CHECK_EQ(m.gpr[RCX], 90);
    CHECK_EQ(m.gpr[RSI], target + 40);
    CHECK_EQ(bus_state.reads, 10);
    CHECK_EQ(bus_state.writes, 10);
    CHECK_EQ(bus_state.widest, 4);
}

TEST(string_bursts)
{
    harness_init();
    reset_bus();
    DECODE(stosb_);
    start();
    m.flags &= ~(u64)FLAG_DF;
    m.gpr[RCX] = CPU_BURST + 10;
    m.gpr[RDI] = (u64)data;
    CHECK_EQ(run(), CPU_DONE);
    CHECK_EQ(m.gpr[RCX], 10);
    CHECK_EQ(bus_state.writes, CPU_BURST);
    m.gpr[RCX] = 10;
    {
        u64 rip = m.rip = place(insn.bytes, insn.length);

        CHECK_EQ(emulate(&insn, &m, &result), CPU_DONE);
        CHECK_EQ(m.rip, rip + insn.length);
    }
}

TEST(string_retry_keeps_progress)
{
    harness_init();
    reset_bus();
    DECODE(lodsl_);
    start();
    m.flags &= ~(u64)FLAG_DF;
    m.gpr[RCX] = 8;
    m.gpr[RSI] = target;
    bus_state.retry = (struct span){target + 12, 4};
    CHECK_EQ(run(), CPU_RETRY);
    CHECK_EQ(m.gpr[RCX], 5);
    CHECK_EQ(m.gpr[RSI], target + 12);
}

/* ---- stack ---- */

CODE(push_m, "pushq (%rbx)");
CODE(push_rsp_m, "pushq (%rsp)");
CODE(push_rsp_x, "pushq 16(%rsp,%rcx,8)");
CODE(push_m16, "pushw 6(%rbx)");
CODE(pop_m, "popq (%rbx)");
CODE(pop_rsp_m, "popq 8(%rsp)");
CODE(pop_m16, "popw 8(%rsp)");
CODE(pop_esp_m, "popq 24(%esp)");
CODE(push_r, "push %r12");
CODE(push_rsp, "push %rsp");
CODE(pop_r, "pop %r9");
CODE(pop_rsp, "pop %rsp");
CODE(pop_r16, "pop %cx");
CODE(pop_sp, ".byte 0x66, 0x5c");
CODE(push_i8, "push $-3");
CODE(push_i32, "push $0x12345678");
CODE(push_i16, "pushw $0x1234");
CODE(push_fs, "push %fs");
CODE(push_gs, "push %gs");
CODE(pushf_, "pushf");
CODE(pushfw_, "pushfw");
CODE(popf_, "popf");
CODE(popfw_, "popfw");
CODE(leave_, "leave");
CODE(leavew_, ".byte 0x66, 0xc9");
CODE(enter_, "enter $32, $0");
CODE(enter_1, "enter $16, $1");
CODE(enter_5, "enter $8, $5");
CODE(call_m, "call *(%rbx)");
CODE(call_rsp, "call *8(%rsp)");
CODE(call_r, "call *%rbx");
CODE(jmp_m, "jmp *(%rbx)");
CODE(jmp_gs, "jmp *%gs:(%r14)");
CODE(ret_, "ret");
CODE(ret_i, "ret $24");
CODE(notrack_jmp, "notrack jmp *(%rbx)");
CODE(bnd_call, ".byte 0xf2; call *(%rbx)");
CODE(push_seg_gs, "pushq %gs:(%r14)");
CODE(xlat_, "xlatb");
CODE(xlat_gs, ".byte 0x65, 0xd7");
CODE(xlat_67, "addr32 xlatb");

static const struct {
    const char *name;
    const u8 *bytes, *end;
} stacks[] = {
#undef S
#define S(n) {#n, n, n##_end}
    S(push_m), S(push_rsp_m), S(push_rsp_x), S(push_m16), S(pop_m), S(pop_rsp_m), S(pop_m16), S(pop_esp_m), S(push_r),
    S(push_rsp), S(pop_r), S(pop_rsp), S(pop_r16), S(pop_sp), S(push_i8), S(push_i32), S(push_i16), S(push_fs),
    S(push_gs), S(pushf_), S(pushfw_), S(popf_), S(popfw_), S(leave_), S(leavew_), S(enter_), S(enter_1), S(enter_5),
    S(call_m), S(call_rsp), S(call_r), S(jmp_m), S(jmp_gs), S(ret_), S(ret_i), S(notrack_jmp), S(bnd_call),
    S(push_seg_gs), S(xlat_), S(xlat_gs), S(xlat_67),
};

/* Branches find their way back at every word near the stack and the operand. */
static void stack_state(const char *name)
{
    u64 back = branch_target();

    start();
    m.gpr[RSP] = target - 512 + 8 * (rnd() & 7);
    m.gpr[RBP] = target - 256;
    m.gpr[RBX] = target;
    m.gpr[RCX] = rnd() & 7;
    m.gpr[14] = target - gs_base;
    if (strstr(name, "xlat_gs"))
        m.gpr[RBX] -= gs_base;
    if (strstr(name, "xlat_67"))
        m.gpr[RBX] |= rnd() << 32;
    if (strncmp(name, "call", 4) == 0 || strncmp(name, "ret", 3) == 0 || strstr(name, "jmp") || strstr(name, "bnd"))
        for (u64 at = target - 1024; at < target + 1024; at += 8)
            *(u64 *)at = back;
    if (strcmp(name, "call_r") == 0)
        m.gpr[RBX] = back;
    if (strncmp(name, "popf", 4) == 0)
        for (u64 at = target - 1024; at < target + 1024; at += 8)
            *(u64 *)at = rnd() & FLAGS_SEEN; /* the harness cannot go on with a trap flag */
}

TEST(stack_instructions)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(stacks); i++) {
        decode(stacks[i].bytes, stacks[i].end);
        for (unsigned round = 0; round < 200; round++) {
            stack_state(stacks[i].name);
            compare(stacks[i].name);
        }
    }
}

TEST(popf_changes_user_flags_only)
{
    harness_init();
    reset_bus();
    DECODE(popf_);
    start();
    m.gpr[RSP] = target;
    *(u64 *)target = ~(u64)0;
    m.flags = 0x202;
    CHECK_EQ(run(), CPU_DONE);
    CHECK_EQ(m.flags, 0x244dd5 | 0x202);
    DECODE(popfw_);
    *(u64 *)(target + 8) = 0;
    CHECK_EQ(run(), CPU_DONE);
    CHECK_EQ(m.flags, 0x240202);
    CHECK_EQ(m.gpr[RSP], target + 10);
}

TEST(stack_faults_change_nothing)
{
    static const struct machine *before;
    static struct machine copy;

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(stacks); i++) {
        if (strstr(stacks[i].name, "xlat") || strstr(stacks[i].name, "jmp"))
            continue;
        decode(stacks[i].bytes, stacks[i].end);
        stack_state(stacks[i].name);
        reset_bus();
        bus_state.bad = (struct span){m.gpr[RSP] - 256, 200 + 256 + 256};
        m.rip = place(insn.bytes, insn.length);
        copy = m;
        before = &copy;
        if (emulate(&insn, &m, &result) != CPU_FAULTED || result.fault != CPU_FAULT_ACCESS)
            complain(stacks[i].name, "no access fault", 0, 0);
        CHECK(memcmp(m.gpr, before->gpr, sizeof(m.gpr)) == 0);
        CHECK_EQ(m.rip, before->rip);
        CHECK_EQ(m.flags, before->flags);
    }
}

/* enter $8, $5 writes 6 words downwards, keeps what it wrote, and looks at the top of the new frame at last. */
TEST(enter_checks_its_frame)
{
    harness_init();
    DECODE(enter_5);
    for (unsigned words = 0; words <= 7; words++) {
        start();
        m.gpr[RSP] = target;
        m.gpr[RBP] = target + 1024;
        memset((void *)(target - 64), 0x55, 64);
        reset_bus();
        bus_state.bad = (struct span){target - 8 * words - 256, 256};
        CHECK_EQ(run(), words == 7 ? CPU_DONE : CPU_FAULTED);
        CHECK_EQ(bus_state.writes, MIN(words, 6u));
        CHECK_EQ(m.gpr[RSP], words == 7 ? target - 56 : target);
        if (words < 7)
            CHECK_EQ(result.fault_addr, target - 8 * words - 8);
    }
}

TEST(jump_to_no_address)
{
    harness_init();
    reset_bus();
    DECODE(jmp_m);
    start();
    m.gpr[RBX] = target;
    *(u64 *)target = 0x1234567812345678;
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_NESTED);
    CHECK_EQ(result.signal, SIGSEGV);
    CHECK_EQ(result.code, 0x80);
    CHECK_EQ(result.signal_addr, 0);
}

CODE(call_mem, "call *(%rbx)");

/* The return address is stored before the target is looked at; rsp stays. */
TEST(call_of_no_address_stores)
{
    u64 bad = (u64)1 << 60, stored;

    harness_init();
    DECODE(call_mem);
    start();
    reset_bus();
    m.gpr[RBX] = target;
    m.gpr[RSP] = target + 512;
    memcpy((void *)target, &bad, 8);
    compare("call, no address");
    CHECK_EQ(run(), CPU_FAULTED);
    memcpy(&stored, (void *)(target + 504), 8);
    CHECK_EQ(stored, m.rip + insn.length);
    CHECK_EQ(m.gpr[RSP], target + 512);
}

CODE(jmp_mem, "jmp *(%rbx)");

/* Addresses have as many bits as the kernel uses. */
TEST(jump_beyond_the_address_width)
{
    u64 far = (u64)1 << 50;

    harness_init();
    DECODE(jmp_mem);
    start();
    m.gpr[RBX] = target;
    memcpy((void *)target, &far, 8);
    m.rip = place(insn.bytes, insn.length);
    {
        static struct machine native;

        native = m;
        CHECK(run_native(&native, insn.length));
        /* A jump that is made faults where it leads to; one that is not, where it stands. */
        CHECK_EQ(emulate(&insn, &m, &result), native_fault.code == 0x80 ? CPU_FAULTED : CPU_DONE);
    }
}

CODE(movsxd_16, ".byte 0x66, 0x63, 0x0b");

TEST(narrow_movsxd_reads_two_bytes)
{
    harness_init();
    DECODE(movsxd_16);
    CHECK_EQ(insn.size, 2);
    start();
    m.gpr[RBX] = guard - 2;
    compare("movsxd r16");
}

/* ---- gather, scatter, masked moves with an implicit operand ---- */

CODE(g_dd, "vpgatherdd %ymm3, 4(%rbx,%ymm1,4), %ymm2");
CODE(g_dq, "vpgatherdq %ymm3, (%rbx,%xmm1,8), %ymm2");
CODE(g_qd, "vpgatherqd %xmm3, (%rbx,%ymm1,2), %xmm2");
CODE(g_qd128, "vpgatherqd %xmm3, (%rbx,%xmm1,1), %xmm2");
CODE(g_qq, "vpgatherqq %ymm3, (%rbx,%ymm1,8), %ymm2");
CODE(g_dps, "vgatherdps %xmm13, (%rbx,%xmm11,4), %xmm12");
CODE(g_dpd, "vgatherdpd %ymm3, %gs:(%r14,%xmm1,4), %ymm2");
CODE(g_67, "vpgatherdd %ymm3, (%ebx,%ymm1,4), %ymm2");
CODE(e_dd, "vpgatherdd (%rbx,%zmm1,4), %zmm2{%k1}");
CODE(e_dq, "vpgatherdq (%rbx,%ymm1,8), %zmm2{%k2}");
CODE(e_qd, "vpgatherqd (%rbx,%zmm17,2), %ymm18{%k3}");
CODE(e_qq, "vpgatherqq 64(%rbx,%zmm1,8), %zmm20{%k4}");
CODE(e_ps, "vgatherdps (%rbx,%xmm1,4), %xmm2{%k5}");
CODE(e_qps, "vgatherqps (%rbx,%xmm1,4), %xmm2{%k5}");
CODE(s_dd, "vpscatterdd %zmm2, (%rbx,%zmm1,4){%k1}");
CODE(s_dq, "vpscatterdq %zmm2, (%rbx,%ymm1,8){%k2}");
CODE(s_qd, "vpscatterqd %ymm18, (%rbx,%zmm17,2){%k3}");
CODE(s_qq, "vpscatterqq %xmm20, %gs:(%r14,%xmm1,8){%k4}");
CODE(s_ps, "vscatterdps %ymm2, (%ebx,%ymm1,4){%k5}");
CODE(s_qpd, "vscatterqpd %zmm2, -32(%rbx,%zmm1,1){%k6}");

static const struct {
    const char *name;
    const u8 *bytes, *end;
} vsibs[] = {
    S(g_dd), S(g_dq), S(g_qd), S(g_qd128), S(g_qq), S(g_dps), S(g_dpd), S(g_67), S(e_dd), S(e_dq), S(e_qd),
    S(e_qq), S(e_ps), S(e_qps), S(s_dd), S(s_dq), S(s_qd), S(s_qq), S(s_ps), S(s_qpd),
};

/* Indices within the data; some lanes point into the guard page when `edge`. */
static void vsib_state(bool edge)
{
    const struct plan *p = plan_of(&insn);
    struct cpu_state state;
    u8 index[64];

    start();
    m.gpr[RBX] = p->addr32 ? (u32)target | rnd() << 32 : target;
    m.gpr[14] = target - gs_base;
    for (unsigned i = 0; i < 64; i += p->index_size) {
        i64 at = (i64)(rnd() % 800) - 400;

        if (edge && rnd() % 5 == 0)
            at = (i64)(guard - target + 512) >> p->scale;
        memcpy(index + i, &at, p->index_size);
    }
    to_state(&state, &m);
    xstate_put_vector(&state, p->vector_index, index);
}

TEST(gather_and_scatter)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(vsibs); i++) {
        decode(vsibs[i].bytes, vsibs[i].end);
        for (unsigned round = 0; round < 300; round++) {
            vsib_state(false);
            compare(vsibs[i].name);
        }
    }
}

/* The CPU may do lanes above the fault or drop those below; what we do must lead to the right end when it goes on. */
TEST(gather_goes_on_after_a_fault)
{
    static struct machine first, whole;
    static u8 want[DATA_BYTES];

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(vsibs); i++) {
        decode(vsibs[i].bytes, vsibs[i].end);
        for (unsigned round = 0; round < 50; round++) {
            enum cpu_outcome outcome;
            unsigned accesses;

            vsib_state(false);
            m.rip = place(insn.bytes, insn.length);
            first = whole = m;
            reset_bus();
            memcpy(want, data, DATA_BYTES);
            CHECK_EQ(emulate(&insn, &whole, &result), CPU_DONE);
            accesses = bus_state.reads + bus_state.writes;
            for (unsigned k = 0; k < DATA_BYTES; k++) { /* swap: the result is what we want, the data start again */
                u8 byte = data[k];

                data[k] = want[k];
                want[k] = byte;
            }
            reset_bus();
            bus_state.bad = (struct span){target - 50, 60};
            outcome = emulate(&insn, &first, &result);
            CHECK(outcome == CPU_DONE || (outcome == CPU_FAULTED && result.fault == CPU_FAULT_ACCESS));
            bus_state.bad.size = 0;
            if (outcome == CPU_FAULTED) {
                CHECK_EQ(first.rip, m.rip);
                CHECK_EQ(emulate(&insn, &first, &result), CPU_DONE);
            }
            CHECK_EQ(bus_state.reads + bus_state.writes, accesses); /* none twice */
            compare_machines(vsibs[i].name, &first, &whole);
            compare_data(vsibs[i].name, data, want);
        }
    }
}

/* One lane done, the next faults, and no other is there to differ: also the destination's upper part is the CPU's. */
TEST(gather_fault_is_the_cpus)
{
    harness_init();
    DECODE(g_dd);
    for (unsigned round = 0; round < 50; round++) {
        i32 index[16] = {(i32)(rnd() % 100), (i32)((guard - target) / 4)};
        u32 mask[16] = {0x80000000u, 0x80000000u};
        struct cpu_state state;

        start();
        memcpy(m.area + 512, &components, 8);
        to_state(&state, &m);
        xstate_put_vector(&state, 1, (const u8 *)index);
        xstate_put_vector(&state, 3, (const u8 *)mask);
        m.gpr[RBX] = target;
        compare("vpgatherdd, second lane");
    }
    DECODE(g_qd); /* elements narrower than their indices */
    for (unsigned round = 0; round < 50; round++) {
        i64 index[8] = {(i64)(rnd() % 100), (i64)((guard - target) / 2)};
        u32 mask[16] = {0x80000000u, 0x80000000u};
        struct cpu_state state;

        start();
        memcpy(m.area + 512, &components, 8);
        to_state(&state, &m);
        xstate_put_vector(&state, 1, (const u8 *)index);
        xstate_put_vector(&state, 3, (const u8 *)mask);
        m.gpr[RBX] = target;
        compare("vpgatherqd, second lane");
    }
}

TEST(gather_touches_enabled_lanes_only)
{
    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(vsibs); i++) {
        decode(vsibs[i].bytes, vsibs[i].end);
        for (unsigned round = 0; round < 100; round++) {
            struct native_fault none = {0, 0, 0};
            static struct machine native;

            vsib_state(true);
            m.rip = place(insn.bytes, insn.length);
            native = m;
            native_fault = none;
            if (run_native(&native, insn.length)) /* some lane in the guard page is enabled */
                continue;
            compare_run(vsibs[i].name, &insn, &m);
        }
    }
}

CODE(maskmovdqu_, "maskmovdqu %xmm9, %xmm2");
CODE(maskmovdqu_gs, ".byte 0x65; maskmovdqu %xmm1, %xmm2");
CODE(vmaskmovdqu_, "vmaskmovdqu %xmm3, %xmm14");
CODE(maskmovq_, "maskmovq %mm3, %mm4");
CODE(maskmovdqu_67, "addr32 maskmovdqu %xmm1, %xmm2");
CODE(moffs_load, "movabs 0x1122334455667788, %eax");
CODE(moffs_store, "movabs %al, 0x1122334455667788");
CODE(moffs_67, ".byte 0x67, 0xa1, 0, 0, 0, 0");

TEST(implicit_operands)
{
    static const struct {
        const char *name;
        const u8 *bytes, *end;
        bool gs, narrow;
    } cases[] = {
        {"maskmovdqu", maskmovdqu_, maskmovdqu__end, 0, 0},
        {"maskmovdqu gs", maskmovdqu_gs, maskmovdqu_gs_end, 1, 0},
        {"vmaskmovdqu", vmaskmovdqu_, vmaskmovdqu__end, 0, 0},
        {"maskmovq", maskmovq_, maskmovq__end, 0, 0},
        {"maskmovdqu 67", maskmovdqu_67, maskmovdqu_67_end, 0, 1},
    };

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        decode(cases[i].bytes, cases[i].end);
        for (unsigned round = 0; round < 300; round++) {
            start();
            m.gpr[RDI] = target - (cases[i].gs ? gs_base : 0) + (rnd() & 63);
            if (cases[i].narrow)
                m.gpr[RDI] |= rnd() << 32;
            compare(cases[i].name);
        }
    }
}

/* The absolute address is part of the bytes. */
static void absolute(const u8 *bytes, unsigned length, unsigned at, unsigned width)
{
    u8 copy[15];
    u64 addr = target + (rnd() & 63);
    bool more;

    memcpy(copy, bytes, length);
    memcpy(copy + at, &addr, width);
    CHECK(cpu_decode(&insn, copy, length, &more));
    start();
    compare("moffs");
}

TEST(absolute_addresses)
{
    harness_init();
    for (unsigned round = 0; round < 50; round++) {
        absolute(moffs_load, 9, 1, 8);
        absolute(moffs_store, 9, 1, 8);
        absolute(moffs_67, 6, 2, 4);
    }
}

/* ---- movdir64b ---- */

CODE(movdir64b_, "movdir64b 8(%rbx), %rdx");
CODE(movdir64b_67, "movdir64b (%ebx), %edx");
CODE(movdiri_, "movdiri %rcx, (%rbx)");

TEST(direct_stores)
{
    unsigned a, b, c, d;

    harness_init();
    __cpuid_count(7, 0, a, b, c, d);
    for (unsigned round = 0; round < 100 && (c >> 27 & 3) == 3; round++) {
        start();
        m.gpr[RBX] = target + (rnd() & 63);
        m.gpr[RDX] = target + 256 + (rnd() & 3 ? 0 : rnd() & 63);
        DECODE(movdir64b_);
        compare("movdir64b");
        DECODE(movdiri_);
        compare("movdiri");
        m.gpr[RBX] |= rnd() << 32;
        m.gpr[RDX] |= rnd() << 32;
        DECODE(movdir64b_67);
        compare("movdir64b 67");
    }
    reset_bus();
    start();
    m.gpr[RBX] = target;
    m.gpr[RDX] = target + 256;
    DECODE(movdir64b_);
    CHECK_EQ(run(), CPU_DONE);
    CHECK_EQ(bus_state.reads, 1);
    CHECK_EQ(bus_state.writes, 1);
    CHECK_EQ(bus_state.widest, 64);
    m.gpr[RDX]++;
    CHECK_EQ(run(), CPU_FAULTED);
    CHECK_EQ(result.signal, SIGSEGV);
    CHECK_EQ(bus_state.reads, 2); /* a source that cannot be read comes before a destination out of line */
    CHECK_EQ(bus_state.writes, 1);
}

/* ---- segment registers ---- */

CODE(mov_ds, "mov (%rbx), %ds");
CODE(mov_es, "mov (%rbx), %es");
CODE(mov_gs, "mov %gs:(%r14), %gs");
CODE(mov_ss, "mov (%rbx), %ss");
CODE(lgs_16, "lgsw (%rbx), %cx");
CODE(lgs_32, "lgs (%rbx), %ecx");
CODE(lgs_64, "rex.W lgs (%rbx), %esp");
CODE(lss_64, "rex.WR lss (%rbx), %ecx");
CODE(pop_gs, "pop %gs");
CODE(pop_gs16, ".byte 0x66; pop %gs");

struct segments {
    u16 ds, es, gs, ss;
    unsigned long gs_base;
};

static struct segments get_segments(void)
{
    struct segments s;

    __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%gs, %2; mov %%ss, %3"
                     : "=r"(s.ds), "=r"(s.es), "=r"(s.gs), "=r"(s.ss));
    syscall(SYS_arch_prctl, ARCH_GET_GS, &s.gs_base);
    return s;
}

static void reset_segments(void)
{
    u16 null = 0;

    __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%gs" : : "r"(null));
    syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base);
}

static void compare_segments(const char *name, const struct segments *got, const struct segments *want)
{
    if (got->ds != want->ds || got->es != want->es || got->ss != want->ss)
        complain(name, "ds, es or ss", got->ds | (u64)got->es << 16, want->ds | (u64)want->es << 16);
    if (got->gs != want->gs || got->gs_base != want->gs_base)
        complain(name, "gs", got->gs, want->gs);
}

/* A selector that stands for nothing, one of the kernel's, the user's own, and null. */
TEST(segment_loads)
{
    static const struct {
        const char *name;
        const u8 *bytes, *end;
        unsigned at; /* of the selector within the operand */
    } cases[] = {
        {"mov ds", mov_ds, mov_ds_end, 0},    {"mov es", mov_es, mov_es_end, 0},
        {"mov gs", mov_gs, mov_gs_end, 0},    {"mov ss", mov_ss, mov_ss_end, 0},
        {"lgs 16", lgs_16, lgs_16_end, 2},    {"lgs 32", lgs_32, lgs_32_end, 4},
        {"lgs 64", lgs_64, lgs_64_end, 8},    {"lss 64", lss_64, lss_64_end, 8},
        {"pop gs", pop_gs, pop_gs_end, 0},    {"pop gs 16", pop_gs16, pop_gs16_end, 0},
    };
    static const u16 selectors[] = {0, 1, 3, 0x2b, 0x2a, 0x10, 0x18, 0x33, 0x23, 0x7b, 0xfff8, 0x8f, 0x0f};
    static struct machine copy;
    struct segments native, emulated;

    harness_init();
    for (unsigned i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(selectors); i++) {
        const char *name = cases[i / ARRAY_SIZE(selectors)].name;
        u16 selector = selectors[i % ARRAY_SIZE(selectors)];

        decode(cases[i / ARRAY_SIZE(selectors)].bytes, cases[i / ARRAY_SIZE(selectors)].end);
        start();
        m.gpr[RBX] = m.gpr[RSP] = target;
        m.gpr[14] = target - gs_base;
        memcpy((u8 *)target + cases[i / ARRAY_SIZE(selectors)].at, &selector, sizeof(selector));
        m.rip = place(insn.bytes, insn.length);
        copy = m;
        run_native(&copy, insn.length);
        native = get_segments();
        reset_segments();
        compare_run(name, &insn, &m);
        reset_segments();
        emulate(&insn, &m, &result);
        emulated = get_segments();
        reset_segments();
        compare_segments(name, &emulated, &native);
    }
}
