#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct command commands[] = {
    {"run", cmd_run, "run a program on the machine"},
    {"map", cmd_map, "print the memory map as a program will see it"},
    {"dirty", cmd_dirty, "print or draw a dirty bitmap"},
    {"devices", cmd_devices, "list device models, their properties and back ends"},
    {"decode", cmd_decode, "say what the emulator does with an instruction"},
    {"machine", cmd_machine, "list, inspect, reset and remove named machines"},
    {"trace", cmd_trace, "convert a transcript, count and sum up what is in it"},
};

static const char *current; /* sub-command that runs, NULL before there is one */

void tool_error(const char *format, ...)
{
    va_list args;

    /* What was already printed comes first, also when both go to one file. */
    fflush(stdout);
    fprintf(stderr, current ? "mmioshim %s: " : "mmioshim: ", current);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void *tool_alloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    if (!p) {
        tool_error("out of memory");
        exit(TOOL_ERROR);
    }
    return p;
}

char *tool_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        tool_error("out of memory");
        exit(TOOL_ERROR);
    }
    va_end(args);
    return text;
}

static void usage(FILE *out)
{
    fprintf(out, "Usage: mmioshim COMMAND [OPTIONS] [ARGUMENTS]\n"
                 "Runs programs that talk to hardware registers, without the hardware.\n\n"
                 "Commands:\n");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nOptions:\n"
                 "  --help    this text; after a command: its own\n"
                 "  --version the version\n\n"
                 "Manuals: mmioshim(1), libmmioshim(7).\n");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    char known[256] = "";

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        strcat(known, i ? ", " : "");
        strcat(known, commands[i].name);
    }
    tool_error("unknown %s '%s'; known: %s", name[0] == '-' ? "option" : "command", name,
               name[0] == '-' ? "--help, --version" : known);
    return TOOL_ERROR;
}

/* A result that did not reach its file is no success. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    tool_error("standard output: %s", strerror(errno));
    return status ? status : TOOL_FAILED;
}

static int dispatch(int argc, char **argv)
{
    const struct command *command = find_command(argv[0]);

    if (!command)
        return unknown_command(argv[0]);
    current = command->name;
    return finish(command->run(argc, argv));
}

/* `mmioshim help [COMMAND]` */
static int help(int argc, char **argv)
{
    char option[] = "--help";
    char *args[] = {argv[1], option, NULL};

    if (argc > 1)
        return dispatch(2, args);
    usage(stdout);
    return finish(0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return TOOL_ERROR;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("mmioshim " VERSION);
        return finish(0);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    return dispatch(argc - 1, argv + 1);
}
