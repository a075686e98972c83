#include "interpose/program.h"

#include <elf.h>
#include <fcntl.h>

#include "base/mem.h"
#include "base/sys.h"

#define SCRIPT_DEPTH 4 /* Linux binfmt_script: nested interpreters */

static bool has_interpreter(int fd, const Elf64_Ehdr *e)
{
    for (unsigned i = 0; i < e->e_phnum; i++) {
        Elf64_Phdr p;

        if (sys_pread(fd, &p, sizeof(p), e->e_phoff + i * (u64)e->e_phentsize) != sizeof(p))
            return true;
        if (p.p_type == PT_INTERP)
            return true;
    }
    return false;
}

/* "#! interpreter argument": cuts out the interpreter. */
static const char *script_interpreter(char *line)
{
    char *p = line + 2;
    char *end;

    while (*p == ' ' || *p == '\t')
        p++;
    for (end = p; *end && *end != ' ' && *end != '\t' && *end != '\n'; end++)
        ;
    *end = 0;
    return p;
}

bool program_takes_libraries(const char *path)
{
    char line[256 + 1];

    for (int depth = 0; path && strchr(path, '/') && depth < SCRIPT_DEPTH; depth++) {
        long fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0), n;
        bool answer = true, script;

        if (fd < 0)
            return true;
        n = sys_pread((int)fd, line, sizeof(line) - 1, 0);
        line[n > 0 ? n : 0] = 0;
        script = n > 2 && line[0] == '#' && line[1] == '!';
        if (n >= (long)sizeof(Elf64_Ehdr) && memcmp(line, ELFMAG, SELFMAG) == 0) {
            Elf64_Ehdr e;

            memcpy(&e, line, sizeof(e));
            answer = line[EI_CLASS] == ELFCLASS64 && e.e_machine == EM_X86_64 && has_interpreter((int)fd, &e);
        }
        sys_close((int)fd);
        if (!script)
            return answer;
        path = script_interpreter(line);
    }
    return true;
}
