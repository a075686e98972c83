/*
 * The flat view: who owns a machine address. Sorted, disjoint spans, made from
 * the windows and banks of the description; windows win over RAM. Found by
 * binary search, without a lock. What moves at run time is inside windows that do not.
 * The I/O ports are an address space of their own, with a view of their own.
 */
#ifndef MMIOSHIM_MEMORY_VIEW_H
#define MMIOSHIM_MEMORY_VIEW_H

#include "config/machine.h"

enum view_kind { VIEW_NONE, VIEW_RAM, VIEW_WINDOW };

struct view_span {
    struct range range;
    enum view_kind kind;
    u32 index;  /* of the bank or window in the description; a window's is its device's number */
    u64 offset; /* of the span's first byte in the bank, or in what the window's device sees */
};

struct view {
    struct view_span *spans; /* ascending */
    u32 count, capacity;
    struct range *trapped; /* whole pages that hold a byte of a window: ascending, merged */
    u32 ntrapped;
    const u64 *version; /* changes when what view_find() answers does */
    /* Windows inside which something moves: who owns the address now, and how far. NULL: nothing does. Any context. */
    void (*refine)(const struct view *view, u64 addr, struct view_span *span);
    bool ports;
};

/* Bytes that view_build() needs for its tables. */
size_t view_bytes(const struct machine_desc *desc);
/* Builds the view into `storage` of view_bytes(). */
void view_build(struct view *view, const struct machine_desc *desc, void *storage, const u64 *version);

/* The same for the I/O ports: windows only, and nothing is trapped by pages. */
size_t view_ports_bytes(const struct machine_desc *desc);
void view_build_ports(struct view *view, const struct machine_desc *desc, void *storage, const u64 *version);

/*
 * Owner of an address. Where nobody is, kind VIEW_NONE with the range of the
 * gap. Any context.
 */
struct view_span view_find(const struct view *view, u64 addr);
/* Does the page of this address trap? Any context. */
bool view_trapped(const struct view *view, u64 addr);
/* Does a range share a byte with a page that traps? Any context. */
bool view_trapped_any(const struct view *view, struct range range);
/* Nearest spans below and above an address that nobody owns; false: there is none. */
bool view_below(const struct view *view, u64 addr, struct view_span *span);
bool view_above(const struct view *view, u64 addr, struct view_span *span);

#endif
