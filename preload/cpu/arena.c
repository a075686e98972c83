#include "base/sys.h"
#include "cpu/plan.h"
#include "base/trapsafe.h"

#define CHUNK_BYTES ((u64)256 << 10)

struct chunk {
    u64 used; /* may pass the end: whoever overshoots takes a new chunk */
    u8 data[CHUNK_BYTES - sizeof(u64)];
};

static struct chunk *current;

/* No locks: a thread may be interrupted or forked away at any point of it. */
void *cpu_arena(size_t bytes)
{
    size_t size = (bytes + 15) & ~(size_t)15;

    for (;;) {
        struct chunk *chunk = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
        struct chunk *fresh;

        if (chunk) {
            u64 at = __atomic_fetch_add(&chunk->used, size, __ATOMIC_RELAXED);

            if (at <= sizeof(chunk->data) && size <= sizeof(chunk->data) - at)
                return chunk->data + at;
        }
        fresh = sys_pages(sizeof(*fresh));
        if (!fresh)
            return NULL;
        if (!__atomic_compare_exchange_n(&current, &chunk, fresh, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            sys_munmap(fresh, sizeof(*fresh));
    }
}
