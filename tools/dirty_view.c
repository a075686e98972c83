#include "dirty_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

int dirty_view_options(struct dirty_view *view, int argc, char **argv)
{
    int words = 0;
    bool options = true;

    *view = (struct dirty_view){false, NULL};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];

        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && (strcmp(arg, "--json") == 0 || strcmp(arg, "-j") == 0)) {
            view->json = true;
        } else if (options && strncmp(arg, "--png=", 6) == 0) {
            view->png = arg + 6;
        } else if (options && strcmp(arg, "--png") == 0 && i + 1 < argc) {
            view->png = argv[++i];
        } else if (options && arg[0] == '-' && arg[1]) {
            if (strcmp(arg, "--png") == 0)
                tool_error("--png needs a file");
            else
                tool_error("unknown option '%s'; known: -j --json --png FILE -h --help", arg);
            return -1;
        } else {
            argv[++words] = argv[i];
        }
    }
    return words;
}

/* "20KB", "512MB": whole units as in the transcript. */
static void dirty_size(char *text, size_t n, u64 bytes)
{
    if (bytes && bytes % (1u << 20) == 0)
        snprintf(text, n, "%luMB", bytes >> 20);
    else if (bytes % 1024 == 0)
        snprintf(text, n, "%luKB", bytes >> 10);
    else
        snprintf(text, n, "%luB", bytes);
}

static void totals(const struct dirtyfile *file, u64 *dirty, u64 *pages)
{
    *dirty = *pages = 0;
    for (u32 i = 0; i < file->nbanks; i++) {
        *dirty += file->banks[i].dirty;
        *pages += file->banks[i].pages;
    }
}

/* Address range of the next run of pages. */
static bool next_range(const struct dirtyfile *file, const struct dirtyfile_bank *bank, u64 *cursor,
                       struct range *range)
{
    u64 first, count;

    if (!bitmap_next_run(bank->bitmap, bank->pages, cursor, &first, &count))
        return false;
    range->base = bank->bank.range.base + first * file->page_size;
    range->size = count * file->page_size;
    return true;
}

static void print_text(const struct dirtyfile *file)
{
    u64 dirty, pages;
    char size[32];

    for (u32 i = 0; i < file->nbanks; i++) {
        const struct dirtyfile_bank *bank = &file->banks[i];
        struct range range;
        u64 cursor = 0;

        dirty_size(size, sizeof(size), bank->dirty * file->page_size);
        printf("%s 0x%lx-0x%lx: %lu of %lu pages (%s)\n", bank->bank.name, bank->bank.range.base,
               range_last(bank->bank.range), bank->dirty, bank->pages, size);
        while (next_range(file, bank, &cursor, &range))
            printf("    0x%lx-0x%lx %lu\n", range.base, range_last(range), range.size / file->page_size);
    }
    totals(file, &dirty, &pages);
    dirty_size(size, sizeof(size), dirty * file->page_size);
    printf("total: %lu of %lu pages (%s)\n", dirty, pages, size);
}

static void print_json(const struct dirtyfile *file)
{
    u64 dirty, pages;

    totals(file, &dirty, &pages);
    printf("{\"page_size\":%u,\"pages\":%lu,\"total\":%lu,\"banks\":[", file->page_size, dirty, pages);
    for (u32 i = 0; i < file->nbanks; i++) {
        const struct dirtyfile_bank *bank = &file->banks[i];
        char text[DIRTYFILE_NAME * 6];
        struct fmt name = FMT_INIT(text);
        struct range range;
        u64 cursor = 0;

        fmt_json(&name, bank->bank.name);
        printf("%s{\"device\":\"%s\",\"base\":\"0x%lx\",\"size\":%lu,", i ? "," : "", fmt_end(&name),
               bank->bank.range.base, bank->bank.range.size);
        printf("\"pages\":%lu,\"total\":%lu,\"ranges\":[", bank->dirty, bank->pages);
        for (bool first = true; next_range(file, bank, &cursor, &range); first = false)
            printf("%s\"0x%lx-0x%lx\"", first ? "" : ",", range.base, range_last(range));
        printf("]}");
    }
    puts("]}");
}

int dirty_view_show(const struct dirty_view *view, const struct dirtyfile *file)
{
    if (view->png && dirty_draw(file, view->png) < 0)
        return TOOL_FAILED;
    if (view->json)
        print_json(file);
    else if (!view->png)
        print_text(file);
    return 0;
}
