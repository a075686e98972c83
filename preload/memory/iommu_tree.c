#include "memory/iommu_tree.h"

#include "base/trapsafe.h"

_Static_assert((IOMMU_MAPPINGS & (IOMMU_MAPPINGS - 1)) == 0, "a mask keeps indices inside");

static struct iommu_mapping *at(struct iommu *t, u32 i)
{
    return &t->mappings[i & (IOMMU_MAPPINGS - 1)];
}

const struct iommu_mapping *tree_from(const struct iommu *t, u32 root, u64 addr)
{
    const struct iommu_mapping *found = NULL;

    for (unsigned depth = 0; root && depth < TREE_DEPTH; depth++) {
        const struct iommu_mapping *m = &t->mappings[root & (IOMMU_MAPPINGS - 1)];

        if (m->last >= addr)
            found = m;
        root = m->child[m->last < addr];
    }
    return found;
}

/* --- balance --- */

static unsigned height(struct iommu *t, u32 i)
{
    return i ? at(t, i)->height : 0;
}

static void measure(struct iommu *t, u32 i)
{
    unsigned low = height(t, at(t, i)->child[0]), high = height(t, at(t, i)->child[1]);

    at(t, i)->height = (u8)(1 + (low > high ? low : high));
}

/* The child of that side goes up. */
static u32 rotate(struct iommu *t, u32 i, unsigned side)
{
    u32 up = at(t, i)->child[side];

    at(t, i)->child[side] = at(t, up)->child[!side];
    at(t, up)->child[!side] = i;
    measure(t, i);
    measure(t, up);
    return up;
}

/* One subtree has grown or shrunk by 1. */
static u32 balance(struct iommu *t, u32 i)
{
    struct iommu_mapping *m = at(t, i);
    unsigned low = height(t, m->child[0]), high = height(t, m->child[1]), side = high > low;
    u32 child = m->child[side];

    measure(t, i);
    if ((low > high ? low - high : high - low) < 2)
        return i;
    if (height(t, at(t, child)->child[!side]) > height(t, at(t, child)->child[side]))
        m->child[side] = rotate(t, child, !side);
    return rotate(t, i, side);
}

static u32 insert(struct iommu *t, u32 root, u32 new, unsigned depth)
{
    struct iommu_mapping *m = at(t, root);
    unsigned side;

    if (!root || !depth)
        return new;
    side = at(t, new)->first > m->first;
    m->child[side] = insert(t, m->child[side], new, depth - 1);
    return balance(t, root);
}

static u32 extract_least(struct iommu *t, u32 root, u32 *least, unsigned depth)
{
    struct iommu_mapping *m = at(t, root);

    if (!m->child[0] || !depth) {
        *least = root;
        return m->child[1];
    }
    m->child[0] = extract_least(t, m->child[0], least, depth - 1);
    return balance(t, root);
}

static u32 extract(struct iommu *t, u32 root, u32 old, unsigned depth)
{
    struct iommu_mapping *m = at(t, root);
    u32 next;

    if (!root || !depth)
        return root;
    if (root != old) {
        unsigned side = at(t, old)->first > m->first;

        m->child[side] = extract(t, m->child[side], old, depth - 1);
        return balance(t, root);
    }
    if (!m->child[1])
        return m->child[0];
    m->child[1] = extract_least(t, m->child[1], &next, depth - 1);
    at(t, next)->child[0] = m->child[0];
    at(t, next)->child[1] = m->child[1];
    return balance(t, next);
}

/* --- the pool --- */

static void release(struct iommu *t, u32 i)
{
    __atomic_store_n(&at(t, i)->domain, 0, __ATOMIC_RELEASE);
    at(t, i)->child[0] = t->spare;
    t->spare = i;
}

static u32 allocate(struct iommu *t)
{
    u32 i = t->spare;

    if (i) {
        t->spare = at(t, i)->child[0];
        return i;
    }
    i = t->used ? t->used : 1;
    if (i >= IOMMU_MAPPINGS)
        return 0;
    t->used = i + 1;
    return i;
}

static void plant(struct iommu *t, u16 slot, u32 i)
{
    struct iommu_domain *d = &t->domains[slot - 1];

    at(t, i)->child[0] = at(t, i)->child[1] = 0;
    at(t, i)->height = 1;
    d->root = insert(t, d->root, i, TREE_DEPTH);
}

bool tree_add(struct iommu *t, u16 slot, const struct iommu_mapping *mapping)
{
    u32 i = allocate(t);
    struct iommu_mapping *m = at(t, i);

    if (!i)
        return false;
    m->first = mapping->first;
    m->last = mapping->last;
    m->target = mapping->target;
    m->flags = mapping->flags;
    __atomic_store_n(&m->domain, slot, __ATOMIC_RELEASE); /* from now on it is there, whatever happens to us */
    plant(t, slot, i);
    return true;
}

void tree_remove(struct iommu *t, u16 slot, u64 first, u64 last)
{
    struct iommu_domain *d = &t->domains[slot - 1];
    const struct iommu_mapping *m;

    while ((m = tree_from(t, d->root, first)) && m->first <= last && m->domain) {
        u32 i = (u32)(m - t->mappings);

        d->root = extract(t, d->root, i, TREE_DEPTH);
        release(t, i);
    }
}

void tree_clear(struct iommu *t, u16 slot)
{
    for (u32 i = 1; i < MIN(t->used, IOMMU_MAPPINGS); i++)
        if (at(t, i)->domain == slot)
            release(t, i);
    t->domains[slot - 1].root = 0;
}

void tree_rebuild(struct iommu *t, u16 slot)
{
    t->domains[slot - 1].root = 0;
    for (u32 i = 1; i < MIN(t->used, IOMMU_MAPPINGS); i++)
        if (at(t, i)->domain == slot)
            plant(t, slot, i);
}

void tree_collect(struct iommu *t)
{
    t->spare = 0;
    for (u32 i = 1; i < MIN(t->used, IOMMU_MAPPINGS); i++)
        if (!at(t, i)->domain)
            release(t, i);
}
