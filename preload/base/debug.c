#include "base/debug.h"

#include "base/mem.h"
#include "base/sys.h"
#include "base/trapsafe.h"

u8 debug_levels[DEBUG_COUNT];

const char *const debug_words[DEBUG_COUNT] = {
#define DOMAIN(id, word, about) word,
    DEBUG_DOMAINS(DOMAIN)
#undef DOMAIN
};

static void list_domains(struct fmt *error)
{
    fmt_str(error, "allowed: all");
    for (unsigned i = 0; i < DEBUG_COUNT; i++)
        fmt_printf(error, " %s", debug_words[i]);
    fmt_printf(error, ", each with :0 to :%d", DEBUG_MAX_LEVEL);
}

static bool word_is(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && strncmp(text, word, len) == 0;
}

static bool set_level(u8 levels[DEBUG_COUNT], const char *word, size_t len, u8 level)
{
    bool found = false;

    for (unsigned i = 0; i < DEBUG_COUNT; i++)
        if (word_is(word, len, "all") || word_is(word, len, debug_words[i])) {
            levels[i] = level;
            found = true;
        }
    return found;
}

/* A user's word in a message: cut, and on one line. */
static void put_word(struct fmt *error, const char *word, size_t len)
{
    for (size_t i = 0; i < MIN(len, (size_t)40); i++)
        fmt_char(error, (u8)word[i] < 0x20 || word[i] == 0x7f ? '?' : word[i]);
}

/* One piece, "trap" or "trap:2". */
static int parse_piece(u8 levels[DEBUG_COUNT], const char *piece, size_t len, struct fmt *error)
{
    size_t word = 0;
    u8 level = 1;

    while (word < len && piece[word] != ':')
        word++;
    if (word < len) {
        if (len - word != 2 || piece[word + 1] < '0' || piece[word + 1] > '0' + DEBUG_MAX_LEVEL) {
            put_word(error, piece, len);
            fmt_printf(error, ": bad level; allowed: 0-%d", DEBUG_MAX_LEVEL);
            return -1;
        }
        level = (u8)(piece[word + 1] - '0');
    }
    if (set_level(levels, piece, word, level))
        return 0;
    put_word(error, piece, word);
    fmt_str(error, ": unknown domain; ");
    list_domains(error);
    return -1;
}

static int parse(u8 levels[DEBUG_COUNT], const char *text, struct fmt *error)
{
    memset(levels, 0, DEBUG_COUNT);
    while (*text) {
        size_t len = 0;

        while (text[len] && text[len] != ',')
            len++;
        if (len && parse_piece(levels, text, len, error) < 0)
            return -1;
        text += len + (text[len] == ',');
    }
    return 0;
}

int debug_check(const char *text, struct fmt *error)
{
    u8 levels[DEBUG_COUNT];

    return parse(levels, text, error);
}

int debug_parse(const char *text, struct fmt *error)
{
    u8 levels[DEBUG_COUNT];

    if (parse(levels, text, error) < 0)
        return -1;
    memcpy(debug_levels, levels, sizeof(levels));
    return 0;
}

void debug_begin(struct fmt *line, enum debug_domain domain)
{
    fmt_printf(line, "mmioshim: %s: ", debug_words[domain]);
}

void debug_end(struct fmt *line)
{
    /* The macro keeps 4 bytes of its buffer back for this. */
    if (line->full) {
        line->buf[line->len++] = '.';
        line->buf[line->len++] = '.';
        line->buf[line->len++] = '.';
    }
    line->buf[line->len++] = '\n';
    sys_write_all(2, line->buf, line->len);
}
