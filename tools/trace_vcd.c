/* A transcript as waves: a reg for each register that was seen, wires that say when it was read, written, or interrupted. */
#include <stdlib.h>

#include "table.h"
#include "tool.h"
#include "trace/parts.h"
#include "trace/vcd.h"
#include "trace_write.h"

enum { WIRE_RD, WIRE_WR, WIRE_IRQ, WIRES };

static const char *const wire_names[WIRES] = {"rd", "wr", "irq"};

/* A register, or an element of an array of them. */
struct variable {
    u32 device;
    u16 reg, element;
    bool known;
    u64 value;
    u64 code;
};

struct device {
    bool seen;
    u64 code; /* of its first wire */
};

struct vcd {
    struct device *devices;
    struct variable *variables; /* sorted by device, register, element */
    size_t count, room;
    u64 now;      /* last time that was written */
    bool any;
    u32 pulsed;   /* device whose wire is up, with the number of the wire; to be taken down */
    int wire;     /* -1: none is up */
};

static const struct mmioshim_register *register_of(const struct trace_input *in, const struct variable *v)
{
    return &in->map.devices[v->device].registers[v->reg];
}

static unsigned bits_of(const struct trace_input *in, const struct variable *v)
{
    unsigned width = register_of(in, v)->width;

    return 8 * (width && width <= 8 ? width : 8);
}

static int compare(const void *a, const void *b)
{
    const struct variable *x = a, *y = b;

    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    if (x->reg != y->reg)
        return x->reg < y->reg ? -1 : 1;
    return x->element < y->element ? -1 : x->element > y->element;
}

static struct variable *find(const struct vcd *vcd, const struct trace_record *r)
{
    struct variable key = {.device = r->device, .reg = r->reg, .element = r->element};

    return vcd->count ? bsearch(&key, vcd->variables, vcd->count, sizeof(key), compare) : NULL;
}

/* Does the access tell what the register holds? A write to one that ignores writes does not. */
static bool has_register(const struct trace_input *in, const struct trace_record *r)
{
    const struct mmioshim_register *reg = part_register(r, &in->names);

    return (r->type == TRACE_MMIO || r->type == TRACE_PORT) && reg && !(r->flags & TRACE_UNASSIGNED) &&
           reg->access != (r->op == TRACE_WRITE ? MMIOSHIM_RO : MMIOSHIM_WO);
}

/* Keeps the table sorted: there are few variables, however many accesses. */
static void add(struct vcd *vcd, const struct trace_record *r)
{
    size_t at = vcd->count;
    struct variable v = {.device = r->device, .reg = r->reg, .element = r->element};

    if (find(vcd, r))
        return;
    vcd->variables = table_grow(vcd->variables, vcd->count, &vcd->room, sizeof(v));
    for (; at && compare(&v, &vcd->variables[at - 1]) < 0; at--)
        vcd->variables[at] = vcd->variables[at - 1];
    vcd->variables[at] = v;
    vcd->count++;
}

static void look(struct vcd *vcd, struct trace_input *in)
{
    enum trace_item item;

    while ((item = trace_input_next(in)) != ITEM_END) {
        const struct trace_record *r = &in->record;

        if (item != ITEM_RECORD || !part_device(r, &in->names))
            continue;
        if (r->type == TRACE_MMIO || r->type == TRACE_PORT || r->type == TRACE_IRQ)
            vcd->devices[r->device].seen = true;
        if (has_register(in, r))
            add(vcd, r);
    }
    in->rewind(in);
}

/* --- what comes first --- */

static void put_device(struct trace_output *out, struct trace_input *in, u32 index, u64 *code)
{
    struct vcd *vcd = out->own;

    trace_output_room(out, 4096);
    fmt_str(&out->buf, "$scope module ");
    vcd_name(&out->buf, in->map.devices[index].name);
    fmt_str(&out->buf, " $end\n");
    vcd->devices[index].code = *code;
    for (int i = 0; i < WIRES; i++)
        vcd_variable(&out->buf, wire_names[i], -1, 1, (*code)++);
    for (size_t i = 0; i < vcd->count; i++) {
        struct variable *v = &vcd->variables[i];
        const struct mmioshim_register *reg = v->device == index ? register_of(in, v) : NULL;

        if (!reg)
            continue;
        trace_output_room(out, 4096);
        v->code = (*code)++;
        vcd_variable(&out->buf, reg->name, reg->count > 1 ? v->element : -1, bits_of(in, v), v->code);
    }
    fmt_str(&out->buf, "$upscope $end\n");
}

static void put_initial(struct trace_output *out, struct trace_input *in)
{
    struct vcd *vcd = out->own;

    fmt_str(&out->buf, "#0\n$dumpvars\n");
    for (u32 i = 0; i < in->map.ndevices; i++)
        for (int k = 0; vcd->devices[i].seen && k < WIRES; k++) {
            trace_output_room(out, 4096);
            vcd_value(&out->buf, 1, true, 0, vcd->devices[i].code + (u64)k);
        }
    for (size_t i = 0; i < vcd->count; i++) {
        trace_output_room(out, 4096);
        vcd_value(&out->buf, bits_of(in, &vcd->variables[i]), false, 0, vcd->variables[i].code);
    }
    fmt_str(&out->buf, "$end\n");
}

void vcd_begin(struct trace_output *out, struct trace_input *in)
{
    struct vcd *vcd = out->own = tool_alloc(sizeof(*vcd));
    u64 code = 0;

    vcd->devices = tool_alloc((in->map.ndevices + 1) * sizeof(*vcd->devices));
    vcd->wire = -1;
    look(vcd, in);
    trace_output_room(out, 4096);
    fmt_str(&out->buf, "$comment mmioshim; #0 is ");
    fmt_dec(&out->buf, in->started);
    fmt_str(&out->buf, " ns after 1970 $end\n$timescale 1 ns $end\n");
    for (u32 i = 0; i < in->map.ndevices; i++)
        if (vcd->devices[i].seen)
            put_device(out, in, i, &code);
    fmt_str(&out->buf, "$enddefinitions $end\n");
    put_initial(out, in);
}

/* --- events --- */

/* Time never goes back, and every event has a moment of its own: else its pulse would not show. */
static void go_to(struct trace_output *out, struct trace_input *in, u64 time)
{
    struct vcd *vcd = out->own;
    u64 at = time > in->started ? time - in->started : 0;

    if (at <= vcd->now)
        at = vcd->now + 1;
    if (vcd->wire >= 0 && at > vcd->now + 1)
        vcd_time(&out->buf, vcd->now + 1);
    else
        vcd_time(&out->buf, at);
    if (vcd->wire >= 0) {
        vcd_value(&out->buf, 1, true, 0, vcd->devices[vcd->pulsed].code + (u64)vcd->wire);
        if (at > vcd->now + 1)
            vcd_time(&out->buf, at);
    }
    vcd->wire = -1;
    vcd->now = at;
}

static void put_register(struct trace_output *out, struct trace_input *in, const struct trace_record *r)
{
    struct variable *v = find(out->own, r);
    const struct mmioshim_register *reg = part_register(r, &in->names);
    u64 value, mask;
    unsigned bits, inside;

    inside = 8 * part_inside(r, reg);
    if (!v || inside >= 64)
        return;
    bits = bits_of(in, v);
    mask = part_width(r) < 8 ? (((u64)1 << 8 * part_width(r)) - 1) << inside : ~(u64)0 << inside;
    value = (v->value & ~mask) | (part_register_value(r, reg) & mask);
    if (bits < 64)
        value &= ((u64)1 << bits) - 1;
    if (v->known && v->value == value)
        return;
    v->known = true;
    v->value = value;
    vcd_value(&out->buf, bits, true, value, v->code);
}

void vcd_item(struct trace_output *out, struct trace_input *in, enum trace_item item)
{
    const struct trace_record *r = &in->record;
    struct vcd *vcd = out->own;
    bool access = r->type == TRACE_MMIO || r->type == TRACE_PORT;

    if (item != ITEM_RECORD || !part_device(r, &in->names) || !(access || r->type == TRACE_IRQ))
        return;
    trace_output_room(out, 4096);
    go_to(out, in, r->time);
    if (!access) {
        vcd_value(&out->buf, 1, true, r->width != 0, vcd->devices[r->device].code + WIRE_IRQ);
        return;
    }
    vcd->pulsed = r->device;
    vcd->wire = r->op == TRACE_WRITE ? WIRE_WR : WIRE_RD;
    vcd_value(&out->buf, 1, true, 1, vcd->devices[r->device].code + (u64)vcd->wire);
    if (has_register(in, r))
        put_register(out, in, r);
}

void vcd_end(struct trace_output *out, struct trace_input *in)
{
    struct vcd *vcd = out->own;

    trace_output_room(out, 4096);
    if (vcd->wire >= 0)
        go_to(out, in, 0);
    free(vcd->devices);
    free(vcd->variables);
    free(vcd);
}
