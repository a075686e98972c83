/* Bring-up of the bus: which model for which window, their states, their host ends. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/debug.h"
#include "base/fds.h"
#include "base/mem.h"
#include "base/sys.h"
#include "bus/ends.h"
#include "bus/host.h"
#include "bus/iommu.h"
#include "bus/irq.h"
#include "config/options.h"
#include "devices/classes.h"

static u64 plan_state(void *context, u32 window, u16 *class)
{
    const struct machine_desc *desc = context;
    const struct mmioshim_class *c = class_for_window(desc, &desc->windows[window]);

    *class = (u16)class_number(c);
    return class_state_size(c, machine_device_size(&desc->windows[window]));
}

static u32 plan_wires(void *context, u32 window)
{
    const struct machine_desc *desc = context;

    return irq_lines(desc, window, class_for_window(desc, &desc->windows[window]));
}

static struct mmioshim_device device_of(struct machine *machine, u32 i)
{
    const struct arena_device *shared = &arena_devices(machine->arena)[i];
    const struct machine_window *window = &machine->desc->windows[i];

    return (struct mmioshim_device){
        .class = class_by_number(shared->class),
        .host = &bus_host,
        .state = arena_at(machine->arena, shared->state),
        .size = machine_device_size(window),
        .name = window->name,
        .index = i,
    };
}

/* The back end that MMIOSHIM_ATTACH gives a node: the last one counts. False: none. */
static bool attachment(const char *attach, const char *node, struct fmt *spec)
{
    char piece[512];
    bool found = false;

    for (;;) {
        struct fmt f = FMT_INIT(piece);
        const char *equals;

        if (!list_next(&attach, ';', &f))
            return found;
        fmt_end(&f);
        equals = strchr(piece, '=');
        if (!equals || (size_t)(equals - piece) != strlen(node) || strncmp(piece, node, strlen(node)) != 0)
            continue;
        spec->len = 0;
        fmt_str(spec, equals + 1);
        fmt_end(spec);
        found = true;
    }
}

/*
 * What is attached to a device. What is behind a BAR of a PCI function has it from the node of that, where MMIOSHIM_ATTACH was
 * written to.
 */
static bool attached(const struct machine *machine, const struct mmioshim_device *dev, const char *attach, struct fmt *spec)
{
    const struct machine_window *w = &machine->desc->windows[dev->index];
    struct mmioshim_node node = {machine->desc, w->node};
    u32 length = 0;
    const char *text;

    if (!w->function)
        return attachment(attach, dev->name, spec);
    text = dev->class->plug || dev->class->backends ? node_property(&node, "mmioshim,options", &length) : NULL;
    if (!text || !length || text[length - 1])
        return false;
    fmt_str(spec, text);
    fmt_end(spec);
    return true;
}

/* MMIOSHIM_ATTACH of the machine that is being made. */
static const char *plugged;

/* As MMIOSHIM_ATTACH names it: a device behind a BAR belongs to a function. */
static const char *attach_name(const struct machine *machine, const struct mmioshim_device *dev)
{
    const struct machine_desc *desc = machine->desc;
    u16 function = desc->windows[dev->index].function;

    return function ? desc->windows[desc->pci.functions[function - 1].device].name : dev->name;
}

/* What a slot gets. */
static int plug(const struct machine *machine, struct mmioshim_device *dev, struct fmt *error)
{
    char text[512];
    struct fmt spec = FMT_INIT(text);
    bool given = attached(machine, dev, plugged, &spec);
    const char *why = "cannot be had";

    if (!dev->class->plug || dev->class->plug(dev, given ? text : NULL, &why) == 0)
        return 0;
    fmt_printf(error, "MMIOSHIM_ATTACH=%s=%s: %s; allowed:", attach_name(machine, dev), text, why);
    for (const struct mmioshim_property *part = dev->class->parts; part->name; part++)
        fmt_printf(error, "%s %s", part == dev->class->parts ? "" : ",", part->name);
    return -1;
}

static int create_one(struct bus *made, u32 i, struct fmt *error)
{
    struct machine *machine = made->machine;
    /* No host ends yet: creation only sets up state. */
    struct bus_device d = {.dev = device_of(machine, i), .bus = made, .shared = &arena_devices(machine->arena)[i]};
    struct mmioshim_device *dev = &d.dev;
    struct mmioshim_node node = {machine->desc, machine->desc->windows[i].node};
    const char *why = "cannot be created";

    if (dev->size < dev->class->min_size) {
        fmt_printf(error, "%s: its window of %lu bytes is too small for %s, which needs %lu", dev->name, dev->size,
                   dev->class->name, dev->class->min_size);
        return -1;
    }
    if (dev->class->create && dev->class->create(dev, &node, &why) < 0) {
        fmt_printf(error, "%s: %s", dev->name, why);
        return -1;
    }
    if (plug(machine, dev, error) < 0)
        return -1;
    if (dev->class->reset)
        dev->class->reset(dev, MMIOSHIM_RESET_COLD);
    return 0;
}

static int create(void *context, struct machine *machine, struct fmt *error)
{
    struct bus made = {.machine = machine};

    (void)context;
    if (irq_create(machine, error) < 0)
        return -1;
    for (u32 i = 0; i < machine->arena->ndevices; i++)
        if (create_one(&made, i, error) < 0)
            return -1;
    if (bus_iommu_create(machine, error) < 0)
        return -1;
    bus_take_requests(&(struct bus_requests){0});
    return 0;
}

void bus_plan(struct bus *bus, struct arena_plan *plan, struct machine_desc *desc, const char *attach, bool clock_virtual)
{
    (void)bus;
    plugged = attach;
    *plan = (struct arena_plan){.context = desc, .state_size = plan_state, .wires = plan_wires, .create = create,
                                .clock_virtual = clock_virtual};
}

/* Length of the kind in "file:x,append". */
static size_t kind_length(const char *spec)
{
    size_t n = 0;

    while (spec[n] && spec[n] != ':' && spec[n] != ',')
        n++;
    return n;
}

/* Is the kind of a specification ("file:x") among those that the class takes? */
static bool class_takes(const struct mmioshim_class *class, const char *spec)
{
    size_t n = kind_length(spec);

    for (const char *const *kind = class->backends; kind && *kind; kind++)
        if (strlen(*kind) == n && strncmp(*kind, spec, n) == 0)
            return true;
    return false;
}

static int refuse(const struct bus_device *d, const char *spec, struct fmt *error)
{
    fmt_printf(error, "MMIOSHIM_ATTACH=%s=%s: ", d->dev.name, spec);
    if (!d->dev.class->backends) {
        fmt_printf(error, "%s takes no host end", d->dev.class->name);
        return -1;
    }
    fmt_str(error, "no such host end; allowed:");
    for (const char *const *kind = d->dev.class->backends; *kind; kind++)
        fmt_printf(error, " %s", *kind);
    return -1;
}

/* Descriptors of a host end move out of the program's way. One that is adopted is handed on to what is executed. */
static void hide(struct backend *b)
{
    int *fds[] = {&b->in, &b->out};
    bool one = b->out == b->in;

    if (!b->owns)
        return;
    for (unsigned i = 0; i < (one ? 1 : 2); i++) {
        enum fd_use use = *fds[i] > 2 ? fds_reserve() : 0;

        if (!use)
            continue;
        *fds[i] = fds_adopt(use, *fds[i]);
        b->use[i] = (u16)use;
        if (b->ops->adopt)
            fds_share(use);
    }
    if (one) {
        b->out = b->in;
        b->use[1] = b->use[0];
    }
}

/* The end that another process of the machine opened; false: it cannot be had. */
static bool adopt_end(struct bus *bus, struct backend *b, u64 identity, const char *spec)
{
    const struct backend_ops *ops = backend_kind(spec, kind_length(spec));
    char text[128];
    struct fmt error = FMT_INIT(text);
    int fd;

    if (!bus->machine->joined || !ops || !ops->adopt || !identity)
        return false;
    fd = ends_find(bus->machine, ops, identity);
    if (fd < 0 || ops->adopt(b, fd, &error) < 0)
        return false;
    b->ops = ops;
    return true;
}

/* Processes that come to a named machine at once: one of them is the first (flock(2) is of who opened the file). */
static int open_remembered(struct machine *machine, struct bus_device *d, const char *spec, struct fmt *error)
{
    struct backend *b = &d->backend;
    int ret;

    sys(SYS_flock, machine->ram_fd, LOCK_EX);
    b->store = machine->ram_fd;
    b->base = d->shared->end_base;
    b->size = d->shared->end_size;
    ret = backend_open(b, spec, error);
    if (ret == 0) {
        d->shared->end_base = b->base;
        d->shared->end_size = b->size;
    }
    sys(SYS_flock, machine->ram_fd, LOCK_UN);
    return ret;
}

/* Of several ends nothing is remembered. */
static int open_new(struct bus *bus, struct bus_device *d, struct backend *b, const char *spec, struct fmt *error)
{
    if (b == &d->backend)
        return open_remembered(bus->machine, d, spec, error);
    b->store = -1;
    return backend_open(b, spec, error);
}

/* A disk of the size that the device needs? */
static bool fits(const struct bus_device *d, struct backend *b, struct fmt *error)
{
    u64 want = d->dev.class->disk_bytes && b->ops->disk ? d->dev.class->disk_bytes(&d->dev) : 0;
    u64 have = want ? b->ops->disk->size(b) : 0;

    if (want == have)
        return true;
    fmt_printf(error, "it has %lu bytes; allowed: %lu", have, want);
    return false;
}

static int open_end(struct bus *bus, struct bus_device *d, const char *spec, struct fmt *error)
{
    struct backend *b = d->nends ? &d->more[d->nends - 1] : &d->backend;
    u64 *identity = &d->shared->ends[d->nends];

    b->in = b->out = -1;
    b->first = !bus->machine->joined;
    b->epoch = &d->shared->end_epoch[d->nends];
    fmt_printf(error, "MMIOSHIM_ATTACH=%s=%s: ", attach_name(bus->machine, &d->dev), spec);
    if (!adopt_end(bus, b, *identity, spec) && open_new(bus, d, b, spec, error) < 0)
        return -1;
    if (!fits(d, b, error))
        return -1;
    error->len = 0;
    debug(DEV, 1, "%s: host end %s%s", d->dev.name, spec, b->name);
    hide(b);
    if (b->ops->identity)
        *identity = b->ops->identity(b, -1);
    d->nends++;
    return 0;
}

/* One a line. */
static int open_ends(struct bus *bus, struct bus_device *d, const char *list, struct fmt *error)
{
    char text[512];
    struct fmt spec = FMT_INIT(text);

    if (strchr(list, '\n')) {
        d->more = sys_pages((ARENA_ENDS - 1) * sizeof(*d->more));
        if (!d->more) {
            fmt_str(error, "machine: no memory for its host ends");
            return -1;
        }
    }
    while (d->nends < ARENA_ENDS && list_next(&list, '\n', &spec))
        if (spec.len && open_end(bus, d, fmt_end(&spec), error) < 0)
            return -1;
    return 0;
}

static int open_backend(struct bus *bus, struct bus_device *d, const char *attach, struct fmt *error)
{
    char text[512];
    struct fmt spec = FMT_INIT(text);
    bool given = attached(bus->machine, &d->dev, attach, &spec);

    if (d->dev.class->end) /* what is plugged in belongs to the machine, whatever this process was given */
        return open_ends(bus, d, d->dev.class->end(&d->dev), error);
    if (given && !class_takes(d->dev.class, text))
        return refuse(d, text, error);
    if (!given && !d->dev.class->backends)
        return 0;
    if (!given)
        fmt_str(&spec, d->dev.class->backends[0]);
    return open_end(bus, d, fmt_end(&spec), error);
}

/* Every node that MMIOSHIM_ATTACH names must be there. */
static int check_nodes(const struct bus *bus, const char *attach, struct fmt *error)
{
    char piece[512];

    for (;;) {
        struct fmt f = FMT_INIT(piece);
        char *equals;
        bool found = false;

        if (!list_next(&attach, ';', &f))
            return 0;
        fmt_end(&f);
        if (strncmp(piece, "pci:", 4) == 0) /* pci/attach.c */
            continue;
        equals = strchr(piece, '=');
        if (equals)
            *equals = 0;
        for (u32 i = 0; i < bus->ndevices && !found; i++)
            found = strcmp(bus->devices[i].dev.name, piece) == 0;
        if (found)
            continue;
        if (equals)
            *equals = '=';
        fmt_printf(error, "MMIOSHIM_ATTACH=%s: no such node in the map; allowed:", piece);
        for (u32 i = 0; i < bus->ndevices; i++)
            if (bus->devices[i].dev.class->backends || bus->devices[i].dev.class->plug)
                fmt_printf(error, " %s", bus->devices[i].dev.name);
        return -1;
    }
}

int bus_start(struct bus *bus, struct machine *machine, enum unassigned unassigned, const char *attach, struct fmt *error)
{
    u32 n = machine->arena->ndevices;

    bus->machine = machine;
    bus->ndevices = n;
    bus->unassigned = unassigned;
    bus->devices = sys_pages((n + 1) * sizeof(*bus->devices));
    bus->names = sys_pages((n + 1) * sizeof(*bus->names));
    if (!bus->devices || !bus->names) {
        fmt_str(error, "machine: no memory for its devices");
        return -1;
    }
    for (u32 i = 0; i < n; i++) {
        struct bus_device *d = &bus->devices[i];
        const struct machine_window *w = &machine->desc->windows[i];

        d->dev = device_of(machine, i);
        d->shared = &arena_devices(machine->arena)[i];
        d->backend.in = d->backend.out = -1;
        d->bus = bus;
        if (machine_dma(machine->desc, w, &d->dma, error) < 0 || bus_iommu_bind(d, error) < 0)
            return -1;
        bus->names[i] = (struct trace_device){
            .name = w->name,
            .label = d->dev.class->label,
            .compatible = w->compatible,
            .window = w->range,
            .port = i >= machine->desc->nwindows && i < machine_fixed(machine->desc),
            .moves = i >= machine_fixed(machine->desc),
            .registers = d->dev.class->registers,
            .nregisters = d->dev.class->nregisters,
        };
    }
    if (!irq_start(bus)) {
        fmt_str(error, "machine: no memory for its interrupts");
        return -1;
    }
    if (check_nodes(bus, attach, error) < 0)
        return -1;
    for (u32 i = 0; i < n; i++)
        if (open_backend(bus, &bus->devices[i], attach, error) < 0)
            return -1;
    return 0;
}

void bus_stop(struct bus *bus)
{
    for (u32 i = 0; i < bus->ndevices; i++)
        for (u32 end = 0; end < bus->devices[i].nends; end++)
            backend_close(bus_end_at(&bus->devices[i], end));
}
