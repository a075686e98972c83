/* The table of variables: checks, messages, lists, numbers, absolute paths. Links trace/filter.c. */
#include "unit.h"

#include "base/debug.h"
#include "base/errname.h"
#include "config/options.h"

static char text[4096];

/* What options_read says of one environment, "" when it takes it. */
static const char *read_env(struct options *options, char *const envp[])
{
    struct fmt error = FMT_INIT(text);
    int result = options_read(options, envp, &error);

    CHECK_EQ(result == 0, error.len == 0);
    return fmt_end(&error);
}

static const char *check(enum option_id id, const char *value)
{
    struct fmt error = FMT_INIT(text);
    int result = option_check(id, value, &error);

    CHECK_EQ(result == 0, error.len == 0);
    return fmt_end(&error);
}

static const char *absolute(enum option_id id, const char *value, const char *cwd)
{
    struct fmt out = FMT_INIT(text);

    if (option_absolute(id, value, cwd, &out))
        return fmt_end(&out);
    CHECK_EQ(out.len, 0);
    return "same";
}

TEST(defaults)
{
    struct options o;
    char *const none[] = {NULL};
    char *const others[] = {(char[]){"PATH=/bin"}, (char[]){"MMIOSHIMX=1"}, (char[]){"mmioshim_map=x"}, NULL};

    CHECK_STR(read_env(&o, none), "");
    CHECK_STR(o.value[OPT_MAP], "virt");
    CHECK_STR(o.value[OPT_LOG], "-");
    CHECK_STR(o.value[OPT_ATTACH], "");
    CHECK_EQ(option_number(&o, OPT_BACKTRACE), 8);
    CHECK_EQ(option_choice(&o, OPT_LINT), 0);
    CHECK_EQ(option_flags(&o, OPT_LOG_SHOW), 0);
    for (int i = 0; i < OPT_COUNT; i++) {
        CHECK(!o.given[i]);
        CHECK_STR(o.value[i], option_rows[i].def);
        if (*option_rows[i].def)
            CHECK_STR(check((enum option_id)i, option_rows[i].def), "");
    }
    CHECK_STR(read_env(&o, others), "");
    CHECK_STR(read_env(&o, NULL), "");
}

TEST(values)
{
    struct options o;
    char *const env[] = {(char[]){"MMIOSHIM_MAP=virt-low"}, (char[]){"MMIOSHIM_LINT=error"},
                         (char[]){"MMIOSHIM_BACKTRACE=0x10"}, (char[]){"MMIOSHIM_LOG_SHOW=insn,time"},
                         (char[]){"MMIOSHIM_LOG="}, (char[]){"MMIOSHIM_MAP=virt"},
                         (char[]){"MMIOSHIM_LOAD=none"}, (char[]){"MMIOSHIM_DEBUG=none"}, NULL};

    CHECK_STR(read_env(&o, env), "");
    CHECK(!o.given[OPT_LOAD]);
    CHECK_STR(o.value[OPT_LOAD], "");
    CHECK(!o.given[OPT_DEBUG]);
    CHECK_STR(o.value[OPT_MAP], "virt-low");
    CHECK(o.given[OPT_MAP]);
    CHECK_EQ(option_choice(&o, OPT_LINT), 2);
    CHECK_EQ(option_number(&o, OPT_BACKTRACE), 16);
    CHECK_EQ(option_flags(&o, OPT_LOG_SHOW), 5);
    CHECK(!o.given[OPT_LOG]);
    CHECK_STR(o.value[OPT_LOG], "-");
}

TEST(unknown_variable)
{
    struct options o;
    char *const env[] = {(char[]){"MMIOSHIM_FOO=1"}, NULL};
    char *const prefix[] = {(char[]){"MMIOSHIM_MA=1"}, NULL};
    char *const longer[] = {(char[]){"MMIOSHIM_MAPX=1"}, NULL};
    const char *message = read_env(&o, env);

    CHECK(strstr(message, "MMIOSHIM_FOO=1: unknown variable; known: MMIOSHIM_MAP MMIOSHIM_ATTACH ") == message);
    CHECK(strstr(message, " MMIOSHIM_DEBUG") != NULL);
    CHECK(strstr(read_env(&o, prefix), "unknown variable") != NULL);
    CHECK(strstr(read_env(&o, longer), "unknown variable") != NULL);
}

TEST(messages)
{
    CHECK_STR(check(OPT_BACKTRACE, "abc"), "MMIOSHIM_BACKTRACE=abc: not a number; allowed: 0-64");
    CHECK_STR(check(OPT_BACKTRACE, "65"), "MMIOSHIM_BACKTRACE=65: out of range; allowed: 0-64");
    CHECK_STR(check(OPT_BACKTRACE, "-1"), "MMIOSHIM_BACKTRACE=-1: not a number; allowed: 0-64");
    CHECK_STR(check(OPT_BACKTRACE, "64"), "");
    CHECK_STR(check(OPT_LINT, "yes"), "MMIOSHIM_LINT=yes: unknown word; allowed: on|off|error");
    CHECK_STR(check(OPT_LINT, "on|off"), "MMIOSHIM_LINT=on|off: unknown word; allowed: on|off|error");
    CHECK_STR(check(OPT_LINT, "o"), "MMIOSHIM_LINT=o: unknown word; allowed: on|off|error");
    CHECK_STR(check(OPT_PLUGIN, "x.so"), "MMIOSHIM_PLUGIN=x.so: unknown word; allowed: none");
    CHECK_STR(check(OPT_LOG_SHOW, "time,who"), "MMIOSHIM_LOG_SHOW=time,who: unknown word; allowed: time|pid|insn|none");
    CHECK_STR(check(OPT_LOG, "a%d"), "MMIOSHIM_LOG=a%d: '%' is followed only by 'p'; allowed: PATH|-|none");
    CHECK(strstr(check(OPT_LOG, "a%"), "only by 'p'") != NULL);
    CHECK_STR(check(OPT_LOG, "log.%p.%p"), "");
    CHECK_STR(check(OPT_LOG_FORMAT, "xml\nx"), "MMIOSHIM_LOG_FORMAT=xml?x: unknown word; allowed: text|json|mmiotrace|ring");
}

TEST(long_value_is_cut)
{
    char value[10000];
    const char *message;

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    message = check(OPT_LINT, value);
    CHECK(strlen(message) < 300);
    CHECK(strstr(message, "vvv...: unknown word; allowed: on|off|error") != NULL);
    CHECK(strstr(check(OPT_DIRTY, value), "path too long") != NULL);
    CHECK(strstr(check(OPT_MAP, value), "path too long") != NULL);
    CHECK(strstr(check(OPT_ATTACH, value), "a piece is too long") != NULL);
    CHECK(strstr(check(OPT_LOG_SHOW, value), "unknown word") != NULL);
}

TEST(attach)
{
    CHECK_STR(check(OPT_ATTACH, "uart@10000000=pty"), "");
    CHECK_STR(check(OPT_ATTACH, ";uart@10000000=file:out;;virtio_mmio@10001000=blk:disk.img,ro;"), "");
    CHECK_STR(check(OPT_ATTACH, "uart@10000000=pty,link=/tmp/x=y"), "");
    CHECK(strstr(check(OPT_ATTACH, "uart@10000000"), "no '=' between node and back end; allowed: NODE=BACKEND"));
    CHECK(strstr(check(OPT_ATTACH, "=pty"), "no node before '='"));
    CHECK(strstr(check(OPT_ATTACH, "uart="), "no back end after '='"));
    CHECK(strstr(check(OPT_ATTACH, "a=pty;b=:x"), "no back end after '='"));
    CHECK(strstr(check(OPT_ATTACH, "uart=/dev/null"), "no back end after '='"));
    CHECK(strstr(check(OPT_ATTACH, "uart=file/x"), "a back end is a word"));
}

TEST(load)
{
    CHECK_STR(check(OPT_LOAD, "a.bin@0x80000000;dir/b@1@2M"), "");
    CHECK(strstr(check(OPT_LOAD, "a.bin"), "no '@' between file and address; allowed: FILE@ADDRESS"));
    CHECK(strstr(check(OPT_LOAD, "@0x1000"), "no file before '@'"));
    CHECK(strstr(check(OPT_LOAD, "a@"), "the address is not a number"));
    CHECK(strstr(check(OPT_LOAD, "a@0x1;b@top"), "the address is not a number"));
}

TEST(names)
{
    char name[66];

    memset(name, 'n', 65);
    name[65] = 0;
    CHECK(strstr(check(OPT_MACHINE, name), "1 to 64 characters"));
    name[64] = 0;
    CHECK_STR(check(OPT_MACHINE, name), "");
    CHECK_STR(check(OPT_MACHINE, "My-board_1.0"), "");
    CHECK(strstr(check(OPT_MACHINE, "../x"), "does not start with '.'"));
    CHECK(strstr(check(OPT_MACHINE, "-x"), "does not start with"));
    CHECK(strstr(check(OPT_MACHINE, "a/b"), "only letters"));
    CHECK(strstr(check(OPT_MACHINE, "a b"), "only letters"));
    CHECK(strstr(check(OPT_MACHINE, ""), "1 to 64 characters"));
}

TEST(filter)
{
    CHECK_STR(check(OPT_LOG_FILTER, "all"), "");
    CHECK_STR(check(OPT_LOG_FILTER, "device=uart*,op=write,addr=0x10000000-0x10000fff"), "");
    CHECK(strncmp(check(OPT_LOG_FILTER, "colour=red"), "MMIOSHIM_LOG_FILTER=colour=red: ", 32) == 0);
    CHECK(strstr(text, "allowed: ") != NULL);
}

TEST(debug_domains)
{
    CHECK_STR(check(OPT_DEBUG, "trap:2,virtio"), "");
    CHECK_EQ(debug_levels[DEBUG_TRAP], 0);
    CHECK(strstr(check(OPT_DEBUG, "trap,foo"), "MMIOSHIM_DEBUG=trap,foo: foo: unknown domain; allowed: all trap cpu "));
    CHECK(!strchr(check(OPT_DEBUG, "a\nb"), '\n'));
    CHECK(!strchr(check(OPT_DEBUG, "trap:\n"), '\n'));
    CHECK(strstr(check(OPT_DEBUG, "trap:10"), "trap:10: bad level; allowed: 0-9"));
    CHECK(strstr(check(OPT_DEBUG, "trap:"), "bad level"));
    CHECK(strstr(check(OPT_DEBUG, "tra"), "unknown domain"));
}

TEST(debug_parse_sets_levels)
{
    struct fmt error = FMT_INIT(text);

    CHECK_EQ(debug_parse("all,trap:3,,log:0", &error), 0);
    CHECK_EQ(debug_levels[DEBUG_TRAP], 3);
    CHECK_EQ(debug_levels[DEBUG_LOG], 0);
    CHECK_EQ(debug_levels[DEBUG_SIG], 1);
    CHECK_EQ(debug_parse("cpu:9,bad", &error), -1);
    CHECK_EQ(debug_levels[DEBUG_CPU], 1);
    CHECK_EQ(debug_parse("", &error), 0);
    CHECK_EQ(debug_levels[DEBUG_TRAP], 0);
}

static int evaluated(int *count)
{
    return ++*count;
}

TEST(debug_lines)
{
    struct fmt error = FMT_INIT(text);
    char line[600], many[400];
    int ends[2], count = 0;
    ssize_t n;

    memset(many, 'm', sizeof(many) - 1);
    many[sizeof(many) - 1] = 0;
    CHECK_EQ(pipe(ends), 0);
    CHECK_EQ(dup2(ends[1], 2), 2);
    CHECK_EQ(debug_parse("trap:2", &error), 0);
    debug(TRAP, 3, "level 3 %d", evaluated(&count));
    debug(CPU, 1, "cpu %d", evaluated(&count));
    CHECK_EQ(count, 0);
    debug(TRAP, 2, "level 2 %d", evaluated(&count));
    n = read(ends[0], line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = 0;
    CHECK_STR(line, "mmioshim: trap: level 2 1\n");
    debug(TRAP, 1, "%s", many);
    n = read(ends[0], line, sizeof(line));
    CHECK_EQ(n, DEBUG_TEXT);
    CHECK(n > 4 && memcmp(line + n - 5, "m...\n", 5) == 0);
}

TEST(numbers)
{
    static const struct { const char *text; bool good; u64 value; } cases[] = {
        {"0", true, 0}, {"10", true, 10}, {"0x1f", true, 31}, {"0XFf", true, 255}, {"4k", true, 4096},
        {"2M", true, 2u << 20}, {"0x10G", true, 16ull << 30}, {"18446744073709551615", true, UINT64_MAX},
        {"0xffffffffffffffff", true, UINT64_MAX}, {"18446744073709551616", false, 0},
        {"0x10000000000000000", false, 0}, {"17179869183G", true, UINT64_MAX - 0x3fffffff}, {"17179869184G", false, 0},
        {"", false, 0}, {"0x", false, 0}, {"k", false, 0}, {"1kk", false, 0}, {"1 ", false, 0}, {" 1", false, 0},
        {"-1", false, 0}, {"+1", false, 0}, {"12a", false, 0}, {"1T", false, 0}, {"0xg", false, 0},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        u64 value = 77;

        CHECK_EQ(parse_u64(cases[i].text, &value), cases[i].good);
        CHECK_EQ(value, cases[i].good ? cases[i].value : 77);
    }
}

TEST(lists)
{
    const char *cursor = ";;a;bcd;;ef;";
    char small[3];
    struct fmt piece = FMT_INIT(small);

    CHECK(list_next(&cursor, ';', &piece));
    CHECK_STR(small, "a");
    CHECK(!piece.full);
    CHECK(list_next(&cursor, ';', &piece));
    CHECK_STR(small, "bc");
    CHECK(piece.full);
    CHECK(list_next(&cursor, ';', &piece));
    CHECK_STR(small, "ef");
    CHECK(!list_next(&cursor, ';', &piece));
    CHECK(!list_next(&cursor, ';', &piece));
}

TEST(absolute_paths)
{
    CHECK_STR(absolute(OPT_MAP, "virt", "/w"), "same");
    CHECK_STR(absolute(OPT_MAP, "a.dtb", "/w"), "/w/a.dtb");
    CHECK_STR(absolute(OPT_MAP, "/a.dtb", "/w"), "same");
    CHECK_STR(absolute(OPT_MAP, "a.dtb", "/"), "/a.dtb");
    CHECK_STR(absolute(OPT_LOG, "-", "/w"), "same");
    CHECK_STR(absolute(OPT_LOG, "none", "/w"), "same");
    CHECK_STR(absolute(OPT_LOG, "x/l.%p", "/w"), "/w/x/l.%p");
    CHECK_STR(absolute(OPT_DIRTY, "d", "/w"), "/w/d");
    CHECK_STR(absolute(OPT_DIRTY, "", "/w"), "same");
    CHECK_STR(absolute(OPT_LOAD, "a@1;/b@2;c@d@3", "/w"), "/w/a@1;/b@2;/w/c@d@3");
    CHECK_STR(absolute(OPT_LOAD, "/a@1;/b@2", "/w"), "same");
    CHECK_STR(absolute(OPT_BACKTRACE, "8", "/w"), "same");
    CHECK_STR(absolute(OPT_MACHINE, "name", "/w"), "same");
    CHECK_STR(absolute(OPT_LOG_FILTER, "device=a", "/w"), "same");
}

TEST(absolute_attachments)
{
    CHECK_STR(absolute(OPT_ATTACH, "u=pty", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=stdio;v=null", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=file:o,append", "/w"), "u=file:/w/o,append");
    CHECK_STR(absolute(OPT_ATTACH, "u=file:/o", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=file", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=file:", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=file,append", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=filex:o", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=file:o,append,in=i", "/w"), "u=file:/w/o,append,in=/w/i");
    CHECK_STR(absolute(OPT_ATTACH, "v=console:file:o,in=i;w=console:pty,link=l;x=console:stdio", "/w"),
              "v=console:file:/w/o,in=/w/i;w=console:pty,link=/w/l;x=console:stdio");
    CHECK_STR(absolute(OPT_ATTACH, "v=net:pcap,in=i,out=/o,mac=1;w=net:loopback", "/w"),
              "v=net:pcap,in=/w/i,out=/o,mac=1;w=net:loopback");
    CHECK_STR(absolute(OPT_ATTACH, "u=pty,link=l,x=y;v=blk:d.img,ro;", "/w"), "u=pty,link=/w/l,x=y;v=blk:/w/d.img,ro;");
    CHECK_STR(absolute(OPT_ATTACH, "u=pty,link=/l", "/w"), "same");
    CHECK_STR(absolute(OPT_ATTACH, "u=file:o,link=l", "/w"), "u=file:/w/o,link=l");
    CHECK_STR(absolute(OPT_ATTACH, "junk", "/w"), "same");
}

TEST(absolute_does_not_fit)
{
    char small[6];
    struct fmt out = FMT_INIT(small);

    CHECK(option_absolute(OPT_DIRTY, "dirty", "/work", &out));
    CHECK(out.full);
}

TEST(error_names)
{
    CHECK_STR(errname(2), "ENOENT (no such file or directory)");
    CHECK_STR(errname(-13), "EACCES (permission denied)");
    CHECK_STR(errname(0), "no error");
    CHECK_STR(errname(41), "unknown error");
    CHECK_STR(errname(100000), "unknown error");
    CHECK_STR(errname((long)(1ul << 63)), "unknown error");
}
