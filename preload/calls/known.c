#include "calls/known.h"

#include <elf.h>

#include "base/mem.h"
#include "base/range.h"

/* --- modules --- */

static u64 padded(u64 size)
{
    return (size + 3) & ~(u64)3;
}

/* The build id among the notes of a segment, NULL: it is not there, or has another length than SHA-1's. */
static const u8 *build_id(const u8 *notes, u64 size)
{
    ElfW(Nhdr) note;

    while (size >= sizeof(note)) {
        u64 name = sizeof(note), id, end;

        memcpy(&note, notes, sizeof(note));
        id = name + padded(note.n_namesz);
        end = id + padded(note.n_descsz);
        if (end > size)
            return NULL;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && note.n_descsz == BUILD_ID &&
            memcmp(notes + name, "GNU", 4) == 0)
            return notes + id;
        notes += end;
        size -= end;
    }
    return NULL;
}

void known_texts(const struct dl_phdr_info *info, void (*each)(void *context, const struct text *text), void *context)
{
    struct text text = {0};

    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        const u8 *at = (const u8 *)(info->dlpi_addr + p->p_vaddr);

        if (p->p_type == PT_GNU_EH_FRAME)
            text.eh_frame_hdr = at;
        /* Notes of eight bytes' alignment are padded otherwise; the build id is not among them. */
        if (p->p_type == PT_NOTE && p->p_align <= 4 && !text.build_id)
            text.build_id = build_id(at, p->p_memsz);
    }
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type != PT_LOAD || (p->p_flags & (PF_X | PF_W)) != PF_X)
            continue;
        text.base = (const u8 *)(info->dlpi_addr + p->p_vaddr);
        text.size = p->p_memsz;
        each(context, &text);
    }
}

/* --- sites --- */

#define GAP_SIZE 5

static u32 add(u32 sum, u64 at, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        sum = (sum ^ ((const u8 *)at)[i]) * 0x01000193u; /* FNV-1a */
    return sum;
}

static u32 sum_of(const struct found *f)
{
    unsigned before = f->tactic == TACTIC_MOVE ? MOVE_SIZE : f->prev;
    u32 sum = add(0x811c9dc5u, f->at - before, before + 2 + f->next);

    return f->tactic == TACTIC_GAP ? add(sum, f->gap, GAP_SIZE) : sum;
}

struct known_site known_pack(const struct text *text, const struct found *found)
{
    return (struct known_site){
        .at = (u32)(found->at - (u64)text->base),
        .sum = sum_of(found),
        .nr = (u16)found->nr,
        .tactic = found->tactic,
        .gap = found->tactic == TACTIC_GAP ? (i8)(found->gap - (found->at + 2)) : 0,
        .prev = found->prev,
        .next = found->next,
    };
}

static struct found unpack(const struct text *text, const struct known_site *site)
{
    u64 at = (u64)text->base + site->at;

    return (struct found){
        .at = at,
        .gap = site->tactic == TACTIC_GAP ? at + 2 + (u64)(i64)site->gap : 0,
        .nr = site->nr,
        .tactic = site->tactic,
        .prev = site->prev,
        .next = site->next,
    };
}

static const struct known_file *file_of(const struct text *text)
{
    for (const struct known_file *f = known_files; text->build_id && f->size; f++)
        if (f->size == text->size && memcmp(f->id, text->build_id, BUILD_ID) == 0)
            return f;
    return NULL;
}

bool known_find(const struct text *text, void (*each)(void *context, const struct found *found), void *context)
{
    const struct known_file *file = file_of(text);

    for (u32 i = 0; file && i < file->count; i++) {
        const struct known_site *site = &known_sites[file->first + i];
        struct found found = unpack(text, site);

        if (sum_of(&found) != site->sum)
            return false;
        each(context, &found);
    }
    return file;
}
