/* in, out, ins and outs on a bus that records them: widths, registers, direction, repetition, faults, progress. */
#include <signal.h>

#include "cpu/cpu.h"
#include "cpu/plan.h"
#include "unit.h"

#define MEMORY_BYTES 65536u

static u8 memory[MEMORY_BYTES];
static u64 reachable = MEMORY_BYTES; /* bytes of it that can be */
static struct cpu_state state;
static struct cpu_result result;
static struct cpu_insn insn;

/* What the ports saw. Reads answer 0x11, 0x22, ... byte by byte. */
static struct {
    unsigned reads, writes, width;
    u16 port;
    u8 next, out[MEMORY_BYTES];
    u64 nout;
    unsigned allowed; /* accesses until the bus denies one */
    bool retry;
} ports;

static bool inside(u64 addr, unsigned n)
{
    return addr - (u64)memory < reachable && n <= reachable - (addr - (u64)memory);
}

static bool memory_read(void *context, u64 addr, void *buf, unsigned n)
{
    (void)context;
    if (!inside(addr, n))
        return false;
    memcpy(buf, memory + (addr - (u64)memory), n);
    return true;
}

static bool memory_write(void *context, u64 addr, const void *buf, unsigned n)
{
    (void)context;
    if (!inside(addr, n))
        return false;
    memcpy(memory + (addr - (u64)memory), buf, n);
    return true;
}

static bool memory_reach(void *context, u64 addr, unsigned n, bool write)
{
    (void)context;
    (void)write;
    return inside(addr, n);
}

static bool granted(u16 port, unsigned n)
{
    ports.port = port;
    ports.width = n;
    return ports.reads + ports.writes < ports.allowed;
}

static bool port_read(void *context, u16 port, void *buf, unsigned n)
{
    u8 *bytes = buf;

    (void)context;
    if (!granted(port, n))
        return false;
    ports.reads++;
    for (unsigned i = 0; i < n; i++)
        bytes[i] = ports.next += 0x11;
    return true;
}

static bool port_write(void *context, u16 port, const void *buf, unsigned n)
{
    (void)context;
    if (!granted(port, n))
        return false;
    ports.writes++;
    memcpy(ports.out + ports.nout, buf, n);
    ports.nout += n;
    return true;
}

static bool retry(void *context)
{
    (void)context;
    return ports.retry;
}

static const struct cpu_bus bus = {
    .read = memory_read,
    .write = memory_write,
    .reach = memory_reach,
    .port_read = port_read,
    .port_write = port_write,
    .retry = retry,
};

static void start(const char *bytes, unsigned length)
{
    static bool open;
    char text[200];
    struct fmt error = FMT_INIT(text);
    bool more;

    if (!open && cpu_init(&error) < 0)
        abort();
    open = true;
    memset(&ports, 0, sizeof(ports));
    memset(&state, 0, sizeof(state));
    ports.allowed = UINT32_MAX;
    reachable = MEMORY_BYTES;
    for (unsigned i = 0; i < 16; i++)
        state.gpr[i] = 0xa5a5a5a5a5a5a5a5u;
    state.gpr[RDX] = 0xffffffffffff0378u;
    state.rip = 0x400000;
    state.rflags = FLAG_RF | FLAG_CF | 2;
    CHECK(cpu_decode(&insn, (const u8 *)bytes, length, &more));
    CHECK_EQ(insn.length, length);
    CHECK(!insn.refusal);
}

#define START(bytes) start(bytes, sizeof(bytes) - 1)

static void done(void)
{
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_DONE);
    CHECK_EQ(state.rip, 0x400000 + insn.length);
    CHECK_EQ(state.rflags & ~(u64)FLAG_DF, FLAG_CF | 2);
}

/* One access of a width at a port, and what rax is afterwards. */
#define ONE(bytes, port_, width_, rax) \
    do { \
        START(bytes); \
        done(); \
        CHECK_EQ(ports.reads + ports.writes, 1); \
        CHECK_EQ(ports.port, port_); \
        CHECK_EQ(ports.width, width_); \
        CHECK_EQ(state.gpr[RAX], rax); \
        CHECK_EQ(state.gpr[RDX], 0xffffffffffff0378u); \
        CHECK_EQ(state.gpr[RCX], 0xa5a5a5a5a5a5a5a5u); \
    } while (0)

TEST(in)
{
    ONE("\xec", 0x378, 1, 0xa5a5a5a5a5a5a511u);
    ONE("\x66\xed", 0x378, 2, 0xa5a5a5a5a5a52211u);
    ONE("\xed", 0x378, 4, 0x44332211u);
    ONE("\x48\xed", 0x378, 4, 0x44332211u); /* REX.W changes nothing */
    ONE("\xe4\xff", 0xff, 1, 0xa5a5a5a5a5a5a511u); /* the immediate is unsigned */
    ONE("\x66\xe5\x80", 0x80, 2, 0xa5a5a5a5a5a52211u);
    ONE("\xe5\x70", 0x70, 4, 0x44332211u);
    ONE("\xf3\x67\x2e\xec", 0x378, 1, 0xa5a5a5a5a5a5a511u); /* prefixes without meaning here */
}

#define OUT(bytes, port_, want) \
    do { \
        ONE(bytes, port_, sizeof(want) - 1, 0xa5a5a5a5a5a5a5a5u); \
        CHECK_EQ(ports.writes, 1); \
        CHECK_EQ(ports.nout, sizeof(want) - 1); \
        CHECK(memcmp(ports.out, want, sizeof(want) - 1) == 0); \
    } while (0)

TEST(out)
{
    OUT("\xee", 0x378, "\xa5");
    OUT("\x66\xef", 0x378, "\xa5\xa5");
    OUT("\xef", 0x378, "\xa5\xa5\xa5\xa5");
    OUT("\x48\xef", 0x378, "\xa5\xa5\xa5\xa5");
    OUT("\xe6\xfe", 0xfe, "\xa5");
    OUT("\x66\xe7\x80", 0x80, "\xa5\xa5");
    OUT("\xe7\x80", 0x80, "\xa5\xa5\xa5\xa5");
}

static void string(u64 rdi, u64 rsi, u64 rcx, u64 flags)
{
    for (unsigned i = 0; i < 256; i++)
        memory[i] = (u8)i;
    state.gpr[RDI] = rdi;
    state.gpr[RSI] = rsi;
    state.gpr[RCX] = rcx;
    state.rflags |= flags;
}

/* rdi, rsi and rcx relative to where they began, as signed numbers. */
#define MOVED(rdi, rsi, rcx) \
    do { \
        CHECK_EQ(state.gpr[RDI] - (u64)memory, (u64)(rdi)); \
        CHECK_EQ(state.gpr[RSI] - (u64)memory, (u64)(rsi)); \
        CHECK_EQ(state.gpr[RCX], (u64)(rcx)); \
    } while (0)

TEST(ins)
{
    START("\x6c");
    string((u64)memory, (u64)memory, 5, 0);
    done();
    MOVED(1, 0, 5);
    CHECK(memcmp(memory, "\x11\x01\x02", 3) == 0);
    START("\x66\xf3\x6d");
    string((u64)memory + 8, (u64)memory, 3, 0);
    done();
    MOVED(14, 0, 0);
    CHECK_EQ(ports.reads, 3);
    CHECK(memcmp(memory + 7, "\x07\x11\x22\x33\x44\x55\x66\x0e", 8) == 0);
    START("\xf2\x6d");
    string((u64)memory + 8, (u64)memory, 2, FLAG_DF);
    done();
    MOVED(0, 0, 0);
    CHECK_EQ(ports.width, 4);
    CHECK(memcmp(memory + 4, "\x55\x66\x77\x88\x11\x22\x33\x44\x0c", 9) == 0);
}

TEST(outs)
{
    START("\xf3\x6e");
    string((u64)memory, (u64)memory + 3, 4, 0);
    done();
    MOVED(0, 7, 0);
    CHECK_EQ(ports.writes, 4);
    CHECK(memcmp(ports.out, "\x03\x04\x05\x06", 4) == 0);
    START("\xf3\x6f");
    string((u64)memory, (u64)memory + 8, 2, FLAG_DF);
    done();
    MOVED(0, 0, 0);
    CHECK(memcmp(ports.out, "\x08\x09\x0a\x0b\x04\x05\x06\x07", 8) == 0);
    START("\x64\x66\x6f"); /* only the source obeys a segment prefix */
    string((u64)memory, 0x10, 9, 0);
    state.fs_base = (u64)memory;
    done();
    CHECK_EQ(state.gpr[RSI], 0x12);
    CHECK(memcmp(ports.out, "\x10\x11", 2) == 0);
    START("\x64\x6c");
    string((u64)memory, 0, 9, 0);
    state.fs_base = 0x1000;
    done();
    CHECK_EQ(memory[0], 0x11);
}

TEST(no_iterations)
{
    START("\xf3\x6c");
    string((u64)memory, (u64)memory, 0, 0);
    done();
    MOVED(0, 0, 0);
    CHECK_EQ(ports.reads, 0);
}

/* Prefix 67: esi, edi and ecx, and what is written of them is zero-extended. */
TEST(short_addresses)
{
    START("\x67\xf3\x6c");
    string((u64)memory, 0, 0xffffffff00000000u, 0);
    done();
    CHECK_EQ(ports.reads, 0);
    START("\x67\x6e");
    string(0, (u64)memory & 0xffffffffu, 7, 0);
    state.fs_base = 0;
    reachable = 0;
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_FAULTED);
    CHECK_EQ(result.fault_addr, (u64)memory & 0xffffffffu);
    START("\x67\x64\xf3\x6e");
    string(0, 0xabcdef01fffffffeu, 0xabcdef0100000002u, 0);
    state.fs_base = (u64)memory - 0xfffffffeu;
    done();
    CHECK_EQ(state.gpr[RSI], 0);
    CHECK_EQ(state.gpr[RCX], 0);
    CHECK(memcmp(ports.out, "\x00\x01", 2) == 0);
}

/* A burst ends on the instruction itself, which then traps again. */
TEST(burst)
{
    START("\xf3\x6e");
    string((u64)memory, (u64)memory, CPU_BURST + 10, 0);
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_DONE);
    CHECK_EQ(state.rip, 0x400000);
    MOVED(0, CPU_BURST, 10);
    CHECK_EQ(ports.writes, CPU_BURST);
    done();
    CHECK_EQ(ports.writes, CPU_BURST + 10);
}

/* A fault of the memory keeps the progress, and no port is read whose value would be lost. */
TEST(memory_faults)
{
    START("\xf3\x6d");
    string((u64)memory, 0, 5, 0);
    reachable = 10;
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_ACCESS);
    CHECK_EQ(result.fault_addr, (u64)memory + 8);
    CHECK(result.fault_write);
    CHECK_EQ(state.gpr[RDI], (u64)memory + 8);
    CHECK_EQ(state.gpr[RCX], 3);
    CHECK_EQ(state.rip, 0x400000);
    CHECK_EQ(ports.reads, 2);
    START("\xf3\x6e");
    string(0, (u64)memory + 1, 5, 0);
    reachable = 3;
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_FAULTED);
    CHECK_EQ(result.fault_addr, (u64)memory + 3);
    CHECK(!result.fault_write);
    CHECK_EQ(state.gpr[RSI], (u64)memory + 3);
    CHECK_EQ(state.gpr[RCX], 3);
    CHECK_EQ(ports.writes, 2);
}

static void denied(void)
{
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_FAULTED);
    CHECK_EQ(result.fault, CPU_FAULT_NESTED);
    CHECK_EQ(result.signal, SIGSEGV);
    CHECK_EQ(result.code, SI_KERNEL);
    CHECK_EQ(result.signal_addr, 0);
    CHECK_EQ(state.rip, 0x400000);
}

/* The bus denies the port: #GP, as without permission. */
TEST(port_faults)
{
    START("\xec");
    ports.allowed = 0;
    denied();
    CHECK_EQ(state.gpr[RAX], 0xa5a5a5a5a5a5a5a5u);
    START("\xee");
    ports.allowed = 0;
    denied();
    START("\xf3\x6c");
    string((u64)memory, (u64)memory, 5, 0);
    ports.allowed = 2;
    denied();
    MOVED(2, 0, 3);
}

TEST(retries)
{
    START("\xf3\x6e");
    string((u64)memory, (u64)memory, 5, 0);
    ports.allowed = 2;
    ports.retry = true;
    CHECK_EQ(cpu_run(&insn, &state, &bus, &result), CPU_RETRY);
    MOVED(0, 2, 3);
    CHECK_EQ(state.rip, 0x400000);
    ports.allowed = UINT32_MAX;
    done();
    CHECK(memcmp(ports.out, "\x00\x01\x02\x03\x04", 5) == 0);
}

/* Without ports nothing happens at all. */
TEST(no_ports)
{
    static const char *const codes[] = {"\xec", "\xee", "\x6c", "\x6e"};
    struct cpu_bus none = bus;

    none.port_read = NULL;
    none.port_write = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
        struct cpu_state before;

        start(codes[i], 1);
        before = state;
        CHECK_EQ(cpu_run(&insn, &state, &none, &result), CPU_REFUSED);
        CHECK_STR(result.refusal, "port I/O: the machine has no I/O ports");
        CHECK(memcmp(&before, &state, sizeof(state)) == 0);
    }
}

TEST(which_port)
{
    unsigned width = 0;
    bool write = true;
    u16 port = 0;

    START("\x66\x6d");
    CHECK(cpu_port(&insn, &state, &port, &width, &write));
    CHECK_EQ(port, 0x378);
    CHECK_EQ(width, 2);
    CHECK(!write);
    START("\xe7\xf0");
    CHECK(cpu_port(&insn, &state, &port, &width, &write));
    CHECK_EQ(port, 0xf0);
    CHECK_EQ(width, 4);
    CHECK(write);
    START("\x8b\x00");
    CHECK(!cpu_port(&insn, &state, &port, &width, &write));
}
