/*
 * Decoded instructions. They depend on their bytes alone, so each byte string
 * is decoded once and kept in a tree that only grows; a table indexed by
 * address is a shortcut into it. A hit is checked against the bytes that are
 * there now: code that was rewritten or remapped is simply a miss.
 */
#include "base/mem.h"
#include "base/sys.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

#define SLOTS     ((u64)1 << 14)
#define MAX_BYTES 15

struct entry {
    struct entry *child[4];
    struct cpu_insn insn;
};

static const struct cpu_insn **slots;
static struct entry *root;

bool cache_init(void)
{
    if (!slots)
        slots = sys_pages(SLOTS * sizeof(*slots));
    return slots != NULL;
}

static u64 hash(const struct cpu_insn *insn)
{
    u64 h = insn->length, word;

    for (unsigned i = 0; i < insn->length; i += sizeof(word)) {
        word = 0;
        memcpy(&word, insn->bytes + i, MIN(sizeof(word), (size_t)insn->length - i));
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h * 0x9e3779b97f4a7c15u;
}

/* The one copy of an instruction. NULL: no memory. */
static const struct cpu_insn *intern(const struct cpu_insn *insn)
{
    struct entry **place = &root, *fresh = NULL;

    for (u64 h = hash(insn);; h <<= 2) {
        struct entry *e = __atomic_load_n(place, __ATOMIC_ACQUIRE);

        if (!e) {
            if (!fresh) {
                fresh = cpu_arena(sizeof(*fresh));
                if (!fresh)
                    return NULL;
                fresh->insn = *insn;
            }
            if (__atomic_compare_exchange_n(place, &e, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                return &fresh->insn;
        }
        if (e->insn.length == insn->length && memcmp(e->insn.bytes, insn->bytes, insn->length) == 0)
            return &e->insn;
        place = &e->child[h >> 62];
    }
}

/* Code at rip as far as it is known; never more than the instruction needs is read behind a page's end. */
struct window {
    u8 bytes[MAX_BYTES];
    unsigned length;
    u64 rip;
};

static bool extend(struct window *w, unsigned length)
{
    if (length > w->length)
        w->length += stub_fetch(w->bytes + w->length, w->rip + w->length, length - w->length);
    return w->length >= length;
}

/*
 * Is this the instruction? If the bytes before the page's end agree, the rest
 * belongs to it, too, and may be read: no other instruction begins like it.
 */
static bool matches(const struct cpu_insn *insn, struct window *w)
{
    unsigned known = MIN(w->length, (unsigned)insn->length);

    if (memcmp(insn->bytes, w->bytes, known) != 0 || !extend(w, insn->length))
        return false;
    return memcmp(insn->bytes + known, w->bytes + known, insn->length - known) == 0;
}

static const struct cpu_insn *decode(struct window *w)
{
    struct cpu_insn insn;
    bool more = false;

    while (!cpu_decode(&insn, w->bytes, w->length, &more)) {
        if (!more || w->length >= MAX_BYTES || !extend(w, w->length + 1))
            return NULL;
    }
    return intern(&insn);
}

const struct cpu_insn *cpu_lookup(u64 rip)
{
    struct window w = {.rip = rip};
    const struct cpu_insn *insn, **slot;

    if (!slots || !extend(&w, (unsigned)MIN((u64)MAX_BYTES, PAGE_SIZE - (rip & ~PAGE_MASK))))
        return NULL;
    slot = &slots[(rip ^ rip >> 14) & (SLOTS - 1)];
    insn = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (likely(insn && matches(insn, &w)))
        return insn;
    insn = decode(&w);
    if (insn)
        __atomic_store_n(slot, insn, __ATOMIC_RELEASE);
    return insn;
}

const struct cpu_insn *cpu_intern(const u8 *bytes, unsigned avail)
{
    struct cpu_insn insn;
    bool more;

    return cpu_decode(&insn, bytes, avail, &more) ? intern(&insn) : NULL;
}

void cpu_forget(void)
{
    for (u64 i = 0; slots && i < SLOTS; i++)
        __atomic_store_n(&slots[i], NULL, __ATOMIC_RELAXED);
}
