/* Single instructions written in place, run from a random state: CODE, decode, compare, run. */
#ifndef MMIOSHIM_TESTS_CPU_DIRECT_H
#define MMIOSHIM_TESTS_CPU_DIRECT_H

#include "cpu_harness.h"

#define CODE(name, text) \
    extern const u8 name[], name##_end[]; \
    __asm__(".pushsection .text.paths, \"ax\"\n.globl " #name ", " #name "_end\n" #name ": " text "\n" #name "_end:\n" \
            ".popsection")

static struct machine m;
static struct cpu_insn insn;

static inline void decode(const u8 *bytes, const u8 *end)
{
    bool more;

    CHECK(cpu_decode(&insn, bytes, (unsigned)(end - bytes), &more));
    CHECK(!insn.refusal);
}

#define DECODE(name) decode(name, name##_end)

static inline void start(void)
{
    rnd_machine(&m);
    rnd_bytes(data, DATA_BYTES);
}

static inline void compare(const char *name)
{
    m.rip = place(insn.bytes, insn.length);
    compare_run(name, &insn, &m);
}

/* No exception unmasked: random operands must not trap. */
static inline void start_calm(void)
{
    u32 mxcsr = 0x1f80;

    start();
    memcpy(m.area, "\x7f\x03\x00\x00", 4);
    memcpy(m.area + 24, &mxcsr, 4);
}

/* Runs without a native counterpart. */
static struct cpu_result result;

static inline enum cpu_outcome run(void)
{
    m.rip = place(insn.bytes, insn.length);
    return emulate(&insn, &m, &result);
}

static inline void reset_bus(void)
{
    memset(&bus_state, 0, sizeof(bus_state));
}

#endif
