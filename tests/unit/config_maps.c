/*
 * Trees in tests/cases/maps: what machine_parse makes of each NAME.dts (by way
 * of dtc) and NAME.dtb must be what NAME.txt says. Run from the top of the
 * sources. REBASE=1 writes the .txt files.
 */
#include "unit.h"

#include <glob.h>

#include "config/machine.h"

#define CASES "tests/cases/maps/"

static struct machine_desc machine;
static _Alignas(8) unsigned char blob[MACHINE_MAX_FDT + 1];

static size_t read_stream(FILE *file, void *buf, size_t size)
{
    size_t n = file ? fread(buf, 1, size, file) : 0;

    return n;
}

static size_t load_case(const char *path)
{
    char command[512];
    bool source = strcmp(strrchr(path, '.'), ".dts") == 0;
    FILE *file;
    size_t n;

    /* -f: also trees that dtc itself finds wrong */
    snprintf(command, sizeof(command), "dtc -q -q -f -I dts -O dtb %s", path);
    file = source ? popen(command, "r") : fopen(path, "rb");
    n = read_stream(file, blob, sizeof(blob));
    if (file)
        source ? pclose(file) : fclose(file);
    return n;
}

static void list(struct fmt *out)
{
    for (u32 i = 0; i < machine.nbanks; i++)
        fmt_printf(out, "RAM  %lx-%lx %s\n", machine.banks[i].range.base, range_last(machine.banks[i].range),
                   machine.banks[i].name);
    for (u32 i = 0; i < machine_devices(&machine); i++) {
        const struct machine_window *w = &machine.windows[i];

        fmt_printf(out, "%s %lx-%lx %s", i < machine.nwindows ? "MMIO" : i < machine_fixed(&machine) ? "PORT" : "PCI ",
                   w->range.base, range_last(w->range), w->name);
        if (*w->compatible)
            fmt_printf(out, " %s", w->compatible);
        if (w->offset)
            fmt_printf(out, " offset %lx", w->offset);
        fmt_char(out, '\n');
    }
}

static void check_case(const char *path)
{
    static char got[65536], want[65536];
    struct fmt out = {.buf = got, .cap = sizeof(got)};
    char expected[512];
    size_t n = load_case(path);
    FILE *file;

    CHECK(n > 0);
    fmt_str(&out, "error: ");
    if (machine_parse(&machine, blob, n, &out) == 0) {
        CHECK_EQ(out.len, 7);
        out.len = 0;
        list(&out);
    } else {
        fmt_char(&out, '\n');
    }
    fmt_end(&out);
    snprintf(expected, sizeof(expected), "%.*s.txt", (int)(strrchr(path, '.') - path), path);
    file = fopen(expected, getenv("REBASE") ? "w" : "r");
    if (getenv("REBASE") && file)
        fputs(got, file);
    else
        want[read_stream(file, want, sizeof(want) - 1)] = 0;
    if (file)
        fclose(file);
    if (getenv("REBASE"))
        return;
    printf("# %s\n", path);
    CHECK_STR(got, want);
}

static void check_all(const char *pattern, size_t at_least)
{
    glob_t found;

    CHECK_EQ(glob(pattern, 0, NULL, &found), 0);
    CHECK(found.gl_pathc >= at_least);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_case(found.gl_pathv[i]);
    globfree(&found);
}

TEST(source_files)
{
    check_all(CASES "*.dts", 17);
}

TEST(blobs)
{
    check_all(CASES "*.dtb", 1);
}
