/*
 * From a path of the program to a node: components are followed as the kernel
 * does (path_resolution(7)), by nodes where the tree is, by readlink(2) where the
 * host is, because its links (/proc/self, /dev/fd) lead into the tree as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "tree/overlay.h"
#include "tree/parts.h"
#include "tree/tree.h"

#define DEPTH 40 /* directories of the tree below each other */
#define LINKS 40 /* MAXSYMLINKS */

/* --- which paths are looked at --- */

struct component {
    const char *text;
    size_t length;
};

static bool next_component(const char **path, struct component *c)
{
    while (**path == '/')
        ++*path;
    c->text = *path;
    while (**path && **path != '/')
        ++*path;
    c->length = (size_t)(*path - c->text);
    return c->length != 0;
}

static bool is(const struct component *c, const char *name)
{
    return strlen(name) == c->length && memcmp(c->text, name, c->length) == 0;
}

static bool is_top(const struct component *c)
{
    return is(c, "dev") || is(c, "proc") || is(c, "sys") || overlay_top(c->text, c->length);
}

/* How many directories a path of the host lies below the root; links are none. */
static u32 depth_of(const char *path)
{
    struct component c;
    u32 depth = 0;

    while (next_component(&path, &c))
        depth++;
    return depth;
}

static bool reaches_top(const char *path, u32 depth)
{
    struct component c;

    while (next_component(&path, &c)) {
        if (is(&c, "."))
            continue;
        if (is(&c, ".."))
            depth -= depth > 0;
        else if (depth++ == 0 && is_top(&c))
            return true;
    }
    return false;
}

static bool goes_up(const char *path)
{
    struct component c;

    while (next_component(&path, &c))
        if (is(&c, ".."))
            return true;
    return false;
}

/* The host's path of a directory, which a descriptor or, AT_FDCWD, the working directory is. Bytes, 0: unknown. */
static size_t host_directory(int dir, char *path)
{
    char link[40];
    struct fmt f = FMT_INIT(link);
    long n;

    if (!tree_asks_host())
        return 0;
    if (dir == AT_FDCWD)
        fmt_str(&f, "/proc/self/cwd");
    else
        fmt_printf(&f, "/proc/self/fd/%d", dir);
    n = sys_readlink(fmt_end(&f), path, TREE_PATH - 1);
    path[n > 0 ? n : 0] = 0;
    overlay_strip(path, &n);
    return n > 0 && path[0] == '/' ? (size_t)n : 0;
}

static bool relative_concerns(int dir, const char *path)
{
    char base[TREE_PATH];

    if (dir == AT_FDCWD ? *tree_cwd() || tree_cwd_near() : tree_fd_near(dir))
        return true;
    return goes_up(path) && host_directory(dir, base) && reaches_top(path, depth_of(base));
}

/* Most paths: absolute, below another directory of the root, or relative to one that is far; and nowhere up. */
static bool plainly_far(int dir, const char *path)
{
    if (overlay_used())
        return false;
    if (*path == '/' && (!path[1] || strchr("dps/.", path[1])))
        return false;
    if (*path != '/' && (dir == AT_FDCWD ? *tree_cwd() || tree_cwd_near() : tree_fd_near(dir)))
        return false;
    for (; *path; path++)
        if (path[0] == '.' && path[1] == '.')
            return false;
    return true;
}

bool tree_concerns(int dir, const char *path)
{
    if (!tree_machine || plainly_far(dir, path))
        return false;
    if (*path == '/')
        return reaches_top(path, 0);
    return relative_concerns(dir, path);
}

/* openat2(2) with RESOLVE_NO_SYMLINKS stops at the first link. */
bool tree_linked(int dir, const char *path, bool follow)
{
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), .resolve = RESOLVE_NO_SYMLINKS};
    long fd = sys(SYS_openat2, dir, path, &how, sizeof(how));

    if (fd >= 0)
        sys_close((int)fd);
    return fd == -ELOOP || fd == -EMFILE || fd == -ENFILE || fd == -ENOSYS || fd == -EPERM;
}

bool tree_concerns_within(int dir, const char *path, u64 resolve)
{
    if (!(resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)))
        return tree_concerns(dir, path);
    /* It stays below its directory, whatever it climbs. */
    return tree_machine && (*path != '/' || (resolve & RESOLVE_IN_ROOT)) &&
           (overlay_used() || (dir == AT_FDCWD ? *tree_cwd() || tree_cwd_near() : tree_fd_near(dir)));
}

bool tree_path_near(const char *path)
{
    struct component c;

    return !next_component(&path, &c) || is_top(&c);
}

/* --- following one --- */

struct steps {
    struct tree_walk *w;
    struct tree_node at[DEPTH];
    u32 depth;  /* of the tree: at[depth] is where we are */
    u32 host;   /* directories of the host below that */
    u32 links;
    u64 resolve;           /* RESOLVE_ flags */
    struct {
        size_t length;
        u32 depth, host;
    } base;                /* where it began: RESOLVE_BENEATH, RESOLVE_IN_ROOT */
    size_t known;          /* the path that begins so is of directories, of which the kernel has proof */
    bool follow;
    bool added;            /* the overlay has a directory where we are, */
    bool alone;            /* and nobody else has one */
    bool file;             /* it has what the path leads to */
    size_t rest;           /* where in `text` the rest of the path begins: it ends with the buffer */
    char text[2 * TREE_PATH];
};

static void fail(struct tree_walk *w, long error)
{
    w->where = TREE_FAILED;
    w->error = error;
}

static bool append(struct tree_walk *w, const struct component *c)
{
    if (c->length + 2 > TREE_PATH - w->length)
        return false;
    w->path[w->length++] = '/';
    memcpy(w->path + w->length, c->text, c->length);
    w->length += c->length;
    w->path[w->length] = 0;
    return true;
}

static void cut(struct tree_walk *w)
{
    while (w->length && w->path[--w->length] != '/')
        ;
    w->path[w->length] = 0;
}

/* Puts text before the rest of the path. False: it is too long. */
static bool prepend(struct steps *s, const char *text, size_t n)
{
    if (n + 1 > s->rest)
        return false;
    if (s->text[s->rest])
        s->text[--s->rest] = '/';
    s->rest -= n;
    memcpy(s->text + s->rest, text, n);
    return true;
}

/* --- RESOLVE_ flags: fs/namei.c, nd_jump_root(), handle_dots(), pick_link(), traverse_mounts() --- */

static bool scoped(const struct steps *s)
{
    return s->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT);
}

/* Is something mounted there? What the host has mounted elsewhere below is for the kernel to find. */
static bool is_mount(const char *path)
{
    static const char *const mounts[] = {"/dev", "/proc", "/sys", HUGETLB_MOUNT};

    for (unsigned i = 0; i < ARRAY_SIZE(mounts); i++)
        if (strcmp(path, mounts[i]) == 0)
            return true;
    return false;
}

/* A way out that is forbidden. */
static bool refused(struct steps *s, bool refuse, long error)
{
    if (refuse)
        fail(s->w, error);
    return refuse;
}

static bool crosses(struct steps *s)
{
    return refused(s, (s->resolve & RESOLVE_NO_XDEV) && is_mount(s->w->path), -EXDEV);
}

/* To where absolute paths begin. */
static bool to_root(struct steps *s)
{
    bool in_root = s->resolve & RESOLVE_IN_ROOT;

    if (refused(s, (s->resolve & RESOLVE_BENEATH) || ((s->resolve & RESOLVE_NO_XDEV) && reaches_top(s->w->path, 0)), -EXDEV))
        return false;
    s->depth = in_root ? s->base.depth : 0;
    s->host = in_root ? s->base.host : 0;
    s->w->length = in_root ? s->base.length : 0;
    s->w->path[s->w->length] = 0;
    return true;
}

static bool go_link(struct steps *s, const char *target, size_t n)
{
    if (refused(s, ++s->links > LINKS || (s->resolve & RESOLVE_NO_SYMLINKS), -ELOOP))
        return false;
    if (!prepend(s, target, n)) {
        fail(s->w, -ENAMETOOLONG);
        return false;
    }
    return *target != '/' || to_root(s);
}

static bool go_up(struct steps *s)
{
    if (scoped(s) && s->w->length == s->base.length)
        return !refused(s, s->resolve & RESOLVE_BENEATH, -EXDEV);
    if (crosses(s))
        return false;
    if (s->host) {
        s->host--;
    } else if (s->depth) {
        s->depth--;
        s->w->moved = true; /* the kernel may not know the directory that this goes out of */
    }
    cut(s->w);
    s->known = MIN(s->known, s->w->length);
    return true;
}

/* Is there a directory to go on from? Of the host's this is asked only where the program goes up again, and it would not matter. */
static bool in_directory(struct steps *s, bool up)
{
    struct tree_walk *w = s->w;
    struct stat st;
    long ret;

    if (!s->host) {
        if (s->at[s->depth].class->kind == TREE_DIR)
            return true;
        fail(w, -ENOTDIR);
        return false;
    }
    if (!up || w->length <= s->known || !tree_asks_host() || TREE_PATH - w->length < 3 || overlay_find(w->path) == OVERLAY_DIR)
        return true;
    memcpy(w->path + w->length, "/.", 3);
    ret = sys(SYS_stat, w->path, &st);
    w->path[w->length] = 0;
    if (ret != -ENOENT && ret != -ENOTDIR)
        return true;
    fail(w, ret);
    return false;
}

/* Links of /proc that are no paths: "pipe:[1]", "anon_inode:x", "/x (deleted)". */
static bool is_magic(const char *target, size_t n)
{
    static const char gone[] = " (deleted)";

    if (*target != '/')
        return strchr(target, ':') && !strchr(target, '/');
    return n > sizeof(gone) && strcmp(target + n - (sizeof(gone) - 1), gone) == 0;
}

/* Links of the host's /proc that jump, whatever their text is: those of processes. */
static bool jumps(const struct steps *s)
{
    const char *path = s->w->path;

    return strncmp(path, "/proc/", 6) == 0 && path[6] >= '0' && path[6] <= '9';
}

/* A link of the host: bytes, or -errno. The working directory is the program's, which the kernel may not know. */
static long read_host_link(const char *path, char target[TREE_PATH])
{
    char own[40];
    struct fmt f = FMT_INIT(own);
    size_t n = strlen(tree_cwd());

    if (n && strncmp(path, "/proc/", 6) == 0) {
        fmt_printf(&f, "/proc/%d/cwd", sys_getpid());
        if (strcmp(path, fmt_end(&f)) == 0) {
            memcpy(target, tree_cwd(), n);
            return (long)n;
        }
    }
    return sys_readlink(path, target, TREE_PATH - 1);
}

/* A component of the host, already at the end of the path. `more`: others follow it. */
static bool go_host(struct steps *s, bool more)
{
    char target[TREE_PATH];
    long n;

    s->host++;
    if (!tree_asks_host())
        return true;
    if (!more && !s->follow) {
        if (!tree_hidden_link(s->w->path))
            return true;
        fail(s->w, -ENOENT);
        return false;
    }
    n = read_host_link(s->w->path, target);
    if (n <= 0)
        return true;
    target[n] = 0;
    if ((!tree_fd_name(target, &n) || strncmp(target, "/memfd:", 7) == 0) && is_magic(target, (size_t)n)) /* a memfd has no path */
        return true;
    if (jumps(s) && (refused(s, s->resolve & RESOLVE_NO_MAGICLINKS, -ELOOP) || refused(s, scoped(s), -EXDEV)))
        return false;
    cut(s->w);
    s->host--;
    return go_link(s, target, (size_t)n);
}

static bool go_tree_link(struct steps *s, const struct tree_node *link)
{
    char target[TREE_PATH];
    struct fmt f = FMT_INIT(target);

    tree_show(link, &f);
    fmt_end(&f);
    s->w->moved = true;
    return go_link(s, target, strlen(target));
}

/* A merged directory that the host lacks is the tree's alone. */
static bool on_host(const char *path)
{
    return !tree_asks_host() || sys(SYS_faccessat, AT_FDCWD, *path ? path : "/", F_OK) == 0;
}

/*
 * What the overlay has in a place. True: the component is dealt with, or, *over, the walk. A directory of it is only
 * noted: it stands in where nobody else has one.
 */
static bool go_overlay(struct steps *s, bool more, bool *over)
{
    enum overlay_kind kind = overlay_find(s->w->path);
    char real[TREE_PATH], target[TREE_PATH];
    long n;

    bool new = s->alone && kind == OVERLAY_NONE && !more;

    s->added = kind == OVERLAY_DIR;
    s->alone = s->added && !on_host(s->w->path);
    s->file = *over = new; /* what is not there yet is looked for, and made, where its directory is */
    if (kind == OVERLAY_NONE || kind == OVERLAY_DIR)
        return new;
    if (kind == OVERLAY_LINK && (more || s->follow)) {
        n = overlay_path(s->w->path, real) ? sys_readlink(real, target, sizeof(target) - 1) : -ENAMETOOLONG;
        cut(s->w);
        *over = n <= 0 || !go_link(s, target, (size_t)n);
        return true;
    }
    if (more)
        fail(s->w, -ENOTDIR);
    s->file = *over = true;
    return true;
}

static bool only_slashes(const char *rest)
{
    while (*rest == '/')
        rest++;
    return !*rest;
}

/* One component. `rest` follows it. False: the walk is over. */
static bool step(struct steps *s, const struct component *c, const char *rest)
{
    struct tree_walk *w = s->w;
    const struct tree_node *at = &s->at[s->depth];
    struct tree_node child;
    char name[256];
    bool over = false, more = *rest != 0;

    if (c->length >= sizeof(name) || !append(w, c)) {
        /* What comes first is missing, perhaps: then the kernel says what is wrong. */
        w->stopped = (s->host || at->class->merged) && !w->moved;
        if (!w->stopped)
            fail(w, -ENAMETOOLONG);
        return false;
    }
    if (crosses(s))
        return false;
    memcpy(name, c->text, c->length);
    name[c->length] = 0;
    if (overlay_used() && go_overlay(s, more, &over))
        return !over;
    if (s->host)
        return go_host(s, more);
    if (at->class->kind != TREE_DIR) {
        fail(w, -ENOTDIR);
        return false;
    }
    if (tree_child(at, name, &child)) {
        if (child.class->kind == TREE_LINK && (more || s->follow)) {
            cut(w);
            return go_tree_link(s, &child);
        }
        if (s->depth + 1 == DEPTH) {
            fail(w, -ENAMETOOLONG);
            return false;
        }
        s->at[++s->depth] = child;
        return true;
    }
    if (!s->added && (!at->class->merged || (at->class->hides && at->class->hides(name)))) {
        if (only_slashes(rest))
            w->parent = *at;
        fail(w, -ENOENT);
        return false;
    }
    return go_host(s, more);
}

/* The path is one of the overlay. */
static void to_overlay(struct tree_walk *w)
{
    char real[TREE_PATH];

    if (!overlay_path(w->path, real)) {
        fail(w, -ENAMETOOLONG);
        return;
    }
    w->where = TREE_HOST;
    w->moved = w->overlaid = true;
    w->length = strlen(real);
    memcpy(w->path, real, w->length + 1);
}

/* False: the walk is over. */
static bool dots_or_step(struct steps *s, const struct component *c, const char *rest)
{
    s->w->dots = (u8)(is(c, ".") ? 1 : is(c, "..") ? 2 : 0);
    if (!s->w->dots)
        return step(s, c, rest);
    return in_directory(s, s->w->dots == 2) && (s->w->dots == 1 || go_up(s));
}

static void all_steps(struct steps *s)
{
    struct component c;
    const char *rest;

    do {
        rest = s->text + s->rest;
        if (!next_component(&rest, &c))
            break;
        s->rest = (size_t)(rest - s->text);
    } while (dots_or_step(s, &c, rest));
}

static void follow_all(struct steps *s)
{
    all_steps(s);
    s->w->slash = s->text[sizeof(s->text) - 2] == '/';
    if (s->w->where == TREE_FAILED)
        return;
    if (s->file || (s->alone && s->host)) {
        to_overlay(s->w);
        return;
    }
    s->w->node = s->at[s->depth];
    s->w->merged = !s->host && s->w->node.class->kind == TREE_DIR && s->w->node.class->merged;
    s->w->where = s->host || (s->w->merged && on_host(s->w->path)) ? TREE_HOST : TREE_HERE;
    /* Where nothing is mounted (chroot), there is no /proc either. */
    if (s->w->where == TREE_HERE && s->w->merged && s->depth == 1)
        fail(s->w, -ENOENT);
    if (s->w->where == TREE_HERE && s->w->slash && s->w->node.class->kind != TREE_DIR)
        fail(s->w, -ENOTDIR);
}

/* The absolute path of a directory that a relative path begins in. */
static bool begin_at(struct steps *s, int dir)
{
    char base[TREE_PATH];
    size_t n;

    /* The kernel knows no such directory: what leads out of it has another path there. */
    s->w->moved = true;
    if (dir == AT_FDCWD && *tree_cwd())
        return prepend(s, tree_cwd(), strlen(tree_cwd()));
    if (dir != AT_FDCWD && tree_fd(dir, base))
        return prepend(s, base, strlen(base));
    s->w->moved = false;
    n = host_directory(dir, base);
    return n && prepend(s, base, n);
}

void tree_find(struct tree_walk *w, int dir, const char *path, bool follow)
{
    tree_find_within(w, dir, path, follow, 0);
}

void tree_find_within(struct tree_walk *w, int dir, const char *path, bool follow, u64 resolve)
{
    struct steps s;

    memset(w, 0, offsetof(struct tree_walk, path) + 1);
    s.w = w;
    s.depth = s.host = s.links = 0;
    s.follow = true;
    s.resolve = 0;
    s.added = s.alone = s.file = false;
    s.at[0] = (struct tree_node){&tree_root, 0, 0};
    s.rest = sizeof(s.text) - 1;
    s.text[s.rest] = 0;
    if ((*path != '/' || (resolve & RESOLVE_IN_ROOT)) && !begin_at(&s, dir)) {
        w->where = TREE_HOST;
        return;
    }
    all_steps(&s);
    w->parent.class = NULL;
    s.base.length = s.known = w->length;
    s.base.depth = s.depth;
    s.base.host = s.host;
    s.follow = follow;
    s.resolve = resolve;
    s.rest = sizeof(s.text) - 1;
    if (s.file && w->where != TREE_FAILED)
        fail(w, -ENOTDIR);
    if (w->where == TREE_FAILED)
        return;
    if (prepend(&s, path, strlen(path)))
        follow_all(&s);
    else
        fail(w, -ENAMETOOLONG);
}
