#include "trap/unwind.h"

#include "base/mem.h"
#include "trap/backtrace.h"
#include "trap/probe.h"
#include "trap/unwind_lib.h"

#include "base/trapsafe.h"

/* More reads than any sane table needs: ends expressions that loop. */
#define MAX_READS 100000u

/* Registers in libunwind's order (DWARF's, System V ABI figure 3.36), as indices of cpu_state.gpr. */
static const u8 gpr_index[16] = {0, 2, 1, 3, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15};

/*
 * Made-up registers, to see what libunwind does with them. They are not
 * canonical addresses, so that they can never be mistaken for real ones; a
 * "load" from such an address yields the address plus LOADED.
 */
#define LOADED    (1ULL << 56)
#define FAKE_RSP  (0x10ULL << 56)
#define FAKE_RBP  (0x20ULL << 56)
#define FAKE_REG  (0x30ULL << 56)
#define FAKE_STEP (1ULL << 48)
/* No frame is larger than this. */
#define NEAR      (1LL << 30)

struct walk {
    const struct cpu_state *state; /* NULL: made-up registers */
    u64 rip, rsp, rbp;
    u64 start;    /* of the procedure, 0 = none found */
    u32 reads;
    bool unknown; /* no unwind information */
};

static bool fake(u64 addr)
{
    u64 top = addr >> 47;

    return top != 0 && top != 0x1ffff;
}

/* ---- what libunwind asks for ---- */

static u64 table_width(u8 encoding)
{
    switch (encoding & 0x0f) {
    case 0x02: case 0x0a: return 2;
    case 0x03: case 0x0b: return 4;
    case 0x00: case 0x04: case 0x0c: return 8;
    }
    return 0;
}

struct table_entry {
    i32 start, fde; /* relative to the header: DW_EH_PE_datarel | DW_EH_PE_sdata4 */
};

/*
 * The entry of .eh_frame_hdr for an address (LSB, "Exception Frame Header").
 * Every linker writes a sorted table of this one encoding.
 */
static bool find_entry(u64 header, struct range image, u64 ip, struct table_entry *found)
{
    u8 head[4];
    u64 count = 0, width, table, low = 0, high;
    i64 relative = (i64)(ip - header);

    if (!probe_read(head, header, sizeof(head)) || head[0] != 1 || head[3] != 0x3b)
        return false;
    width = table_width(head[2]);
    if (!table_width(head[1]) || !width || !probe_read(&count, header + 4 + table_width(head[1]), width))
        return false;
    table = header + 4 + table_width(head[1]) + width;
    if (count > image.size / sizeof(*found) || !range_contains(image, table, count * sizeof(*found)))
        return false;
    for (high = count; low < high;) {
        u64 middle = low + (high - low) / 2;
        i32 start;

        if (!probe_read(&start, table + middle * sizeof(*found), sizeof(start)))
            return false;
        if (relative < start)
            high = middle;
        else
            low = middle + 1;
    }
    return low && probe_read(found, table + (low - 1) * sizeof(*found), sizeof(*found));
}

/* ESTOPUNWIND rather than ENOINFO, at which libunwind would start to guess by rbp. */
static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *info, int need, void *arg)
{
    struct walk *walk = arg;
    struct dl_find_object object;
    _Alignas(8) struct table_entry entry;
    unw_dyn_info_t table;
    struct range image;
    int ret;

    walk->unknown = true;
    if (unwind_lib.find_object((void *)ip, &object) != 0 || !object.dlfo_eh_frame)
        return -UNW_ESTOPUNWIND;
    image.base = (u64)object.dlfo_map_start;
    image.size = (u64)object.dlfo_map_end - image.base;
    if (!find_entry((u64)object.dlfo_eh_frame, image, ip, &entry))
        return -UNW_ESTOPUNWIND;
    memset(&table, 0, sizeof(table));
    table.start_ip = image.base;
    table.end_ip = image.base + image.size;
    table.format = UNW_INFO_FORMAT_REMOTE_TABLE;
    table.u.rti.segbase = (u64)object.dlfo_eh_frame;
    table.u.rti.table_data = (u64)(uintptr_t)&entry;
    table.u.rti.table_len = sizeof(entry) / sizeof(unw_word_t);
    ret = unwind_lib.search_table(space, ip, &table, info, need, arg);
    if (ret < 0)
        return -UNW_ESTOPUNWIND;
    walk->unknown = false;
    walk->start = info->start_ip;
    return ret;
}

/* Never called: libunwind frees what its own search allocated. */
static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *arg)
{
    (void)space;
    (void)info;
    (void)arg;
}

static int get_dyn_info_list(unw_addr_space_t space, unw_word_t *list, void *arg)
{
    (void)space;
    (void)list;
    (void)arg;
    return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t space, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
    struct walk *walk = arg;

    (void)space;
    if (write || ++walk->reads > MAX_READS)
        return -UNW_EINVAL;
    if (!walk->state && fake(addr)) {
        *value = addr + LOADED;
        return 0;
    }
    return probe_word(addr, value) ? 0 : -UNW_EINVAL;
}

static u64 fake_register(const struct walk *walk, int reg)
{
    switch (reg) {
    case UNW_X86_64_RIP: return walk->rip;
    case UNW_X86_64_RSP: return walk->rsp;
    case UNW_X86_64_RBP: return walk->rbp;
    }
    return FAKE_REG + (u64)reg * FAKE_STEP;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t reg, unw_word_t *value, int write, void *arg)
{
    const struct walk *walk = arg;

    (void)space;
    if (write || reg < 0 || reg > UNW_X86_64_RIP)
        return -UNW_EBADREG;
    if (!walk->state)
        *value = fake_register(walk, reg);
    else
        *value = reg == UNW_X86_64_RIP ? walk->state->rip : walk->state->gpr[gpr_index[reg]];
    return 0;
}

static int access_fpreg(unw_addr_space_t space, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
    (void)space;
    (void)reg;
    (void)value;
    (void)write;
    (void)arg;
    return -UNW_EBADREG;
}

unw_accessors_t unwind_accessors = {
    .find_proc_info = find_proc_info,
    .put_unwind_info = put_unwind_info,
    .get_dyn_info_list_addr = get_dyn_info_list,
    .access_mem = access_mem,
    .access_reg = access_reg,
    .access_fpreg = access_fpreg,
};

/* ---- learning a layout ---- */

static u64 main_start;

void unwind_set_main(u64 address)
{
    __atomic_store_n(&main_start, address, __ATOMIC_RELAXED);
    unwind_forget();
}

static bool near(u64 value, u64 base, i32 *offset)
{
    i64 distance = (i64)(value - base);

    *offset = (i32)distance;
    return distance > -NEAR && distance < NEAR;
}

/* Which base and offset made this value? cfa 0: not known yet. */
static u8 place_of(u64 value, const struct walk *walk, u64 cfa, i32 *offset)
{
    if (cfa && near(value - LOADED, cfa, offset))
        return PLACE_CFA | PLACE_MEMORY;
    if (near(value, walk->rsp, offset))
        return PLACE_RSP;
    if (near(value, walk->rbp, offset))
        return PLACE_RBP;
    if (near(value - LOADED, walk->rsp, offset))
        return PLACE_RSP | PLACE_MEMORY;
    if (near(value - LOADED, walk->rbp, offset))
        return PLACE_RBP | PLACE_MEMORY;
    return PLACE_NONE;
}

/* Our way back from the program's handlers is part of its stacks, as libc's is without us. */
static struct range way_back;

void unwind_set_return(u64 begin, u64 end)
{
    way_back = (struct range){begin - 1, end - begin + 1}; /* lookups are by the address before */
}

static bool returns_from_handler(u64 pc)
{
    return range_has(way_back, pc);
}

static void describe(unw_cursor_t *cursor, const struct walk *walk, struct layout *out)
{
    unw_word_t cfa = 0, ra = 0, rbp = 0;

    if (unwind_lib.get_reg(cursor, UNW_X86_64_RSP, &cfa) < 0 || unwind_lib.get_reg(cursor, UNW_X86_64_RIP, &ra) < 0 ||
        unwind_lib.get_reg(cursor, UNW_X86_64_RBP, &rbp) < 0) {
        out->flags |= LAYOUT_COMPLEX;
        return;
    }
    out->cfa_at = place_of(cfa, walk, 0, &out->cfa);
    out->ra_at = place_of(ra, walk, cfa, &out->ra);
    if (rbp == walk->rbp) {
        out->rbp_at = PLACE_SAME;
        out->rbp = 0;
    } else {
        out->rbp_at = place_of(rbp, walk, cfa, &out->rbp);
    }
    /* A return address or a caller's rbp that is computed rather than loaded is nothing that a compiler emits. */
    if (out->cfa_at == PLACE_NONE || !(out->ra_at & PLACE_MEMORY) || out->ra_at == PLACE_NONE ||
        out->rbp_at == PLACE_NONE || (out->rbp_at != PLACE_SAME && !(out->rbp_at & PLACE_MEMORY)))
        out->flags |= LAYOUT_COMPLEX;
    if (unwind_lib.is_signal_frame(cursor) > 0 || returns_from_handler(walk->rip))
        out->flags |= LAYOUT_SIGNAL;
}

/* One step of libunwind on made-up registers. Answers the start of the procedure. */
static u64 observe(u64 pc, u64 rsp, u64 rbp, struct layout *out)
{
    struct walk walk = {.rip = pc, .rsp = rsp, .rbp = rbp};
    unw_cursor_t cursor;
    int ret;

    memset(out, 0, sizeof(*out));
    out->pc = pc;
    ret = unwind_lib.init_remote(&cursor, unwind_lib.space, &walk);
    if (ret >= 0)
        ret = unwind_lib.step(&cursor);
    if (ret > 0)
        describe(&cursor, &walk, out);
    else if (ret == 0)
        out->flags |= LAYOUT_BOTTOM;
    else
        out->flags |= walk.unknown ? LAYOUT_STOP : LAYOUT_COMPLEX;
    return walk.start;
}

static u8 classify(u64 pc, u64 start)
{
    u64 main_at = __atomic_load_n(&main_start, __ATOMIC_RELAXED);
    u8 flags = 0, byte;

    if (range_has(unwind_lib.self, pc) || !probe_read(&byte, pc, 1))
        flags |= LAYOUT_FOREIGN;
    if (range_has(unwind_lib.libc, pc))
        flags |= LAYOUT_LIBC;
    if (start && start == main_at)
        flags |= LAYOUT_MAIN;
    if (start && start == unwind_lib.entry)
        flags |= LAYOUT_ENTRY;
    return flags;
}

/*
 * Asks twice, with registers that differ in their low bits as well: a rule
 * that aligns or compares them gives different answers, and is not kept.
 */
static void learn(u64 pc, struct layout *out)
{
    struct layout again;
    u64 start = 0;

    if (unwind_lib.space) {
        start = observe(pc, FAKE_RSP + 0x2450000000ULL, FAKE_RBP + 0x5130000000ULL, out);
        observe(pc, FAKE_RSP + 0x7720001238ULL, FAKE_RBP + 0x1340fed5e8ULL, &again);
        if (memcmp(out, &again, sizeof(again)) != 0)
            out->flags |= LAYOUT_COMPLEX;
    } else {
        memset(out, 0, sizeof(*out));
        out->pc = pc;
        out->flags = LAYOUT_STOP;
    }
    out->flags |= classify(pc, start);
}

/* ---- the cache ---- */

/*
 * Each slot is a small seqlock: meta holds an odd number while it is written.
 * Readers that see a change take it for a miss, writers that do not get a slot
 * go without; nobody waits, and a slot that a dead thread left odd is only lost.
 */
#define SLOTS 8192u
#define WAYS  4u

struct slot {
    u64 word[3];
    u64 meta; /* epoch << 32 | sequence number */
};

static struct slot slots[SLOTS];
static u32 epoch = 1;

_Static_assert(sizeof(struct layout) == sizeof(((struct slot *)0)->word), "a layout fills its slot");

void unwind_forget(void)
{
    __atomic_add_fetch(&epoch, 1, __ATOMIC_ACQ_REL);
}

static struct slot *set_of(u64 pc)
{
    return &slots[(u32)((pc * 0x9e3779b97f4a7c15ULL) >> 40) % SLOTS & ~(WAYS - 1)];
}

static bool slot_read(const struct slot *slot, u64 pc, u32 now, struct layout *out)
{
    u64 meta = __atomic_load_n(&slot->meta, __ATOMIC_ACQUIRE);
    u64 word[3];

    if (meta >> 32 != now || (meta & 1) || __atomic_load_n(&slot->word[0], __ATOMIC_RELAXED) != pc)
        return false;
    word[0] = pc;
    word[1] = __atomic_load_n(&slot->word[1], __ATOMIC_RELAXED);
    word[2] = __atomic_load_n(&slot->word[2], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (__atomic_load_n(&slot->meta, __ATOMIC_RELAXED) != meta)
        return false;
    __builtin_memcpy(out, word, sizeof(word));
    return true;
}

static void slot_write(struct slot *slot, const struct layout *layout, u32 now)
{
    u64 meta = __atomic_load_n(&slot->meta, __ATOMIC_RELAXED);
    u64 word[3];

    if ((meta & 1) ||
        !__atomic_compare_exchange_n(&slot->meta, &meta, meta | 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __builtin_memcpy(word, layout, sizeof(word));
    for (unsigned i = 0; i < ARRAY_SIZE(word); i++)
        __atomic_store_n(&slot->word[i], word[i], __ATOMIC_RELAXED);
    __atomic_store_n(&slot->meta, (u64)now << 32 | (u32)((u32)meta + 2), __ATOMIC_RELEASE);
}

static struct slot *victim(struct slot *set, u64 pc, u32 now)
{
    for (unsigned i = 0; i < WAYS; i++)
        if (__atomic_load_n(&set[i].meta, __ATOMIC_RELAXED) >> 32 != now)
            return &set[i];
    return &set[(pc ^ pc >> 7) % WAYS];
}

void unwind_layout(u64 pc, struct layout *layout)
{
    u32 now = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
    struct slot *set = set_of(pc);

    for (unsigned i = 0; i < WAYS; i++)
        if (likely(slot_read(&set[i], pc, now, layout)))
            return;
    learn(pc, layout);
    slot_write(victim(set, pc, now), layout, now);
}

/* ---- steps ---- */

static bool read_word(u64 address, u64 *value, struct reads *reads)
{
    if (!probe_word(address, value)) {
        reads->lost = true;
        return false;
    }
    reads_word(reads, address, *value);
    return true;
}

/* The frame's rbp, now that it is needed. */
static bool read_bp(struct frame *frame, struct reads *reads)
{
    if (frame->bp_is == BP_GIVEN)
        reads->rbp = true;
    if (frame->bp_is != BP_STORED)
        return true;
    frame->bp_is = BP_READ;
    return read_word(frame->bp, &frame->bp, reads);
}

static inline bool place(u8 at, i32 offset, u64 cfa, struct frame *frame, struct reads *reads, u64 *address)
{
    u64 base = cfa;

    if ((at & 3) == PLACE_RSP) {
        base = frame->sp;
    } else if ((at & 3) == PLACE_RBP) {
        if (!read_bp(frame, reads))
            return false;
        base = frame->bp;
    }
    *address = base + (u64)(i64)offset;
    return true;
}

static inline bool fetch(u8 at, i32 offset, u64 cfa, struct frame *frame, struct reads *reads, u64 *value)
{
    if (!place(at, offset, cfa, frame, reads, value))
        return false;
    return !(at & PLACE_MEMORY) || read_word(*value, value, reads);
}

/*
 * A caller's frame lies above its callee's, except where a signal changed
 * stacks. This ends walks of corrupt and cyclic stacks.
 */
static bool plausible(const struct frame *callee, u64 cfa, bool signal)
{
    return cfa % 8 == 0 && cfa && (signal || cfa > callee->sp);
}

bool unwind_step(const struct layout *layout, struct frame *frame, struct reads *reads)
{
    u64 cfa, ra, bp;
    bool signal = layout->flags & LAYOUT_SIGNAL;

    if (layout->flags & (LAYOUT_STOP | LAYOUT_BOTTOM | LAYOUT_COMPLEX))
        return false;
    if (!fetch(layout->cfa_at, layout->cfa, 0, frame, reads, &cfa) || !plausible(frame, cfa, signal))
        return false;
    if (!fetch(layout->ra_at, layout->ra, cfa, frame, reads, &ra) || !ra)
        return false;
    if (layout->rbp_at == PLACE_SAME)
        bp = frame->bp;
    else if (place(layout->rbp_at, layout->rbp, cfa, frame, reads, &bp))
        frame->bp_is = BP_STORED;
    else
        return false;
    *frame = (struct frame){ra, cfa, bp, signal, frame->bp_is};
    return true;
}

bool unwind_return_place(u64 rip, struct return_place *place)
{
    struct layout layout;
    u8 base;

    unwind_layout(rip, &layout);
    *place = (struct return_place){.rip = rip, .offset = layout.ra};
    if ((layout.flags & (LAYOUT_STOP | LAYOUT_BOTTOM | LAYOUT_COMPLEX)) || !(layout.ra_at & PLACE_MEMORY))
        return false;
    base = layout.ra_at & 3;
    if (base == PLACE_CFA) {
        base = layout.cfa_at;
        place->offset += layout.cfa;
    }
    place->rbp = base == PLACE_RBP;
    return base == PLACE_RSP || base == PLACE_RBP;
}

struct slow {
    struct walk walk;
    unw_cursor_t cursor;
};

_Static_assert(sizeof(struct slow) <= sizeof(((struct unwind_slow *)0)->storage), "the slow walk fits its storage");

bool unwind_slow_begin(struct unwind_slow *slow, const struct cpu_state *state)
{
    struct slow *s = (struct slow *)slow->storage;

    s->walk = (struct walk){.state = state};
    return unwind_lib.space && unwind_lib.init_remote(&s->cursor, unwind_lib.space, &s->walk) >= 0;
}

bool unwind_slow_step(struct unwind_slow *slow, struct frame *frame)
{
    struct slow *s = (struct slow *)slow->storage;
    unw_word_t ip = 0, sp = 0;
    bool signal = returns_from_handler(frame->ip);

    s->walk.reads = 0;
    if (unwind_lib.step(&s->cursor) <= 0 || unwind_lib.get_reg(&s->cursor, UNW_X86_64_RIP, &ip) < 0 ||
        unwind_lib.get_reg(&s->cursor, UNW_X86_64_RSP, &sp) < 0 || !ip)
        return false;
    signal |= unwind_lib.is_signal_frame(&s->cursor) > 0;
    if (!plausible(frame, sp, signal))
        return false;
    *frame = (struct frame){ip, sp, 0, signal, BP_READ};
    return true;
}
