#include "text.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGES 64
#define BYTES (4u << 20)

static struct range {
    uint64_t begin, end;
} ranges[RANGES];
static unsigned count;
static uint64_t main_begin, main_base;
static uint8_t seen[BYTES / 8];

static bool is_ours(const char *name)
{
    return strstr(name, "libmmioshim") || strstr(name, "libunwind") || strstr(name, "libZydis") || strstr(name, "libZycore") ||
           strstr(name, "liblzma");
}

static int learn(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    for (unsigned i = 0; i < info->dlpi_phnum && count < RANGES && !is_ours(info->dlpi_name); i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        if (count == 0) {
            main_begin = info->dlpi_addr + p->p_vaddr;
            main_base = info->dlpi_addr;
        }
        ranges[count++] = (struct range){info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz};
    }
    return 0;
}

void text_learn(void)
{
    count = 0;
    dl_iterate_phdr(learn, NULL);
}

bool text_has(uint64_t rip)
{
    for (unsigned i = 0; i < count; i++)
        if (rip - ranges[i].begin < ranges[i].end - ranges[i].begin)
            return true;
    return false;
}

void text_seen(uint64_t rip)
{
    uint64_t at = rip - main_begin;

    if (at < BYTES && rip < ranges[0].end)
        __atomic_fetch_or(&seen[at / 8], (uint8_t)(1 << at % 8), __ATOMIC_RELAXED);
}

void text_dump(const char *path)
{
    FILE *file = fopen(path, "w");

    for (uint64_t at = 0; file && at < BYTES; at++)
        if (seen[at / 8] >> at % 8 & 1)
            fprintf(file, "%lx\n", (unsigned long)(main_begin - main_base + at));
    if (!file || fclose(file) != 0)
        exit(94);
}
