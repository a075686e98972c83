#include "interpose/interpose.h"

#include "base/sys.h"
#include "interpose/writes.h"
#include "memory/dirty.h"
#include "trap/backtrace.h"

const struct machine *interpose_machine;
const struct view *interpose_view;

static const call_function functions[CALL_MAX] = {
#define CALL(name, function) [SYS_##name] = function,
#include "interpose/calls.def"
#undef CALL
};

static call_function table[CALL_MAX];

static enum call_answer open_pages(struct call *call)
{
    call_function function = functions[call->nr];

    writes_open(call);
    return function ? function(call) : CALL_PASS;
}

void interpose_start(const struct machine *machine, const struct view *view)
{
    bool opens = dirty_mode() == DIRTY_MPROTECT;

    interpose_view = view;
    interpose_machine = machine;
    writes_start();
    for (unsigned i = 0; i < CALL_MAX; i++)
        table[i] = opens && writes_known(i) ? open_pages : functions[i];
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
