/* Loads each library named, calls its touch(), and unloads it again. */
#include <dlfcn.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        void (*touch)(void) = library ? (void (*)(void))dlsym(library, "touch") : 0;

        if (!touch)
            return 1;
        touch();
        dlclose(library);
    }
    return 0;
}
