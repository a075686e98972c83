/*
 * Include last in every file whose code runs in the trap path. From here on
 * malloc, stdio, errno and pthread locks do not compile.
 */
#ifndef MMIOSHIM_BASE_TRAPSAFE_H
#define MMIOSHIM_BASE_TRAPSAFE_H

#undef errno
#undef alloca
#pragma GCC poison malloc calloc realloc free alloca strdup asprintf
#pragma GCC poison printf fprintf sprintf snprintf vsnprintf puts putchar fputs fopen fwrite perror
#pragma GCC poison errno strerror exit abort raise kill
#pragma GCC poison pthread_mutex_lock pthread_mutex_unlock pthread_once pthread_getspecific
#pragma GCC poison dlopen dlsym dladdr dl_iterate_phdr getenv setenv

#endif
