/*
 * Private to unwind.c and unwind_open.c: libunwind as it was opened, and what
 * was found out about this process at start.
 */
#ifndef MMIOSHIM_TRAP_UNWIND_LIB_H
#define MMIOSHIM_TRAP_UNWIND_LIB_H

#include <dlfcn.h>
#include <libunwind-x86_64.h>

#include "base/range.h"

struct unwind_lib {
    __typeof__(unw_init_remote) *init_remote;
    __typeof__(unw_step) *step;
    __typeof__(unw_get_reg) *get_reg;
    __typeof__(unw_is_signal_frame) *is_signal_frame;
    /* Exported for the authors of accessors, but not in its header. */
    int (*search_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);
    unw_addr_space_t space; /* NULL: not opened */
    /* glibc 2.35 and later: object of an address, without a lock. */
    int (*find_object)(void *address, struct dl_find_object *result);
    struct range self; /* our own library; empty when linked into the program itself */
    struct range libc;
    u64 entry; /* the program's entry point */
};

extern struct unwind_lib unwind_lib;
extern unw_accessors_t unwind_accessors;

/* What libunwind gets instead of some functions of libc: see unwind_open.c. Trap context. */
struct unwind_import {
    const char *name;
    void *function;
};

extern const struct unwind_import unwind_imports[];
extern const unsigned unwind_nimports;

#endif
