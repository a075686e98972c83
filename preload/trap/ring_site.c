/* Instructions that made accesses: each is written down once, and then a number stands for it. */
#include "calls/calls.h"
#include "trap/ring_own.h"

#include "base/mem.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "base/trapsafe.h"

#define SITES  16384u
#define PROBES 8u

/* An instruction that made accesses, as it was announced. */
struct site {
    u64 pc, insn[2]; /* its bytes, the rest 0 */
    u32 id;
    u32 file;        /* the file that it was announced in */
    u32 code;        /* when its text was right last */
    u8 length;
    char text[];
};

static struct site *sites[SITES];

static void put_site(struct thread *t, struct site *s)
{
    size_t text = strlen(s->text) + 1;
    unsigned slots = ring_slots(sizeof(s->insn) + text);
    struct ring_slot *slot = ring_room(t, slots, ring_ticks());

    if (!slot)
        return;
    slot->addr = s->pc;
    slot->element = s->length;
    memcpy(slot + 1, s->insn, sizeof(s->insn));
    memcpy((u8 *)(slot + 1) + sizeof(s->insn), s->text, text);
    ring_commit(slot, RING_SITE, 0, slots, s->id);
}

static struct site *make_site(struct thread *t, u64 pc, const u64 insn[2], u8 length)
{
    char buf[400];
    struct fmt text = FMT_INIT(buf);
    struct site *s;

    backtrace_where(pc, &text);
    fmt_end(&text);
    s = bump_alloc(sizeof(*s) + strlen(buf) + 1);
    if (!s || (!ring_header && !ring_open(t)))
        return NULL;
    *s = (struct site){.pc = pc, .insn = {insn[0], insn[1]}, .length = length};
    memcpy(s->text, buf, strlen(buf) + 1);
    s->id = __atomic_add_fetch(&ring_header->sites, 1, __ATOMIC_RELAXED);
    s->file = ring_file_epoch;
    s->code = backtrace_epoch();
    put_site(t, s);
    return s;
}

/* Still the same module there? */
static bool site_holds(struct site *s)
{
    char buf[400];
    struct fmt text = FMT_INIT(buf);
    u32 code = backtrace_epoch();

    if (likely(s->file == ring_file_epoch && s->code == code))
        return true;
    if (s->file != ring_file_epoch)
        return false;
    backtrace_where(s->pc, &text);
    if (strcmp(fmt_end(&text), s->text) != 0)
        return false;
    s->code = code;
    return true;
}

struct making {
    struct thread *t;
    u64 pc;
    const u64 *insn;
    u8 length;
    struct site *made;
};

static void make(void *argument)
{
    struct making *m = argument;

    m->made = make_site(m->t, m->pc, m->insn, m->length);
}

u32 ring_site(struct thread *t, const struct trace_record *rec)
{
    u64 insn[2] = {0, 0};
    u32 hash = (u32)(rec->pc * 0x9e3779b97f4a7c15ull >> 40);
    struct site *s;
    u32 at = 0;

    if (!rec->pc)
        return 0;
    memcpy(insn, rec->insn, 16);
    if (rec->insn_len < 8) {
        insn[0] &= ((u64)1 << 8 * rec->insn_len) - 1;
        insn[1] = 0;
    } else {
        insn[1] &= ((u64)1 << 8 * (MIN(rec->insn_len, 15) - 8)) - 1;
    }
    for (u32 i = 0; i < PROBES; i++) {
        at = (hash + i) % SITES;
        s = __atomic_load_n(&sites[at], __ATOMIC_ACQUIRE);
        if (!s)
            break;
        if (s->pc != rec->pc || s->insn[0] != insn[0] || s->insn[1] != insn[1] || s->length != rec->insn_len)
            continue;
        if (likely(site_holds(s)))
            return s->id;
        break;
    }
    /* One that is stale, or that finds no place, gives its place to this one. */
    if (calls_inside()) { /* the loader, which is asked, may use vectors, and they are the program's */
        struct making m = {t, rec->pc, insn, rec->insn_len, NULL};

        calls_guarded(make, &m);
        s = m.made;
    } else {
        s = make_site(t, rec->pc, insn, rec->insn_len);
    }
    if (s)
        __atomic_store_n(&sites[at], s, __ATOMIC_RELEASE);
    return s ? s->id : 0;
}
