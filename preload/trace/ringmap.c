#include "trace/ringmap.h"

#include "base/mem.h"

#include "base/trapsafe.h"

/* --- writing --- */

static void put(struct fmt *out, u64 value, unsigned bytes)
{
    fmt_mem(out, (const char *)&value, bytes);
}

static void put_text(struct fmt *out, const char *text)
{
    fmt_mem(out, text ? text : "", (text ? strlen(text) : 0) + 1);
}

static void put_register(struct fmt *out, const struct mmioshim_register *r)
{
    unsigned nfields = r->fields ? r->nfields : 0;

    put_text(out, r->name);
    put(out, r->offset, 4);
    put(out, r->width, 1);
    put(out, r->access, 1);
    put(out, r->view, 1);
    put(out, r->flags, 1);
    put(out, r->count, 2);
    put(out, r->stride, 2);
    put(out, nfields, 1);
    for (unsigned i = 0; i < nfields; i++) {
        put_text(out, r->fields[i].name);
        put(out, r->fields[i].lsb, 1);
        put(out, r->fields[i].width, 1);
    }
}

/* The first device with the same registers. */
static u32 same_registers(const struct ring_map *map, u32 device)
{
    u32 first = 0;

    while (map->devices[first].registers != map->devices[device].registers ||
           map->devices[first].nregisters != map->devices[device].nregisters)
        first++;
    return first;
}

void ringmap_write(struct fmt *out, const struct ring_map *map)
{
    put(out, map->nbanks, 4);
    for (u32 i = 0; i < map->nbanks; i++) {
        put_text(out, map->banks[i].name);
        put(out, map->banks[i].range.base, 8);
        put(out, map->banks[i].range.size, 8);
    }
    put(out, map->ndevices, 4);
    for (u32 i = 0; i < map->ndevices; i++) {
        const struct trace_device *d = &map->devices[i];
        u32 same = same_registers(map, i);

        put_text(out, d->name);
        put_text(out, d->label);
        put_text(out, d->compatible);
        put(out, d->window.base, 8);
        put(out, d->window.size, 8);
        put(out, d->port | (u64)d->moves << 1, 1);
        put(out, same, 4);
        put(out, d->nregisters, 2);
        for (unsigned k = 0; same == i && k < d->nregisters; k++)
            put_register(out, &d->registers[k]);
    }
}

/* --- reading --- */

struct cursor {
    const u8 *at, *end;
    u8 *pool, *pool_end;
    bool bad;
};

static u64 get(struct cursor *c, unsigned bytes)
{
    u64 value = 0;

    if (c->bad || (size_t)(c->end - c->at) < bytes) {
        c->bad = true;
        return 0;
    }
    memcpy(&value, c->at, bytes);
    c->at += bytes;
    return value;
}

static const char *get_text(struct cursor *c)
{
    const char *text = (const char *)c->at;

    while (c->at < c->end && *c->at)
        c->at++;
    if (c->bad || c->at == c->end) {
        c->bad = true;
        return "";
    }
    c->at++;
    return text;
}

/* Room for count things. Each has at least `least` bytes in the file, so that a count is no bigger than the file. */
static void *take(struct cursor *c, u64 count, size_t bytes, size_t least)
{
    u8 *p = c->pool;

    if (c->bad || count > (size_t)(c->end - c->at) / least || count > (size_t)(c->pool_end - p) / bytes) {
        c->bad = true;
        return NULL;
    }
    c->pool += (count * bytes + 7) & ~(size_t)7;
    if (c->pool > c->pool_end)
        c->pool = c->pool_end;
    return p;
}

static void get_fields(struct cursor *c, struct mmioshim_register *r)
{
    struct mmioshim_field *fields = take(c, r->nfields, sizeof(*fields), 3);

    for (unsigned i = 0; fields && i < r->nfields; i++) {
        fields[i].name = get_text(c);
        fields[i].lsb = (u8)get(c, 1);
        fields[i].width = (u8)get(c, 1);
    }
    r->fields = fields;
}

static void get_register(struct cursor *c, struct mmioshim_register *r)
{
    memset(r, 0, sizeof(*r));
    r->name = get_text(c);
    r->offset = (u32)get(c, 4);
    r->width = (u8)get(c, 1);
    r->access = (u8)get(c, 1);
    r->view = (u8)get(c, 1);
    r->flags = (u8)get(c, 1);
    r->count = (u16)get(c, 2);
    r->stride = (u16)get(c, 2);
    r->nfields = (u8)get(c, 1);
    get_fields(c, r);
}

static void get_device(struct cursor *c, struct trace_device *devices, u32 index)
{
    struct trace_device *d = &devices[index];
    struct mmioshim_register *registers;
    u64 same, where;

    memset(d, 0, sizeof(*d));
    d->name = get_text(c);
    d->label = get_text(c);
    d->compatible = get_text(c);
    d->window.base = get(c, 8);
    d->window.size = get(c, 8);
    where = get(c, 1);
    d->port = where & 1;
    d->moves = where >> 1 & 1;
    same = get(c, 4);
    d->nregisters = (u16)get(c, 2);
    if (same < index) {
        c->bad |= d->nregisters != devices[same].nregisters;
        d->registers = devices[same].registers;
        return;
    }
    c->bad |= same != index;
    d->registers = registers = take(c, d->nregisters, sizeof(*registers), 14);
    for (unsigned i = 0; registers && !c->bad && i < d->nregisters; i++)
        get_register(c, &registers[i]);
}

size_t ringmap_pool(size_t size)
{
    return size * 32 + 64;
}

int ringmap_read(struct ring_map *map, const void *data, size_t size, void *pool, size_t room)
{
    struct cursor c = {data, (const u8 *)data + size, pool, (u8 *)pool + room, false};
    struct trace_bank *banks;
    struct trace_device *devices;

    memset(map, 0, sizeof(*map));
    map->nbanks = (u32)get(&c, 4);
    banks = take(&c, map->nbanks, sizeof(*banks), 17);
    for (u32 i = 0; banks && i < map->nbanks; i++) {
        banks[i].name = get_text(&c);
        banks[i].range.base = get(&c, 8);
        banks[i].range.size = get(&c, 8);
    }
    map->ndevices = (u32)get(&c, 4);
    devices = take(&c, map->ndevices, sizeof(*devices), 26);
    for (u32 i = 0; devices && !c.bad && i < map->ndevices; i++)
        get_device(&c, devices, i);
    map->banks = banks;
    map->devices = devices;
    return c.bad ? -1 : 0;
}
