/* mmioshim decode: what the emulator makes of an instruction. Runs the library's own decoder in this process. */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"
#include "cpu/cpu.h"
#include "tool.h"

#define MAX_BYTES  4096
#define MAX_LENGTH (size_t)15 /* of an instruction */

static const char help[] =
    "Usage: mmioshim decode BYTES...\n"
    "\n"
    "Disassembles x86-64 machine code and says what happens when it touches a window: which\n"
    "path the emulator takes, what is read and written, what runs in the instruction's place\n"
    "and which register state that needs.\n"
    "\n"
    "  BYTES       hexadecimal, several instructions in a row if you like: f00fc110,\n"
    "              \"f0 0f c1 10\", 0xf0,0x0f,0xc1,0x10; spaces and commas are free\n"
    "  -h, --help  this text\n";

struct input {
    u8 bytes[MAX_BYTES];
    size_t count;
};

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_separator(char c)
{
    return c == ' ' || c == ',' || c == '\t' || c == '\n';
}

/* One run of digits between separators, after a 0x: "f00fc110"; a single digit is a byte, too. */
static bool parse_word(const char *word, size_t length, struct input *in)
{
    size_t i = 0;

    if (length > 2 && word[0] == '0' && tolower((unsigned char)word[1]) == 'x')
        i = 2;
    for (size_t k = i; k < length; k++)
        if (digit(word[k]) < 0) {
            tool_error("\"%.*s\" is not hexadecimal", (int)length, word);
            return false;
        }
    if ((length - i) % 2 && length - i != 1) {
        tool_error("\"%.*s\" has an odd number of digits", (int)length, word);
        return false;
    }
    while (i < length) {
        int high = length - i == 1 ? 0 : digit(word[i++]);

        if (in->count == MAX_BYTES) {
            tool_error("more than %d bytes", MAX_BYTES);
            return false;
        }
        in->bytes[in->count++] = (u8)(high << 4 | digit(word[i++]));
    }
    return true;
}

static bool parse(const char *text, struct input *in)
{
    while (*text) {
        size_t length = 0;

        while (text[length] && !is_separator(text[length]))
            length++;
        if (length && !parse_word(text, length, in))
            return false;
        text += length + (text[length] != 0);
    }
    return true;
}

static void print_bytes(const u8 *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        printf("%02x%s", bytes[i], i + 1 < n ? " " : "");
}

/* The facts, one a line, indented. */
static void print_facts(const struct cpu_insn *insn)
{
    char text[1024];
    struct fmt out = FMT_INIT(text);
    char *rest;

    cpu_describe(insn, &out);
    fmt_end(&out);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        printf("    %s\n", line);
}

static void print_instruction(const struct cpu_insn *insn)
{
    char text[200];
    struct fmt out = FMT_INIT(text);

    print_bytes(insn->bytes, insn->length);
    cpu_disassemble(insn->bytes, insn->length, 0, &out);
    printf("  %s\n", fmt_end(&out));
    print_facts(insn);
}

static int decode_all(const struct input *in)
{
    struct cpu_insn insn;

    for (size_t at = 0; at < in->count; at += insn.length) {
        size_t left = in->count - at;
        bool more = false;

        if (!cpu_decode(&insn, in->bytes + at, (unsigned)MIN(left, MAX_LENGTH), &more)) {
            const char *why = more ? "the instruction is cut off" : "no instruction that the decoder knows";

            tool_error("at byte %zu: %s", at, why);
            return TOOL_ERROR;
        }
        print_instruction(&insn);
    }
    return 0;
}

static int decode(int argc, char **argv)
{
    static struct input in;
    char text[300];
    struct fmt error = FMT_INIT(text);

    for (int i = 0; i < argc; i++)
        if (!parse(argv[i], &in))
            return TOOL_ERROR;
    if (!in.count) {
        tool_error("which bytes? (mmioshim decode --help)");
        return TOOL_ERROR;
    }
    if (cpu_init(&error) < 0) {
        tool_error("%s", fmt_end(&error));
        return TOOL_ERROR;
    }
    return decode_all(&in);
}

int cmd_decode(int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        tool_error("unknown option %s (mmioshim decode --help)", argv[optind - 1]);
        return TOOL_ERROR;
    }
    return decode(argc - optind, argv + optind);
}
