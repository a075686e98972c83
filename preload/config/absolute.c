/* Values of variables as children must see them: no path depends on the current directory. */
#include "base/mem.h"
#include "config/maps.h"
#include "config/options.h"

/* Back ends that work on a path: what follows "kind:", or the value of one of their options. */
static const struct {
    const char *kind;
    const char *option; /* "link=", NULL: the argument itself */
} path_backends[] = {
    {"file", NULL},
    {"file", "in="},
    {"nbd", NULL},
    {"tty", NULL},
    {"blk", NULL},
    {"socket", NULL},
    {"pty", "link="},
    {"net", "out="},
    {"net", "in="},
    {"net", "path="},
    {"net", "local="},
    {"net", "remote="},
};

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Copies a path of `len` bytes; true when it was relative. */
static bool put_path(struct fmt *out, const char *path, size_t len, const char *cwd)
{
    bool relative = len > 0 && path[0] != '/';

    if (relative) {
        fmt_str(out, cwd);
        if (!*cwd || cwd[strlen(cwd) - 1] != '/')
            fmt_char(out, '/');
    }
    fmt_mem(out, path, len);
    return relative;
}

static size_t until(const char *text, char stop, size_t limit)
{
    size_t n = 0;

    while (n < limit && text[n] != stop)
        n++;
    return n;
}

/* Does the text up to ':' or ',' name this kind? */
static bool kind_is(const char *backend, size_t len, const char *kind)
{
    size_t n = strlen(kind);

    return n <= len && starts(backend, kind) && (n == len || backend[n] == ':' || backend[n] == ',');
}

/* "kind[:spec][,option...]", comma by comma. */
static bool put_backend(struct fmt *out, const char *backend, size_t len, const char *cwd)
{
    bool changed = false;

    for (size_t at = 0; at < len;) {
        size_t part = until(backend + at, ',', len - at), skip = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(path_backends); i++) {
            const char *kind = path_backends[i].kind, *option = path_backends[i].option;

            if (!kind_is(backend, len, kind))
                continue;
            if (!option && at == 0 && part > strlen(kind))
                skip = strlen(kind) + 1;
            else if (option && at > 0 && part >= strlen(option) && starts(backend + at, option))
                skip = strlen(option);
        }
        fmt_mem(out, backend + at, skip);
        if (skip)
            changed |= put_path(out, backend + at + skip, part - skip, cwd);
        else
            fmt_mem(out, backend + at, part);
        at += part;
        if (at < len) {
            fmt_char(out, ',');
            at++;
        }
    }
    return changed;
}

/* Where the first host end of a console ends, and its next port begins: at "+console:" or "+port:". */
static size_t until_port(const char *text, size_t limit)
{
    size_t n = 0;

    while (n < limit && !starts(text + n, "+console:") && !starts(text + n, "+port:"))
        n++;
    return MIN(n, limit);
}

/* "console:END+port:NAME=END+..." */
static bool put_console(struct fmt *out, const char *text, size_t len, const char *cwd)
{
    bool changed = false;

    while (len) {
        size_t part = until_port(text + 1, len - 1) + 1, head = until(text, ':', part);

        if (text[0] == '+' && text[1] == 'p')
            head = until(text, '=', part);
        head += head < part;
        fmt_mem(out, text, head);
        changed |= put_backend(out, text + head, part - head, cwd);
        text += part;
        len -= part;
    }
    return changed;
}

/* How much lies before the host end of a disk that has one of its own. */
static size_t own_end(const char *part, size_t len)
{
    if (len >= 4 && starts(part, "blk:") && (kind_is(part + 4, len - 4, "memory") || kind_is(part + 4, len - 4, "nbd")))
        return 4;
    return 0;
}

static bool put_attachment(struct fmt *out, const char *piece, size_t len, const char *cwd)
{
    size_t node = until(piece, '=', len);

    if (node == len) {
        fmt_mem(out, piece, len);
        return false;
    }
    /* On a PCI bus the same devices have longer names. */
    if (len - node - 1 >= 7 && starts(piece + node + 1, "virtio-"))
        node += 7;
    node += own_end(piece + node + 1, len - node - 1);
    fmt_mem(out, piece, node + 1);
    if (starts(piece + node + 1, "console:"))
        return put_console(out, piece + node + 1, len - node - 1, cwd);
    return put_backend(out, piece + node + 1, len - node - 1, cwd);
}

/* "FILE@ADDRESS": all of it is copied behind the directory. */
static bool put_load(struct fmt *out, const char *piece, size_t len, const char *cwd)
{
    return put_path(out, piece, len, cwd);
}

static bool put_list(struct fmt *out, const char *value, const char *cwd,
                     bool (*put)(struct fmt *out, const char *piece, size_t len, const char *cwd))
{
    bool changed = false;

    while (*value) {
        size_t len = until(value, ';', strlen(value));

        changed |= put(out, value, len, cwd);
        value += len;
        if (*value) {
            fmt_char(out, ';');
            value++;
        }
    }
    return changed;
}

static bool put_value(enum option_id id, struct fmt *out, const char *value, const char *cwd)
{
    switch (option_rows[id].type) {
    case OPTION_MAP:
        return !builtin_map_find(value) && put_path(out, value, strlen(value), cwd);
    case OPTION_LOG:
        return strcmp(value, "-") != 0 && strcmp(value, "none") != 0 && put_path(out, value, strlen(value), cwd);
    case OPTION_FILE:
        return strcmp(value, "none") != 0 && put_path(out, value, strlen(value), cwd);
    case OPTION_LOAD:
        return put_list(out, value, cwd, put_load);
    case OPTION_ATTACH:
        return put_list(out, value, cwd, put_attachment);
    default:
        return false;
    }
}

bool option_absolute(enum option_id id, const char *value, const char *cwd, struct fmt *out)
{
    struct fmt before = *out;

    if (option_says_none(id, value))
        return false;
    if (put_value(id, out, value, cwd))
        return true;
    *out = before;
    return false;
}
