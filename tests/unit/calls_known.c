/* The table of sites that was made with the library, against a search here: it is for the libraries of this process. */
#include "unit.h"

#include <sys/mman.h>

#include "calls/known.h"
#include "cpu/cpu.h"

#define SITES 1024

struct sites {
    struct found found[SITES];
    unsigned count;
};

static struct sites known, searched;

static void collect(void *context, const struct found *found)
{
    struct sites *s = context;

    CHECK(s->count < SITES);
    if (s->count < SITES)
        s->found[s->count++] = *found;
}

static void start(void)
{
    char text[256];
    struct fmt error = FMT_INIT(text);

    CHECK_EQ(cpu_init(&error), 0);
}

/* --- every library --- */

static void compare(void *context, const struct text *text)
{
    known.count = searched.count = 0;
    if (!known_find(text, collect, &known))
        return;
    ++*(unsigned *)context;
    sites_find(text, collect, &searched);
    CHECK_EQ(known.count, searched.count);
    for (unsigned i = 0; i < known.count; i++) {
        const struct found *k = &known.found[i], *s = &searched.found[i];

        CHECK_EQ(k->at, s->at);
        CHECK_EQ(k->gap, s->gap);
        CHECK_EQ(k->nr, s->nr);
        CHECK_EQ(k->tactic, s->tactic);
        CHECK_EQ(k->prev, s->prev);
        CHECK_EQ(k->next, s->next);
    }
}

static int compare_module(struct dl_phdr_info *info, size_t size, void *context)
{
    unsigned files = 0;
    bool must = strstr(info->dlpi_name, "/libc.so") || strstr(info->dlpi_name, "/ld-linux");

    (void)size;
    known_texts(info, compare, &files);
    if (must)
        CHECK_EQ(files, 1);
    *(unsigned *)context += must && known.count > 30;
    return 0;
}

TEST(known_sites_are_those_that_a_search_finds)
{
    unsigned libraries = 0;

    start();
    dl_iterate_phdr(compare_module, &libraries);
    CHECK_EQ(libraries, 2);
}

/* --- one that is not what it was --- */

static void take_text(void *context, const struct text *text)
{
    struct text *copy = context;
    void *bytes = mmap(NULL, text->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *copy = *text;
    copy->base = memcpy(bytes, text->base, text->size);
}

static int take_libc(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    if (strstr(info->dlpi_name, "/libc.so"))
        known_texts(info, take_text, context);
    return 0;
}

static bool is_known(const struct text *text)
{
    known.count = 0;
    return known_find(text, collect, &known);
}

TEST(another_build_or_size_is_not_known)
{
    u8 id[BUILD_ID];
    struct text text = {0};

    dl_iterate_phdr(take_libc, &text);
    CHECK(is_known(&text));
    text.size--;
    CHECK(!is_known(&text));
    text.size++;
    memcpy(id, text.build_id, BUILD_ID);
    text.build_id = id;
    CHECK(is_known(&text));
    for (unsigned i = 0; i < BUILD_ID; i++) {
        id[i] ^= 1;
        CHECK(!is_known(&text));
        id[i] ^= 1;
    }
    text.build_id = NULL;
    CHECK(!is_known(&text));
    CHECK_EQ(known.count, 0);
}

/* Every byte that is overwritten for a site is looked at, and the call itself. */
static unsigned changes_seen(const struct text *text, u64 at, unsigned size)
{
    unsigned seen = 0;

    for (u8 *p = (u8 *)at; p < (u8 *)at + size; p++) {
        *p ^= 0x10;
        seen += !is_known(text);
        *p ^= 0x10;
    }
    return seen;
}

TEST(changed_bytes_are_not_known)
{
    unsigned tactics[5] = {0};
    static struct sites all;
    struct text text = {0};

    dl_iterate_phdr(take_libc, &text);
    CHECK(known_find(&text, collect, &all));
    for (unsigned i = 0; i < all.count; i++) {
        const struct found *f = &all.found[i];
        unsigned before = f->tactic == TACTIC_MOVE ? 5 : f->prev;

        if (tactics[f->tactic]++ >= 5)
            continue;
        CHECK_EQ(changes_seen(&text, f->at - before, before + 2 + f->next), before + 2 + f->next);
        if (f->tactic == TACTIC_GAP)
            CHECK_EQ(changes_seen(&text, f->gap, 5), 5);
    }
    CHECK(tactics[TACTIC_MOVE] >= 5 && tactics[TACTIC_GAP] && tactics[TACTIC_PREV]);
    CHECK(is_known(&text));
}

/* --- notes --- */

static void take_id(void *context, const struct text *text)
{
    *(const u8 **)context = text->build_id;
}

/* The build id of a module with these notes. */
static const u8 *id_in(const void *notes, size_t size)
{
    ElfW(Phdr) phdr[] = {
        {.p_type = PT_NOTE, .p_vaddr = (u64)notes, .p_memsz = size, .p_align = 4},
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = (u64)notes, .p_memsz = size},
    };
    struct dl_phdr_info info = {.dlpi_phdr = phdr, .dlpi_phnum = 2};
    const u8 *id = NULL;

    known_texts(&info, take_id, &id);
    return id;
}

TEST(notes_are_read_within_their_bounds)
{
    static const char name[] = "\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0abcdefghijklmnopqrst";
    static const char wrong[][16] = {
        "\x04\0\0\0\x14\0\0\0\x01\0\0\0GNU", "\x04\0\0\0\x10\0\0\0\x03\0\0\0GNU", "\x04\0\0\0\x14\0\0\0\x03\0\0\0GNV",
        "\xff\xff\xff\xff\x14\0\0\0\x03\0\0\0GNU", "\x04\0\0\0\xff\xff\xff\xff\x03\0\0\0GNU",
    };
    char notes[128];

    CHECK(id_in(name, 36) == (const u8 *)name + 16);
    for (size_t size = 0; size < 36; size++)
        CHECK(!id_in(name, size));
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memcpy(notes, name, 36);
        memcpy(notes, wrong[i], 16);
        CHECK(!id_in(notes, 36));
    }
    /* Behind another: a name of three bytes and a description of five, both padded. */
    memcpy(notes, "\x03\0\0\0\x05\0\0\0\x07\0\0\0ab\0\0hello\0\0\0", 24);
    memcpy(notes + 24, name, 36);
    CHECK(id_in(notes, 60) == (const u8 *)notes + 40);
}
