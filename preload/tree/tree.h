/*
 * The synthetic file tree: what programs find of the machine below /dev, /proc
 * and /sys. Nothing of it is on a disk: a node is worked out from the machine's
 * description and its shared state whenever somebody asks, so every process
 * sees the same, and what devices do shows at once.
 *
 * A node is a small value, and knows neither its name nor its parent. What a
 * kind of node is, is told by its class: a const struct, in the file of the
 * part of the tree that it belongs to. A new part is one file, and one line in
 * the directory that it hangs in (root.c).
 *
 * Where a directory is of the tree, what the host has there is hidden: no
 * program reads, unbinds or configures a real device. In a merged one (/dev,
 * /proc, /sys and some below) the host's entries stay, but for those that the
 * class hides.
 *
 * All of it runs in system calls of the program (calls/calls.h): no libc, no
 * signal of the program arrives, memory is ours.
 */
#ifndef MMIOSHIM_TREE_TREE_H
#define MMIOSHIM_TREE_TREE_H

#include "base/fmt.h"
#include "bus/bus.h"
#include "memory/arena.h"
#include "memory/view.h"

#define TREE_NAME 64   /* bytes of a name with its terminator */
#define TREE_PATH 4096 /* PATH_MAX */
#define TREE_TEXT (256u << 10) /* bytes of a file's text at most */

enum tree_kind { TREE_DIR, TREE_LINK, TREE_FILE, TREE_DEVICE };

struct stat;
struct statfs;
struct tree_class;

struct tree_node {
    const struct tree_class *class; /* NULL: the host's */
    u32 a, b;                       /* which device, which register: what the class makes of them */
};

struct tree_entry {
    char name[TREE_NAME];
    struct tree_node node;
};

/* A child that a directory always has, unless the child's class says that it is not there; it gets a and b of its directory. */
struct tree_fixed {
    const char *name; /* NULL: the end */
    const struct tree_class *class;
};

/* Members that are NULL: see each. Functions answer 0 or more, or -errno. */
struct tree_class {
    enum tree_kind kind;
    u16 mode; /* permission bits; the owner is the user of the program, who may be anybody */

    /* Directories. */
    bool merged;
    const struct tree_fixed *fixed;
    /* Further children, 0 to n - 1; false: there are no more. */
    bool (*list)(const struct tree_node *dir, u32 index, struct tree_entry *entry);
    /*
     * Children that are found by their names: those that nobody lists (what the host lists in their place stays listed),
     * and those of a list that others change meanwhile.
     */
    bool (*find)(const struct tree_node *dir, const char *name, struct tree_node *child);
    /* Names of the host that do not show through where it is merged. NULL: none. */
    bool (*hides)(const char *name);
    /* Makes a file or directory of a name that is not there. 0, -errno. NULL: EPERM, at open EACCES. */
    long (*make)(const struct tree_node *dir, const char *name, bool directory, u32 mode);

    /* All kinds, as a fixed child. NULL: it is always there. */
    bool (*there)(const struct tree_node *node);
    /* What make() makes. directory: rmdir(2). NULL: EPERM */
    long (*remove)(const struct tree_node *node, bool directory);
    /* ftruncate(2); fd -1: truncate(2). NULL: nothing happens. */
    long (*resize)(const struct tree_node *node, int fd, u64 size);
    /* fallocate(2). NULL: EOPNOTSUPP */
    long (*allocate)(const struct tree_node *node, int fd, int mode, u64 offset, u64 length);
    /* Changes what is said of it. NULL: it is as for all kinds. */
    void (*stat)(const struct tree_node *node, struct stat *st);
    long (*statfs)(const struct tree_node *node, struct statfs *st);

    /* Links: the target. Files: the text, made anew whenever it is read from its beginning. */
    void (*show)(const struct tree_node *node, struct fmt *text);
    /* Files: what somebody writes, in one piece. NULL: EACCES at open, in /proc EIO to those who may write everything. */
    long (*store)(const struct tree_node *node, const char *text, size_t n);

    /* Files and devices whose bytes are at fixed offsets and change by themselves, in place of show and store: bytes moved. */
    long (*read)(const struct tree_node *node, u64 offset, void *to, size_t n);
    long (*write)(const struct tree_node *node, u64 offset, const void *from, size_t n);
    u64 (*size)(const struct tree_node *node); /* st_size. NULL: 4096 for files with show, as sysfs says, else 0 */

    /* Devices. */
    u32 major, minor; /* minor: plus node->a */
    /* May it be opened so? NULL: yes. */
    long (*opens)(const struct tree_node *node, int flags);
    /*
     * What read(2) of 4 bytes tells, which waits for it on a descriptor that is readable then. 0 and *count, -EAGAIN: not
     * yet, other -errno. In place of read.
     */
    long (*event)(const struct tree_node *node, int fd, u32 *count);
    /* A descriptor of its own kind for somebody who opens it. NULL: a file of the machine. */
    long (*descriptor)(const struct tree_node *node, int flags);
    /*
     * mmap of whole pages: where the first byte lies in the machine. `length` is as the program gave it. Files too.
     * NULL: ENODEV.
     */
    bool huge; /* pages are 2 MiB, and lie anywhere: interpose/huge.c maps them */
    long (*map)(const struct tree_node *node, u64 offset, u64 length, u64 *machine);
    /*
     * read and write are accesses of I/O ports: which port an offset is, and how many follow it, itself included.
     * bytewise: each byte is an access of its own; else one access of 1, 2 or 4 bytes. NULL: they are no accesses.
     */
    bool (*port)(const struct tree_node *node, u64 offset, u32 *port, u32 *room);
    bool bytewise;
    long (*ioctl)(const struct tree_node *node, u64 request, u64 argument); /* NULL: ENOTTY */
};

extern const struct tree_class tree_root;
extern const struct machine *tree_machine; /* NULL: there is no tree */
extern const struct view *tree_view, *tree_ports;
extern struct bus *tree_bus;
void tree_start(struct bus *bus, const struct view *view, const struct view *ports);

/*
 * The program has restricted its system calls: one that it does not make itself may kill it. From now on nothing of the host is
 * asked about: its links lead where the kernel says, and relative paths into the tree only from where they are known to.
 */
void tree_sandboxed(void);
bool tree_asks_host(void);

/* The child of that name; false: there is none. listed: not one that is only found. */
bool tree_child_listed(const struct tree_node *dir, const char *name, struct tree_node *child);
bool tree_child(const struct tree_node *dir, const char *name, struct tree_node *child);
/* The n-th child, fixed and other ones; false: there are no more. */
bool tree_list(const struct tree_node *dir, u32 n, struct tree_entry *entry);
/* The text of a file or the target of a link. */
static inline void tree_show(const struct tree_node *node, struct fmt *text)
{
    if (node->class->show)
        node->class->show(node, text);
}
u64 tree_size(const struct tree_node *node);
/* What somebody wrote into an attribute: one number, decimal or, where that is allowed, "0x...", with a newline at most behind it. */
bool tree_number(const char *text, size_t n, bool hexadecimal, u64 *value);
/* Of a hexadecimal digit; 16: it is none. */
unsigned tree_digit(char c);

/* --- paths (path.c) --- */

enum tree_where {
    TREE_HOST,   /* the host's */
    TREE_HERE,   /* of the tree */
    TREE_FAILED, /* nobody's: `error` says why */
};

struct tree_walk {
    enum tree_where where;
    struct tree_node node; /* TREE_HERE */
    struct tree_node parent; /* of what is missing: class NULL, or a directory of the tree that has no such name */
    long error;
    bool merged; /* it is a merged directory: `node` has what the tree adds */
    bool overlaid; /* TREE_HOST: `path` is one of the overlay (overlay.h) */
    u8 dots; /* the path ends in ".": 1, in "..": 2 */
    bool slash; /* the path ends in a slash */
    bool stopped; /* TREE_HOST: `path` is its beginning only */
    bool moved; /* TREE_HOST: a link of the tree, or an overlay, led there: `path` says where */
    size_t length;
    char path[TREE_PATH]; /* without links, dots and doubled slashes; "" is "/" */
};

/*
 * May a path lead into the tree? Cheap, and true too often. `dir`: as of openat. False also for what only links of the
 * host would lead there: for these, see tree_linked() and tree_device().
 */
bool tree_concerns(int dir, const char *path);
/* Is there a link of the host on the way, or, follow, at its end? True too often. Two system calls. */
bool tree_linked(int dir, const char *path, bool follow);
/* Are files of this file system (st_dev) where the tree is? Who got one by another path came there by a link. */
bool tree_device(u64 device);
/* File systems were mounted, or others are seen; rooted: another directory is the root. */
void tree_mounts_changed(bool rooted);
/* Is there a directory for it, "/dev", below a root that the program has chosen? Always, below the one it began with. */
bool tree_top_there(const char *path);
/* The same of an absolute path of a directory, for what is relative to it. */
bool tree_path_near(const char *path);
/* Where it leads. follow: also a link at its end. */
void tree_find(struct tree_walk *w, int dir, const char *path, bool follow);
/* The same by the rules of openat2(2): RESOLVE_ flags. */
void tree_find_within(struct tree_walk *w, int dir, const char *path, bool follow, u64 resolve);
bool tree_concerns_within(int dir, const char *path, u64 resolve);

/* Is it a link of the host's sysfs to a device that the tree hides (hidden.c)? An absolute path without links before its end. */
bool tree_hidden_link(const char *path);

/* --- descriptors (fds.c) --- */

/*
 * They are real ones, of files in memory that carry the node's path as their name: so dup, fork, exec and passing over
 * sockets need no bookkeeping. That of /dev/mem is known by the identity of the machine's file.
 */
/* The same for a class that has no use for descriptor() this time. */
long tree_open_plain(const struct tree_node *node, int flags);
/* Did anybody open a file of the tree? Until then no descriptor needs to be looked at. */
static inline bool tree_used(void)
{
    return tree_machine && tree_machine->arena->tree_opened;
}
/* A new descriptor, the lowest that is free, for a node found at `path`. Or -errno. */
long tree_open(const struct tree_node *node, const char *path, int flags);
/* Is it one of the tree's? Then the path that it was opened by, of TREE_PATH bytes. */
bool tree_fd(int fd, char *path);
/* The same, and what is there now. False also where nothing is any more: *gone, else it is not the tree's. */
bool tree_fd_node(int fd, struct tree_node *node, bool *gone);
/* With the path too, which is told as well when nothing is there any more. */
bool tree_fd_node_at(int fd, char *path, struct tree_node *node, bool *gone);
/* Its flags, as of F_GETFL: what it stands for may be open for less than the descriptor is. Or -errno. */
long tree_fd_status(int fd, const struct tree_node *node);
/*
 * A file in memory of the tree for what is found at `path`, with flags of memfd_create(2); and a new description of it,
 * in its place, with other flags.
 */
long tree_file(const char *path, unsigned flags);
long tree_reopen(long fd, int flags);
/* Writes a node's text, or a directory's entries, into its descriptor's file. */
void tree_fill(int fd, const struct tree_node *node, const char *path);
/* Is a descriptor of the host a directory that tree_concerns() must look into? */
bool tree_fd_near(int fd);
/* Path of a directory, of the tree or of the host. */
bool tree_directory(int fd, char *path);
/* What is known of descriptors that are closed, or become others. */
void tree_fd_forget(u32 first, u32 last);
/* A path out of "/memfd:NAME (deleted)", in place: what a program may see. False: it is none of ours. */
bool tree_fd_name(char *link, long *length);

/* --- the working directory (cwd.c) --- */

/* A directory of the tree, "" : the host's. */
const char *tree_cwd(void);
/* Is the host's one such that relative paths may lead into the tree? */
bool tree_cwd_near(void);
/* The program goes to a node. 0 or -errno. own: false in a vfork child. */
long tree_chdir(const struct tree_walk *w, bool own);
/* It went to a directory of the host. */
void tree_cwd_left(bool own);
/* At start: the directory of who made us by exec. */
void tree_cwd_start(void);

/* --- stat (stat.c) --- */

void tree_stat(const struct tree_node *node, const char *path, struct stat *st);
/* The host's directory of the same kind (/dev, /proc, /sys): for what a file system is asked. */
const char *tree_top(const char *path);

#endif
