/* Which instructions are patched, and when. */
#include "patch/patch.h"

#include <time.h>

#include "base/process.h"
#include "patch/gone.h"
#include "patch/table.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

__attribute__((visibility("hidden"))) extern __thread struct call *calls_here;

#define TRAPS 6 /* at an instruction, before it is patched: a patch costs about as much as 10 */

bool patch_enabled;
struct patch patch_now;

/* ---- when ---- */

#define COUNTS 4096
#define NEVER  0xffffffffu

static struct count {
    u64 at;
    u32 traps;
} counts[COUNTS];

static struct count *count_of(u64 at)
{
    struct count *c = &counts[(at ^ at >> 12) % COUNTS];

    if (c->at != at)
        *c = (struct count){at, 0};
    return c;
}

/* A site that traps all the same: its operand was where it had not been before. */
static void widen(struct patch_site *s, struct range window)
{
    u64 base = -s->minus_base, first = MIN(base, window.base), last = MAX(base + ~s->mask, range_last(window));

    make_range(s, (struct range){first, last - first + 1});
}

/*
 * Who steps through the code shall find what the file has. To ask takes a third of a patch: the answer stands for a tick
 * of the coarse clock, some milliseconds.
 */
static bool is_traced(void)
{
    static struct timespec asked;
    struct timespec now = {0, 0};

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_nsec == asked.tv_nsec && now.tv_sec == asked.tv_sec)
        return false;
    if (process_traced())
        return true;
    asked = now;
    return false;
}

/* Under the lock. False: it is never to be tried again. */
static bool consider(const struct cpu_insn *insn, u64 at, u64 addr)
{
    struct patch_site *s = table_site(at);
    bool done = s && s->kind != TRAMPOLINE_NATIVE;
    struct trap_place place;

    if (trampoline_kind(insn) == TRAMPOLINE_NATIVE || !trap_place(addr, &place))
        return false;
    if (done) {
        if (make_in_range(s, addr))
            return false;
        widen(s, place.window);
        return true;
    }
    if (is_traced())
        return true;
    patch_now.at = at;
    patch_now.insn = insn;
    patch_now.window = place.window;
    return make_patch(&patch_now);
}

void patch_trapped(const struct cpu_insn *insn, u64 at, u64 addr)
{
    struct count *c;

    if (!patch_enabled || !calls_here)
        return;
    c = count_of(at);
    if (likely(c->traps == NEVER || ++c->traps < TRAPS) || !table_try_hold())
        return;
    if (patch_enabled)
        c->traps = consider(insn, at, addr) ? 0 : NEVER;
    patch_release();
}

void patch_forget_counts(struct range r)
{
    for (unsigned i = 0; i < COUNTS; i++)
        if (range_has(r, counts[i].at))
            counts[i] = (struct count){0};
}

/* ---- start ---- */

void patch_after_fork(void)
{
    table_after_fork();
    text_start();
}

void patch_start(void)
{
    if (!table_start())
        return;
    make_start();
    text_start();
    patch_enabled = true;
}
