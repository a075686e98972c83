#include "memory/view.h"

#include "base/mem.h"
#include "base/trapsafe.h"

/* A bank is cut by each window once at most, so that many more spans suffice. */
static u32 most_spans(const struct machine_desc *desc)
{
    return 2 * desc->nwindows + desc->nbanks + 1;
}

size_t view_bytes(const struct machine_desc *desc)
{
    return most_spans(desc) * sizeof(struct view_span) + (desc->nwindows + 1) * sizeof(struct range);
}

static void add_span(struct view *view, struct range range, enum view_kind kind, u32 index, u64 offset)
{
    if (range.size && view->count < view->capacity)
        view->spans[view->count++] = (struct view_span){range, kind, index, offset};
}

/* Cuts off the beginning of a range, up to and including `last`. */
static struct range range_after(struct range r, u64 last)
{
    if (last < r.base)
        return r;
    if (last >= range_last(r))
        return (struct range){r.base, 0};
    return (struct range){last + 1, range_last(r) - last};
}

/* Adds what windows leave of a bank, with those windows; *window is the first one that was not added yet. */
static void add_bank(struct view *view, const struct machine_desc *desc, u32 bank, u32 *window)
{
    struct range rest = desc->banks[bank].range;
    u64 base = rest.base;

    /* A window that began in the bank before may reach into this one. */
    if (view->count)
        rest = range_after(rest, range_last(view->spans[view->count - 1].range));

    while (rest.size && *window < desc->nwindows) {
        struct range w = desc->windows[*window].range;
        u64 before;

        if (w.base > range_last(rest))
            break;
        before = w.base > rest.base ? w.base - rest.base : 0;
        add_span(view, (struct range){rest.base, before}, VIEW_RAM, bank, rest.base - base);
        add_span(view, w, VIEW_WINDOW, *window, desc->windows[*window].offset);
        ++*window;
        rest = range_after(rest, range_last(w));
    }
    add_span(view, rest, VIEW_RAM, bank, rest.base - base);
}

static void build_trapped(struct view *view, const struct machine_desc *desc)
{
    view->ntrapped = 0;
    for (u32 i = 0; i < desc->nwindows; i++) {
        struct range w = desc->windows[i].range;
        u64 base = page_down(w.base);
        u64 size = page_down(range_last(w)) - base + PAGE_SIZE;
        struct range *last = view->ntrapped ? &view->trapped[view->ntrapped - 1] : NULL;

        if (last && base <= last->base + last->size) {
            if (base + size > last->base + last->size)
                last->size = base + size - last->base;
        } else {
            view->trapped[view->ntrapped++] = (struct range){base, size};
        }
    }
}

void view_build(struct view *view, const struct machine_desc *desc, void *storage, const u64 *version)
{
    u32 window = 0;

    view->spans = storage;
    view->capacity = most_spans(desc);
    view->count = 0;
    view->trapped = (void *)(view->spans + view->capacity);
    view->version = version;
    view->refine = NULL;
    view->ports = false;
    for (u32 bank = 0; bank < desc->nbanks; bank++) {
        struct range r = desc->banks[bank].range;

        while (window < desc->nwindows && range_last(desc->windows[window].range) < r.base) {
            add_span(view, desc->windows[window].range, VIEW_WINDOW, window, desc->windows[window].offset);
            window++;
        }
        add_bank(view, desc, bank, &window);
    }
    for (; window < desc->nwindows; window++)
        add_span(view, desc->windows[window].range, VIEW_WINDOW, window, desc->windows[window].offset);
    build_trapped(view, desc);
}

size_t view_ports_bytes(const struct machine_desc *desc)
{
    return (desc->nports + 1) * sizeof(struct view_span);
}

void view_build_ports(struct view *view, const struct machine_desc *desc, void *storage, const u64 *version)
{
    *view = (struct view){.spans = storage, .capacity = desc->nports + 1, .version = version, .ports = true};
    for (u32 i = desc->nwindows; i < machine_fixed(desc); i++)
        add_span(view, desc->windows[i].range, VIEW_WINDOW, i, desc->windows[i].offset);
}

bool view_trapped_any(const struct view *view, struct range range)
{
    for (u32 i = 0; i < view->ntrapped; i++)
        if (range_overlaps(view->trapped[i], range))
            return true;
    return false;
}

/* Number of spans that begin at or below addr. */
static u32 spans_up_to(const struct view *view, u64 addr)
{
    u32 low = 0, high = view->count;

    while (low < high) {
        u32 middle = low + (high - low) / 2;

        if (view->spans[middle].range.base <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct view_span find_fixed(const struct view *view, u64 addr)
{
    u32 n = spans_up_to(view, addr);
    struct view_span gap = {.kind = VIEW_NONE};
    u64 first = 0, last = UINT64_MAX;

    if (n && range_has(view->spans[n - 1].range, addr))
        return view->spans[n - 1];
    if (n)
        first = range_last(view->spans[n - 1].range) + 1;
    if (n < view->count)
        last = view->spans[n].range.base - 1;
    gap.range = (struct range){first, last - first + 1};
    return gap;
}

struct view_span view_find(const struct view *view, u64 addr)
{
    struct view_span span = find_fixed(view, addr);

    if (unlikely(view->refine != NULL) && span.kind != VIEW_RAM)
        view->refine(view, addr, &span);
    return span;
}

bool view_trapped(const struct view *view, u64 addr)
{
    u32 low = 0, high = view->ntrapped;

    while (low < high) {
        u32 middle = low + (high - low) / 2;

        if (range_has(view->trapped[middle], addr))
            return true;
        if (view->trapped[middle].base <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool view_below(const struct view *view, u64 addr, struct view_span *span)
{
    u32 n = spans_up_to(view, addr);

    if (n)
        *span = view->spans[n - 1];
    return n != 0;
}

bool view_above(const struct view *view, u64 addr, struct view_span *span)
{
    u32 n = spans_up_to(view, addr);

    if (n < view->count)
        *span = view->spans[n];
    return n < view->count;
}
