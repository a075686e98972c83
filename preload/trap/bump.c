#include "trap/bump.h"

#include "base/sys.h"

#include "base/trapsafe.h"

#define CHUNK_BYTES ((size_t)256 << 10)
#define ALIGN       ((size_t)16)

struct chunk {
    size_t used; /* bytes handed out, header included; may run past the end */
    size_t unused;
};

static struct chunk *current;

static struct chunk *next_chunk(struct chunk *full)
{
    struct chunk *fresh = sys_pages(CHUNK_BYTES);

    if (!fresh)
        return NULL;
    fresh->used = sizeof(*fresh);
    if (__atomic_compare_exchange_n(&current, &full, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return fresh;
    sys_munmap(fresh, CHUNK_BYTES);
    return full; /* what another thread put there */
}

void *bump_alloc(size_t bytes)
{
    struct chunk *chunk = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    size_t offset;

    if (bytes > CHUNK_BYTES / 8)
        return bytes > SIZE_MAX / 2 ? NULL : sys_pages(bytes);
    bytes = (bytes + ALIGN - 1) & ~(ALIGN - 1);
    for (;;) {
        if (chunk) {
            offset = __atomic_fetch_add(&chunk->used, bytes, __ATOMIC_RELAXED);
            if (offset <= CHUNK_BYTES && bytes <= CHUNK_BYTES - offset)
                return (char *)chunk + offset;
        }
        chunk = next_chunk(chunk);
        if (!chunk)
            return NULL;
    }
}
