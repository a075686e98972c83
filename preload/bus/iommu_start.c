/* Bring-up of IOMMUs: which device is behind which one. */
#include "bus/iommu.h"
#include "config/iommu.h"
#include "devices/classes.h"

/* The device of a node; of a PCI function's, which has several, the one that may be an IOMMU. -1: none. */
static int window_of(const struct machine_desc *desc, const struct arena_device *shared, int node)
{
    int found = -1;

    for (u32 i = 0; i < machine_devices(desc); i++) {
        if (desc->windows[i].node != node)
            continue;
        if (class_by_number(shared[i].class)->translates)
            return (int)i;
        if (found < 0)
            found = (int)i;
    }
    return found;
}

static int refuse(const struct machine_window *w, const char *what, const char *name, struct fmt *error)
{
    fmt_printf(error, "%s: iommus names %s%s", w->name, name, what);
    return -1;
}

struct found {
    int device; /* the IOMMU; -1: none */
    u32 id;
    bool bypass; /* after power-on */
};

/*
 * The IOMMU of a window, a device, or -1: there is none, or none that is modelled. That one nobody programs, since nobody
 * answers, and out of reset most let everything through: so does it here. 0, or -1 with one line.
 */
static int find(struct machine *machine, u32 window, struct found *f, struct fmt *error)
{
    const struct machine_desc *desc = machine->desc;
    const struct machine_window *w = &desc->windows[window];
    const struct arena_device *shared = arena_devices(machine->arena);
    const struct mmioshim_class *class = class_by_number(shared[window].class);
    struct mmioshim_device dev = {.name = w->name};
    struct machine_iommu iommu;
    int device, bypass;

    f->device = -1;
    if (class == &class_unimplemented) /* it moves nothing, and what its node says is nothing to us */
        return 0;
    if (machine_iommu(desc, w, &iommu, error) < 0)
        return -1;
    device = iommu.node < 0 ? -1 : window_of(desc, shared, iommu.node);
    dev.class = device < 0 ? NULL : class_by_number(shared[device].class);
    if (!dev.class || !dev.class->translates)
        return 0;
    dev.state = arena_at(machine->arena, shared[device].state);
    bypass = dev.class->translates(&dev);
    if (bypass < 0)
        return refuse(w, ", into which no IOMMU is plugged; allowed: MMIOSHIM_ATTACH with =iommu for that node",
                      desc->windows[device].name, error);
    if (iommu.node == w->node)
        return refuse(w, ": an IOMMU cannot be in front of itself", "its own node", error);
    if (iommu.more || iommu.cells != 1)
        return refuse(w, "; allowed: one entry, of one cell", desc->windows[device].name, error);
    *f = (struct found){device, iommu.id, bypass};
    return 0;
}

int bus_iommu_create(struct machine *machine, struct fmt *error)
{
    for (u32 i = 0; i < machine->arena->ndevices; i++) {
        struct found f;

        if (find(machine, i, &f, error) < 0)
            return -1;
        if (f.device >= 0 && !iommu_add(arena_iommu(machine->arena), (u32)f.device + 1, f.id, f.bypass)) {
            fmt_printf(error, "%s: more devices behind IOMMUs than the %u that are allowed", machine->desc->windows[i].name,
                       IOMMU_ENDPOINTS);
            return -1;
        }
    }
    return 0;
}

int bus_iommu_bind(struct bus_device *d, struct fmt *error)
{
    struct machine *machine = d->bus->machine;
    struct found f;

    if (find(machine, d->dev.index, &f, error) < 0)
        return -1;
    d->endpoint = f.device < 0 ? NULL : iommu_find(arena_iommu(machine->arena), (u32)f.device + 1, f.id);
    return 0;
}
