#include "interpose/interpose.h"

#include "base/mem.h"
#include "base/sys.h"
#include "interpose/writes.h"
#include "memory/dirty.h"
#include "trap/probe.h"

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

/* A bit for each byte of a word that is zero; exact up to the first one. */
static u64 zero_bytes(u64 word)
{
    return (word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull;
}

/* Up to 7 bytes of the room stay unused. */
bool interpose_string(u64 from, char *out, size_t room)
{
    for (size_t done = 0; done < room;) {
        unsigned skip = (from + done) & 7; /* whole words: none reaches into a page where the string is not */
        size_t n = 8 - skip;
        u64 word = 0;

        if (room - done < sizeof(word) || !probe_word(from + done - skip, &word))
            return false;
        word >>= 8 * skip;
        memcpy(out + done, &word, sizeof(word));
        done += n;
        if (skip)
            word |= UINT64_MAX << (8 * n);
        if (zero_bytes(word))
            return true;
    }
    return false;
}
