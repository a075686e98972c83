/*
 * IOMMU tables: where the DMA of an endpoint goes. An endpoint is attached to
 * one domain at most, and a domain maps ranges of its bus addresses to
 * addresses of the machine, each with its own permissions. Plain data in the
 * arena. Whoever programs them (the model of an IOMMU, later a VFIO container) is
 * their owner, a number; domains and endpoints are named by numbers of his.
 *
 * Why nobody keeps a mapping over its unmap: a transfer holds the lock of its
 * endpoint from the first look into the tables to the last byte
 * (iommu_enter, iommu_leave). Who changes a domain takes the locks of all its
 * endpoints, and who attaches or detaches an endpoint takes its. So each
 * transfer comes wholly before a change, which waits for it, or wholly behind,
 * and then sees it; and no answer of a lookup outlives the transfer.
 *
 * Who dies in the middle of a change leaves `changing`, and a tree that may
 * make no sense. The mappings themselves are whole at any time: transfers go through
 * them one by one until the next change makes the tree anew.
 *
 * Order of locks: that of the tables, then those of endpoints, ascending; none of
 * them is ever biased, and whoever holds one takes no device's. Trap or worker context.
 */
#ifndef MMIOSHIM_MEMORY_IOMMU_H
#define MMIOSHIM_MEMORY_IOMMU_H

#include "base/lock.h"

#define IOMMU_ENDPOINTS 4096u
#define IOMMU_DOMAINS   256u   /* at a time */
#define IOMMU_MAPPINGS  32768u /* of all domains, a power of 2 */
#define IOMMU_RECENT    16u    /* that an endpoint finds without a search, a power of 2 */
#define IOMMU_FAULTS    64u    /* that nobody has taken yet */

enum { IOMMU_READ = 1, IOMMU_WRITE = 2 };

struct iommu_mapping {
    u64 first, last, target; /* bytes first to last, both included, lie at target */
    u32 child[2];            /* of the tree: below, above; 0: none. Free: [0] is the next one */
    u16 domain;              /* slot and 1; 0: free */
    u8 flags;
    u8 height;
};

struct iommu_endpoint {
    struct lock lock;
    u32 owner;
    u32 id;
    u16 domain;  /* slot and 1; 0: not attached */
    u8 bypass;   /* what it does while it is not: addresses go through as they are, or nowhere */
    u8 boot;     /* the same after power-on */
    u32 recent[IOMMU_RECENT]; /* mappings where it was lately, by page; a mapping itself says whether it still is one of this domain */
} __attribute__((aligned(64)));

struct iommu_domain {
    u32 owner; /* 0: free */
    u32 id;
    u32 root;
    u32 bypass; /* it has no mappings, and addresses go through as they are */
};

/* A transfer that the tables refused. */
struct iommu_fault {
    u32 owner, endpoint;
    u64 addr;      /* first byte that cannot be reached */
    u8 write;
    u8 unattached; /* the endpoint has no domain; else nothing is mapped there, or not for this */
    u8 reserved[6];
};

struct iommu {
    struct lock lock; /* of changes */
    struct lock faults_lock;
    u32 nendpoints;
    u32 used;     /* mappings from here on were never used */
    u32 spare;    /* the first that is free below `used`, 0: none */
    u32 changing; /* slot and 1 of the domain whose tree is being changed */
    u32 nfaults;
    u32 reserved;
    struct iommu_fault faults[IOMMU_FAULTS];
    struct iommu_domain domains[IOMMU_DOMAINS];
    struct iommu_endpoint endpoints[IOMMU_ENDPOINTS];
    struct iommu_mapping mappings[IOMMU_MAPPINGS]; /* [0] is nobody's */
};

/*
 * Makes an endpoint known; one that is known already stays as it is. bypass: as after power-on. False: there is no
 * room. While the machine is made.
 */
bool iommu_add(struct iommu *t, u32 owner, u32 id, bool bypass);
/* NULL: there is no such endpoint. */
struct iommu_endpoint *iommu_find(struct iommu *t, u32 owner, u32 id);

/* A transfer of an endpoint begins, and ends. */
void iommu_enter(struct iommu_endpoint *ep, const struct lock_self *self);
void iommu_leave(struct iommu_endpoint *ep, const struct lock_self *self);
/*
 * Between the two: where a byte of the endpoint's addresses lies, and how many behind it, *len at most, lie there in one
 * piece and may be read, or written. False: it lies nowhere, with *fault filled.
 */
bool iommu_translate(const struct iommu *t, struct iommu_endpoint *ep, u64 addr, u64 *len, bool write, u64 *machine,
                     struct iommu_fault *fault);

/*
 * Changes. 0, or -errno: ENOENT no such endpoint (attach, detach) or domain (map, unmap); EINVAL the domain exists and is
 * no, or is a, bypass domain; ENOMEM no room; ENOTCONN not attached to that domain; EEXIST something is mapped in the
 * range; ERANGE a mapping would be cut in two. Nothing has changed then.
 */
int iommu_attach(struct iommu *t, u32 owner, u32 domain, u32 endpoint, bool bypass, const struct lock_self *self);
int iommu_detach(struct iommu *t, u32 owner, u32 domain, u32 endpoint, const struct lock_self *self);
/* first <= last, and target + (last - first) does not wrap. flags: IOMMU_READ, IOMMU_WRITE, any of them. */
int iommu_map(struct iommu *t, u32 owner, u32 domain, const struct iommu_mapping *mapping, const struct lock_self *self);
/* Removes all mappings that lie in the range; there may be none. */
int iommu_unmap(struct iommu *t, u32 owner, u32 domain, u64 first, u64 last, const struct lock_self *self);
/* What the endpoints of an owner do while they are not attached. */
void iommu_bypass(struct iommu *t, u32 owner, bool bypass, const struct lock_self *self);
/* Detaches all endpoints of an owner. */
void iommu_detach_all(struct iommu *t, u32 owner, const struct lock_self *self);
/* All of it as after power-on. */
void iommu_power_on(struct iommu *t, const struct lock_self *self);

/* Keeps a fault for the owner; the oldest ones are kept when there is no more room. */
void iommu_report(struct iommu *t, const struct iommu_fault *fault, const struct lock_self *self);
/* Takes the oldest fault of an owner. False: there is none. */
bool iommu_take_fault(struct iommu *t, u32 owner, struct iommu_fault *fault, const struct lock_self *self);

#endif
