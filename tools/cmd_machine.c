/* mmioshim machine: named machines, also while they run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dirty_view.h"
#include "memory/arena.h"
#include "tool.h"

static int help(void)
{
    puts("Usage: mmioshim machine ls\n"
         "       mmioshim machine rm NAME...\n"
         "       mmioshim machine reset NAME...\n"
         "       mmioshim machine dirty [--json] [--png OUT.png] NAME\n"
         "Named machines (MMIOSHIM_MACHINE, mmioshim run --machine) live until they are removed.\n\n"
         "  ls       names and the number of processes that are in each\n"
         "  rm       removes a machine: its RAM, the state of its devices and its dirty log\n"
         "  reset    resets the devices of a machine, also while it runs\n"
         "  dirty    prints which pages of RAM were written so far\n"
         "  --help   this text");
    return 0;
}

static void print_machine(const char *name, unsigned members, void *ctx)
{
    (void)ctx;
    printf("%s %u %s\n", name, members, members == 1 ? "process" : "processes");
}

static int list(int argc, char **argv)
{
    if (argc > 1) {
        tool_error("ls takes no arguments, found '%s'", argv[1]);
        return TOOL_ERROR;
    }
    if (machine_dir_list(print_machine, NULL) < 0) {
        tool_error("the directory of named machines cannot be read");
        return TOOL_FAILED;
    }
    return 0;
}

/* The rest of the names is still tried after a failure. */
static int for_each_name(int argc, char **argv, int (*act)(const char *name, struct fmt *error))
{
    int ret = 0;

    if (argc < 2) {
        tool_error("%s needs the name of a machine; `mmioshim machine ls` lists them", argv[0]);
        return TOOL_ERROR;
    }
    for (int i = 1; i < argc; i++) {
        char text[512];
        struct fmt error = FMT_INIT(text);

        if (act(argv[i], &error) == 0)
            continue;
        tool_error("%s", fmt_end(&error));
        ret = TOOL_FAILED;
    }
    return ret;
}

static int remove_names(int argc, char **argv)
{
    return for_each_name(argc, argv, machine_dir_remove);
}

static int reset_names(int argc, char **argv)
{
    return for_each_name(argc, argv, machine_dir_reset);
}

/* The machine may run on: its bitmap is copied before it is counted. */
static void take_bank(const struct trace_bank *bank, const u8 *bitmap, u64 pages, void *ctx)
{
    struct dirtyfile *file = ctx;
    struct dirtyfile_bank *mine = &file->banks[file->nbanks];
    u8 *copy = tool_alloc(pages / 8 + 1);

    if (file->nbanks == DIRTYFILE_BANKS)
        return;
    memcpy(copy, bitmap, (pages + 7) / 8);
    mine->bank.range = bank->range;
    mine->bank.name = tool_format("%s", bank->name);
    mine->bitmap = copy;
    mine->pages = pages;
    mine->dirty = bitmap_count(copy, pages);
    file->nbanks++;
}

static int show_dirty(int argc, char **argv)
{
    static struct dirtyfile file = {.page_size = PAGE_SIZE};
    struct dirty_view view;
    char text[512];
    struct fmt error = FMT_INIT(text);
    int words = dirty_view_options(&view, argc, argv);

    if (words >= 0 && words != 1)
        tool_error("usage: mmioshim machine dirty [--json] [--png OUT.png] NAME");
    if (words != 1)
        return TOOL_ERROR;
    if (machine_dir_dirty(argv[1], take_bank, &file, &error) < 0) {
        tool_error("%s", fmt_end(&error));
        return TOOL_FAILED;
    }
    return dirty_view_show(&view, &file);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {{"ls", list}, {"rm", remove_names}, {"reset", reset_names}, {"dirty", show_dirty}};

int cmd_machine(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help();
    if (argc < 2) {
        tool_error("what? ls, rm, reset or dirty; `mmioshim machine --help` explains them");
        return TOOL_ERROR;
    }
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    tool_error("unknown verb '%s'; known: ls, rm, reset, dirty", argv[1]);
    return TOOL_ERROR;
}
