#include "compare.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "arena.h"
#include "left_out.h"

#define REPORTS 60

static unsigned reports;
static bool excused; /* the comparison under way met a difference that is left out */
static const struct insn *running;
static u64 case_seed;

static void report(const struct insn *i, const char *what, u64 got, u64 want)
{
    if (reports++ < REPORTS)
        printf("# %s: %s: %#llx, in ordinary memory %#llx (seed %#llx)\n", insn_text(i), what, (unsigned long long)got,
               (unsigned long long)want, (unsigned long long)case_seed);
}

static bool compare_gprs(const struct insn *i, const struct state *got, const struct state *want)
{
    static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    bool same = true;

    for (unsigned r = 0; r < 16; r++)
        if (got->gpr[r] != want->gpr[r]) {
            report(i, names[r], got->gpr[r], want->gpr[r]);
            same = false;
        }
    return same;
}

static bool compare_area(const struct insn *i, struct state *got, struct state *want)
{
    char what[40];

    state_normalise(got);
    state_normalise(want);
    if (memcmp(got->area, want->area, area_size) == 0)
        return true;
    for (unsigned at = 0; at < area_size; at++)
        if (got->area[at] != want->area[at]) {
            snprintf(what, sizeof(what), "XSAVE area byte %u", at);
            report(i, what, got->area[at], want->area[at]);
            break;
        }
    return false;
}

static bool same_number(const struct insn *i, const char *what, u64 got, u64 want)
{
    if (got == want)
        return true;
    report(i, what, got, want);
    return false;
}

/* The null selectors are one: every return from the kernel, also from an interrupt, makes 0 of them (SDM vol. 2, IRET). */
static u16 selector(u16 value)
{
    return value & ~3 ? value : 0;
}

static bool compare_endings(const struct insn *i, struct ending *got, struct ending *want)
{
    u64 out = left_out_flags(i), byte = left_out_address(i, want);
    bool same = same_number(i, "signal", (u64)got->signal, (u64)want->signal);

    same &= same_number(i, "si_code", (u64)got->code, (u64)want->code);
    same &= same_number(i, "si_addr", got->addr | byte, want->addr | byte);
    same &= same_number(i, "write fault", got->write, want->write);
    same &= same_number(i, "branched", got->branched, want->branched);
    same &= same_number(i, "rip", got->state.rip, want->state.rip);
    same &= same_number(i, "rflags", got->state.flags | out, want->state.flags | out);
    same &= same_number(i, "ds", selector(got->segment[0]), selector(want->segment[0]));
    same &= same_number(i, "es", selector(got->segment[1]), selector(want->segment[1]));
    same &= same_number(i, "gs", selector(got->segment[2]), selector(want->segment[2]));
    same &= same_number(i, "gs base", got->gs_base, want->gs_base);
    same &= compare_gprs(i, &got->state, &want->state);
    excused |= got->state.flags != want->state.flags || got->addr != want->addr;
    if (left_out_area(i, want)) {
        excused = true;
        return same;
    }
    return compare_area(i, &got->state, &want->state) && same;
}

static bool compare_images(const struct insn *i, const struct ending *ending, const u8 *got, const u8 *want)
{
    struct left_out out;
    char what[40];

    if (memcmp(got, want, IMAGE_BYTES) == 0)
        return true;
    excused = true;
    out = left_out_memory(i, ending);
    for (unsigned at = 0; at < IMAGE_BYTES; at++)
        if (got[at] != want[at] && arena_address(at) - out.first >= out.bytes) {
            snprintf(what, sizeof(what), "memory at %#llx", (unsigned long long)arena_address(at));
            report(i, what, got[at], want[at]);
            return false;
        }
    return true;
}

bool compare_run(const struct insn *i, const struct state *start, struct tally *tally)
{
    static struct ending native, trapped;
    const u8 *want, *got;
    bool same;

    running = i;
    arena_open();
    runner_run(start, &native);
    want = arena_close();
    runner_run(start, &trapped);
    got = arena_take();
    excused = same = left_out_whole(i, &trapped, &native);
    if (!same) {
        same = compare_images(i, &native, got, want);
        same = compare_endings(i, &trapped, &native) && same;
    }
    tally->runs++;
    tally->faults += native.signal != 0;
    tally->illegal += native.signal == SIGILL;
    tally->completed += native.signal == 0;
    tally->excused += excused && same;
    running = NULL;
    tally->differences += !same;
    return same;
}

bool compare_at(const struct insn *i, enum place place, struct tally *tally)
{
    static struct state start;
    struct insn aimed = *i;

    case_seed = random_seed;
    state_random(&start);
    /* The length is the same once the displacement is there: the site can be chosen first. */
    start.rip = runner_place(i->bytes, i->length, (unsigned)(rnd() % RUNNER_SITES));
    if (!insn_aim(&aimed, &start, start.rip, place))
        return false;
    memcpy((void *)start.rip, aimed.bytes, aimed.length);
    compare_run(&aimed, &start, tally);
    return true;
}

/* ---- an instruction that does not end ---- */

static void on_alarm(int sig)
{
    (void)sig;
    printf("# does not end: %s (seed %#llx)\n", running ? insn_text(running) : "nothing",
           (unsigned long long)case_seed);
    fflush(stdout);
    _exit(4);
}

void compare_init(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    insn_init();
    runner_init();
    if (!arena_init())
        exit(1);
    signal(SIGALRM, on_alarm);
}

/* ---- TAP ---- */

static unsigned number;
static bool failed;

void tap_plan(unsigned tests)
{
    printf("1..%u\n", tests);
}

void tap_result(bool ok, const char *name, const char *format, ...)
{
    va_list args;

    printf("%s %u %s: ", ok ? "ok" : "not ok", ++number, name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    failed |= !ok;
}

int tap_status(void)
{
    return failed;
}
