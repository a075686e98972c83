/*
 * Random bytes that decode to an instruction with a memory operand, and mutations of instructions that installed
 * libraries hold: each in ordinary memory and in a window. fuzz_insn [EXECUTIONS [SEED]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare.h"
#include "shapes.h"

/* ---- random instructions ---- */

static unsigned put(u8 *out, unsigned n, u64 value, unsigned bytes)
{
    memcpy(out + n, &value, bytes);
    return n + bytes;
}

static unsigned random_prefixes(u8 *out)
{
    static const u8 prefixes[] = {0x66, 0xf2, 0xf3, 0x65, 0x67, 0x2e, 0xf0, 0x48, 0x41, 0x4f, 0x64, 0x3e};
    unsigned n = 0;

    while (rnd() % 3 == 0 && n < 4)
        out[n++] = prefixes[rnd() % sizeof(prefixes)];
    if (rnd() & 1)
        out[n++] = (u8)(0x40 | (rnd() & 15));
    return n;
}

static unsigned random_legacy(u8 *out)
{
    unsigned n = random_prefixes(out);

    switch (rnd() & 3) {
    case 0:
        return n;
    case 1:
        return put(out, n, 0x0f, 1);
    case 2:
        return put(out, n, 0x380f, 2);
    default:
        return put(out, n, 0x3a0f, 2);
    }
}

static unsigned random_vex(u8 *out)
{
    unsigned n = 0;

    if (rnd() % 4 == 0)
        return put(out, put(out, n, 0xc5, 1), rnd(), 1);
    n = put(out, n, 0xc4, 1);
    n = put(out, n, (rnd() & 0xe0) | (1 + rnd() % 3), 1);
    return put(out, n, rnd() & 3 ? rnd() | 0x78 : rnd(), 1);
}

static unsigned random_evex(u8 *out)
{
    static const u8 maps[] = {1, 2, 3, 5, 6};
    unsigned n = put(out, 0, 0x62, 1);

    n = put(out, n, (rnd() & 0xf0) | maps[rnd() % sizeof(maps)], 1);
    n = put(out, n, (rnd() & 0xff) | 0x04 | (rnd() & 1 ? 0x78 : 0), 1);
    return put(out, n, (rnd() & 0xff) | (rnd() & 1 ? 8 : 0), 1);
}

/* Opcode, a ModRM byte with a memory operand, and whatever follows. */
static void random_instruction(u8 out[32])
{
    unsigned n = rnd() & 1 ? random_legacy(out) : rnd() & 1 ? random_vex(out) : random_evex(out);

    n = put(out, n, rnd(), 1);
    n = put(out, n, rnd() & 0xbf, 1);
    put(out, n, rnd(), 8);
    put(out, n + 8, rnd(), 8);
}

/* ---- mutations ---- */

static struct harvest found;

/* A harvested instruction with a prefix more, other registers, another opcode, or any byte changed. */
static void mutated_instruction(u8 out[32])
{
    const struct shape *s = &found.shapes[rnd() % found.count];
    unsigned n = rnd() % 4 == 0 ? random_prefixes(out) : 0;

    memcpy(out + n, s->bytes, s->length);
    put(out, n + s->length, rnd(), 8);
    for (unsigned changes = (unsigned)(rnd() % 4); changes; changes--) {
        unsigned at = n + (unsigned)(rnd() % s->length);

        out[at] = (u8)(rnd() & 1 ? rnd() : out[at] ^ 1u << (rnd() & 7));
    }
}

/* ---- the loop ---- */

static unsigned long decoded, unsuitable;

static void try_one(struct tally *tally)
{
    u8 bytes[32];
    struct insn i;

    if (found.count && rnd() & 1)
        mutated_instruction(bytes);
    else
        random_instruction(bytes);
    if (!insn_decode(&i, bytes, 15))
        return;
    decoded++;
    if (insn_unsuitable(&i)) {
        unsuitable++;
        return;
    }
    for (unsigned k = 0; k < 3; k++)
        compare_at(&i, rnd() & 1 ? INSIDE : (enum place)(rnd() % PLACES), tally);
}

int main(int argc, char **argv)
{
    unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 0) : 500000;
    struct tally tally = {0};

    compare_init();
    shapes_harvest(&found, "/usr/lib/x86_64-linux-gnu", 16ul << 20);
    if (argc > 2)
        random_seed ^= strtoull(argv[2], NULL, 0) * 0x9fb21c651e98df25u;
    tap_plan(1);
    for (unsigned long turn = 0; tally.runs < wanted; turn++) {
        if (turn % 1024 == 0)
            alarm(20);
        try_one(&tally);
    }
    printf("# %lu decoded, %lu of them not to be run; %u harvested shapes to mutate\n", decoded, unsuitable,
           found.count);
    tap_result(tally.differences == 0 && tally.completed >= tally.runs / 2 && tally.excused < tally.runs / 50,
               "fuzz_insn",
               "%lu executions, %lu completed, %lu faults (%lu illegal), %lu excused, %lu differences", tally.runs,
               tally.completed, tally.faults, tally.illegal, tally.excused, tally.differences);
    return tap_status();
}
