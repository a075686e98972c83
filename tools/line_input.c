/* The reader of transcripts that are lines: what text and JSON have in common. */
#include "line_input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/classes.h"
#include "tool.h"

/* --- memory --- */

struct block {
    struct block *next;
    char text[];
};

static void *lines_memory(struct lines *l, size_t bytes)
{
    struct block *b = tool_alloc(sizeof(*b) + bytes);

    b->next = l->blocks;
    l->blocks = b;
    return b->text;
}

char *lines_keep(struct lines *l, const char *text, size_t n)
{
    char *copy = lines_memory(l, n + 1);

    memcpy(copy, text, n);
    return copy;
}

/* --- lines --- */

const char *lines_peek(const struct lines *l, size_t *length)
{
    const char *stop = l->at < l->end ? memchr(l->at, '\n', (size_t)(l->end - l->at)) : NULL;

    *length = (size_t)((stop ? stop : l->end) - l->at);
    return l->at < l->end ? l->at : NULL;
}

char *lines_next(struct lines *l)
{
    size_t n;
    const char *line = lines_peek(l, &n);

    if (!line)
        return NULL;
    while (n + 1 > l->room)
        l->line = table_grow(l->line, l->room, &l->room, 1);
    memcpy(l->line, line, n);
    l->line[n] = 0;
    l->at = line + n < l->end ? line + n + 1 : l->end;
    l->number++;
    return l->line;
}

/* --- the map --- */

void lines_add_bank(struct trace_input *in, const char *name, struct range range)
{
    struct lines *l = in->own;

    for (u32 i = 0; i < in->map.nbanks; i++)
        if (strcmp(l->banks[i].name, name) == 0)
            return;
    l->banks = table_grow(l->banks, in->map.nbanks, &l->bank_room, sizeof(*l->banks));
    l->banks[in->map.nbanks++] = (struct trace_bank){lines_keep(l, name, strlen(name)), range};
    in->map.banks = l->banks;
}

void lines_add_device(struct trace_input *in, const char *name, const char *label, const char *compatible,
                      struct range range, bool port, bool moves)
{
    const struct mmioshim_class *class = compatible && *compatible ? class_by_compatible(compatible) : NULL;
    struct lines *l = in->own;
    size_t registers_room = l->device_room;
    struct trace_device *d;

    for (u32 i = 0; i < in->map.ndevices; i++)
        if (strcmp(l->devices[i].name, name) == 0 && l->devices[i].window.base == range.base && l->devices[i].port == port)
            return;
    if (in->map.ndevices >= TRACE_NONE)
        return;
    l->devices = table_grow(l->devices, in->map.ndevices, &l->device_room, sizeof(*l->devices));
    l->registers = table_grow(l->registers, in->map.ndevices, &registers_room, sizeof(*l->registers));
    d = &l->devices[in->map.ndevices];
    l->registers[in->map.ndevices] = NULL;
    *d = (struct trace_device){.name = lines_keep(l, name, strlen(name)), .window = range, .port = port,
                                .moves = moves};
    if (!label)
        label = class ? class->label : class_unimplemented.label;
    d->label = lines_keep(l, label, strlen(label));
    d->compatible = compatible ? lines_keep(l, compatible, strlen(compatible)) : NULL;
    d->registers = class ? class->registers : NULL;
    d->nregisters = class ? class->nregisters : 0;
    in->map.ndevices++;
    in->map.devices = in->names.devices = l->devices;
    in->names.ndevices = in->map.ndevices;
}

u16 lines_device(const struct trace_input *in, const char *name)
{
    for (u32 i = 0; i < in->map.ndevices; i++)
        if (strcmp(in->map.devices[i].name, name) == 0)
            return (u16)i;
    return TRACE_NONE;
}

/* A register that the model, if there is one, does not have. */
static u16 new_register(struct trace_input *in, const struct trace_record *r, const char *name, size_t n, unsigned inside,
                        bool array)
{
    struct lines *l = in->own;
    struct trace_device *d = &l->devices[r->device];
    struct mmioshim_register *larger;

    if (d->nregisters == TRACE_NONE - 1)
        return TRACE_NONE;
    larger = realloc(l->registers[r->device], (d->nregisters + 1u) * sizeof(*larger));
    if (!larger)
        return TRACE_NONE;
    if (!l->registers[r->device] && d->nregisters)
        memcpy(larger, d->registers, d->nregisters * sizeof(*larger));
    l->registers[r->device] = larger;
    d->registers = larger;
    larger[d->nregisters] = (struct mmioshim_register){
        .name = lines_keep(l, name, n),
        .offset = (u32)(r->offset - inside),
        .width = (u8)MIN(MAX(inside + r->width, 1u), 8u),
        .count = array ? 0xffff : 0,
    };
    return d->nregisters++;
}

void lines_place(struct trace_input *in, struct trace_record *r, const char *place)
{
    struct lines *l = in->own;
    size_t n = strcspn(place, "[+");
    const char *p = place + n;
    bool array = *p == '[';
    unsigned long element = array ? strtoul(p + 1, NULL, 10) : 0, inside;

    r->reg = TRACE_NONE;
    if (r->device >= in->map.ndevices || !n)
        return;
    p = strchr(p, '+');
    inside = p ? strtoul(p + 1, NULL, 10) : 0;
    r->element = (u16)element;
    for (u16 i = 0; i < l->devices[r->device].nregisters && r->reg == TRACE_NONE; i++) {
        const struct mmioshim_register *reg = &l->devices[r->device].registers[i];

        if (strlen(reg->name) == n && strncmp(reg->name, place, n) == 0 && (reg->count > 1) == array)
            r->reg = i;
    }
    if (r->reg == TRACE_NONE)
        r->reg = new_register(in, r, place, n, (unsigned)MIN(inside, 63ul), array);
}

/* --- pieces of lines --- */

static u64 hash_of(const char *const *frames, unsigned count)
{
    u64 h = 0xcbf29ce484222325ull; /* FNV-1a, 64 bits, the terminators too */

    for (unsigned i = 0; i < count; i++)
        for (const char *p = frames[i];; p++) {
            h = (h ^ (u8)*p) * 0x100000001b3ull;
            if (!*p)
                break;
        }
    return h | 1;
}

u32 lines_stack(struct lines *l, const char *const *frames, unsigned count, u32 id)
{
    u64 hash = hash_of(frames, count), *known = id ? table_find(&l->by_id, id, 0) : table_find(&l->by_frames, hash, count);
    struct line_stack *s;

    if (*known)
        return l->stacks[*known - 1].id;
    l->stacks = table_grow(l->stacks, l->nstacks, &l->stack_room, sizeof(*l->stacks));
    s = &l->stacks[l->nstacks++];
    *s = (struct line_stack){.id = id ? id : (u32)l->nstacks, .count = count};
    for (unsigned i = 0; i < count; i++)
        s->frames[i] = lines_keep(l, frames[i], strlen(frames[i]));
    *known = l->nstacks;
    if (!id)
        *table_find(&l->by_id, s->id, 0) = l->nstacks;
    return s->id;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool lines_value(struct trace_record *r, const char *hex)
{
    size_t n;

    if (strncmp(hex, "0x", 2) != 0)
        return false;
    hex += 2;
    n = strlen(hex);
    if (!n || n > 2 * TRACE_MAX_WIDTH)
        return false;
    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(hex[n - 1 - i]);

        if (digit < 0)
            return false;
        r->value[i / 2] |= (u8)(digit << (i % 2 * 4));
    }
    return true;
}

bool lines_range(const char *text, struct range *range)
{
    char *end;
    u64 first = strtoull(text, &end, 16), last;

    if (strncmp(text, "0x", 2) != 0 || *end != '-' || strncmp(end + 1, "0x", 2) != 0)
        return false;
    last = strtoull(end + 1, &end, 16);
    *range = (struct range){first, last - first + 1};
    return !*end && last >= first;
}

u64 lines_time(const char *text)
{
    char *end;
    u64 seconds = strtoull(text, &end, 10);

    return seconds * 1000000000 + (*end == '.' ? strtoull(end + 1, NULL, 10) * 1000 : 0);
}

void lines_add_range(struct trace_input *in, struct range range)
{
    struct lines *l = in->own;
    struct trace_dirty *d = &in->dirty;

    d->ranges = table_grow(d->ranges, d->nranges, &l->range_room, sizeof(range));
    d->ranges[d->nranges++] = range;
}

/* --- names --- */

static void name_pc(void *context, u64 pc, struct fmt *out)
{
    const struct lines *l = ((struct trace_input *)context)->own;

    (void)pc;
    fmt_str(out, l->pc ? l->pc : "?");
}

static const char *name_frame(void *context, u32 stack, unsigned i)
{
    const struct lines *l = ((struct trace_input *)context)->own;
    u64 known = table_get(&l->by_id, stack, 0);

    return known && i < l->stacks[known - 1].count ? l->stacks[known - 1].frames[i] : NULL;
}

static void name_insn(void *context, const struct trace_record *r, struct fmt *out)
{
    const struct lines *l = ((struct trace_input *)context)->own;

    (void)r;
    fmt_str(out, l->insn ? l->insn : "");
}

/* --- from beginning to end --- */

static enum trace_item lines_item(struct trace_input *in)
{
    struct lines *l = in->own;

    while (lines_next(l)) {
        enum trace_item item;

        l->pc = l->insn = NULL;
        item = l->parse(in, l, false);
        if (item == ITEM_RECORD)
            in->time = in->record.time;
        if (item == ITEM_RECORD && (in->record.type == TRACE_MMIO || in->record.type == TRACE_PORT))
            l->last = in->record;
        if (item != ITEM_END)
            return item;
    }
    return ITEM_END;
}

static void lines_rewind(struct trace_input *in)
{
    struct lines *l = in->own;

    l->at = l->data;
    l->number = 0;
    l->last = (struct trace_record){0};
}

void line_input_close(struct trace_input *in)
{
    struct lines *l = in->own;

    while (l->blocks) {
        struct block *next = l->blocks->next;

        free(l->blocks);
        l->blocks = next;
    }
    for (u32 i = 0; i < in->map.ndevices; i++)
        free(l->registers[i]);
    free(l->registers);
    free(l->devices);
    free(l->banks);
    free(l->stacks);
    table_free(&l->by_id);
    table_free(&l->by_frames);
    free(l->line);
    free(in->dirty.ranges);
    free(l);
    in->own = NULL;
}

/* Every line once: the map, stacks, and whether it is a transcript, and one with times. */
static void look_around(struct trace_input *in)
{
    struct lines *l = in->own;
    enum trace_item item;

    while (lines_next(l))
        l->parse(in, l, true);
    lines_rewind(in);
    in->timed = true;
    while ((item = lines_item(in)) != ITEM_END) {
        l->known++;
        if (item != ITEM_RECORD)
            continue;
        in->timed = in->timed && in->record.time;
        if (!in->started)
            in->started = in->record.time;
    }
    l->known += in->map.nbanks + in->map.ndevices;
    lines_rewind(in);
}

int line_input_open(struct trace_input *in, const u8 *data, size_t size, struct fmt *error)
{
    struct lines *l = in->own = tool_alloc(sizeof(*l));

    l->data = l->at = (const char *)data;
    l->end = l->data + size;
    l->parse = in->format == TRACE_JSON_LINES ? json_parse : text_parse;
    in->names = (struct trace_names){NULL, 0, in, name_pc, name_frame, NULL, name_insn};
    in->next = lines_item;
    in->rewind = lines_rewind;
    look_around(in);
    if (l->known || !size)
        return 0;
    line_input_close(in);
    fmt_str(error, "no transcript: neither binary nor text nor JSON lines");
    return -1;
}
