/*
 * The configuration: environment variables and the options of `mmioshim run`,
 * from the one table options.def. One validation for library and command.
 * Ordinary context, but no malloc and no stdio: the library reads its
 * configuration before libc is initialised (getenv and environ are NULL then).
 */
#ifndef MMIOSHIM_CONFIG_OPTIONS_H
#define MMIOSHIM_CONFIG_OPTIONS_H

#include "base/fmt.h"
#include "base/types.h"

enum option_id {
#define OPTION(id, variable, option, type, def, values, help) OPT_##id,
#include "config/options.def"
#undef OPTION
    OPT_COUNT
};

enum option_type {
    OPTION_MAP, OPTION_ATTACH, OPTION_LOAD, OPTION_NAME, OPTION_LOG, OPTION_CHOICE, OPTION_FLAGS, OPTION_FILTER,
    OPTION_NUMBER, OPTION_FILE, OPTION_DEBUG,
};

struct option_row {
    const char *variable; /* "MMIOSHIM_MAP" */
    const char *option;   /* "map" */
    enum option_type type;
    const char *def;
    const char *values;
    const char *help;
};

extern const struct option_row option_rows[OPT_COUNT];

struct options {
    const char *value[OPT_COUNT]; /* as given, or the default; never NULL */
    bool given[OPT_COUNT];
};

/*
 * Reads and checks every MMIOSHIM_ variable of an environment. 0, or -1 with
 * one line (no newline) in `error`: variable, value, what is wrong, what is
 * allowed. An unknown MMIOSHIM_ name is an error that lists the known ones.
 * An empty value counts as not given.
 */
int options_read(struct options *options, char *const envp[], struct fmt *error);
/* Is it the word "none", where nothing is the default (LOAD, DEBUG)? Such a value counts as not given. */
bool option_says_none(enum option_id id, const char *value);
/* Checks one value as options_read does. Files are not looked at: whoever opens them says what is wrong. */
int option_check(enum option_id id, const char *value, struct fmt *error);
/* Appends a user's text to a message so that it stays one line: control characters as '?', at most 120 bytes. */
void option_show(struct fmt *out, const char *text);
/* Index in `values` of the CHOICE word that the value is, -1 if none. */
int option_choice(const struct options *options, enum option_id id);
/* NUMBER */
u64 option_number(const struct options *options, enum option_id id);
/* FLAGS: bit i is set when the i-th word of `values` is in the list ("none" sets nothing). */
unsigned option_flags(const struct options *options, enum option_id id);

/*
 * Writes the value as a child must see it: relative paths made absolute
 * against cwd (MAP files, LOAD files, LOG, DIRTY, file and socket back ends in
 * ATTACH). Returns false when the value needs no change; nothing is written then.
 * out->full says that the new value did not fit.
 */
bool option_absolute(enum option_id id, const char *value, const char *cwd, struct fmt *out);

/*
 * Iterates over "a;b;c" or "a,b,c": copies the next piece, terminated, false at the end. Empty pieces are skipped.
 * piece->full: it was cut.
 */
bool list_next(const char **cursor, char separator, struct fmt *piece);
/* Decimal or 0x hexadecimal with an optional k, M, G suffix (2^10, 2^20, 2^30; either case); the whole text. */
bool parse_u64(const char *text, u64 *value);

#endif
