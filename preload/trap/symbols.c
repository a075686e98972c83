#include "trap/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/range.h"
#include "base/sys.h"
#include "trap/backtrace.h"
#include "trap/bump.h"
#include "trap/elfsym.h"

#include "base/trapsafe.h"

#define SCAN_BYTES ((size_t)128 << 10)
#define PATH_BYTES 1024
#define TEXTS      16384u
#define TEXT_WAYS  16u

/* A function that was found once: the table is not searched again for its other addresses. */
struct function {
    struct function *next;
    struct range extent; /* as linked */
    const char *name;
};

struct file_identity {
    u64 dev, ino, size, mtime, mtime_nsec;
};

struct module {
    struct module *next;
    u32 epoch; /* the last one in which it was seen to be there; 0 = gone */
    const struct link_map *map;
    struct range image;
    u64 bias;
    struct file_identity file;
    struct function *functions;
    const char *name; /* base name */
    const char *path;
};

struct text {
    u64 address, lookup;
    const struct module *module;
    u32 epoch;
    char text[];
};

/* Weak: see unwind_open.c. Bound before the first trap (-z now). */
extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

static u32 epoch = 1;
static struct module *modules;
static struct text *texts[TEXTS];
static char program[PATH_BYTES] = "/proc/self/exe";  /* for its name */
static const char *program_file = "/proc/self/exe"; /* for its symbols */
static struct range vdso;

void symbols_forget(void)
{
    __atomic_add_fetch(&epoch, 1, __ATOMIC_ACQ_REL);
}

/* ---- modules ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* A name in memory that another thread may be unloading. */
static bool copy_path(const struct link_map *map, char path[PATH_BYTES])
{
    const char *name;

    if (!probe_read(&name, (u64)(uintptr_t)&map->l_name, sizeof(name)))
        return false;
    for (size_t n = 0; n < PATH_BYTES; n++) {
        if (!probe_read(path + n, (u64)(uintptr_t)name + n, 1))
            return false;
        if (!path[n])
            return true;
    }
    path[PATH_BYTES - 1] = '\0';
    return true;
}

/* Where an address lies, with what is needed to recognise the module again. */
struct place_in_process {
    const struct link_map *map;
    struct range image;
    u64 bias;
    const char *name; /* what is shown */
    const char *open; /* what is opened; NULL: the image in memory is used */
    char path[PATH_BYTES];
};

static bool locate(u64 address, struct place_in_process *at)
{
    struct dl_find_object object;

    if (range_has(vdso, address)) {
        at->map = NULL;
        at->image = vdso;
        at->bias = vdso.base;
        at->name = "[vdso]";
        at->open = NULL;
        return true;
    }
    if (!_dl_find_object || _dl_find_object((void *)address, &object) != 0)
        return false;
    at->map = object.dlfo_link_map;
    at->image.base = (u64)object.dlfo_map_start;
    at->image.size = (u64)object.dlfo_map_end - at->image.base;
    if (!probe_read(&at->bias, (u64)(uintptr_t)&at->map->l_addr, sizeof(at->bias)) || !copy_path(at->map, at->path))
        return false;
    /* The program has no name in the loader's list. */
    at->name = base_name(at->path[0] ? at->path : program);
    at->open = at->path[0] ? at->path : program_file;
    return true;
}

static void identify(int fd, struct file_identity *id)
{
    struct stat st;

    memset(id, 0, sizeof(*id));
    if (sys_fstat(fd, &st) == 0)
        *id = (struct file_identity){st.st_dev, st.st_ino, (u64)st.st_size, (u64)st.st_mtim.tv_sec,
                                     (u64)st.st_mtim.tv_nsec};
}

/*
 * Opens the file of a module; -1 where the image in memory must do. The file
 * at that path may be another one by now: the ELF headers are compared.
 */
static int open_file(const char *path, u64 image, struct file_identity *id)
{
    Elf64_Ehdr file, memory;
    struct elf_source source = {.base = 0, .size = 0};
    long fd = path ? sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0) : -1;

    memset(id, 0, sizeof(*id));
    if (fd < 0)
        return -1;
    source.fd = (int)fd;
    if (!elf_read(&source, 0, &file, sizeof(file)) || !probe_read(&memory, image, sizeof(memory)) ||
        (memcmp(memory.e_ident, ELFMAG, SELFMAG) == 0 && memcmp(&file, &memory, sizeof(file)) != 0)) {
        sys_close(source.fd);
        return -1;
    }
    identify(source.fd, id);
    return source.fd;
}

static bool same_module(const struct module *m, const struct place_in_process *at)
{
    return m->map == at->map && m->image.base == at->image.base && m->image.size == at->image.size &&
           m->bias == at->bias && strcmp(m->path, at->open ? at->open : "") == 0;
}

static char *keep(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = bump_alloc(n);

    return copy ? memcpy(copy, text, n) : NULL;
}

static struct module *new_module(const struct place_in_process *at, const struct file_identity *file, u32 now)
{
    struct module *m = bump_alloc(sizeof(*m));

    if (!m)
        return NULL;
    m->name = keep(at->name);
    m->path = keep(at->open ? at->open : "");
    if (!m->name || !m->path)
        return NULL;
    m->epoch = now;
    m->map = at->map;
    m->image = at->image;
    m->bias = at->bias;
    m->file = *file;
    m->next = __atomic_load_n(&modules, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&modules, &m->next, m, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        continue;
    return m;
}

/* The module of an address that was loaded when it was last asked for, else a new one. NULL: no file. */
static struct module *module_of(u64 address)
{
    u32 now = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
    struct place_in_process at;
    struct file_identity file;
    struct module *m;
    int fd;

    for (m = __atomic_load_n(&modules, __ATOMIC_ACQUIRE); m; m = m->next)
        if (range_has(m->image, address) && __atomic_load_n(&m->epoch, __ATOMIC_RELAXED) == now)
            return m;
    if (!locate(address, &at))
        return NULL;
    fd = open_file(at.open, at.image.base, &file);
    if (fd >= 0)
        sys_close(fd);
    for (m = __atomic_load_n(&modules, __ATOMIC_ACQUIRE); m; m = m->next) {
        if (!__atomic_load_n(&m->epoch, __ATOMIC_RELAXED) || !range_overlaps(m->image, at.image))
            continue;
        if (same_module(m, &at) && memcmp(&m->file, &file, sizeof(file)) == 0) {
            __atomic_store_n(&m->epoch, now, __ATOMIC_RELAXED);
            return m;
        }
        __atomic_store_n(&m->epoch, 0, __ATOMIC_RELAXED);
    }
    return new_module(&at, &file, now);
}

/* ---- start ---- */

static void find_vdso(u64 base)
{
    const ElfW(Ehdr) *ehdr = (const ElfW(Ehdr) *)base;
    const ElfW(Phdr) *phdr = (const ElfW(Phdr) *)(base + ehdr->e_phoff);
    u64 size = 0;

    for (unsigned i = 0; i < ehdr->e_phnum; i++)
        if (phdr[i].p_type == PT_LOAD)
            size = MAX(size, page_up(phdr[i].p_vaddr + phdr[i].p_memsz));
    vdso = (struct range){base, size};
}

/*
 * Started as `ld.so PROGRAM`, /proc/self/exe is the loader; AT_EXECFN, which
 * ld.so corrects in that case, still names the program.
 */
static void started_by_loader(void)
{
    const char *path = (const char *)getauxval(AT_EXECFN);
    struct dl_find_object object;
    struct file_identity id;
    int fd;

    if (!path || strlen(path) >= sizeof(program) || !_dl_find_object ||
        _dl_find_object((void *)getauxval(AT_ENTRY), &object) != 0)
        return;
    fd = open_file(program_file, (u64)object.dlfo_map_start, &id);
    if (fd >= 0) {
        sys_close(fd);
        return;
    }
    memcpy(program, path, strlen(path) + 1);
    program_file = program;
}

void symbols_init(void)
{
    static const char gone[] = " (deleted)";
    u64 vdso_base = getauxval(AT_SYSINFO_EHDR);
    long n = sys_readlink("/proc/self/exe", program, sizeof(program) - 1);

    if (n > 0) {
        program[n] = '\0';
        if ((size_t)n > sizeof(gone) - 1 && strcmp(program + n - (sizeof(gone) - 1), gone) == 0)
            program[n - (long)(sizeof(gone) - 1)] = '\0';
    }
    started_by_loader();
    if (vdso_base)
        find_vdso(vdso_base);
}

/* ---- functions ---- */

static const struct function *known_function(const struct module *m, u64 linked)
{
    const struct function *f = __atomic_load_n(&m->functions, __ATOMIC_ACQUIRE);

    while (f && !range_has(f->extent, linked))
        f = f->next;
    return f;
}

static const struct function *add_function(struct module *m, const struct elf_function *found, u64 linked)
{
    struct function *f = bump_alloc(sizeof(*f));

    if (!f)
        return NULL;
    /* Without a size only this address is known to belong to it. */
    f->extent = found->size ? (struct range){found->start, found->size} : (struct range){linked, 1};
    f->name = keep(found->name);
    if (!f->name)
        return NULL;
    f->next = __atomic_load_n(&m->functions, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&m->functions, &f->next, f, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        continue;
    return f;
}

static bool search_file(struct module *m, u64 linked, struct elf_function *found, void *buf, size_t bufsize)
{
    struct elf_source source = {.fd = -1, .base = m->image.base, .size = m->image.size};
    struct file_identity id;
    bool ok;

    if (m->path[0]) {
        source.fd = open_file(m->path, m->image.base, &id);
        if (source.fd < 0)
            return false;
    }
    ok = elf_find_function(&source, linked, found, buf, bufsize);
    if (source.fd >= 0)
        sys_close(source.fd);
    return ok;
}

unsigned symbols_code(u64 address, u8 *code, unsigned n)
{
    struct module *m = module_of(address);
    struct elf_source source = {.fd = -1};
    struct file_identity id;
    Elf64_Ehdr header;
    Elf64_Phdr p;
    unsigned got = 0;

    if (m && m->path[0])
        source.fd = open_file(m->path, m->image.base, &id);
    if (source.fd < 0)
        return 0;
    if (elf_read(&source, 0, &header, sizeof(header)))
        for (unsigned i = 0; i < header.e_phnum && !got; i++) {
            u64 linked = address - m->bias;

            if (!elf_read(&source, header.e_phoff + i * (u64)header.e_phentsize, &p, sizeof(p)) || p.p_type != PT_LOAD ||
                !range_has((struct range){p.p_vaddr, p.p_filesz}, linked))
                continue;
            got = (unsigned)MIN(n, p.p_filesz - (linked - p.p_vaddr));
            if (!elf_read(&source, p.p_offset + (linked - p.p_vaddr), code, got))
                break;
        }
    sys_close(source.fd);
    return got;
}

struct workspace {
    struct elf_function found;
    char scan[SCAN_BYTES];
};

/* Appends "name+0xoffset"; false: no symbol fits. */
static bool function_text(struct module *m, u64 address, u64 lookup, struct fmt *out)
{
    const struct function *f = known_function(m, lookup - m->bias);
    struct workspace *work;
    u64 start = f ? f->extent.base : 0;

    if (!f) {
        work = sys_pages(sizeof(*work)); /* the stack here may be small */
        if (!work)
            return false;
        if (search_file(m, lookup - m->bias, &work->found, work->scan, sizeof(work->scan))) {
            f = add_function(m, &work->found, lookup - m->bias);
            start = work->found.start;
        }
        sys_munmap(work, sizeof(*work));
    }
    if (!f)
        return false;
    fmt_str(out, f->name);
    fmt_char(out, '+');
    fmt_hex(out, address - m->bias - start);
    return true;
}

/* ---- texts ---- */

static void module_text(const struct module *m, u64 address, struct fmt *out)
{
    fmt_str(out, m->name);
    fmt_char(out, '+');
    fmt_hex(out, address - m->bias);
}

static struct text *render(struct module *m, u64 address, u64 lookup, u32 now)
{
    char buf[ELF_NAME + 288];
    struct fmt out = FMT_INIT(buf);
    struct text *text;

    if (!m) {
        fmt_char(&out, '?');
    } else if (function_text(m, address, lookup, &out)) {
        fmt_str(&out, " (");
        fmt_str(&out, m->name);
        fmt_char(&out, ')');
    } else {
        module_text(m, address, &out);
    }
    fmt_end(&out);
    text = bump_alloc(sizeof(*text) + strlen(buf) + 1);
    if (!text)
        return NULL;
    text->address = address;
    text->lookup = lookup;
    text->module = m;
    text->epoch = now;
    memcpy(text->text, buf, strlen(buf) + 1);
    return text;
}

/* A text of an earlier epoch holds if its module is still the same one. */
static bool still_true(struct text *text, u32 now)
{
    if (__atomic_load_n(&text->epoch, __ATOMIC_RELAXED) == now)
        return true;
    if (module_of(text->lookup) != text->module)
        return false;
    __atomic_store_n(&text->epoch, now, __ATOMIC_RELAXED);
    return true;
}

const char *symbols_text(u64 address, u64 lookup)
{
    u32 now = __atomic_load_n(&epoch, __ATOMIC_ACQUIRE);
    u64 hash = (address ^ (address - lookup) << 48) * 0x9e3779b97f4a7c15ULL >> 40;
    struct text *text, *made = NULL;

    for (unsigned i = 0; i < TEXT_WAYS; i++) {
        struct text **slot = &texts[(hash + i) % TEXTS];

        text = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
        if (text && (text->address != address || text->lookup != lookup))
            continue;
        if (text && still_true(text, now))
            return text->text;
        if (!made)
            made = render(module_of(lookup), address, lookup, now);
        if (!made)
            return "?";
        if (__atomic_compare_exchange_n(slot, &text, made, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
            return made->text;
        if (text->address == address && text->lookup == lookup && still_true(text, now))
            return text->text;
    }
    if (!made)
        made = render(module_of(lookup), address, lookup, now);
    return made ? made->text : "?";
}

void symbols_where(u64 address, struct fmt *out)
{
    const struct module *m = module_of(address);

    if (m)
        module_text(m, address, out);
    else
        fmt_char(out, '?');
}
