#include "config/windows.h"

#include "base/mem.h"
#include "config/fdt.h"

/* A window that still covers the address that the sweep has reached, and how far its bytes are given out. */
struct open_window {
    const struct reg_window *reg;
    u64 next;    /* first address not yet given out */
    bool named;  /* a piece has got the plain name */
};

struct sweep {
    struct machine_desc *desc;
    u32 *count; /* of the address space that is swept: desc->nwindows or desc->nports */
    struct open_window open[DT_DEPTH]; /* each inside the one before, and below it in the tree */
    unsigned nopen;
    struct fmt *error;
};

void window_name(struct fmt *out, const char *node, u64 entry)
{
    fmt_str(out, node);
    if (entry) {
        fmt_char(out, ':');
        fmt_dec(out, entry);
    }
}

/* Memory before ports; ascending by base; of those that start together the larger first, then the one further up in the tree. */
static bool before(const struct reg_window *a, const struct reg_window *b)
{
    if (a->port != b->port)
        return b->port;
    if (a->range.base != b->range.base)
        return a->range.base < b->range.base;
    if (a->range.size != b->range.size)
        return a->range.size > b->range.size;
    if (a->node != b->node)
        return a->node < b->node;
    return a->entry < b->entry;
}

static void swap(struct reg_window *a, struct reg_window *b)
{
    struct reg_window t = *a;

    *a = *b;
    *b = t;
}

static void sift_down(struct reg_window *heap, u32 at, u32 count)
{
    for (;;) {
        u32 child = 2 * at + 1;

        if (child >= count)
            return;
        if (child + 1 < count && before(&heap[child], &heap[child + 1]))
            child++;
        if (!before(&heap[at], &heap[child]))
            return;
        swap(&heap[at], &heap[child]);
        at = child;
    }
}

/* Heap sort: no recursion, no memory, n log n whatever the order. */
static void sort(struct reg_window *reg, u32 count)
{
    for (u32 i = count / 2; i-- > 0;)
        sift_down(reg, i, count);
    while (count > 1) {
        swap(&reg[0], &reg[--count]);
        sift_down(reg, 0, count);
    }
}

static void copy_compatible(char *to, const char *from)
{
    size_t n = 0;

    for (; from && from[n] && n < MACHINE_NAME - 1; n++)
        to[n] = from[n] < ' ' || from[n] > '~' ? '?' : from[n];
    to[n] = 0;
}

/* Gives out the bytes from open->next up to, not including, `end`. */
static int emit(struct sweep *sweep, struct open_window *open, u64 end)
{
    struct machine_desc *desc = sweep->desc;
    const struct reg_window *reg = open->reg;
    struct machine_window *window = &desc->windows[machine_fixed(desc)];
    struct fmt name = FMT_INIT(window->name);

    if (end <= open->next)
        return 0;
    if (machine_fixed(desc) == MACHINE_WINDOWS) {
        fmt_printf(sweep->error, "node %s: too many windows; allowed: %d", reg->name, MACHINE_WINDOWS);
        return -1;
    }
    ++*sweep->count;
    window->range = (struct range){open->next, end - open->next};
    window->offset = open->next - reg->range.base;
    window->node = reg->node;
    window->entry = reg->entry;
    window->class = window->function = 0;
    copy_compatible(window->compatible, reg->compatible);
    window_name(&name, reg->name, reg->entry);
    if (open->named)
        fmt_printf(&name, ":+%lx", window->offset); /* %lx writes the 0x */
    open->named = true;
    fmt_end(&name);
    if (!name.full)
        return 0;
    fmt_printf(sweep->error, "node %s: the name of its window is too long; allowed: %d characters", reg->name,
               MACHINE_NAME - 1);
    return -1;
}

/* Closes the windows that end before `base`, the innermost first. */
static int close_until(struct sweep *sweep, u64 base)
{
    for (; sweep->nopen; sweep->nopen--) {
        struct open_window *top = &sweep->open[sweep->nopen - 1];

        if (range_last(top->reg->range) >= base)
            return 0;
        if (emit(sweep, top, range_last(top->reg->range) + 1) < 0)
            return -1;
    }
    return 0;
}

static void say_window(struct fmt *out, const struct reg_window *reg)
{
    window_name(out, reg->name, reg->entry);
    fmt_printf(out, " (%lx-%lx)", reg->range.base, range_last(reg->range));
}

static int overlap(struct sweep *sweep, const struct reg_window *a, const struct reg_window *b)
{
    fmt_str(sweep->error, a->port ? "ranges of ports overlap: " : "windows overlap: ");
    say_window(sweep->error, a);
    fmt_str(sweep->error, " and ");
    say_window(sweep->error, b);
    return -1;
}

static int open_window(struct sweep *sweep, const struct reg_window *reg)
{
    if (close_until(sweep, reg->range.base) < 0)
        return -1;
    if (sweep->nopen) {
        struct open_window *top = &sweep->open[sweep->nopen - 1];
        bool below = reg->node > top->reg->node && reg->node < top->reg->end;

        if (!below || !range_contains(top->reg->range, reg->range.base, reg->range.size))
            return overlap(sweep, top->reg, reg);
        if (emit(sweep, top, reg->range.base) < 0)
            return -1;
        top->next = range_last(reg->range) + 1;
    }
    /* each open window is below the one before it in the tree, so there are never more than DT_DEPTH */
    sweep->open[sweep->nopen++] = (struct open_window){.reg = reg, .next = reg->range.base};
    return 0;
}

static int sweep_space(struct machine_desc *desc, u32 *total, const struct reg_window *reg, u32 count, struct fmt *error)
{
    struct sweep sweep = {.desc = desc, .count = total, .error = error};

    for (u32 i = 0; i < count; i++)
        if (open_window(&sweep, &reg[i]) < 0)
            return -1;
    return close_until(&sweep, UINT64_MAX);
}

int windows_flatten(struct machine_desc *desc, struct reg_window *reg, u32 count, struct fmt *error)
{
    u32 memory = 0;

    sort(reg, count);
    while (memory < count && !reg[memory].port)
        memory++;
    desc->nwindows = desc->nports = 0;
    if (sweep_space(desc, &desc->nwindows, reg, memory, error) < 0)
        return -1;
    return sweep_space(desc, &desc->nports, reg + memory, count - memory, error);
}
