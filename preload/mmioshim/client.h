/*
 * mmioshim/client.h: requests of a program that wants to cooperate.
 *
 * Every function does nothing, and says so by its result, when the program
 * runs without libmmioshim.so: each calls the library's function of the same
 * name, if the dynamic linker found it. A program that uses them links with
 * nothing; with -static they do nothing.
 * Ordinary context, any thread.
 */
#ifndef MMIOSHIM_CLIENT_H
#define MMIOSHIM_CLIENT_H

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The address of the library's function, NULL without the library. It is read
 * from the GOT by hand: an executable at a fixed address would otherwise have
 * its linker settle a weak symbol that nobody defines, as 0 and for good.
 */
#ifdef __x86_64__
#define MMIOSHIM_FIND_(name, pointer) \
    __asm__(".weak mmioshim_" #name "\n\tmovq mmioshim_" #name "@GOTPCREL(%%rip), %0" : "=r"(pointer))
#else
#define MMIOSHIM_FIND_(name, pointer) ((pointer) = 0)
#endif

/* The inline function has a name of its own for the assembler, which has the library's as well. */
#define MMIOSHIM_REQUEST_(result, name, parameters) \
    static inline __attribute__((unused)) result mmioshim_##name parameters __asm__("mmioshim_inline_" #name); \
    static inline __attribute__((unused)) result mmioshim_##name parameters

/* 1 when the program runs under mmioshim, else 0. */
MMIOSHIM_REQUEST_(int, active, (void))
{
    int (*request)(void);

    MMIOSHIM_FIND_(active, request);
    return request ? request() : 0;
}

/* Writes [MARK] with the text into the transcript. */
MMIOSHIM_REQUEST_(void, mark, (const char *text))
{
    void (*request)(const char *);

    MMIOSHIM_FIND_(mark, request);
    if (request)
        request(text);
}

/* Was the RAM page that holds addr written? 1, 0, or -1: no RAM of the machine (or no machine). */
MMIOSHIM_REQUEST_(int, dirty_test, (const void *addr))
{
    int (*request)(const void *);

    MMIOSHIM_FIND_(dirty_test, request);
    return request ? request(addr) : -1;
}

/* Forgets all dirty pages of the machine. */
MMIOSHIM_REQUEST_(void, dirty_clear, (void))
{
    void (*request)(void);

    MMIOSHIM_FIND_(dirty_clear, request);
    if (request)
        request();
}

#undef MMIOSHIM_FIND_
#undef MMIOSHIM_REQUEST_

#ifdef __cplusplus
}
#endif

#endif
