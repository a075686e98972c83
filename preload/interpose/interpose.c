#include "interpose/interpose.h"

#include "base/sys.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"

const struct machine *interpose_machine;
const struct view *interpose_view;

/* --- what the kernel writes, with dirty pages tracked by mprotect --- */

static const struct writes {
    u64 argument;
    u64 (*length)(const struct call *call);
} writes[CALL_MAX];

#define OF(i) (call->a[i])
#define CALL(name, function)
#define WRITES(name, argument, length) \
    static u64 length_of_##name(const struct call *call) \
    { \
        (void)call; \
        return (length); \
    }
#include "interpose/calls.def"
#undef WRITES
#define WRITES(name, argument, length) [SYS_##name] = {argument, length_of_##name},
static const struct writes writes[CALL_MAX] = {
#include "interpose/calls.def"
};
#undef CALL
#undef WRITES
#undef OF

/* The kernel cannot write into a protected page (EFAULT), so what it may write is opened first, and counts as written. */
static enum call_answer open_pages(struct call *call)
{
    const struct writes *w = &writes[call->nr];
    u64 length = w->length(call);

    if (call->a[w->argument] && length)
        dirty_allow(call->a[w->argument], MIN(length, (u64)1 << 30));
    return CALL_PASS;
}

/* --- the table --- */

static call_function table[CALL_MAX] = {
#define CALL(name, function) [SYS_##name] = function,
#define WRITES(name, argument, length)
#include "interpose/calls.def"
#undef CALL
#undef WRITES
};

void interpose_start(const struct machine *machine, const struct view *view)
{
    interpose_view = view;
    interpose_machine = machine;
    for (unsigned i = 0; i < CALL_MAX && dirty_mode() == DIRTY_MPROTECT; i++)
        if (writes[i].length)
            table[i] = open_pages;
    calls_start(table);
}

bool interpose_string(u64 from, char *out, size_t room)
{
    for (size_t done = 0; done < room;) {
        size_t n = MIN(room - done, MIN((size_t)64, (size_t)(PAGE_SIZE - ((from + done) & ~PAGE_MASK))));

        if (!probe_read(out + done, from + done, n))
            return false;
        for (; n; n--, done++)
            if (!out[done])
                return true;
    }
    return false;
}
