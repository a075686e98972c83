#include "trace/ringfile.h"

#include "base/trapsafe.h"

size_t ring_text_bytes(const struct trace_record *r)
{
    size_t n = 0;

    if (r->type != TRACE_LINT && r->type != TRACE_MARK && r->type != TRACE_FAULT)
        return 0;
    while (n < TRACE_TEXT && r->text[n])
        n++;
    if (r->type == TRACE_LINT) /* "rule\0text" */
        for (n++; n < TRACE_TEXT && r->text[n];)
            n++;
    return MIN(n + 1, (size_t)TRACE_TEXT);
}

bool ring_unpack(const struct ring_slot *s, struct trace_record *r)
{
    size_t more = (size_t)(s->slots - 1) * RING_SLOT;

    if (s->type < TRACE_MMIO || s->type > TRACE_REPEAT || !s->slots)
        return false;
    memset(r, 0, sizeof(*r));
    r->type = s->type;
    r->op = s->flags & RING_WRITE ? TRACE_WRITE : TRACE_READ;
    r->flags = s->flags & RING_FLAGS;
    r->device = s->device;
    r->reg = s->reg;
    r->element = s->element;
    r->width = s->width;
    r->stack = s->stack;
    r->time = s->time;
    r->addr = s->addr;
    r->offset = s->offset;
    r->seq = s->flags & RING_NUMBERED ? s->order : 0;
    memcpy(r->value, &s->value, sizeof(s->value));
    if (ring_is_access(r)) {
        if (r->width == 0 || r->width > TRACE_MAX_WIDTH || (r->width > 8 && more < TRACE_MAX_WIDTH))
            return false;
        if (r->width > 8)
            memcpy(r->value, s + 1, TRACE_MAX_WIDTH);
    } else if (r->type == TRACE_REPEAT) {
        r->seq = s->addr;
        r->addr = 0;
    } else {
        memcpy(r->text, s + 1, MIN(more, (size_t)TRACE_TEXT - 1));
    }
    return true;
}

int ring_check(const struct ring_header *h, u64 size, struct fmt *error)
{
    if (size < sizeof(*h) || h->magic != RING_MAGIC) {
        fmt_str(error, "no binary transcript");
        return -1;
    }
    if (h->version != RING_VERSION || h->slot != RING_SLOT) {
        fmt_printf(error, "a binary transcript of version %u; this is for version %u", h->version, RING_VERSION);
        return -1;
    }
    if (!h->id || h->complete != h->id) {
        fmt_str(error, "a binary transcript whose beginning was never finished");
        return -1;
    }
    if (size < PAGE_SIZE || h->map < sizeof(*h) || !range_contains((struct range){0, size}, h->map, h->map_size)) {
        fmt_str(error, "a binary transcript that was cut off in its memory map");
        return -1;
    }
    return 0;
}

bool ring_segment_at(const struct ring_header *h, const u8 *file, u64 size, u64 at, u64 *bytes)
{
    const struct ring_segment *s = (const void *)(file + at);

    if (!range_contains((struct range){0, size}, at, sizeof(*s)) || s->magic != RING_SEGMENT || s->self != (h->id ^ at))
        return false;
    if (s->bytes < RING_SMALLEST || s->bytes % PAGE_SIZE)
        return false;
    *bytes = MIN((u64)s->bytes, size - at);
    return true;
}
