#include "table.h"

#include <stdlib.h>

#include "tool.h"

static size_t slot_of(const struct table *t, u64 a, u64 b)
{
    u64 hash = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xc2b2ae3d27d4eb4full);
    size_t i = (hash ^ hash >> 32) & (t->size - 1);

    while (t->entries[i].number && (t->entries[i].a != a || t->entries[i].b != b))
        i = (i + 1) & (t->size - 1);
    return i;
}

static void enlarge(struct table *t)
{
    struct table larger = {.size = t->size ? t->size * 2 : 256};

    larger.entries = tool_alloc(larger.size * sizeof(*larger.entries));
    larger.used = t->used;
    for (size_t i = 0; i < t->size; i++)
        if (t->entries[i].number)
            larger.entries[slot_of(&larger, t->entries[i].a, t->entries[i].b)] = t->entries[i];
    free(t->entries);
    *t = larger;
}

u64 *table_find(struct table *t, u64 a, u64 b)
{
    struct table_entry *e;

    if (t->used * 2 >= t->size)
        enlarge(t);
    e = &t->entries[slot_of(t, a, b)];
    if (!e->number) {
        *e = (struct table_entry){a, b, 0};
        t->used++;
    }
    return &e->number;
}

u64 table_get(const struct table *t, u64 a, u64 b)
{
    return t->size ? t->entries[slot_of(t, a, b)].number : 0;
}

void table_free(struct table *t)
{
    free(t->entries);
    *t = (struct table){0};
}

void *table_grow(void *array, size_t count, size_t *room, size_t bytes)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 64;
    array = realloc(array, *room * bytes);
    if (array)
        return array;
    tool_error("out of memory");
    exit(TOOL_ERROR);
}
