#include "shapes.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "insn.h"

/* Much code of many kinds: these come first, then whatever else is there, by name. */
static const char *const first_names[] = {"libc.so.6",      "libm.so.6",    "libcrypto.so.3",   "libcrypto.so.1.1",
                                          "libstdc++.so.6", "libgmp.so.10", "libopenblas.so.0", "libgnutls.so.30"};

/* ---- the set of shapes ---- */

static u64 seen[4 * SHAPES_MAX]; /* open addressing; 0: free */

static bool is_new(u64 shape)
{
    u64 key = shape ? shape : 1;

    for (u64 at = key;; at++) {
        u64 *slot = &seen[at % ARRAY_SIZE(seen)];

        if (*slot == key)
            return false;
        if (!*slot) {
            *slot = key;
            return true;
        }
    }
}

/* ---- code ---- */

static void add_code(struct harvest *h, const u8 *code, unsigned long size)
{
    struct insn i;

    for (unsigned long at = 0; at < size && h->count < SHAPES_MAX;) {
        if (!insn_decode(&i, code + at, (unsigned)MIN(size - at, 15ul))) {
            at++; /* data in between */
            continue;
        }
        h->instructions++;
        at += i.length;
        if (!insn_has_memory(&i))
            continue;
        h->with_memory++;
        if (is_new(insn_shape(&i))) {
            memcpy(h->shapes[h->count].bytes, i.bytes, i.length);
            h->shapes[h->count++].length = i.length;
        }
    }
    h->bytes += size;
}

/* The segments that are executable; an ELF file that is not as it should be has none. */
static void add_file(struct harvest *h, const u8 *file, u64 size, unsigned long most)
{
    const Elf64_Ehdr *e = (const void *)file;

    if (size < sizeof(*e) || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 || e->e_machine != EM_X86_64)
        return;
    if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phoff > size ||
        (size - e->e_phoff) / sizeof(Elf64_Phdr) < e->e_phnum)
        return;
    h->files++;
    for (unsigned k = 0; k < e->e_phnum; k++) {
        const Elf64_Phdr *p = (const Elf64_Phdr *)(const void *)(file + e->e_phoff) + k;

        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && p->p_offset <= size && p->p_filesz <= size - p->p_offset &&
            h->bytes < most)
            add_code(h, file + p->p_offset, MIN(p->p_filesz, most - h->bytes));
    }
}

static void add_path(struct harvest *h, const char *directory, const char *name, unsigned long most)
{
    char path[4096];
    struct stat st;
    void *file;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file != MAP_FAILED) {
            add_file(h, file, (u64)st.st_size, most);
            munmap(file, (size_t)st.st_size);
        }
    }
    close(fd);
}

/* Link names lead to files that are seen under their own: one of them is enough. */
static int is_library(const struct dirent *d)
{
    return strncmp(d->d_name, "lib", 3) == 0 && strstr(d->d_name, ".so") && d->d_type == DT_REG;
}

void shapes_harvest(struct harvest *h, const char *directory, unsigned long most)
{
    struct dirent **names = NULL;
    int n;

    memset(h, 0, sizeof(*h));
    h->shapes = calloc(SHAPES_MAX, sizeof(*h->shapes));
    if (!h->shapes)
        return;
    for (unsigned k = 0; k < ARRAY_SIZE(first_names) && h->bytes < most; k++)
        add_path(h, directory, first_names[k], most);
    n = scandir(directory, &names, is_library, alphasort);
    for (int k = 0; k < n; k++) {
        if (h->bytes < most && h->count < SHAPES_MAX)
            add_path(h, directory, names[k]->d_name, most);
        free(names[k]);
    }
    free(names);
}
