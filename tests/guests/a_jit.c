/* One store from code in an anonymous mapping, which has no name. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

int main(void)
{
    static const uint8_t code[] = {
        0x55,                                           /* push rbp */
        0x48, 0x89, 0xe5,                               /* mov rbp, rsp */
        0xc6, 0x04, 0x25, 0x07, 0x00, 0x00, 0x10, 0x5a, /* mov byte ptr [0x10000007], 0x5a */
        0x5d, 0xc3,                                     /* pop rbp; ret */
    };
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return 1;
    memcpy(p, code, sizeof(code));
    if (mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0)
        return 2;
    ((void (*)(void))p)();
    return 0;
}
