/*
 * Mappings to run from, of files that end before they do: what lies behind the
 * end of the file is not there to be looked at.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void map(int fd, size_t length, int prot, off_t offset)
{
    unsigned char *p = mmap(NULL, length, prot, MAP_PRIVATE, fd, offset);

    printf("%zu bytes at %ld: %s", length, (long)offset, p == MAP_FAILED ? "failed" : "mapped");
    if (p != MAP_FAILED && !offset && (prot & PROT_READ))
        printf(", first byte %02x", p[0]);
    printf("\n");
}

int main(int argc, char **argv)
{
    int fd = open("short", O_RDWR | O_CREAT | O_TRUNC, 0600);

    if (fd < 0 || write(fd, "\x90\xc3", 2) != 2)
        return 1;
    map(fd, 65536, PROT_READ | PROT_EXEC, 0);
    map(fd, 4096, PROT_READ | PROT_EXEC, 1 << 20);
    map(fd, 4096, PROT_EXEC, 0);
    for (int i = 1; i < argc; i++)
        printf("library: %s\n", dlopen(argv[i], RTLD_NOW) ? "loaded" : dlerror());
    return 0;
}
