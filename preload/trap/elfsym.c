#include "trap/elfsym.h"

#include <elf.h>
#include <errno.h>

#include "base/range.h"
#include "base/sys.h"
#include "trap/backtrace.h"

#include "base/trapsafe.h"

bool elf_read(const struct elf_source *source, u64 offset, void *buf, size_t n)
{
    char *to = buf;

    if (source->fd < 0)
        return range_contains((struct range){0, source->size}, offset, n) && probe_read(buf, source->base + offset, n);
    while (n) {
        long got = offset <= INT64_MAX ? sys_pread(source->fd, to, n, offset) : -EINVAL;

        if (got == -EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        offset += (u64)got;
        n -= (size_t)got;
    }
    return true;
}

/* A table of fixed-size entries, read through a buffer. */
struct table {
    const struct elf_source *source;
    u64 offset, count;
    size_t entry;
    char *buf;
    size_t room;       /* entries that fit the buffer */
    u64 first, loaded; /* entries in the buffer */
};

static const void *table_at(struct table *t, u64 index)
{
    if (index >= t->count)
        return NULL;
    if (index - t->first >= t->loaded) {
        u64 n = MIN(t->count - index, t->room), skip;

        t->first = index;
        t->loaded = 0;
        if (__builtin_mul_overflow(index, t->entry, &skip) || __builtin_add_overflow(skip, t->offset, &skip) ||
            !elf_read(t->source, skip, t->buf, n * t->entry))
            return NULL;
        t->loaded = n;
    }
    return t->buf + (index - t->first) * t->entry;
}

struct elf_tables {
    Elf64_Shdr symbols, strings;
    u32 section; /* that holds the address; 0 = none */
};

static bool read_header(const struct elf_source *source, Elf64_Ehdr *ehdr)
{
    static const u8 magic[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB};

    if (!elf_read(source, 0, ehdr, sizeof(*ehdr)))
        return false;
    for (unsigned i = 0; i < sizeof(magic); i++)
        if (ehdr->e_ident[i] != magic[i])
            return false;
    return ehdr->e_shentsize == sizeof(Elf64_Shdr) && ehdr->e_shnum > 0;
}

/* Finds the section of the address and the better of the two symbol tables. */
static bool read_sections(const struct elf_source *source, u64 address, struct elf_tables *file, void *buf,
                          size_t bufsize)
{
    Elf64_Ehdr ehdr;
    struct table sections = {.source = source, .entry = sizeof(Elf64_Shdr), .buf = buf,
                             .room = bufsize / sizeof(Elf64_Shdr)};
    const Elf64_Shdr *s;

    if (!read_header(source, &ehdr))
        return false;
    sections.offset = ehdr.e_shoff;
    sections.count = ehdr.e_shnum;
    file->section = 0;
    file->symbols.sh_type = SHT_NULL;
    for (u32 i = 0; (s = table_at(&sections, i)); i++) {
        if ((s->sh_flags & SHF_ALLOC) && (s->sh_flags & SHF_EXECINSTR) && address - s->sh_addr < s->sh_size)
            file->section = i;
        if ((s->sh_type == SHT_SYMTAB || (s->sh_type == SHT_DYNSYM && file->symbols.sh_type == SHT_NULL)) &&
            s->sh_entsize == sizeof(Elf64_Sym))
            file->symbols = *s;
    }
    if (!file->section || file->symbols.sh_type == SHT_NULL)
        return false;
    s = table_at(&sections, file->symbols.sh_link);
    if (!s || s->sh_type != SHT_STRTAB)
        return false;
    file->strings = *s;
    return true;
}

static bool read_name(const struct elf_source *source, const Elf64_Shdr *strings, u32 offset, char name[ELF_NAME])
{
    size_t n = 0;
    u64 at;

    if (offset >= strings->sh_size || __builtin_add_overflow(strings->sh_offset, offset, &at))
        return false;
    while (n < ELF_NAME - 1) {
        size_t piece = MIN(MIN((u64)64, strings->sh_size - offset - n), ELF_NAME - 1 - n);

        if (!piece || !elf_read(source, at + n, name + n, piece))
            return false;
        for (size_t end = n + piece; n < end; n++)
            if (!name[n])
                return n > 0;
    }
    name[n] = '\0';
    return true;
}

static unsigned underscores(const struct elf_source *source, const Elf64_Shdr *strings, const Elf64_Sym *sym)
{
    char name[ELF_NAME];
    unsigned n = 0;

    if (!read_name(source, strings, sym->st_name, name))
        return ELF_NAME;
    while (name[n] == '_')
        n++;
    return n;
}

/* A function is worth more than a bare label, a size more than none, a global name more than a weak or local one. */
static unsigned rank(const Elf64_Sym *sym)
{
    unsigned bind = ELF64_ST_BIND(sym->st_info), type = ELF64_ST_TYPE(sym->st_info);

    return (type != STT_NOTYPE) << 3 | (sym->st_size != 0) << 2 |
           (bind == STB_GLOBAL || bind == STB_GNU_UNIQUE ? 2 : bind == STB_WEAK);
}

static bool names_code(const Elf64_Sym *sym, const struct elf_tables *file)
{
    unsigned type = ELF64_ST_TYPE(sym->st_info);

    return sym->st_shndx == file->section && sym->st_name &&
           (type == STT_FUNC || type == STT_GNU_IFUNC || (type == STT_NOTYPE && sym->st_value));
}

struct choice {
    Elf64_Sym inside;  /* the innermost symbol whose extent holds the address */
    Elf64_Sym nearest; /* the last symbol at or before it */
    bool has_inside, has_nearest;
};

static bool better(const struct elf_source *source, const Elf64_Shdr *strings, const Elf64_Sym *a, const Elf64_Sym *b)
{
    bool function_a = ELF64_ST_TYPE(a->st_info) != STT_NOTYPE, function_b = ELF64_ST_TYPE(b->st_info) != STT_NOTYPE;

    if (function_a != function_b)
        return function_a;
    if (a->st_value != b->st_value)
        return a->st_value > b->st_value;
    if (rank(a) != rank(b))
        return rank(a) > rank(b);
    return underscores(source, strings, a) < underscores(source, strings, b);
}

static void consider(const struct elf_source *source, const struct elf_tables *file, const Elf64_Sym *sym,
                     u64 address, struct choice *c)
{
    if (!names_code(sym, file) || sym->st_value > address)
        return;
    if (address - sym->st_value < sym->st_size && (!c->has_inside || better(source, &file->strings, sym, &c->inside))) {
        c->inside = *sym;
        c->has_inside = true;
    }
    if (!c->has_nearest || sym->st_value > c->nearest.st_value ||
        (sym->st_value == c->nearest.st_value && better(source, &file->strings, sym, &c->nearest))) {
        c->nearest = *sym;
        c->has_nearest = true;
    }
}

bool elf_find_function(const struct elf_source *source, u64 address, struct elf_function *found, void *buf,
                       size_t bufsize)
{
    struct elf_tables file;
    struct choice c = {.has_inside = false, .has_nearest = false};
    struct table symbols = {.source = source, .entry = sizeof(Elf64_Sym), .buf = buf,
                            .room = bufsize / sizeof(Elf64_Sym)};
    const Elf64_Sym *sym;

    if (!read_sections(source, address, &file, buf, bufsize))
        return false;
    symbols.offset = file.symbols.sh_offset;
    symbols.count = file.symbols.sh_size / sizeof(Elf64_Sym);
    for (u64 i = 0; (sym = table_at(&symbols, i)); i++)
        consider(source, &file, sym, address, &c);
    if (c.has_inside)
        sym = &c.inside;
    else if (c.has_nearest && c.nearest.st_size == 0)
        sym = &c.nearest;
    else
        return false;
    found->start = sym->st_value;
    found->size = sym->st_size;
    return read_name(source, &file.strings, sym->st_name, found->name);
}
