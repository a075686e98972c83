/*
 * Huge pages without huge pages: files of hugetlbfs, memfds with MFD_HUGETLB
 * and anonymous memory with MAP_HUGETLB, in pages of 2 MiB of the machine's RAM.
 * Which page belongs to what is the machine's state, in the arena; the files'
 * names as well. A page is given out when it is mapped, not when it is first
 * touched, so that it has an address that devices can use.
 *
 * Nobody counts who uses a page: what has no name any more is looked for among
 * the descriptors and mappings of all members (memory/users.h) when somebody
 * needs pages, or asks how many are free. So neither fork, nor descriptors
 * that are passed on, nor kill -9 need bookkeeping.
 *
 * In a call; the lock is taken by huge_hold().
 */
#ifndef MMIOSHIM_MEMORY_HUGE_H
#define MMIOSHIM_MEMORY_HUGE_H

#include "config/pools.h"
#include "memory/arena.h"

#define HUGE_FILES 4096u
#define HUGE_NAME  64u
#define HUGE_NONE  UINT32_MAX

enum huge_kind { HUGE_FREE, HUGE_DIR, HUGE_FILE };

struct huge_file {
    u8 kind;
    bool linked; /* it has a name */
    u16 mode;
    u32 parent;  /* number of the directory, 0: the root of the mount */
    u64 size;    /* bytes, whole pages */
    u64 dev, ino; /* of the file in memory that descriptors of it are; ino 0: there is none */
    i64 changed; /* seconds of CLOCK_REALTIME */
    char name[HUGE_NAME];
};

/* A page of the pool. */
struct huge_page {
    u32 file;  /* number, 0: free; HUGE_NONE: not for use */
    u32 index; /* which page of the file */
    u32 mapped; /* somebody has it mapped: as huge_collect() found it */
};

struct huge {
    struct lock lock; /* never biased */
    u64 base;  /* machine address of the first page */
    u32 pages; /* in the table */
    u32 usable;
    u32 wanted;     /* nr_hugepages */
    u32 overcommit; /* nr_overcommit_hugepages */
    u32 stale;      /* something was unmapped since huge_collect() */
    u32 used_files; /* entries of the table from here on never held any */
    struct huge_file files[HUGE_FILES]; /* number n is files[n - 1] */
    struct huge_page table[];
};

static inline struct huge *huge_of(struct arena *arena)
{
    return arena_at(arena, arena->huge);
}

/* Bytes in the arena, and its first state. */
u64 huge_bytes(const struct machine_pools *pools);
void huge_create(struct huge *h, const struct machine_desc *desc, const struct machine_pools *pools);

void huge_start(const struct machine *machine);
void huge_hold(const struct lock_self *self);
void huge_let_go(const struct lock_self *self);

/* --- held --- */

struct huge_file *huge_file(u32 number); /* NULL: there is none of that number */
/* The n-th name in a directory, or the one that is called so. 0: there is none. */
u32 huge_list(u32 dir, u32 n);
u32 huge_find(u32 dir, const char *name);
/* A new one; name NULL: it has none. Number, or -EEXIST, -ENAMETOOLONG, -ENOSPC. */
long huge_make(u32 dir, const char *name, enum huge_kind kind, u16 mode);
/* Takes the name away: 0 or -ENOTEMPTY. What is not in use any more is gone. */
long huge_unlink(u32 number);
/* The file whose descriptors are those of this file in memory. 0: none. */
u32 huge_by_identity(u64 dev, u64 ino);
/* Cuts or grows. -EINVAL: no whole pages. */
long huge_resize(u32 number, u64 size);
/* Takes pages [first, first + count) out; where they are mapped they stay as they are until they are not any more. */
void huge_punch(u32 number, u64 first, u64 count);
/* It is gone at once: nobody has it mapped. */
void huge_drop(u32 number);
/* Machine address of a page. 0: it has none. */
u64 huge_page_at(u32 number, u64 index);
/* Whose page a machine address is in, and which of it. 0: nobody's. */
u32 huge_owner(u64 addr, u64 *index);
/* Gives every page of [first, first + count) a place, zeroed, one behind the other where that can be. 0, or -ENOMEM and nothing has changed. */
long huge_fill(u32 number, u64 first, u64 count);
u64 huge_pages_of(u32 number);
/* What is nowhere in use and has no name is gone. */
void huge_collect(void);

struct huge_counts {
    u64 total, free, surplus, overcommit, wanted;
    u64 reserved; /* none ever is: pages are given out when they are mapped */
};
struct huge_counts huge_counts(void);
/* Pages were unmapped: the next one who needs some looks for those that are not in use any more. Not held. */
void huge_unmapped(void);
void huge_want(u64 pages);
void huge_overcommit(u64 pages);

#endif
