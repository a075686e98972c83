/* Names of addresses, and what hostile ELF files do to the reader: nothing. */
#include "unit.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>

#include "trap/backtrace.h"
#include "trap/elfsym.h"
#include "trap/symbols.h"

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    u64 fixup = probe_fixup((u64)uc->uc_mcontext.gregs[REG_RIP]);

    (void)info;
    if (fixup)
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)fixup;
    else
        signal(sig, SIG_DFL);
}

static void start(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    symbols_init();
}

/* Three functions side by side; the middle one has no size, and what follows the last belongs to nobody. */
__asm__(".pushsection .text.names, \"ax\"\n"
        ".globl sized_one\n.type sized_one, @function\n.globl _sized_alias\n.type _sized_alias, @function\n"
        ".type sized_local, @function\n"
        "sized_local:\n_sized_alias:\nsized_one: .zero 16, 0x90\n"
        ".size sized_one, 16\n.size _sized_alias, 16\n.size sized_local, 16\n"
        ".type sizeless, @function\nsizeless: .zero 16, 0x90\n"
        ".globl label_only\nlabel_only: .zero 16, 0x90\n"
        ".type sized_two, @function\nsized_two: .zero 8, 0x90\n.size sized_two, 8\n.zero 24, 0x90\n"
        ".popsection\n");
extern const char sized_one[], label_only[];

static bool text_is(u64 address, const char *begin)
{
    const char *text = symbols_text(address, address);
    size_t n = strlen(begin);

    if (strncmp(text, begin, n) == 0 && text[n] == ' ' && text[n + 1] == '(')
        return true;
    printf("# %s, not %s\n", text, begin);
    return false;
}

TEST(best_name)
{
    u64 one = (u64)(uintptr_t)sized_one, label = (u64)(uintptr_t)label_only;

    start();
    CHECK(text_is(one, "sized_one+0x0")); /* not the local name, not the underscored one */
    CHECK(text_is(one + 15, "sized_one+0xf"));
    CHECK(text_is(one + 16, "sizeless+0x0"));
    CHECK(text_is(one + 31, "sizeless+0xf"));
    CHECK(text_is(label + 3, "label_only+0x3"));
    CHECK(text_is(label + 16, "sized_two+0x0"));
    CHECK(text_is(label + 23, "sized_two+0x7"));
    CHECK(strstr(symbols_text(label + 30, label + 30), " (") == NULL); /* behind it: module and offset */
    CHECK(strncmp(strchr(symbols_text(label + 30, label + 30), '+'), "+0x", 3) == 0);
}

TEST(looked_up_one_before)
{
    u64 one = (u64)(uintptr_t)sized_one;

    start();
    /* a call that is the last instruction of sized_one returns to the first byte of the next function */
    CHECK(strncmp(symbols_text(one + 16, one + 15), "sized_one+0x10 (", 16) == 0);
    CHECK(text_is(one + 16, "sizeless+0x0"));
}

TEST(one_text_an_address)
{
    u64 one = (u64)(uintptr_t)sized_one;
    const char *text;

    start();
    text = symbols_text(one, one);
    CHECK(symbols_text(one, one) == text);
    symbols_forget();
    CHECK(symbols_text(one, one) == text);
}

TEST(other_modules)
{
    char buf[256];
    struct fmt out = FMT_INIT(buf);
    void *libm = dlopen("libm.so.6", RTLD_NOW);
    u64 function, vdso = getauxval(AT_SYSINFO_EHDR);
    const char *text;

    start();
    CHECK(libm != NULL);
    function = (u64)(uintptr_t)dlsym(libm, "lgamma_r");
    text = symbols_text(function, function);
    CHECK(strstr(text, "+0x0 (libm.so.6)") != NULL);
    symbols_where(function, &out);
    CHECK(strncmp(fmt_end(&out), "libm.so.6+0x", 12) == 0);
    dlclose(libm);
    symbols_forget();
    CHECK_STR(symbols_text(function, function), "?");
    CHECK(strstr(symbols_text(vdso, vdso), "[vdso]+0x0") != NULL);
    CHECK_STR(symbols_text((u64)(uintptr_t)buf, (u64)(uintptr_t)buf), "?");
    CHECK_STR(symbols_text(0, 0), "?");
    CHECK_STR(symbols_text(~0ULL, ~0ULL), "?");
}

TEST(functions_of_the_vdso)
{
    u64 vdso = getauxval(AT_SYSINFO_EHDR);
    unsigned named = 0;

    start();
    for (u64 at = vdso; at < vdso + 8192; at += 16)
        named += strstr(symbols_text(at, at), "__vdso_") != NULL;
    CHECK(named > 0);
}

static char *map_self(size_t *size)
{
    struct stat st;
    int fd = open("/proc/self/exe", O_RDONLY);
    char *image;

    CHECK(fd >= 0);
    fstat(fd, &st);
    image = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    *size = (size_t)st.st_size;
    return image;
}

static u64 linked_address(const char *image, const char *name)
{
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)image;
    const Elf64_Shdr *sh = (const Elf64_Shdr *)(image + ehdr->e_shoff);

    for (unsigned i = 0; i < ehdr->e_shnum; i++) {
        const Elf64_Sym *sym = (const Elf64_Sym *)(image + sh[i].sh_offset);

        for (u64 k = 0; sh[i].sh_type == SHT_SYMTAB && k < sh[i].sh_size / sizeof(*sym); k++)
            if (strcmp(image + sh[sh[i].sh_link].sh_offset + sym[k].st_name, name) == 0)
                return sym[k].st_value;
    }
    return 0;
}

TEST(truncated_files)
{
    static char buf[4096];
    static struct elf_function found;
    size_t size;
    char *image = map_self(&size);
    u64 address = linked_address(image, "sized_one");
    struct elf_source source = {-1, (u64)(uintptr_t)image, size};

    start();
    CHECK(address != 0);
    CHECK(elf_find_function(&source, address + 2, &found, buf, sizeof(buf)));
    CHECK_STR(found.name, "sized_one");
    CHECK_EQ(found.start, address);
    CHECK_EQ(found.size, 16);
    for (source.size = 0; source.size < size; source.size += 1 + source.size / 50)
        elf_find_function(&source, address, &found, buf, sizeof(buf));
    /* the memory itself ends early */
    source.size = size;
    munmap(image + 4096, size - 4096);
    CHECK(!elf_find_function(&source, address, &found, buf, sizeof(buf)));
}

/* Garbage in the ELF header, the section headers and the symbol tables. */
TEST(corrupt_files)
{
    static char buf[4096];
    static struct elf_function found;
    size_t size;
    char *image = map_self(&size), *copy = malloc(size);
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)image;
    const Elf64_Shdr *sh = (const Elf64_Shdr *)(image + ehdr->e_shoff);
    u64 address = linked_address(image, "sized_one"), seed = 7;

    start();
    for (unsigned round = 0; round < 3000; round++) {
        struct elf_source source = {-1, (u64)(uintptr_t)copy, size};

        memcpy(copy, image, size);
        for (unsigned k = 0; k <= round % 4; k++) {
            u64 at;

            seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
            at = seed >> 33;
            switch (round % 3) {
            case 0: at = 6 + at % 58; break;
            case 1: at = ehdr->e_shoff + at % (ehdr->e_shnum * sizeof(*sh)); break;
            case 2: at = sh[ehdr->e_shnum - 3].sh_offset + at % sh[ehdr->e_shnum - 3].sh_size; break;
            }
            copy[at] = (char)(seed >> 20 & 1 ? seed >> 40 : 0xff);
        }
        if (elf_find_function(&source, address, &found, buf, sizeof(buf)))
            CHECK(memchr(found.name, 0, sizeof(found.name)) != NULL);
    }
}

TEST(probe)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char buf[64] = "";

    start();
    munmap(page + 4096, 4096);
    memcpy(page + 4080, "0123456789abcdef", 16);
    CHECK(probe_read(buf, (u64)(uintptr_t)page + 4080, 16));
    CHECK(memcmp(buf, "0123456789abcdef", 16) == 0);
    CHECK(!probe_read(buf, (u64)(uintptr_t)page + 4081, 16));
    CHECK(probe_read(buf, 0, 0));
    CHECK(!probe_read(buf, 0, 1));
    CHECK(!probe_read(buf, 0x800000000000, 8)); /* not canonical: a fault of another kind */
    CHECK(!probe_read(buf, ~0ULL, 1));
    CHECK(probe_write((u64)(uintptr_t)page + 4095, "z", 1));
    CHECK_EQ(page[4095], 'z');
    CHECK(!probe_write((u64)(uintptr_t)page + 4095, "zz", 2));
    mprotect(page, 4096, PROT_READ);
    CHECK(!probe_write((u64)(uintptr_t)page, "z", 1));
    CHECK_EQ(probe_fixup((u64)(uintptr_t)start), 0);
    CHECK_EQ(probe_fixup(0), 0);
}
