/* mmioshim map [MAP]: the memory map as it will be. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/classes.h"
#include "tools/maps.h"
#include "tool.h"
#include "trace/print.h"

static const char help[] =
    "Usage: mmioshim map [--json] [MAP]\n"
    "\n"
    "Prints the memory map that a program gets: RAM, device windows, I/O ports, and the parts\n"
    "of RAM that windows take away.\n"
    "\n"
    "  MAP         a built-in map (virt, virt-low, pc), a device tree blob (FILE.dtb) or source\n"
    "              (FILE.dts); default: $MMIOSHIM_MAP, else virt\n"
    "  -j, --json  one JSON object a line\n"
    "  -h, --help  this text\n";

static struct machine_desc machine;

static void put(struct fmt *line)
{
    fwrite(line->buf, 1, line->len, stdout);
    line->len = 0;
}

static void print_banks(bool json)
{
    char text[512];
    struct fmt line = FMT_INIT(text);

    for (u32 i = 0; i < machine.nbanks; i++) {
        struct trace_bank bank = {machine.banks[i].name, machine.banks[i].range};

        trace_print_bank(&line, &bank, json);
        put(&line);
    }
}

static void print_windows(bool json)
{
    char text[1024];
    struct fmt line = FMT_INIT(text);

    for (u32 i = 0; i < machine_devices(&machine); i++) {
        const struct machine_window *window = &machine.windows[i];
        const struct mmioshim_class *class = class_for_window(&machine, window);
        struct trace_device device = {
            .name = window->name,
            .label = class->label,
            .compatible = window->compatible,
            .window = window->range,
            .port = i >= machine.nwindows && i < machine_fixed(&machine),
            .moves = i >= machine_fixed(&machine),
        };

        trace_print_window(&line, &device, json);
        put(&line);
    }
}

static void print_carved(const struct machine_bank *bank, const struct machine_window *window, bool json)
{
    struct range part = range_clip(window->range, bank->range);
    char text[512];
    struct fmt line = FMT_INIT(text);

    if (part.size == 0)
        return;
    if (json) {
        fmt_str(&line, "{\"type\":\"map\",\"kind\":\"carved\",");
        fmt_printf(&line, "\"base\":\"%lx\",\"size\":%lu,\"device\":\"", part.base, part.size);
        fmt_json(&line, window->name);
        fmt_str(&line, "\",\"compatible\":null}\n");
    } else {
        fmt_printf(&line, "[MEM] carved: %lx-%lx of %s by %s\n", part.base, range_last(part), bank->name, window->name);
    }
    put(&line);
}

static int print_map(bool json)
{
    print_banks(json);
    print_windows(json);
    for (u32 i = 0; i < machine.nbanks; i++)
        for (u32 j = 0; j < machine.nwindows; j++)
            print_carved(&machine.banks[i], &machine.windows[j], json);
    return 0;
}

int cmd_map(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *map = getenv("MMIOSHIM_MAP");
    bool json = false;
    int c;

    while ((c = getopt_long(argc, argv, "jh", options, NULL)) != -1)
        switch (c) {
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            tool_error("see mmioshim map --help");
            return TOOL_ERROR;
        }
    if (argc - optind > 1) {
        tool_error("more than one MAP; see mmioshim map --help");
        return TOOL_ERROR;
    }
    if (optind < argc)
        map = argv[optind];
    if (!map || !*map)
        map = "virt";
    if (tool_load_map(map, &machine) != 0)
        return TOOL_ERROR;
    return print_map(json);
}
