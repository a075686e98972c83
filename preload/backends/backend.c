/* The kinds of host end, and how a specification is read. */
#include "backends/backend.h"

#include "base/mem.h"
#include "base/sys.h"

const struct backend_ops *const backend_kinds[] = {&backend_stdio, &backend_pty, &backend_file, &backend_socket, &backend_null,
                                                   &backend_disk, &backend_memory, &backend_nbd, &backend_pcap, &backend_loopback,
                                                   &backend_stream, &backend_dgram, &backend_tap, NULL};

const struct backend_ops *backend_kind(const char *text, size_t length)
{
    for (const struct backend_ops *const *kind = backend_kinds; *kind; kind++)
        if (strlen((*kind)->name) == length && strncmp((*kind)->name, text, length) == 0)
            return *kind;
    return NULL;
}

bool backend_next(const char **cursor, struct fmt *piece)
{
    const char *start = *cursor;
    size_t length = 0;

    piece->len = 0;
    piece->full = false;
    if (!start)
        return false;
    while (start[length] && start[length] != ',')
        length++;
    fmt_mem(piece, start, length);
    fmt_end(piece);
    *cursor = start[length] ? start + length + 1 : NULL;
    return true;
}

const char *backend_value(const char *piece, const char *key)
{
    size_t length = strlen(key);

    return strncmp(piece, key, length) == 0 && piece[length] == '=' ? piece + length + 1 : NULL;
}

int backend_refuse(const struct backend_ops *ops, const char *piece, struct fmt *error)
{
    fmt_printf(error, "%s does not take \"%s\"; allowed: %s%s", ops->name, piece, ops->name, ops->options);
    return -1;
}

static int unknown_kind(const char *spec, size_t length, struct fmt *error)
{
    fmt_str(error, "unknown kind of host end \"");
    fmt_mem(error, spec, length);
    fmt_str(error, "\"; allowed:");
    for (const struct backend_ops *const *kind = backend_kinds; *kind; kind++)
        if ((*kind)->write)
            fmt_printf(error, "%s %s%s", kind == backend_kinds ? "" : ",", (*kind)->name, (*kind)->options);
    return -1;
}

static size_t kind_length(const char *spec)
{
    size_t length = 0;

    while (spec[length] && spec[length] != ':' && spec[length] != ',')
        length++;
    return length;
}

/* What follows the kind. */
static const char *behind(const char *spec, size_t length)
{
    return spec + length + (spec[length] == ':');
}

long backend_serve(struct backend *b, const char *spec, int socket, int memory, int after)
{
    return b->ops->disk->serve(b, behind(spec, kind_length(spec)), socket, memory, after);
}

int backend_open(struct backend *b, const char *spec, struct fmt *error)
{
    size_t length = kind_length(spec);

    b->ops = backend_kind(spec, length);
    b->in = b->out = -1;
    b->ended = b->owns = b->moved = b->readonly = false;
    b->use[0] = b->use[1] = 0;
    b->mark = 0;
    b->map = NULL;
    b->name[0] = b->link[0] = 0;
    b->room = NULL;
    if (!b->ops)
        return unknown_kind(spec, length, error);
    if (b->ops->packets && !(b->room = sys_pages(BACKEND_ROOM)))
        fmt_printf(error, "%s: no memory", b->ops->name);
    else if (b->ops->open(b, behind(spec, length), error) == 0)
        return 0;
    backend_close(b);
    return -1;
}

void backend_close(struct backend *b)
{
    if (b->ops)
        b->ops->close(b);
    if (b->room)
        sys_munmap(b->room, BACKEND_ROOM);
    b->room = NULL;
    b->up = b->held = false;
    b->ops = NULL;
    b->in = b->out = -1;
    b->use[0] = b->use[1] = 0;
}
