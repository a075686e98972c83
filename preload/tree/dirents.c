#include "tree/dirents.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>

#include "base/mem.h"
#include "tree/overlay.h"
#include "tree/stat.h"

/* struct linux_dirent64, getdents(2). */
struct entry {
    u64 ino;
    u64 offset;
    u16 length;
    u8 type;
    char name[];
};

struct listed {
    char name[256];
    u8 type;
};

static u8 type_of(const struct tree_node *node)
{
    static const u8 types[] = {[TREE_DIR] = DT_DIR, [TREE_LINK] = DT_LNK, [TREE_FILE] = DT_REG, [TREE_DEVICE] = DT_CHR};

    return types[node->class->kind];
}

/* Bytes that it takes, 0: it does not fit. */
static size_t put(u8 *to, size_t room, const char *name, u64 ino, u8 type, u64 next)
{
    size_t n = strlen(name), length = (offsetof(struct entry, name) + n + 1 + 7) & ~(size_t)7;
    struct entry e = {ino, next, (u16)length, type};

    if (length > room)
        return 0;
    memset(to, 0, length);
    memcpy(to, &e, offsetof(struct entry, name));
    memcpy(to + offsetof(struct entry, name), name, n);
    return length;
}

static void add(struct fmt *out, const char *name, u64 ino, u8 type)
{
    size_t length = (offsetof(struct entry, name) + strlen(name) + 1 + 7) & ~(size_t)7;

    length = put((u8 *)out->buf + out->len, out->cap - out->len, name, ino, type, out->len + length);
    out->full |= !length;
    out->len += length;
}

/* Entries that the overlay adds to a directory, behind those of the tree; false: there are no more. */
static bool list_all(const struct tree_node *dir, const char *path, u32 n, struct listed *out)
{
    struct tree_entry e;
    u32 own = 0;

    if (dir->class) {
        if (tree_list(dir, n, &e)) {
            memcpy(out->name, e.name, sizeof(e.name));
            out->type = type_of(&e.node);
            return true;
        }
        while (own < n && tree_list(dir, own, &e))
            own++;
    }
    return overlay_list(path, n - own, out->name, &out->type);
}

/* A name that stands twice is shown once, where it comes first. */
static bool is_second(const struct tree_node *dir, const char *name, u32 n)
{
    struct tree_node child;
    struct tree_entry e;

    return dir->class && !tree_list(dir, n, &e) && tree_child(dir, name, &child);
}

void dirents_make(const struct tree_node *dir, const char *path, struct fmt *out)
{
    struct listed e;

    add(out, ".", stat_ino(path), DT_DIR);
    add(out, "..", stat_ino_parent(path), DT_DIR);
    for (u32 i = 0; list_all(dir, path, i, &e); i++)
        if (!is_second(dir, e.name, i))
            add(out, e.name, stat_ino_below(path, e.name), e.type);
}

long dirents_more(const struct tree_node *dir, const char *path, u32 first, u8 *to, size_t room, u32 *next)
{
    struct listed e;
    size_t done = 0, n;
    u32 i = first;

    for (; list_all(dir, path, i, &e); i++) {
        if (is_second(dir, e.name, i))
            continue;
        n = put(to + done, room - done, e.name, stat_ino_below(path, e.name), e.type, DIRENTS_OURS + i + 1);
        if (!n)
            break;
        done += n;
    }
    *next = i;
    return !done && list_all(dir, path, i, &e) ? -EINVAL : (long)done;
}

static bool is_ours(const struct tree_node *dir, const char *path, const char *name)
{
    struct tree_node child;
    char below[TREE_PATH];
    struct fmt f = FMT_INIT(below);

    if (dir->class && (tree_child_listed(dir, name, &child) || (dir->class->hides && dir->class->hides(name))))
        return true;
    fmt_printf(&f, "%s/%s", path, name);
    return overlay_used() && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && overlay_find(fmt_end(&f)) != OVERLAY_NONE;
}

/* A link of the host's to what the tree hides. */
static bool is_hidden(const char *path, const char *name, u8 type)
{
    char below[TREE_PATH];
    struct fmt f = FMT_INIT(below);

    if (type != DT_LNK && type != DT_UNKNOWN)
        return false;
    fmt_printf(&f, "%s/%s", path, name);
    return tree_hidden_link(fmt_end(&f));
}

size_t dirents_strip(const struct tree_node *dir, const char *path, u8 *entries, size_t n)
{
    size_t from = 0, to = 0;

    while (from < n) {
        const char *name;
        struct entry e;

        memcpy(&e, entries + from, offsetof(struct entry, name));
        name = (const char *)entries + from + offsetof(struct entry, name);
        if (!is_ours(dir, path, name) && !is_hidden(path, name, e.type)) {
            memmove(entries + to, entries + from, e.length);
            to += e.length;
        }
        from += e.length;
    }
    return to;
}
