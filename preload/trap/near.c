#include "trap/near.h"

#include "memory/ram.h"
#include "trap/backtrace.h"
#include "trap/trap.h"
#include "base/trapsafe.h"

static const struct view *view;

void near_start(const struct view *v)
{
    view = v;
}

bool near_traps(u64 machine)
{
    return view_trapped(view, machine) || view_find(view, machine).kind != VIEW_RAM;
}

bool trap_concerns(u64 addr, u64 *machine)
{
    struct alias a;

    *machine = addr;
    if (!alias_find(addr, &a))
        return false;
    *machine = a.machine + (addr - a.range.base);
    /* RAM of an alias that is mapped read-only is the program's own affair. */
    return near_traps(*machine);
}

bool trap_allows(u64 addr, bool write)
{
    struct alias a;

    return !alias_find(addr, &a) || near_allows(a.prot, write);
}

/* The part of the page around addr that has the same owner. */
static void keep_near(struct near *near, u64 addr, u64 machine)
{
    struct alias a;
    bool aliased = alias_find(addr, &a);
    u64 before = addr & ~PAGE_MASK, after = PAGE_SIZE - 1 - before;

    near->span = view_find(view, machine);
    before = MIN(before, machine - near->span.range.base);
    after = MIN(after, range_last(near->span.range) - machine);
    if (aliased) {
        before = MIN(before, addr - a.range.base);
        after = MIN(after, range_last(a.range) - addr);
    }
    near->prot = aliased ? (int)a.prot : PROT_READ | PROT_WRITE;
    near->base = addr - before;
    near->machine = machine - before;
    near->size = before + after + 1;
}

static bool recall_near(struct trap *t, u64 addr)
{
    const struct kept_near *kept = &t->thread->near;

    if (addr - kept->near.base >= kept->near.size || kept->changing || kept->aliases != alias_version() ||
        kept->view != __atomic_load_n(view->version, __ATOMIC_ACQUIRE))
        return false;
    t->near = kept->near;
    return true;
}

/* version: of the aliases, and moved: of the view, before they were looked at. */
static void remember_near(struct trap *t, u32 version, u64 moved)
{
    struct kept_near *kept = &t->thread->near;

    if (kept->changing || version == 1 || version != alias_version())
        return;
    kept->changing = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    kept->near = t->near;
    kept->aliases = version;
    kept->view = moved;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    kept->changing = 0;
}

bool trap_finds(struct trap *t, u64 addr)
{
    u64 machine, moved;
    u32 version;

    if (likely(addr - t->near.base < t->near.size) || likely(recall_near(t, addr)))
        return true;
    version = alias_version();
    moved = __atomic_load_n(view->version, __ATOMIC_ACQUIRE);
    if (!trap_concerns(addr, &machine))
        return false;
    keep_near(&t->near, addr, machine);
    remember_near(t, version, moved);
    return true;
}

static const char *owner_name(const struct view_span *s)
{
    const struct machine_desc *desc = trap_the_bus()->machine->desc;

    return s->kind == VIEW_RAM ? desc->banks[s->index].name : desc->windows[s->index].name;
}

static void describe_neighbour(const struct view_span *s, bool below, struct fmt *out)
{
    fmt_printf(out, "%s %s at %lx", owner_name(s), below ? "ends" : "begins",
               below ? range_last(s->range) : s->range.base);
}

void trap_diagnose(u64 addr, struct fmt *out)
{
    struct view_span below, above;
    bool has_below = view_below(view, addr, &below), has_above = view_above(view, addr, &above);
    u8 probe;

    if (has_below && range_has(below.range, addr)) {
        fmt_printf(out, "in %s", owner_name(&below));
        return;
    }
    fmt_str(out, probe_read(&probe, addr, 1) ? "no access, nearest " : "unmapped, nearest ");
    if (has_below && (!has_above || addr - range_last(below.range) <= above.range.base - addr))
        describe_neighbour(&below, true, out);
    else if (has_above)
        describe_neighbour(&above, false, out);
    else
        fmt_str(out, "nothing");
}
