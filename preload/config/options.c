#include "config/options.h"

#include "base/debug.h"
#include "base/mem.h"
#include "trace/print.h"

#define PREFIX      "MMIOSHIM_"
#define PIECE       4352 /* longest piece of a list: PATH_MAX and a node's name */
#define SHOWN_VALUE 120  /* bytes of a bad value that its message repeats */

const struct option_row option_rows[OPT_COUNT] = {
#define OPTION(id, variable, option, type, def, values, help) \
    [OPT_##id] = {variable, option, OPTION_##type, def, values, help},
#include "config/options.def"
#undef OPTION
};

/* Index of a word in "one|two|three", -1 if it is not there. */
static int word_index(const char *values, const char *word, size_t len)
{
    for (int i = 0;; i++) {
        size_t n = 0;

        while (values[n] && values[n] != '|')
            n++;
        if (n == len && strncmp(values, word, n) == 0)
            return i;
        if (!values[n])
            return -1;
        values += n + 1;
    }
}

void option_show(struct fmt *out, const char *text)
{
    unsigned n = 0;

    for (; text[n] && n < SHOWN_VALUE; n++)
        fmt_char(out, (u8)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n]);
    if (text[n])
        fmt_str(out, "...");
}

/* Beginning of every message: "MMIOSHIM_PATCH=abc: " */
static void say_value(struct fmt *error, const char *variable, const char *value)
{
    option_show(error, variable);
    fmt_char(error, '=');
    option_show(error, value);
    fmt_str(error, ": ");
}

static int bad(struct fmt *error, enum option_id id, const char *value, const char *what)
{
    say_value(error, option_rows[id].variable, value);
    fmt_printf(error, "%s; allowed: %s", what, option_rows[id].values);
    return -1;
}

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* What is wrong with one NODE=BACKEND[:spec][,option...], NULL: nothing. */
static const char *attach_fault(const char *piece)
{
    const char *backend = strchr(piece, '=');
    size_t kind = 0;

    if (!backend)
        return "no '=' between node and back end";
    if (backend == piece)
        return "no node before '='";
    backend++;
    while (is_lower(backend[kind]) || (kind && backend[kind] == '-'))
        kind++;
    if (kind == 0)
        return "no back end after '='";
    if (backend[kind] && backend[kind] != ':' && backend[kind] != ',')
        return "a back end is a word, then ':' and what it works on, or ',' and options";
    return NULL;
}

/* What is wrong with one FILE@ADDRESS. The file's name may hold an '@'. */
static const char *load_fault(const char *piece)
{
    const char *at = strrchr(piece, '@');
    u64 address;

    if (!at)
        return "no '@' between file and address";
    if (at == piece)
        return "no file before '@'";
    if (!parse_u64(at + 1, &address))
        return "the address is not a number";
    return NULL;
}

static int check_list(enum option_id id, const char *value, const char *(*fault)(const char *piece),
                      struct fmt *error)
{
    char text[PIECE];
    struct fmt piece = FMT_INIT(text);
    const char *cursor = value;

    while (list_next(&cursor, ';', &piece)) {
        const char *what = piece.full ? "a piece is too long" : fault(text);

        if (what)
            return bad(error, id, value, what);
    }
    return 0;
}

static int check_name(enum option_id id, const char *value, struct fmt *error)
{
    size_t n = 0;

    if (value[0] == '.' || value[0] == '-')
        return bad(error, id, value, "a name does not start with '.' or '-'");
    for (; value[n]; n++) {
        char c = value[n];

        if (!is_lower(c) && !(c >= 'A' && c <= 'Z') && c != '.')
            return bad(error, id, value, "a name has only letters, digits, '.', '_' and '-'");
    }
    if (n == 0 || n > 64)
        return bad(error, id, value, "a name has 1 to 64 characters");
    return 0;
}

static int check_path(enum option_id id, const char *value, struct fmt *error)
{
    if (!*value)
        return bad(error, id, value, "empty");
    if (strlen(value) >= 4096 /* PATH_MAX */)
        return bad(error, id, value, "path too long");
    return 0;
}

static int check_log(enum option_id id, const char *value, struct fmt *error)
{
    for (const char *p = value; (p = strchr(p, '%')); p += 2)
        if (p[1] != 'p')
            return bad(error, id, value, "'%' is followed only by 'p'");
    return check_path(id, value, error);
}

static int check_flags(enum option_id id, const char *value, struct fmt *error)
{
    char text[64];
    struct fmt word = FMT_INIT(text);
    const char *cursor = value;

    while (list_next(&cursor, ',', &word))
        if (word.full || word_index(option_rows[id].values, text, word.len) < 0)
            return bad(error, id, value, "unknown word");
    return 0;
}

static int check_number(enum option_id id, const char *value, struct fmt *error)
{
    char text[24];
    struct fmt bound = FMT_INIT(text);
    const char *cursor = option_rows[id].values;
    u64 n, low = 0, high = UINT64_MAX;

    if (!parse_u64(value, &n))
        return bad(error, id, value, "not a number");
    if (list_next(&cursor, '-', &bound))
        parse_u64(text, &low);
    if (list_next(&cursor, '-', &bound))
        parse_u64(text, &high);
    if (n < low || n > high)
        return bad(error, id, value, "out of range");
    return 0;
}

static int check_filter(enum option_id id, const char *value, struct fmt *error)
{
    struct trace_filter filter;
    const char *why = "bad filter";

    (void)id;
    if (trace_filter_parse(&filter, value, &why) == 0)
        return 0;
    /* `why` says what is allowed */
    say_value(error, option_rows[id].variable, value);
    fmt_str(error, why);
    return -1;
}

static int check_debug(enum option_id id, const char *value, struct fmt *error)
{
    char text[512];
    struct fmt what = FMT_INIT(text);

    if (debug_check(value, &what) == 0)
        return 0;
    say_value(error, option_rows[id].variable, value);
    fmt_str(error, fmt_end(&what));
    return -1;
}

int option_check(enum option_id id, const char *value, struct fmt *error)
{
    switch (option_rows[id].type) {
    case OPTION_ATTACH:
        return check_list(id, value, attach_fault, error);
    case OPTION_LOAD:
        return check_list(id, value, load_fault, error);
    case OPTION_NAME:
        return check_name(id, value, error);
    case OPTION_LOG:
        return check_log(id, value, error);
    case OPTION_CHOICE:
        if (word_index(option_rows[id].values, value, strlen(value)) < 0)
            return bad(error, id, value, "unknown word");
        return 0;
    case OPTION_FLAGS:
        return check_flags(id, value, error);
    case OPTION_FILTER:
        return check_filter(id, value, error);
    case OPTION_NUMBER:
        return check_number(id, value, error);
    case OPTION_MAP:
    case OPTION_FILE:
        return check_path(id, value, error);
    case OPTION_DEBUG:
        return check_debug(id, value, error);
    }
    return -1;
}

/* The option of "NAME=value", OPT_COUNT if there is none. */
static unsigned find_variable(const char *assignment, size_t name)
{
    unsigned id;

    for (id = 0; id < OPT_COUNT; id++)
        if (strlen(option_rows[id].variable) == name && strncmp(option_rows[id].variable, assignment, name) == 0)
            break;
    return id;
}

static int unknown_variable(const char *assignment, size_t name, struct fmt *error)
{
    char text[80];
    struct fmt variable = FMT_INIT(text);

    fmt_mem(&variable, assignment, name);
    say_value(error, fmt_end(&variable), assignment + name + 1);
    fmt_str(error, "unknown variable; known:");
    for (unsigned id = 0; id < OPT_COUNT; id++)
        fmt_printf(error, " %s", option_rows[id].variable);
    return -1;
}

bool option_says_none(enum option_id id, const char *value)
{
    return (option_rows[id].type == OPTION_LOAD || option_rows[id].type == OPTION_DEBUG) && strcmp(value, "none") == 0;
}

static int read_variable(struct options *options, const char *assignment, struct fmt *error)
{
    size_t name = 0;
    unsigned id;

    while (assignment[name] && assignment[name] != '=')
        name++;
    if (strncmp(assignment, PREFIX, sizeof(PREFIX) - 1) != 0 || !assignment[name])
        return 0;
    id = find_variable(assignment, name);
    if (id == OPT_COUNT)
        return unknown_variable(assignment, name, error);
    /* the first of two counts, as for getenv(3) */
    if (!assignment[name + 1] || options->given[id])
        return 0;
    if (option_says_none((enum option_id)id, assignment + name + 1))
        return 0;
    options->value[id] = assignment + name + 1;
    options->given[id] = true;
    return option_check((enum option_id)id, options->value[id], error);
}

int options_read(struct options *options, char *const envp[], struct fmt *error)
{
    for (unsigned id = 0; id < OPT_COUNT; id++) {
        options->value[id] = option_rows[id].def;
        options->given[id] = false;
    }
    for (; envp && *envp; envp++)
        if (read_variable(options, *envp, error) < 0)
            return -1;
    return 0;
}

int option_choice(const struct options *options, enum option_id id)
{
    return word_index(option_rows[id].values, options->value[id], strlen(options->value[id]));
}

u64 option_number(const struct options *options, enum option_id id)
{
    u64 n = 0;

    parse_u64(options->value[id], &n);
    return n;
}

unsigned option_flags(const struct options *options, enum option_id id)
{
    char text[64];
    struct fmt word = FMT_INIT(text);
    const char *cursor = options->value[id];
    unsigned flags = 0;

    while (list_next(&cursor, ',', &word)) {
        int i = word_index(option_rows[id].values, text, word.len);

        if (i >= 0 && strcmp(text, "none") != 0)
            flags |= 1u << i;
    }
    return flags;
}
