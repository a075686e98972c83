/* Source of the layouts: elf(5); of the rules for privileged programs: execve(2), capabilities(7). */
#include "program.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/range.h"
#include "tool.h"

#define SCRIPT_LEVELS 4 /* interpreters that the kernel follows */
#define SCRIPT_LINE   256
#define MAX_STRINGS   (64u << 20)
#define MAX_DYNAMIC   4096

struct image {
    int fd;
    const char *path;
    const char *subject; /* "./driver", or "./driver is run by /bin/sh, which" */
    Elf64_Ehdr header;
    Elf64_Phdr *segments;
};

static bool read_at(const struct image *image, void *buf, size_t n, u64 offset)
{
    return offset <= INT64_MAX && pread(image->fd, buf, n, (off_t)offset) == (ssize_t)n;
}

static const char *machine_name(const Elf64_Ehdr *header)
{
    switch (header->e_machine) {
    case EM_386:
        return "a 32-bit x86 program";
    case EM_X86_64:
        return "an x32 program";
    case EM_AARCH64:
        return "an AArch64 program";
    case EM_ARM:
        return "an ARM program";
    case EM_RISCV:
        return "a RISC-V program";
    default:
        return "a program for another CPU";
    }
}

static const Elf64_Phdr *find_segment(const struct image *image, u32 type)
{
    for (unsigned i = 0; i < image->header.e_phnum; i++)
        if (image->segments[i].p_type == type)
            return &image->segments[i];
    return NULL;
}

/* Offset in the file of an address of the program. */
static bool file_offset(const struct image *image, u64 addr, u64 *offset)
{
    for (unsigned i = 0; i < image->header.e_phnum; i++) {
        const Elf64_Phdr *segment = &image->segments[i];

        if (segment->p_type == PT_LOAD && range_has((struct range){segment->p_vaddr, segment->p_filesz}, addr)) {
            *offset = segment->p_offset + (addr - segment->p_vaddr);
            return true;
        }
    }
    return false;
}

/* The dynamic section and its strings. */
struct dynamic {
    Elf64_Dyn *entries;
    size_t count;
    char *strings; /* terminated */
    size_t size;
};

static bool read_dynamic(const struct image *image, struct dynamic *d)
{
    const Elf64_Phdr *segment = find_segment(image, PT_DYNAMIC);
    u64 strings = 0, size = 0, offset;

    if (!segment)
        return false;
    d->count = MIN(segment->p_filesz / sizeof(Elf64_Dyn), MAX_DYNAMIC);
    d->entries = tool_alloc(d->count * sizeof(Elf64_Dyn));
    if (!read_at(image, d->entries, d->count * sizeof(Elf64_Dyn), segment->p_offset))
        return false;
    for (size_t i = 0; i < d->count && d->entries[i].d_tag != DT_NULL; i++) {
        if (d->entries[i].d_tag == DT_STRTAB)
            strings = d->entries[i].d_un.d_ptr;
        else if (d->entries[i].d_tag == DT_STRSZ)
            size = d->entries[i].d_un.d_val;
    }
    if (size == 0 || size > MAX_STRINGS || !file_offset(image, strings, &offset))
        return false;
    d->size = size;
    d->strings = tool_alloc(size + 1);
    return read_at(image, d->strings, size, offset);
}

/* Does an entry with this tag name a library that starts so? */
static bool names_library(const struct dynamic *d, Elf64_Sxword tag, const char *start)
{
    for (size_t i = 0; i < d->count && d->entries[i].d_tag != DT_NULL; i++) {
        u64 at = d->entries[i].d_un.d_val;

        if (d->entries[i].d_tag == tag && at < d->size && strncmp(d->strings + at, start, strlen(start)) == 0)
            return true;
    }
    return false;
}

/* Is it among the names of the dynamic symbols (or anything else in that table)? */
static bool has_string(const struct dynamic *d, const char *string)
{
    return memmem(d->strings, d->size + 1, string, strlen(string) + 1) != NULL;
}

static int check_loader(const struct image *image, const Elf64_Phdr *segment)
{
    char path[SCRIPT_LINE] = "";
    const char *name;

    if (!read_at(image, path, MIN(segment->p_filesz, sizeof(path) - 1), segment->p_offset))
        return 0;
    name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (strncmp(name, "ld-linux-x86-64.so", 18) == 0)
        return 0;
    if (strncmp(name, "ld-musl", 7) == 0)
        tool_error("%s uses musl (%s): libmmioshim.so needs glibc", image->subject, path);
    else
        tool_error("%s uses the loader %s: libmmioshim.so needs glibc's ld-linux-x86-64.so.2", image->subject, path);
    return TOOL_ERROR;
}

/* The loader itself, run as a program, has no interpreter either, and preloads all the same. */
static int check_dynamic(const struct image *image, struct program_facts *facts)
{
    struct dynamic d = {0};
    bool readable = read_dynamic(image, &d);
    const Elf64_Phdr *loader = find_segment(image, PT_INTERP);
    bool is_loader = readable && names_library(&d, DT_SONAME, "ld-linux-x86-64.so");
    int ret = 0;

    if (loader) {
        ret = check_loader(image, loader);
    } else if (!is_loader) {
        tool_error("%s is statically linked: a preloaded library cannot reach it", image->subject);
        ret = TOOL_ERROR;
    }
    if (readable) {
        facts->asan_shared = names_library(&d, DT_NEEDED, "libasan.so") ||
                             names_library(&d, DT_NEEDED, "libclang_rt.asan");
        facts->asan = facts->asan_shared || has_string(&d, "__asan_init");
    }
    free(d.entries);
    free(d.strings);
    return ret;
}

/* Does execution raise privileges? Then the loader ignores LD_PRELOAD. */
static const char *privilege(const struct image *image)
{
    struct statvfs fs;
    struct stat st;
    char capabilities[64];

    if (fstat(image->fd, &st) < 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return NULL;
    if (fstatvfs(image->fd, &fs) == 0 && fs.f_flag & ST_NOSUID)
        return NULL;
    if (st.st_mode & S_ISUID && st.st_uid != getuid())
        return "set-user-ID";
    if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
        return "set-group-ID";
    if (getuid() != 0 && fgetxattr(image->fd, "security.capability", capabilities, sizeof(capabilities)) > 0)
        return "file capabilities";
    return NULL;
}

static int check_elf(struct image *image, struct program_facts *facts)
{
    const Elf64_Ehdr *h = &image->header;
    const char *why = privilege(image);
    size_t table = h->e_phnum * sizeof(Elf64_Phdr);
    int ret;

    if (h->e_machine != EM_X86_64 || h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB) {
        tool_error("%s is %s: mmioshim runs x86-64 programs only", image->subject, machine_name(h));
        return TOOL_ERROR;
    }
    if (why) {
        tool_error("%s is privileged (%s): the loader ignores LD_PRELOAD for it", image->subject, why);
        return TOOL_ERROR;
    }
    /* A damaged file: execve says so better. */
    if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0)
        return 0;
    image->segments = tool_alloc(table);
    ret = read_at(image, image->segments, table, h->e_phoff) ? check_dynamic(image, facts) : 0;
    free(image->segments);
    return ret;
}

/* Interpreter of "#!  /bin/sh -e"; false: no script, or a line that the kernel refuses. */
static bool script_interpreter(const struct image *image, char out[SCRIPT_LINE])
{
    char line[SCRIPT_LINE + 1] = "";
    const char *start;
    size_t n;

    if (pread(image->fd, line, SCRIPT_LINE, 0) < 3 || line[0] != '#' || line[1] != '!')
        return false;
    start = line + 2 + strspn(line + 2, " \t");
    n = strcspn(start, " \t\n");
    if (n == 0 || n >= SCRIPT_LINE)
        return false;
    memcpy(out, start, n);
    out[n] = 0;
    return true;
}

int program_check(const char *path, struct program_facts *facts)
{
    char interpreter[SCRIPT_LINE];
    struct image image = {.path = path, .subject = path};
    char *subject = NULL;
    int ret = 0;

    *facts = (struct program_facts){false, false, false};
    for (int level = 0; level <= SCRIPT_LEVELS; level++) {
        image.fd = open(image.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (image.fd < 0)
            break;
        if (script_interpreter(&image, interpreter)) {
            close(image.fd);
            free(subject);
            subject = tool_format("%s is run by %s, which", path, interpreter);
            image.path = interpreter;
            image.subject = subject;
            continue;
        }
        if (read_at(&image, &image.header, sizeof(image.header), 0) &&
            memcmp(image.header.e_ident, ELFMAG, SELFMAG) == 0) {
            facts->elf = true;
            ret = check_elf(&image, facts);
        }
        close(image.fd);
        break;
    }
    free(subject);
    return ret;
}
