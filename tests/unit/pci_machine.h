/*
 * A machine with functions on its PCI bus, in one process; and a model of that bus which knows nothing of pci/: it
 * keeps what was written to registers by the rules of PCI Local Bus 3.0, chapter 6, and finds who answers to an
 * address by looking at every BAR. For a unit test and a fuzzer.
 */
#ifndef MMIOSHIM_TESTS_PCI_MACHINE_H
#define MMIOSHIM_TESTS_PCI_MACHINE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "base/sys.h"
#include "bus/host.h"
#include "bus/irq.h"
#include "devices/classes.h"
#include "memory/view.h"
#include "pci/pci.h"

static struct machine machine;
static struct machine_desc desc;
static struct bus bus;
static struct view view, ports;
static struct lock_self self;
static const char *attached;

static int complete(void *context, struct machine_desc *d, struct fmt *error)
{
    (void)context;
    return pci_attach(d, attached, error);
}

static int (*create_devices)(void *context, struct machine *m, struct fmt *error);

static int create_all(void *context, struct machine *m, struct fmt *error)
{
    return create_devices(context, m, error) < 0 ? -1 : pci_create(m, error);
}

/* False: *said tells why. */
static bool machine_with(const char *attach, char *said, size_t size)
{
    struct fmt error = {.buf = said, .cap = size};
    struct arena_plan plan;
    u32 pid = (u32)getpid();
    bool made;

    attached = attach;
    self = (struct lock_self){.tid = (u32)sys_gettid(), .pid = pid, .start = process_start(pid)};
    bus_plan(&bus, &plan, &desc, attach, false);
    create_devices = plan.create;
    plan.create = create_all;
    plan.complete = complete;
    made = machine_attach(&machine, &desc, "", "virt", true, &plan, &error) == 0 &&
           (lanes_start(arena_lanes(machine.arena), true),
            bus_start(&bus, &machine, UNASSIGNED_ONES, "uart@10000000=null", &error) == 0);
    if (made) {
        view_build(&view, &desc, malloc(view_bytes(&desc)), &machine.arena->map_version);
        view_build_ports(&ports, &desc, malloc(view_ports_bytes(&desc)), &machine.arena->map_version);
        made = pci_start(&bus, &view, &ports, attach, &error) == 0;
    }
    fmt_end(&error);
    return made;
}

/* What the trap does behind an access, without its log. How many messages were sent. */
static u32 requests(void)
{
    struct bus_requests r;
    u32 messages = 0;

    while (bus_take_requests(&r)) {
        for (u32 i = 0; i < r.nirqs; i++) {
            messages += r.irqs[i].message;
            irq_deliver(&bus, &r.irqs[i], &self);
        }
        if (r.more)
            irq_deliver_all(&bus, &self);
        if (r.functions)
            bus.functions->settle(&bus, &self);
        for (u32 i = 0; i < r.nsoon; i++)
            bus_serve(&bus, r.soon[i], &self);
    }
    return messages;
}

/* One access that lies in one span. False: nobody is there, or not that far. */
static bool reach(const struct view *v, u64 addr, void *data, unsigned width, bool write)
{
    struct view_span span = view_find(v, addr);
    struct bus_note note;

    if (span.kind != VIEW_WINDOW || addr - span.range.base > span.range.size - width)
        return false;
    bus_lock(&bus.devices[span.index], &self);
    bus_access(&bus, &bus.devices[span.index], addr - span.range.base + span.offset, data, width, write, &note);
    bus_unlock(&bus.devices[span.index], &self);
    requests();
    return true;
}

#define ECAM 0x30000000ull

static u64 ecam(u8 bus_number, u8 devfn, unsigned reg)
{
    return ECAM + ((u64)bus_number << 20 | (u64)devfn << 12 | reg);
}

static __attribute__((unused)) u32 config_read(u8 bus_number, u8 devfn, unsigned reg, unsigned width)
{
    u32 value = 0;

    reach(&view, ecam(bus_number, devfn, reg), &value, width, false);
    return value;
}

static __attribute__((unused)) void config_write(u8 bus_number, u8 devfn, unsigned reg, unsigned width, u32 value)
{
    reach(&view, ecam(bus_number, devfn, reg), &value, width, true);
}

/* --- the model --- */

#define MODEL_ATTACH \
    "pci:00:01.0=bridge,bus=1;pci:01:00.0=testdev,bar0=4K,bar1=16:io,bar2=64K:64:prefetch,express;" \
    "pci:00:04.0=testdev,bar0=16,bar1=256,bar2=1M:64:prefetch,bar4=8:io,rom=4K;pci:00:05.0=testdev,bar0=64K,bar3=4K;" \
    "pci:00:06.0=testdev,bar0=64K,vfs=4,vfbar0=8K"

struct model_bar {
    u64 size;
    bool io, wide, prefetch;
};

struct model_function {
    u8 bus, devfn; /* where firmware put it */
    int bridge;    /* above it, -1: none */
    bool is_bridge;
    struct model_bar bar[7];
    u8 space[64];  /* the header as it should read */
    u8 power;
};

static struct model_function model[] = {
    {0, 0x08, -1, true, {{0}}, {0}, 0},
    {1, 0x00, 0, false, {[0] = {4096, false, false, false}, [1] = {16, true, false, false}, [2] = {65536, false, true, true}}, {0}, 0},
    {0, 0x20, -1, false,
     {[0] = {16, false, false, false}, [1] = {256, false, false, false}, [2] = {1 << 20, false, true, true},
      [4] = {8, true, false, false}, [6] = {4096, false, false, false}}, {0}, 0},
    {0, 0x28, -1, false, {[0] = {65536, false, false, false}, [3] = {4096, false, false, false}}, {0}, 0},
};

#define MODELS ARRAY_SIZE(model)

static u32 word(const u8 *p)
{
    return (u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}

static void model_start(void)
{
    for (unsigned i = 0; i < MODELS; i++)
        for (unsigned reg = 0; reg < 64; reg++)
            model[i].space[reg] = (u8)config_read(model[i].bus, model[i].devfn, reg, 1);
}

/* Which bits of a byte of the header a driver can set. */
static u8 model_mask(const struct model_function *f, unsigned at)
{
    bool io = f->is_bridge, memory = f->is_bridge;
    u32 mask = 0;

    for (unsigned i = 0; i < 7; i++) {
        io |= f->bar[i].size && f->bar[i].io;
        memory |= f->bar[i].size && !f->bar[i].io;
    }
    if (at == 4)
        return (u8)(0x44 | (io ? 1 : 0) | (memory ? 2 : 0));
    if (at == 5)
        return f->is_bridge ? 1 : 5;
    if (at == 0x0c || at == 0x3c)
        return 0xff;
    if (f->is_bridge) {
        static const u8 masks[] = {[0x18] = 0xff, 0xff, 0xff, 0, 0xf0, 0xf0, 0, 0, 0xf0, 0xff, 0xf0, 0xff, 0xf0, 0xff, 0xf0, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [0x3e] = 0x43};

        return at < sizeof(masks) ? masks[at] : 0;
    }
    if (at >= 0x10 && at < 0x28) {
        unsigned i = (at - 0x10) / 4;

        if (f->bar[i].size)
            mask = ~(u32)(f->bar[i].size - 1) & (f->bar[i].io ? ~3u : ~15u);
        else if (i && f->bar[i - 1].wide)
            mask = (u32)(~(f->bar[i - 1].size - 1) >> 32);
    } else if (at >= 0x30 && at < 0x34 && f->bar[6].size) {
        mask = ~(u32)(f->bar[6].size - 1) | 1;
    }
    return (u8)(mask >> 8 * (at & 3));
}

/* A reset of the bus below a bridge leaves nothing that was set there. */
static void model_reset_below(unsigned bridge)
{
    for (unsigned i = 0; i < MODELS; i++)
        for (unsigned reg = 0; reg < 64 && model[i].bridge == (int)bridge; reg++) {
            model[i].space[reg] &= (u8)~model_mask(&model[i], reg);
            model[i].power = 0;
        }
}

static void model_write(unsigned i, unsigned reg, unsigned width, u32 value)
{
    bool bridge = model[i].is_bridge && reg <= 0x3e && reg + width > 0x3e;


    for (unsigned b = 0; b < width; b++, value >>= 8) {
        if (reg + b < 64) {
            u8 mask = model_mask(&model[i], reg + b), *p = &model[i].space[reg + b];

            *p = (u8)((*p & ~mask) | (value & mask));
        } else if (reg + b == 0x44) { /* PMCSR: power management is the first capability */
            model[i].power = value & 3;
        }
    }
    if (bridge && model[i].space[0x3e] & 0x40)
        model_reset_below(i);
}

static u64 model_base(const struct model_function *f, unsigned bar)
{
    unsigned at = bar == 6 ? 0x30 : 0x10 + 4 * bar;
    u64 low = word(f->space + at) & ~(u32)(f->bar[bar].io ? 3 : bar == 6 ? 0x7ff : 15);

    return f->bar[bar].wide ? low | (u64)word(f->space + at + 4) << 32 : low;
}

static bool model_decodes(const struct model_function *f, unsigned bar)
{
    if (f->power || !(f->space[4] & (f->bar[bar].io ? 1 : 2)))
        return false;
    return bar != 6 || (f->space[0x30] & 1);
}

static bool between(u64 low, u64 high, u64 addr)
{
    return low <= addr && addr <= high;
}

static bool model_passes(const struct model_function *f, bool io, u64 addr)
{
    const u8 *s = f->space;
    u64 high_base = (u64)word(s + 0x28) << 32, high_limit = (u64)word(s + 0x2c) << 32;

    if (f->power || !(s[4] & (io ? 1 : 2)))
        return false;
    if (io)
        return between((u64)(s[0x1c] >> 4) << 12, (u64)(s[0x1d] >> 4) << 12 | 0xfff, addr);
    return between((u64)(s[0x20] >> 4) << 20 | (u64)s[0x21] << 24, (u64)(s[0x22] >> 4) << 20 | (u64)s[0x23] << 24 | 0xfffff, addr) ||
           between(high_base | (u64)(s[0x24] >> 4) << 20 | (u64)s[0x25] << 24,
                   high_limit | (u64)(s[0x26] >> 4) << 20 | (u64)s[0x27] << 24 | 0xfffff, addr);
}

/* May this BAR answer to the address? Several may: which of them does is not specified. */
static bool model_answers(unsigned i, unsigned bar, bool io, u64 addr)
{
    const struct model_function *f = &model[i];

    if (!f->bar[bar].size || f->bar[bar].io != io || !model_decodes(f, bar))
        return false;
    if (f->bridge >= 0 && !model_passes(&model[f->bridge], io, addr))
        return false;
    return addr - model_base(f, bar) < f->bar[bar].size;
}

/* The device "pci:BB:DD.F:barN" of the machine. */
static u32 model_device(unsigned i, unsigned bar)
{
    char name[64];

    snprintf(name, sizeof(name), bar == 6 ? "pci:%02x:%02x.%u:rom" : "pci:%02x:%02x.%u:bar%u", model[i].bus, model[i].devfn >> 3,
             model[i].devfn & 7, bar);
    for (u32 d = 0; d < bus.ndevices; d++)
        if (strcmp(bus.devices[d].dev.name, name) == 0)
            return d;
    return UINT32_MAX;
}

/* Functions that are not in the model may answer anywhere. */
static bool in_model(u32 device)
{
    for (unsigned i = 0; i < MODELS; i++) {
        char name[32];

        snprintf(name, sizeof(name), "pci:%02x:%02x.%u:", model[i].bus, model[i].devfn >> 3, model[i].devfn & 7);
        if (strncmp(bus.devices[device].dev.name, name, strlen(name)) == 0)
            return true;
    }
    return false;
}

/* Does the machine find at an address of the bus whom the model allows? NULL: yes; else what is wrong. */
static const char *model_agrees(bool io, u64 addr)
{
    struct view_span span = view_find(io ? &ports : &view, addr);
    bool moving = span.kind == VIEW_WINDOW && span.index >= machine_fixed(&desc), any = false;

    if (!range_has(span.range, addr))
        return "the span does not have the address";
    if (moving && span.range.size > bus.devices[span.index].dev.size - span.offset)
        return "the span is larger than its device";
    for (unsigned i = 0; i < MODELS; i++)
        for (unsigned bar = 0; bar < 7; bar++) {
            if (!model_answers(i, bar, io, addr))
                continue;
            any = true;
            if (moving && span.index == model_device(i, bar))
                return addr - span.range.base + span.offset == addr - model_base(&model[i], bar) ? NULL : "the offset is wrong";
        }
    if (any)
        return moving && !in_model(span.index) ? NULL : "another one answers, or nobody";
    return moving && in_model(span.index) ? "somebody answers who should not" : NULL;
}

#endif
