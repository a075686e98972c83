/*
 * Run while the library is built: writes C source with the sites of the
 * libraries that every process has, which are those of this one. They are
 * read from their files, because what is in memory may have been rewritten.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls/known.h"
#include "cpu/cpu.h"

#define FILES 16
#define SITES 4096

/* Here nothing is known. */
const struct known_file known_files[] = {{.size = 0}};
const struct known_site known_sites[] = {{0}};

static struct known_file files[FILES];
static struct known_site sites[SITES];
static u32 nfiles, nsites;
static bool full;

static void add_site(void *context, const struct found *found)
{
    if (nsites < SITES)
        sites[nsites++] = known_pack(context, found);
    else
        full = true;
}

static void add_text(void *context, const struct text *text)
{
    struct known_file *file = &files[nfiles];

    (void)context;
    if (!text->build_id || nfiles == FILES)
        return;
    memcpy(file->id, text->build_id, BUILD_ID);
    file->size = (u32)text->size;
    file->first = nsites;
    sites_find(text, add_site, (void *)text);
    file->count = nsites - file->first;
    nfiles++;
}

/* Is everything but data in the file where it is in memory? Then one mapping of the file is as good. */
static bool is_flat(const struct dl_phdr_info *info)
{
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) && (p->p_offset != p->p_vaddr || p->p_filesz != p->p_memsz))
            return false;
    }
    return true;
}

static int each_module(struct dl_phdr_info *info, size_t size, void *context)
{
    int fd = info->dlpi_name[0] ? open(info->dlpi_name, O_RDONLY | O_CLOEXEC) : -1; /* neither this program nor the vdso */
    struct dl_phdr_info in_file = *info;
    struct stat st;
    void *map;

    (void)size;
    if (fd < 0 || fstat(fd, &st) < 0 || !is_flat(info))
        return 0;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return 0;
    in_file.dlpi_addr = (u64)map;
    known_texts(&in_file, add_text, context);
    return 0;
}

static void write_table(void)
{
    printf("#include \"calls/known.h\"\n\nconst struct known_site known_sites[] = {\n");
    for (u32 i = 0; i < nsites; i++) {
        const struct known_site *s = &sites[i];

        printf("    {%#x, %#x, %u, %u, %d, %u, %u},\n", s->at, s->sum, s->nr, s->tactic, s->gap, s->prev, s->next);
    }
    printf("    {0},\n};\n\nconst struct known_file known_files[] = {\n");
    for (u32 i = 0; i < nfiles; i++) {
        printf("    {{");
        for (unsigned k = 0; k < BUILD_ID; k++)
            printf("%u,", files[i].id[k]);
        printf("}, %#x, %u, %u},\n", files[i].size, files[i].first, files[i].count);
    }
    printf("    {.size = 0},\n};\n");
}

int main(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);

    if (cpu_init(&error) < 0) {
        fprintf(stderr, "%s\n", fmt_end(&error));
        return 1;
    }
    /* With the decoder, and what they need, all that comes with us; the unwinder may be missing, as it may in a program. */
    dlopen("libunwind-x86_64.so.8", RTLD_NOW | RTLD_LOCAL);
    dl_iterate_phdr(each_module, NULL);
    if (full) {
        fprintf(stderr, "more than %d system calls: enlarge SITES\n", SITES);
        return 1;
    }
    write_table();
    return fflush(stdout) != 0;
}
