/*
 * How many of a program's pointer moves can be patched: every mov, movzx, movsx with a memory operand whose base is a
 * register other than rsp, rbp and rip. In files as they are, at addresses where the kernel puts them, each on its own
 * and all of them one after the other, in random order and as they stand. In the end every instruction of every function
 * must still lead to where it led.
 *   coverage [-s SEED] [-n SITES] [-k pie|lib|full|fixed] FILE...
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "cpu/zydis.h"
#include "tests/unit/pun_space.h"

enum place { PIE, LIBRARY, LIBRARY_FULL, FIXED, KINDS };

static const char *const kind_names[KINDS] = {"PIE program", "library", "library, 2 GiB below it in use", "non-PIE program"};
static const char *const kind_words[KINDS] = {"pie", "lib", "full", "fixed"};
static const char *const tactics[] = {"none",      "whole", "following", "prefixed",
                                      "successor", "gap",   "neighbour", "retarget"};

struct counts {
    u64 sites, tactics[8], repunned, evicted, asked, pages, rooms;
    u64 wrong; /* instructions that lead elsewhere */
    double seconds;
};

struct file {
    const char *name;
    u8 *map;
    u64 size;
    const Elf64_Ehdr *elf;
    u64 base, end;      /* of the image, by virtual address */
    u64 text, text_end; /* executable segment */
    u8 *bytes;          /* a copy of the text */
    const u8 *original;
    struct function {
        u64 begin, end;
    } *functions;
    u64 nfunctions;
    u64 *sites;
    u64 nsites;
    u64 bias; /* address - virtual address */
};

enum order { ALONE, SHUFFLED, ASCENDING, ORDERS };

static const char *const order_names[ORDERS] = {"each alone", "all", "in order"};
static struct counts counts[KINDS][ORDERS];
static u64 seed = 1, most = 20000;
static int only = -1;

static u64 dice(u64 n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 8) % n;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- files ---- */

static const u8 *at_address(const struct file *f, u64 vaddr)
{
    const Elf64_Phdr *p = (const Elf64_Phdr *)(f->map + f->elf->e_phoff);

    for (unsigned i = 0; i < f->elf->e_phnum; i++)
        if (p[i].p_type == PT_LOAD && vaddr - p[i].p_vaddr < p[i].p_filesz)
            return f->map + p[i].p_offset + (vaddr - p[i].p_vaddr);
    return NULL;
}

static i32 read_s32(const u8 *p)
{
    i32 value;

    memcpy(&value, p, 4);
    return value;
}

static int by_begin(const void *a, const void *b)
{
    const struct function *x = a, *y = b;

    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static void read_functions(struct file *f, u64 vaddr)
{
    const u8 *h = at_address(f, vaddr);
    u32 count;

    if (!h || h[0] != 1 || h[1] != 0x1b || h[2] != 3 || h[3] != 0x3b)
        return;
    count = (u32)read_s32(h + 8);
    f->functions = calloc(count, sizeof(*f->functions));
    for (u32 i = 0; i < count; i++) {
        u64 begin = vaddr + (u64)(i64)read_s32(h + 12 + 8 * i), fde = vaddr + (u64)(i64)read_s32(h + 16 + 8 * i);
        const u8 *p = at_address(f, fde);

        if (p && begin >= f->text && begin < f->text_end)
            f->functions[f->nfunctions++] = (struct function){begin, begin + (u32)read_s32(p + 12)};
    }
    qsort(f->functions, f->nfunctions, sizeof(*f->functions), by_begin);
}

static bool is_pointer_mov(const ZydisDecodedInstruction *in)
{
    static const u8 one[] = {0x88, 0x89, 0x8a, 0x8b, 0xc6, 0xc7, 0x63}, two[] = {0xb6, 0xb7, 0xbe, 0xbf};
    bool known = false, b = (in->attributes & ZYDIS_ATTRIB_HAS_REX) && in->raw.rex.B;
    u8 rm = in->raw.modrm.rm;

    if (in->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    for (unsigned i = 0; i < sizeof(one) && in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT; i++)
        known |= in->opcode == one[i];
    for (unsigned i = 0; i < sizeof(two) && in->opcode_map == ZYDIS_OPCODE_MAP_0F; i++)
        known |= in->opcode == two[i];
    if (!known || in->raw.modrm.mod == 3)
        return false;
    for (unsigned i = 0; i < in->raw.prefix_count; i++)
        if (in->raw.prefixes[i].value == 0x64 || in->raw.prefixes[i].value == 0x65)
            return false;
    if (rm == 4)
        rm = in->raw.sib.base;
    if (in->raw.modrm.mod == 0 && rm == 5)
        return false; /* rip, or no base */
    return b || (rm != 4 && rm != 5);
}

static void find_sites(struct file *f)
{
    ZydisDecodedInstruction in;

    f->sites = calloc(f->text_end - f->text, sizeof(*f->sites));
    for (u64 i = 0; i < f->nfunctions; i++)
        for (u64 at = f->functions[i].begin; at < f->functions[i].end; at += in.length) {
            if (f->functions[i].end > f->text_end || !view_decode_head(f->original + (at - f->text), 15, &in))
                break;
            if (is_pointer_mov(&in))
                f->sites[f->nsites++] = at;
        }
}

/* As many as are wanted, without holes: those of a part of the text. */
static void choose_sites(struct file *f)
{
    u64 first;

    if (f->nsites > most) {
        first = dice(f->nsites - most);
        memmove(f->sites, f->sites + first, most * sizeof(*f->sites));
        f->nsites = most;
    }
    for (u64 i = f->nsites; i > 1; i--) {
        u64 k = dice(i), keep = f->sites[k];

        f->sites[k] = f->sites[i - 1];
        f->sites[i - 1] = keep;
    }
}

static bool open_file(struct file *f, const char *name)
{
    const Elf64_Phdr *p;
    struct stat st;
    u64 hdr = 0;
    int fd = open(name, O_RDONLY);

    *f = (struct file){.name = name, .base = UINT64_MAX};
    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < 64)
        return false;
    f->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    f->size = (u64)st.st_size;
    close(fd);
    f->elf = (const Elf64_Ehdr *)f->map;
    if (f->map == MAP_FAILED || memcmp(f->map, "\177ELF\2", 5) != 0 || f->elf->e_machine != EM_X86_64)
        return false;
    p = (const Elf64_Phdr *)(f->map + f->elf->e_phoff);
    for (unsigned i = 0; i < f->elf->e_phnum; i++) {
        if (p[i].p_type == PT_GNU_EH_FRAME)
            hdr = p[i].p_vaddr;
        if (p[i].p_type != PT_LOAD)
            continue;
        f->base = MIN(f->base, page_down(p[i].p_vaddr));
        f->end = MAX(f->end, page_up(p[i].p_vaddr + p[i].p_memsz));
        if (p[i].p_flags & PF_X)
            f->text = p[i].p_vaddr, f->text_end = p[i].p_vaddr + p[i].p_filesz;
    }
    if (!f->text || !hdr)
        return false;
    f->original = at_address(f, f->text);
    read_functions(f, hdr);
    find_sites(f);
    choose_sites(f);
    return f->nsites > 0;
}

static void close_file(struct file *f)
{
    munmap(f->map, f->size);
    free(f->functions);
    free(f->sites);
}

static int kind_of(const struct file *f)
{
    const Elf64_Phdr *p = (const Elf64_Phdr *)(f->map + f->elf->e_phoff);

    if (only >= 0)
        return only;
    if (f->elf->e_type == ET_EXEC)
        return FIXED;
    for (unsigned i = 0; i < f->elf->e_phnum; i++)
        if (p[i].p_type == PT_INTERP && !strstr(f->name, ".so")) /* libc has one, too */
            return PIE;
    return LIBRARY;
}

/* ---- an address space ---- */

/* Windows and RAM of the built-in map. */
static void occupy_machine(struct model *m)
{
    static const struct range ranges[] = {
        {0x100000, 0x2000}, {0x2000000, 0x10000}, {0xc000000, 0x600000}, {0x10000000, 0x9000}, {0x80000000, 0x20000000},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
        model_occupy(m, ranges[i].base, ranges[i].size);
}

static void place(struct file *f, struct model *m, int kind)
{
    u64 size = f->end - f->base, base, stack;

    model_init(m);
    m->random = seed;
    occupy_machine(m);
    switch (kind) {
    case PIE:
        base = 0x555555554000 + (dice(1 << 28) << 12);
        model_occupy(m, base + size + (dice(0x2000) << 12), 192 << 20); /* the heap */
        break;
    case FIXED:
        base = f->elf->e_type == ET_EXEC ? f->base : 0x400000;
        model_occupy(m, base + size + (dice(0x2000) << 12), 192 << 20);
        break;
    default:
        base = 0x7f0000000000 + (dice(0xf0000000) << 8 & ~(u64)0xfff);
        model_occupy(m, base - (24 << 20), (32 << 20) + size); /* other libraries */
        stack = base + size + (136ul << 20) + (dice(1 << 22) << 12);
        model_occupy(m, stack - (8 << 20), 8 << 20);
        if (kind == LIBRARY_FULL)
            model_occupy(m, base - (3ul << 30), 3ul << 30);
    }
    model_occupy(m, base, size);
    f->bias = base - f->base;
}

static bool function_of(void *context, u64 at, struct pun_function *function)
{
    const struct file *f = context;
    u64 low = 0, high = f->nfunctions;

    at -= f->bias;
    while (high - low > 1) {
        u64 middle = (low + high) / 2;

        if (f->functions[middle].begin <= at)
            low = middle;
        else
            high = middle;
    }
    if (at - f->functions[low].begin >= f->functions[low].end - f->functions[low].begin)
        return false;
    *function = (struct pun_function){
        .begin = f->functions[low].begin + f->bias,
        .end = f->functions[low].end + f->bias,
        .before = low ? f->functions[low - 1].end + f->bias : 0,
        .after = low + 1 < f->nfunctions ? f->functions[low + 1].begin + f->bias : 0,
    };
    return true;
}

/* ---- patching ---- */

static void count(struct counts *c, const struct pun_plan *plan, bool planned)
{
    c->sites++;
    c->tactics[planned ? plan->tactic : 0]++;
    c->repunned += planned && plan->repunned;
    for (unsigned i = 0; planned && i < plan->njumps; i++)
        c->evicted += plan->jumps[i].copy && !plan->repunned; /* those of replanned ones may be old */
}

static void apply(struct file *f, const struct pun_plan *plan)
{
    for (unsigned i = 0; i < plan->nwrites; i++)
        memcpy(f->bytes + (plan->writes[i].at - f->bias - f->text), plan->writes[i].bytes, plan->writes[i].length);
}

static bool leads_right(const struct file *f, const struct model *m, const struct pun_text *text, u64 at, unsigned length)
{
    return memcmp(f->bytes + (at - f->text), f->original + (at - f->text), length) == 0 ||
           model_follow(m, text, NULL, at + f->bias) == at + f->bias;
}

static u64 wrong_in(const struct file *f, const struct model *m, const struct pun_text *text)
{
    u64 wrong = 0;
    struct cpu_flow flow;

    for (u64 i = 0; i < f->nfunctions; i++)
        for (u64 at = f->functions[i].begin; at < f->functions[i].end; at += flow.length) {
            if (f->functions[i].end > f->text_end || !cpu_flow(f->original + (at - f->text), 15, &flow))
                break;
            wrong += !leads_right(f, m, text, at, flow.length);
        }
    return wrong;
}

static int by_address(const void *a, const void *b)
{
    const u64 *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void patch_all(struct file *f, int kind, enum order order, struct counts *c)
{
    static struct pun_plan plan;
    u64 memory = f->nsites * 400 + (1 << 20);
    struct pun_book book;
    struct model model;
    struct pun_space space = model_space(&model);
    struct pun_text text = {.context = f, .function = function_of};
    double start;

    place(f, &model, kind);
    f->bytes = malloc(f->text_end - f->text);
    memcpy(f->bytes, f->original, f->text_end - f->text);
    if (order == ASCENDING)
        qsort(f->sites, f->nsites, sizeof(*f->sites), by_address);
    pun_init(&book, calloc(1, memory), memory);
    text.base = f->text + f->bias;
    text.size = f->text_end - f->text;
    text.bytes = f->bytes;
    start = now();
    for (u64 i = 0; i < f->nsites; i++) {
        bool planned = pun_plan(&book, &text, f->sites[i] + f->bias, &space, &plan);

        count(c, &plan, planned);
        if (planned && order == ALONE)
            pun_cancel(&plan, &space);
        if (!planned || order == ALONE)
            continue;
        pun_commit(&book, &plan);
        apply(f, &plan);
        for (unsigned k = 0; k < plan.njumps; k++)
            model_write(&model, plan.jumps[k].room, plan.jumps[k].insn);
    }
    c->seconds += now() - start;
    c->wrong += wrong_in(f, &model, &text);
    c->asked += model.asked;
    c->pages += model.pages;
    c->rooms += model.rooms;
    model_end(&model);
    free(book.work);
    free(f->bytes);
}

/* ---- the table ---- */

static void show(int kind, enum order order)
{
    const struct counts *c = &counts[kind][order];
    double n = (double)c->sites / 100;
    char what[64];

    if (!c->sites)
        return;
    snprintf(what, sizeof(what), "%s, %s", kind_names[kind], order_names[order]);
    printf("%-42s %8llu  %7.3f", what, (unsigned long long)c->sites, 100 - (double)c->tactics[0] / n);
    for (unsigned i = 1; i < 8; i++)
        printf(" %9.2f", (double)c->tactics[i] / n);
    printf(" %9.2f %7.2f %6.1f %6.2f %6.2f %6llu\n", (double)c->repunned / n, (double)c->evicted / n,
           c->seconds * 1e6 / (double)c->sites, (double)c->asked / (double)c->sites, (double)c->pages / (double)c->sites,
           (unsigned long long)c->wrong);
}

static bool show_all(void)
{
    bool wrong = false;

    printf("%-42s %8s  %7s", "%", "sites", "patched");
    for (unsigned i = 1; i < 8; i++)
        printf(" %9s", tactics[i]);
    printf(" %9s %7s %6s %6s %6s %6s\n", "repunned", "evicted", "us", "asked", "pages", "wrong");
    for (int i = 0; i < KINDS; i++)
        for (enum order order = ALONE; order < ORDERS; order++) {
            show(i, order);
            wrong |= counts[i][order].wrong != 0;
        }
    return wrong;
}

int main(int argc, char **argv)
{
    char text[256];
    struct fmt error = FMT_INIT(text);
    struct file file;
    int option;

    while ((option = getopt(argc, argv, "s:n:k:")) >= 0) {
        if (option == 's')
            seed = strtoull(optarg, NULL, 0) * 0x9e3779b97f4a7c15 + 1;
        else if (option == 'n')
            most = strtoull(optarg, NULL, 0);
        else if (option == 'k')
            for (int i = 0; i < KINDS; i++)
                only = strcmp(optarg, kind_words[i]) == 0 ? i : only;
        else
            return 2;
    }
    if (cpu_init(&error) < 0) {
        fprintf(stderr, "%s\n", fmt_end(&error));
        return 1;
    }
    for (int i = optind; i < argc; i++) {
        if (open_file(&file, argv[i])) {
            int kind = kind_of(&file);

            for (enum order order = ALONE; order < ORDERS; order++)
                patch_all(&file, kind, order, &counts[kind][order]);
            close_file(&file);
        }
    }
    return show_all();
}
