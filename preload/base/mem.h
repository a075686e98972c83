/*
 * The memory and string functions of the library. They carry libc's names,
 * because compilers emit calls to them, but they are our own and hidden: a
 * program that interposes memcpy (sanitizers do) never runs inside the trap.
 * Any context.
 */
#ifndef MMIOSHIM_BASE_MEM_H
#define MMIOSHIM_BASE_MEM_H

#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *haystack, const char *needle);

#endif
