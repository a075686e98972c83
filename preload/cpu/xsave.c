/*
 * xsave, xsaveopt, xsavec and xrstor (SDM vol. 1, 13.7 to 13.12). What the program has in its registers lies in the
 * signal frame. The CPU makes or takes the legacy region, the upper halves of ymm and the header, on a scratch, and so
 * decides about formats, initial states and faults; the components behind are copied between memory and the frame.
 */
#include <asm/prctl.h>
#include <signal.h>

#include "base/mem.h"
#include "base/sys.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

#define BY_CPU     (XC_X87 | XC_SSE | XC_AVX)
#define AREA_AVX   XSTATE_LEGACY /* the first component behind the header, in both formats */
#define AREA_BYTES (AREA_AVX + 256)
#define AREA_XCOMP (XSTATE_BV + 8)
#define COMPACTED  ((u64)1 << 63)

struct image {
    struct run *run;
    u64 addr;
    u64 requested; /* components: edx:eax, as far as the system has them enabled */
    u64 layout;    /* XCOMP_BV: which components the compacted format holds; 0: standard format */
    u64 present;   /* XSTATE_BV in memory, before xrstor and after xsave */
    u8 *area;
    struct stub_frame frame;
};

static bool restores(const struct image *im)
{
    return im->run->plan->op == XSAVE_RESTORE;
}

static bool compacts(const struct image *im)
{
    return im->run->plan->op == XSAVE_COMPACT;
}

static u64 requested(const struct cpu_state *state)
{
    return ((u32)state->gpr[RAX] | state->gpr[RDX] << 32) & xstate_enabled();
}

/* SDM vol. 1, 13.4.3. */
static unsigned offset_of(u64 layout, unsigned component)
{
    unsigned at = XSTATE_LEGACY;

    if (!(layout & COMPACTED))
        return xstate_component(component)->offset;
    for (unsigned i = 2;; i++) {
        const struct xstate_component *c = xstate_component(i);

        if (!(layout >> i & 1))
            continue;
        if (c->aligned)
            at = (at + 63) & ~63u;
        if (i == component)
            return at;
        at += c->size;
    }
}

/* Bytes from the start of the image to the end of the last of the components; of those in `absent`, to their start. */
static unsigned extent(u64 layout, u64 components, u64 absent)
{
    unsigned end = XSTATE_LEGACY;

    for (u64 rest = components & ~(u64)(XC_X87 | XC_SSE); rest; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest);

        end = MAX(end, offset_of(layout, i) + (absent >> i & 1 ? 0 : xstate_component(i)->size));
    }
    return end;
}

unsigned xsave_extent(const struct cpu_insn *insn, const struct cpu_state *state)
{
    u64 components = requested(state);

    return extent(plan_of(insn)->op == XSAVE_COMPACT ? components | COMPACTED : 0, components, 0);
}

/* A page at a time: the callee may look at the ends only. */
bool xsave_spans(const struct cpu_insn *insn, const struct cpu_state *state, span_fn span, void *context)
{
    u64 addr = run_address(insn, state, 0);
    unsigned n = xsave_extent(insn, state), piece;

    for (unsigned done = 0; done < n; done += piece) {
        piece = (unsigned)MIN((u64)n - done, PAGE_SIZE - ((addr + done) & ~PAGE_MASK));
        if (span(context, addr + done, piece))
            return true;
    }
    return false;
}

/*
 * Components that the thread has not yet been given room for (AMX tiles, SDM vol. 1, 13.14): xsaveopt and xsavec know that
 * there is nothing to write.
 */
static u64 absent(const struct image *im)
{
    return im->run->plan->op == XSAVE_PLAIN ? 0 : ~im->run->state->xfeatures;
}

/* ---- the part that the CPU does ---- */

static bool run_stub(struct image *im, u64 components)
{
    const struct plan *p = im->run->plan;
    struct cpu_state *state = im->run->state;
    struct stub_frame *f = &im->frame;

    memcpy(f->gpr, state->gpr, sizeof(f->gpr));
    f->gpr[RAX] = components & BY_CPU;
    f->gpr[RDX] = 0;
    f->gpr[p->scratch] = (u64)im->area;
    f->flags = state->rflags & FLAGS_STUB;
    f->load = BY_CPU & state->xfeatures;
    f->save = restores(im) ? f->load : 0;
    f->area = state->xsave;
    f->code = p->stub;
    return stub_run(im->run, f, im->area, im->addr, AREA_BYTES);
}

/* ---- parts of the legacy region ---- */

struct part {
    u16 components; /* bytes are there for one of these */
    u16 at, bytes;
};

static const struct part parts[] = {
    {XC_X87, 0, 24}, {XC_SSE | XC_AVX, 24, 8 /* MXCSR and its mask */}, {XC_X87, 32, 128}, {XC_SSE, 160, 256},
    {XC_AVX, AREA_AVX, 256},
};

/* MXCSR is a component of its own in the standard format, a part of SSE in the other. */
static bool has_part(const struct image *im, const struct part *part, u64 components)
{
    if (part->components != (XC_SSE | XC_AVX))
        return components & part->components;
    return im->layout & COMPACTED ? components & XC_SSE : im->requested & part->components;
}

/* Where the part of the image begins that `components` take: the header, if they take nothing before it. */
static unsigned first_byte(const struct image *im, u64 components)
{
    if (has_part(im, &parts[0], components))
        return parts[0].at;
    return has_part(im, &parts[1], components) ? parts[1].at : XSTATE_BV;
}

/* CPUs look at the last byte, at the first one that they need, and then at the rest: nothing is touched before. */
static bool reaches(struct image *im, u64 components, unsigned end, bool write)
{
    u64 header = im->addr + XSTATE_BV;

    return run_reach(im->run, im->addr + end - 1, 1, write) &&
           run_reach(im->run, im->addr + first_byte(im, components), 1, write) &&
           run_reach(im->run, header, end - XSTATE_BV, write);
}

static u64 copied(u64 components)
{
    return components & ~(u64)BY_CPU;
}

/* ---- saving ---- */

static bool write_zeros(struct run *run, u64 addr, unsigned n)
{
    static const u8 zeros[64];

    for (unsigned done = 0; done < n; done += sizeof(zeros))
        if (!run_write(run, addr + done, zeros, (unsigned)MIN(n - done, sizeof(zeros))))
            return false;
    return true;
}

/* PKRU has 8 bytes, of which the CPU writes the 4 of the register. */
static unsigned bytes_written(unsigned i)
{
    return i == XC_PKRU_INDEX ? 4 : xstate_component(i)->size;
}

static bool write_component(struct image *im, unsigned i)
{
    const struct xstate_component *c = xstate_component(i);
    u64 to = im->addr + offset_of(im->layout, i);

    if (im->present >> i & 1)
        return run_write(im->run, to, (const u8 *)im->run->state->xsave + c->offset, bytes_written(i));
    return write_zeros(im->run, to, bytes_written(i));
}

/* Only xsave itself writes components that are in their initial state. */
static u64 written(const struct image *im)
{
    return im->run->plan->op == XSAVE_PLAIN ? im->requested : im->requested & im->present;
}

static bool write_image(struct image *im)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        if (has_part(im, &parts[i], written(im)) &&
            !run_write(im->run, im->addr + parts[i].at, im->area + parts[i].at, parts[i].bytes))
            return false;
    for (u64 rest = copied(written(im)); rest; rest &= rest - 1)
        if (!write_component(im, (unsigned)__builtin_ctzll(rest)))
            return false;
    return run_write(im->run, im->addr + XSTATE_BV, im->area + XSTATE_BV, compacts(im) ? 16 : 8);
}

/* What the CPU has put into the header, and the bits of the components that it did not see. */
static void complete_header(struct image *im)
{
    u64 others = copied(im->requested);

    memcpy(&im->present, im->area + XSTATE_BV, sizeof(im->present));
    im->present = (im->present & ~others) | (xstate_in_use(im->run->state) & others);
    memcpy(im->area + XSTATE_BV, &im->present, sizeof(im->present));
    if (compacts(im))
        memcpy(im->area + AREA_XCOMP, &im->layout, sizeof(im->layout));
}

static enum cpu_outcome save(struct image *im)
{
    im->layout = compacts(im) ? im->requested | COMPACTED : 0;
    if (!reaches(im, im->requested, extent(im->layout, im->requested, absent(im)), true))
        return im->run->outcome;
    if (!compacts(im) && !run_read(im->run, im->addr + XSTATE_BV, im->area + XSTATE_BV, 8))
        return im->run->outcome;
    xstate_settle(im->run->state);
    if (!run_stub(im, im->requested))
        return im->run->outcome;
    complete_header(im);
    return write_image(im) ? run_done(im->run) : im->run->outcome;
}

/* ---- restoring ---- */

/*
 * Tile data that the process may not use raise #NM, for which Linux sends SIGILL; where it may, but this thread has none
 * yet, the signal frame has no room for them.
 */
static enum cpu_outcome lacks_room(struct run *run, u64 components)
{
    u64 permitted = 0;

    sys(SYS_arch_prctl, 0x1022 /* ARCH_GET_XCOMP_PERM */, &permitted);
    if (components & ~permitted)
        return run_signal(run, SIGILL, ILL_ILLOPC, run->state->rip);
    run->result->refusal = "AMX tile data in a thread that has none yet";
    return CPU_REFUSED;
}

static bool read_image(struct image *im)
{
    u64 loaded = im->requested & im->present;

    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        if (has_part(im, &parts[i], loaded) &&
            !run_read(im->run, im->addr + parts[i].at, im->area + parts[i].at, parts[i].bytes))
            return false;
    return true;
}

static bool read_components(struct image *im)
{
    struct cpu_state *state = im->run->state;
    u64 all = copied(im->requested) & state->xfeatures;

    for (u64 rest = all & im->present; rest; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest);
        const struct xstate_component *c = xstate_component(i);

        if (!run_read(im->run, im->addr + offset_of(im->layout, i), (u8 *)state->xsave + c->offset, c->size))
            return false;
    }
    xstate_set_in_use(state, all, im->present);
    return true;
}

/*
 * In the compacted format MXCSR is a part of SSE, and CPUs look at it when they come there: when a bad one ends the
 * instruction, components that the image leaves out are in their initial state already.
 */
static void initialise(struct image *im)
{
    u64 out = copied(im->requested) & im->run->state->xfeatures & ~im->present;

    if (im->layout & COMPACTED)
        xstate_set_in_use(im->run->state, out, 0);
}

/* Asks the CPU what it thinks of the header, before the image is read: no component is loaded. */
static bool header_stands(struct image *im)
{
    u64 probed = im->requested;

    if (!run_reach(im->run, im->addr + AREA_XCOMP, 1, false) ||
        !run_read(im->run, im->addr + XSTATE_BV, im->area + XSTATE_BV, XSTATE_LEGACY - XSTATE_BV))
        return false;
    memcpy(&im->present, im->area + XSTATE_BV, sizeof(im->present));
    memcpy(&im->layout, im->area + AREA_XCOMP, sizeof(im->layout));
    if (im->layout & COMPACTED) {
        if (im->layout & ~(COMPACTED | xstate_enabled())) /* a size nobody knows: #GP before any page fault */
            return run_stub(im, 0);
        probed &= im->layout;
    }
    return reaches(im, probed, extent(im->layout, probed, 0), false) && run_stub(im, 0);
}

static enum cpu_outcome restore(struct image *im)
{
    struct run *run = im->run;
    u64 homeless;

    if (!header_stands(im))
        return run->outcome;
    homeless = im->requested & im->present & ~run->state->xfeatures;
    if (homeless)
        return lacks_room(run, homeless);
    if (!read_image(im))
        return run->outcome;
    if (!run_stub(im, im->requested)) {
        initialise(im);
        return run->outcome;
    }
    return read_components(im) ? run_done(run) : run->outcome;
}

enum cpu_outcome run_xsave(struct run *run)
{
    u8 area[AREA_BYTES] __attribute__((aligned(64)));
    struct image im = {.run = run, .addr = run_address(run->insn, run->state, 0), .area = area};

    im.requested = requested(run->state);
    if (im.addr & 63)
        return run_protection(run);
    memset(area, 0, sizeof(area));
    return restores(&im) ? restore(&im) : save(&im);
}
