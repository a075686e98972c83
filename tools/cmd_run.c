/* mmioshim run: sets the environment and becomes the program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/range.h"
#include "config/machine.h"
#include "config/options.h"
#include "program.h"
#include "run_environment.h"
#include "run_map.h"
#include "tool.h"

/* Addresses of AddressSanitizer's shadow (compiler-rt, asan_mapping.h, x86-64 Linux): first and last byte. */
#define ASAN_SHADOW_FIRST 0x7fff8000ull
#define ASAN_SHADOW_LAST  0x10007fff7fffull

extern char **environ;

static const struct {
    char letter;
    enum option_id id;
} short_options[] = {{'m', OPT_MAP}, {'a', OPT_ATTACH}, {'l', OPT_LOAD}, {'o', OPT_LOG}};

struct run {
    char *value[OPT_COUNT]; /* NULL: not given on the command line */
    bool verbose;
};

static char short_of(unsigned id)
{
    for (size_t i = 0; i < ARRAY_SIZE(short_options); i++)
        if (short_options[i].id == id)
            return short_options[i].letter;
    return 0;
}

static void help_option(unsigned id)
{
    const struct option_row *row = &option_rows[id];
    char letter = short_of(id), name[40];

    snprintf(name, sizeof(name), "--%s=VALUE", row->option);
    if (letter)
        printf("  -%c, %-19s %s\n", letter, name, row->help);
    else
        printf("      %-19s %s\n", name, row->help);
    printf("%26s%s", "", row->values);
    if (*row->def)
        printf("; default: %s", row->def);
    putchar('\n');
}

static int help(void)
{
    puts("Usage: mmioshim run [OPTIONS] [--] PROGRAM [ARGUMENTS]\n"
         "Runs PROGRAM on the machine: sets the environment variables MMIOSHIM_... and LD_PRELOAD, then executes it.\n"
         "\nOptions:");
    for (unsigned id = 0; id < OPT_COUNT; id++)
        help_option(id);
    puts("  -v, --verbose           say at exit when nothing touched the machine\n"
         "  -h, --help              this text\n\n"
         "--map also takes device-tree source (FILE.dts). --attach and --load may be given several times.\n"
         "Exit status: the program's; 125 an error of mmioshim itself, 126 PROGRAM cannot be executed, 127 it is\n"
         "not found.");
    return 0;
}

static int unknown_option(const char *option)
{
    fprintf(stderr, "mmioshim run: unknown option '%s'; known: -m -a -l -o -v -h", option);
    for (unsigned id = 0; id < OPT_COUNT; id++)
        fprintf(stderr, " --%s", option_rows[id].option);
    fputs(" --verbose --help\n", stderr);
    return TOOL_ERROR;
}

/* Lists grow, other values replace what was given before. */
static void take_value(struct run *run, unsigned id, const char *value)
{
    char *old = run->value[id];

    if (old && *old && (id == OPT_ATTACH || id == OPT_LOAD))
        run->value[id] = tool_format("%s;%s", old, value);
    else
        run->value[id] = tool_format("%s", value);
    free(old);
}

static unsigned find_long(const char *name, size_t n)
{
    unsigned id = 0;

    while (id < OPT_COUNT && (strlen(option_rows[id].option) != n || strncmp(option_rows[id].option, name, n) != 0))
        id++;
    return id;
}

static unsigned find_short(char letter)
{
    for (size_t i = 0; i < ARRAY_SIZE(short_options); i++)
        if (short_options[i].letter == letter)
            return short_options[i].id;
    return OPT_COUNT;
}

/* One option at argv[*at] that takes a value: --map=X, --map X, -mX, -m X. */
static int take_option(struct run *run, int argc, char **argv, int *at)
{
    const char *arg = argv[*at], *value = NULL;
    unsigned id;

    if (arg[1] == '-') {
        size_t n = strcspn(arg + 2, "=");

        id = find_long(arg + 2, n);
        value = arg[2 + n] ? arg + 3 + n : NULL;
    } else {
        id = find_short(arg[1]);
        value = arg[2] ? arg + 2 : NULL;
    }
    if (id == OPT_COUNT)
        return unknown_option(arg);
    if (!value) {
        if (*at + 1 >= argc) {
            tool_error("%s needs a value: %s", arg, option_rows[id].values);
            return TOOL_ERROR;
        }
        value = argv[++*at];
    }
    take_value(run, id, value);
    return 0;
}

/*
 * Index of the program in argv; 0: help was shown; negative: minus the exit status. Options end at the first word
 * that is none.
 */
static int parse(struct run *run, int argc, char **argv)
{
    int at = 1;

    for (; at < argc && argv[at][0] == '-' && argv[at][1]; at++) {
        int ret;

        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        if (strcmp(argv[at], "-h") == 0 || strcmp(argv[at], "--help") == 0)
            return help();
        if (strcmp(argv[at], "-v") == 0 || strcmp(argv[at], "--verbose") == 0) {
            run->verbose = true;
            continue;
        }
        ret = take_option(run, argc, argv, &at);
        if (ret)
            return -ret;
    }
    if (at >= argc) {
        tool_error("no program; usage: mmioshim run [OPTIONS] [--] PROGRAM [ARGUMENTS]");
        return -TOOL_ERROR;
    }
    return at;
}

/* An empty value takes a variable away: the default holds again. */
static void set_variable(unsigned id, const char *value)
{
    if (*value)
        setenv(option_rows[id].variable, value, 1);
    else
        unsetenv(option_rows[id].variable);
}

/* With what the user asked of this domain behind it: later levels override earlier ones. */
static void set_verbose(void)
{
    const char *old = getenv(option_rows[OPT_DEBUG].variable);
    char *value = tool_format("proc:1%s%s", old && *old ? "," : "", old ? old : "");

    set_variable(OPT_DEBUG, value);
    free(value);
}

static int set_environment(const struct run *run, struct options *options)
{
    char text[2048];
    struct fmt error = FMT_INIT(text);

    for (unsigned id = 0; id < OPT_COUNT; id++) {
        const char *value = run->value[id];

        if (value && id == OPT_MAP)
            value = run_map_value(value);
        if (value)
            set_variable(id, value);
        else if (run->value[id])
            return TOOL_ERROR;
    }
    if (run->verbose)
        set_verbose();
    if (options_read(options, environ, &error) < 0) {
        tool_error("%s", fmt_end(&error));
        return TOOL_ERROR;
    }
    return environment_preload();
}

/* RAM cannot be had where the shadow lies; a map that cannot be read is the library's to report. */
static void warn_of_shadow(const char *program, const struct options *options)
{
    static struct machine_desc desc;
    const struct range shadow = {ASAN_SHADOW_FIRST, ASAN_SHADOW_LAST - ASAN_SHADOW_FIRST + 1};
    char text[256];
    struct fmt error = FMT_INIT(text);

    if (machine_load(&desc, options->value[OPT_MAP], &error) < 0)
        return;
    for (u32 i = 0; i < desc.nbanks; i++) {
        if (!range_overlaps(desc.banks[i].range, shadow))
            continue;
        tool_error("warning: %s is built with AddressSanitizer, whose shadow (0x%llx-0x%llx) lies over %s of map %s; "
                   "use -m virt-low",
                   program, ASAN_SHADOW_FIRST, ASAN_SHADOW_LAST, desc.banks[i].name, options->value[OPT_MAP]);
        return;
    }
}

/* As execvp(3): a file without a magic number is a shell script. A damaged ELF file is none. */
static int execute(const char *path, bool elf, char **argv, int argc)
{
    execv(path, argv);
    if (errno == ENOEXEC && !elf) {
        char **shell = tool_alloc(((size_t)argc + 2) * sizeof(char *));

        shell[0] = argv[0];
        shell[1] = tool_format("%s", path);
        memcpy(shell + 2, argv + 1, (size_t)argc * sizeof(char *));
        execv("/bin/sh", shell);
    }
    tool_error("%s: %s", path, strerror(errno));
    return errno == ENOENT ? TOOL_NOT_FOUND : TOOL_NOT_EXECUTABLE;
}

int cmd_run(int argc, char **argv)
{
    static struct run run;
    static struct options options;
    struct program_facts facts;
    char *path;
    int at = parse(&run, argc, argv), ret;

    if (at <= 0)
        return -at;
    ret = set_environment(&run, &options);
    if (ret == 0)
        ret = program_find(argv[at], &path);
    if (ret == 0)
        ret = program_check(path, &facts);
    if (ret)
        return ret;
    if (facts.asan)
        warn_of_shadow(path, &options);
    if (facts.asan_shared)
        environment_allow_order();
    return execute(path, facts.elf, argv + at, argc - at);
}
