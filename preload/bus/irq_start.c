/* Bring-up of interrupt lines: who is wired to whom. */
#include "base/mem.h"
#include "base/sys.h"
#include "bus/irq.h"
#include "config/interrupts.h"

#define UNWIRED 4 /* most lines of a device whose node says nothing of interrupts */
#define SIGNAL  "mmioshim,irq-signal"
#define THREAD  "mmioshim,irq-thread"

/* Numbers of Linux on x86: ILL TRAP BUS FPE KILL SEGV STOP, and libc's own two. */
#define NOT_ASYNCHRONOUS \
    (1ull << 4 | 1ull << 5 | 1ull << 7 | 1ull << 8 | 1ull << 9 | 1ull << 11 | 1ull << 19 | 1ull << 32 | 1ull << 33)

#define FEW 8 /* entries that most devices do not exceed: kept, because each look goes through the whole tree */

/* What the tree says of a window's node. */
struct seen {
    u32 n; /* 1 more than there are; 0: not looked yet */
    struct machine_interrupt first[FEW];
};

/* A device behind a BAR has the interrupt of its function. */
static u32 interrupts_of(const struct machine_desc *desc, u32 window, struct machine_interrupt *out, u32 most)
{
    const struct machine_window *w = &desc->windows[window];

    if (!w->function)
        return machine_interrupts(desc, w->node, out, most);
    return w->bar == PCI_CONFIG_SPACE && machine_pci_interrupt(desc, w->function - 1u, out) ? 1 : 0;
}

static struct seen *look(const struct machine_desc *desc, u32 window)
{
    static struct seen *table;
    static u64 hash;
    struct seen *s;

    if (!table)
        table = sys_pages(MACHINE_WINDOWS * sizeof(*table));
    if (!table)
        return NULL;
    for (u32 i = 0; hash != desc->hash && i < machine_devices(desc); i++)
        table[i].n = 0;
    hash = desc->hash;
    s = &table[window];
    if (!s->n)
        s->n = interrupts_of(desc, window, s->first, FEW) + 1;
    return s;
}

/* The pin of a PCI function, and its messages. */
static u32 function_lines(const struct machine_desc *desc, u32 window)
{
    const struct pci_function *f = &desc->pci.functions[desc->windows[window].function - 1];

    return 1 + MAX((u32)f->msi, (u32)f->msix);
}

u32 irq_lines(const struct machine_desc *desc, u32 window, const struct mmioshim_class *class)
{
    const struct seen *s = class->lines ? look(desc, window) : NULL;

    if (desc->windows[window].function && desc->windows[window].bar == PCI_CONFIG_SPACE)
        return function_lines(desc, window);
    return s && s->n > 1 ? MIN(s->n - 1, (u32)class->lines) : MIN((u32)class->lines, (u32)UNWIRED);
}

/* NULL: there are none, or no memory for them. */
static const struct machine_interrupt *read_interrupts(const struct machine *machine, u32 i)
{
    static const struct machine_interrupt nowhere[UNWIRED] = {{-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}};
    u32 n = arena_devices(machine->arena)[i].nwires;
    const struct seen *s = n ? look(machine->desc, i) : NULL;
    struct machine_interrupt *list;

    if (!s)
        return NULL;
    if (s->n == 1 && n <= UNWIRED)
        return nowhere;
    if (n <= MIN(s->n - 1, (u32)FEW))
        return s->first;
    list = sys_pages(n * sizeof(*list)); /* stays: tables that live as long as the process */
    for (u32 line = list ? interrupts_of(machine->desc, i, list, n) : n; line < n; line++)
        list[line].controller = -1;
    return list;
}

/* --- harts --- */

static int hart_of(const struct arena *arena, int node)
{
    for (u32 i = 0; i < MIN(arena->irqs.nharts, ARENA_HARTS); i++)
        if (arena->irqs.hart[i].node == node)
            return (int)i;
    return -1;
}

/* -1: there is no more room, and nobody hears of its interrupts. */
static int make_hart(struct arena *arena, int node)
{
    int hart = hart_of(arena, node);

    if (hart >= 0 || arena->irqs.nharts == ARENA_HARTS)
        return hart;
    hart = (int)arena->irqs.nharts++;
    arena->irqs.hart[hart].node = node;
    return hart;
}

/* The signal that a node asks for. False: it says nothing. */
static bool signal_of(const struct machine_desc *desc, int node, u32 *signal, bool *thread)
{
    struct mmioshim_node n = {desc, node};

    if (node < 0 || !node_property_u32(&n, SIGNAL, signal))
        return false;
    *thread = node_property(&n, THREAD, NULL);
    return true;
}

/* The device's own node decides, then the hart's controller, then the CPU. */
static int choose_signal(struct machine *machine, u32 i, const struct machine_interrupt *interrupt, struct fmt *error)
{
    const struct machine_desc *desc = machine->desc;
    struct arena_hart *h;
    u32 signal = 0, number = interrupt->number;
    bool thread = false;
    int cpu, hart;

    if (!machine_is_hart(desc, interrupt->controller, &cpu) || number >= ARRAY_SIZE(h->signal))
        return 0;
    hart = make_hart(machine->arena, interrupt->controller);
    if (hart < 0)
        return 0;
    h = &machine->arena->irqs.hart[hart];
    if (!signal_of(desc, desc->windows[i].node, &signal, &thread) &&
        !signal_of(desc, interrupt->controller, &signal, &thread))
        signal_of(desc, cpu, &signal, &thread);
    if (signal >= ARENA_SIGNALS || (signal < 64 && NOT_ASYNCHRONOUS >> signal & 1)) {
        fmt_printf(error, "%s: " SIGNAL " of its interrupts is %u; allowed: a signal that may come at any time",
                   desc->windows[i].name, signal);
        return -1;
    }
    h->signal[number] = (u8)signal;
    if (thread)
        h->threaded |= (u64)1 << number;
    return 0;
}

int irq_create(struct machine *machine, struct fmt *error)
{
    int ret = 0;

    for (u32 i = 0; i < machine->arena->ndevices && ret == 0; i++) {
        const struct machine_interrupt *list = read_interrupts(machine, i);

        for (u32 line = 0; list && line < arena_devices(machine->arena)[i].nwires && ret == 0; line++)
            ret = choose_signal(machine, i, &list[line], error);
    }
    return ret;
}

/* --- routes --- */

static int controller_device(const struct bus *bus, int node)
{
    const struct machine_desc *desc = bus->machine->desc;

    for (u32 i = 0; i < bus->ndevices; i++)
        if (desc->windows[i].node == node && bus->devices[i].dev.class->irq_in)
            return (int)i;
    return -1;
}

static struct irq_route route_of(const struct bus *bus, const struct machine_interrupt *interrupt)
{
    struct irq_route route = {.end = IRQ_NOWHERE, .number = interrupt->number};
    int target;

    if (interrupt->controller < 0)
        return route;
    target = controller_device(bus, interrupt->controller);
    if (target >= 0) {
        route.end = IRQ_DEVICE;
        route.target = (u32)target;
        return route;
    }
    target = hart_of(bus->machine->arena, interrupt->controller);
    if (target >= 0 && interrupt->number < 64) {
        route.end = IRQ_HART;
        route.target = (u32)target;
    }
    return route;
}

static bool routes_of(struct bus *bus, u32 i, struct irq_route *routes)
{
    u32 n = bus->devices[i].shared->nwires;
    const struct machine_interrupt *list = read_interrupts(bus->machine, i);

    if (!list)
        return n == 0;
    for (u32 line = 0; line < n; line++)
        routes[line] = route_of(bus, &list[line]);
    bus->devices[i].routes = routes;
    return true;
}

bool irq_start(struct bus *bus)
{
    struct irq_route *routes;
    u64 n = 0;

    for (u32 i = 0; i < bus->ndevices; i++)
        n += bus->devices[i].shared->nwires;
    routes = n ? sys_pages(n * sizeof(*routes)) : NULL;
    if (n && !routes)
        return false;
    for (u32 i = 0; i < bus->ndevices; i++) {
        if (!routes_of(bus, i, routes))
            return false;
        routes += bus->devices[i].shared->nwires;
    }
    return true;
}
