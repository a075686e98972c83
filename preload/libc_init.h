/* libc's own constructors, run early. Ordinary context, once. */
#ifndef MMIOSHIM_LIBC_INIT_H
#define MMIOSHIM_LIBC_INIT_H

/*
 * Our constructor runs before libc's, and needs dlopen; dlopen first runs the
 * constructors that are still due, libc's among them, with the arguments and
 * the environment that libc knows of so far: none, and they stay lost. So
 * libc's constructors are called here with the true ones first; that they run
 * again later changes nothing.
 */
void libc_init(int argc, char **argv, char **envp);

#endif
