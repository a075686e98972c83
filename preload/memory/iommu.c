#include "memory/iommu.h"

#include <errno.h>

#include "memory/iommu_tree.h"
#include "base/trapsafe.h"

/* --- endpoints --- */

static u32 endpoints(const struct iommu *t)
{
    return MIN(t->nendpoints, IOMMU_ENDPOINTS);
}

struct iommu_endpoint *iommu_find(struct iommu *t, u32 owner, u32 id)
{
    for (u32 i = 0; i < endpoints(t); i++)
        if (t->endpoints[i].owner == owner && t->endpoints[i].id == id)
            return &t->endpoints[i];
    return NULL;
}

bool iommu_add(struct iommu *t, u32 owner, u32 id, bool bypass)
{
    struct iommu_endpoint *ep = iommu_find(t, owner, id);

    if (ep || t->nendpoints == IOMMU_ENDPOINTS)
        return ep;
    ep = &t->endpoints[t->nendpoints++];
    ep->owner = owner;
    ep->id = id;
    ep->bypass = ep->boot = bypass;
    return true;
}

/* --- transfers --- */

void iommu_enter(struct iommu_endpoint *ep, const struct lock_self *self)
{
    lock_take(&ep->lock, self);
}

void iommu_leave(struct iommu_endpoint *ep, const struct lock_self *self)
{
    lock_release(&ep->lock, self);
}

/* The tree cannot be believed. */
static const struct iommu_mapping *search(const struct iommu *t, u16 domain, u64 addr)
{
    for (u32 i = 1; i < MIN(t->used, IOMMU_MAPPINGS); i++) {
        const struct iommu_mapping *m = &t->mappings[i];

        if (m->domain == domain && m->first <= addr && addr <= m->last)
            return m;
    }
    return NULL;
}

/* Who changes this domain holds the lock that we hold: if anybody is at it, he died there. */
static const struct iommu_mapping *mapped(const struct iommu *t, u16 domain, u64 addr)
{
    const struct iommu_mapping *m;

    if (unlikely(__atomic_load_n(&t->changing, __ATOMIC_RELAXED) == domain))
        return search(t, domain, addr);
    m = tree_from(t, t->domains[domain - 1].root, addr);
    return m && m->first <= addr ? m : NULL;
}

/* Most transfers go where others went before. */
static const struct iommu_mapping *mapped_recently(const struct iommu *t, struct iommu_endpoint *ep, u16 domain, u64 addr)
{
    u32 *recent = &ep->recent[addr / PAGE_SIZE % IOMMU_RECENT];
    const struct iommu_mapping *m = &t->mappings[*recent % IOMMU_MAPPINGS];

    if (likely(m->domain == domain && m->first <= addr && addr <= m->last))
        return m;
    m = mapped(t, domain, addr);
    if (m)
        *recent = (u32)(m - t->mappings);
    return m;
}

bool iommu_translate(const struct iommu *t, struct iommu_endpoint *ep, u64 addr, u64 *len, bool write, u64 *machine,
                     struct iommu_fault *fault)
{
    u16 domain = MIN(ep->domain, IOMMU_DOMAINS);
    const struct iommu_mapping *m;

    *machine = addr;
    if (domain ? t->domains[domain - 1].bypass : ep->bypass)
        return true;
    m = domain ? mapped_recently(t, ep, domain, addr) : NULL;
    if (!m || !(m->flags & (write ? IOMMU_WRITE : IOMMU_READ))) {
        *fault = (struct iommu_fault){.owner = ep->owner, .endpoint = ep->id, .addr = addr, .write = write,
                                      .unattached = !domain};
        return false;
    }
    *machine = m->target + (addr - m->first);
    if (*len > m->last - addr) /* not + 1, which may be 2^64 */
        *len = m->last - addr + 1;
    return true;
}

/* --- changes: under the lock of the tables --- */

static u16 slot_of(const struct iommu *t, const struct iommu_domain *d)
{
    return (u16)(d - t->domains + 1);
}

static void lock_domain(struct iommu *t, u16 slot, const struct lock_self *self)
{
    for (u32 i = 0; i < endpoints(t); i++)
        if (t->endpoints[i].domain == slot)
            lock_take(&t->endpoints[i].lock, self);
    __atomic_store_n(&t->changing, slot, __ATOMIC_SEQ_CST);
}

static void unlock_domain(struct iommu *t, u16 slot, const struct lock_self *self)
{
    __atomic_store_n(&t->changing, 0, __ATOMIC_SEQ_CST);
    for (u32 i = 0; i < endpoints(t); i++)
        if (t->endpoints[i].domain == slot)
            lock_release(&t->endpoints[i].lock, self);
}

static void set_endpoint(struct iommu_endpoint *ep, u16 slot, const struct lock_self *self)
{
    lock_take(&ep->lock, self);
    ep->domain = slot;
    lock_release(&ep->lock, self);
}

static bool in_use(const struct iommu *t, u16 slot)
{
    for (u32 i = 0; i < endpoints(t); i++)
        if (t->endpoints[i].domain == slot)
            return true;
    return false;
}

/* A domain that nobody is attached to any more "ceases to exist" (VIRTIO 1.2, 5.13.6.4). Nobody looks into it. */
static void end_domain(struct iommu *t, u16 slot)
{
    __atomic_store_n(&t->changing, slot, __ATOMIC_SEQ_CST);
    tree_clear(t, slot);
    t->domains[slot - 1] = (struct iommu_domain){0};
    __atomic_store_n(&t->changing, 0, __ATOMIC_SEQ_CST);
}

static void leave_domain(struct iommu *t, struct iommu_endpoint *ep, const struct lock_self *self)
{
    u16 slot = MIN(ep->domain, IOMMU_DOMAINS);

    if (!slot)
        return;
    set_endpoint(ep, 0, self);
    if (!in_use(t, slot))
        end_domain(t, slot);
}

/* Takes the lock; what somebody left who died is put in order. */
static void begin(struct iommu *t, const struct lock_self *self)
{
    bool died = lock_take(&t->lock, self);
    u16 slot = (u16)MIN(t->changing, IOMMU_DOMAINS);

    if (likely(!died && !slot))
        return;
    if (slot) {
        lock_domain(t, slot, self);
        tree_rebuild(t, slot);
        unlock_domain(t, slot, self);
    }
    tree_collect(t);
    for (u16 i = 1; i <= IOMMU_DOMAINS; i++)
        if (t->domains[i - 1].owner && !in_use(t, i))
            end_domain(t, i);
}

static struct iommu_domain *find_domain(struct iommu *t, u32 owner, u32 id)
{
    for (u32 i = 0; i < IOMMU_DOMAINS; i++)
        if (t->domains[i].owner == owner && t->domains[i].id == id)
            return &t->domains[i];
    return NULL;
}

static struct iommu_domain *free_domain(struct iommu *t)
{
    for (u32 i = 0; i < IOMMU_DOMAINS; i++)
        if (!t->domains[i].owner)
            return &t->domains[i];
    return NULL;
}

static int attach(struct iommu *t, u32 owner, u32 domain, u32 endpoint, bool bypass, const struct lock_self *self)
{
    struct iommu_endpoint *ep = iommu_find(t, owner, endpoint);
    struct iommu_domain *d = find_domain(t, owner, domain);

    if (!ep)
        return -ENOENT;
    if (d && d->bypass != bypass)
        return -EINVAL;
    if (d && ep->domain == slot_of(t, d))
        return 0;
    leave_domain(t, ep, self); /* before the new one is looked for: it may make room */
    if (!d)
        d = free_domain(t);
    if (!d)
        return -ENOMEM;
    if (!d->owner)
        *d = (struct iommu_domain){.owner = owner, .id = domain, .bypass = bypass};
    set_endpoint(ep, slot_of(t, d), self);
    return 0;
}

int iommu_attach(struct iommu *t, u32 owner, u32 domain, u32 endpoint, bool bypass, const struct lock_self *self)
{
    int ret;

    begin(t, self);
    ret = attach(t, owner, domain, endpoint, bypass, self);
    lock_release(&t->lock, self);
    return ret;
}

int iommu_detach(struct iommu *t, u32 owner, u32 domain, u32 endpoint, const struct lock_self *self)
{
    struct iommu_endpoint *ep;
    struct iommu_domain *d;
    int ret = 0;

    begin(t, self);
    ep = iommu_find(t, owner, endpoint);
    d = find_domain(t, owner, domain);
    if (!ep)
        ret = -ENOENT;
    else if (!d || ep->domain != slot_of(t, d))
        ret = -ENOTCONN;
    else
        leave_domain(t, ep, self);
    lock_release(&t->lock, self);
    return ret;
}

/* The domain that mappings are about. NULL with *ret: there is none, or it has none. */
static struct iommu_domain *domain_of(struct iommu *t, u32 owner, u32 domain, int *ret)
{
    struct iommu_domain *d = find_domain(t, owner, domain);

    *ret = !d ? -ENOENT : d->bypass ? -EINVAL : 0;
    return *ret ? NULL : d;
}

int iommu_map(struct iommu *t, u32 owner, u32 domain, const struct iommu_mapping *mapping, const struct lock_self *self)
{
    const struct iommu_mapping *there;
    struct iommu_domain *d;
    int ret;

    begin(t, self);
    d = domain_of(t, owner, domain, &ret);
    there = d ? tree_from(t, d->root, mapping->first) : NULL;
    if (there && there->first <= mapping->last)
        ret = -EEXIST;
    if (d && ret == 0) {
        lock_domain(t, slot_of(t, d), self);
        if (!tree_add(t, slot_of(t, d), mapping))
            ret = -ENOMEM;
        unlock_domain(t, slot_of(t, d), self);
    }
    lock_release(&t->lock, self);
    return ret;
}

/* Would an end of the range cut a mapping in two? */
static bool splits(const struct iommu *t, const struct iommu_domain *d, u64 first, u64 last)
{
    const struct iommu_mapping *low = tree_from(t, d->root, first), *high = tree_from(t, d->root, last);

    return (low && low->first < first) || (high && high->first <= last && high->last > last);
}

int iommu_unmap(struct iommu *t, u32 owner, u32 domain, u64 first, u64 last, const struct lock_self *self)
{
    struct iommu_domain *d;
    int ret;

    begin(t, self);
    d = domain_of(t, owner, domain, &ret);
    if (d && splits(t, d, first, last))
        ret = -ERANGE;
    if (d && ret == 0) {
        lock_domain(t, slot_of(t, d), self);
        tree_remove(t, slot_of(t, d), first, last);
        unlock_domain(t, slot_of(t, d), self);
    }
    lock_release(&t->lock, self);
    return ret;
}

void iommu_bypass(struct iommu *t, u32 owner, bool bypass, const struct lock_self *self)
{
    begin(t, self);
    for (u32 i = 0; i < endpoints(t); i++) {
        struct iommu_endpoint *ep = &t->endpoints[i];

        if (ep->owner != owner)
            continue;
        lock_take(&ep->lock, self);
        ep->bypass = bypass;
        lock_release(&ep->lock, self);
    }
    lock_release(&t->lock, self);
}

void iommu_detach_all(struct iommu *t, u32 owner, const struct lock_self *self)
{
    begin(t, self);
    for (u32 i = 0; i < endpoints(t); i++)
        if (t->endpoints[i].owner == owner)
            leave_domain(t, &t->endpoints[i], self);
    lock_release(&t->lock, self);
}

void iommu_power_on(struct iommu *t, const struct lock_self *self)
{
    begin(t, self);
    for (u32 i = 0; i < endpoints(t); i++) {
        struct iommu_endpoint *ep = &t->endpoints[i];

        leave_domain(t, ep, self);
        lock_take(&ep->lock, self);
        ep->bypass = ep->boot;
        lock_release(&ep->lock, self);
    }
    lock_release(&t->lock, self);
    lock_take(&t->faults_lock, self);
    t->nfaults = 0;
    lock_release(&t->faults_lock, self);
}

/* --- faults --- */

void iommu_report(struct iommu *t, const struct iommu_fault *fault, const struct lock_self *self)
{
    lock_take(&t->faults_lock, self);
    if (t->nfaults < IOMMU_FAULTS)
        t->faults[t->nfaults++] = *fault;
    lock_release(&t->faults_lock, self);
}

bool iommu_take_fault(struct iommu *t, u32 owner, struct iommu_fault *fault, const struct lock_self *self)
{
    u32 n, i = 0;

    if (!__atomic_load_n(&t->nfaults, __ATOMIC_RELAXED))
        return false;
    lock_take(&t->faults_lock, self);
    n = MIN(t->nfaults, IOMMU_FAULTS);
    while (i < n && t->faults[i].owner != owner)
        i++;
    if (i < n) {
        *fault = t->faults[i];
        for (t->nfaults = --n; i < n; i++)
            t->faults[i] = t->faults[i + 1];
        i = IOMMU_FAULTS;
    }
    lock_release(&t->faults_lock, self);
    return i == IOMMU_FAULTS;
}
