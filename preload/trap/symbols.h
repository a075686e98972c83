/*
 * Addresses as people read them. What is found is kept; the storage is never
 * given back. Trap context unless said otherwise.
 */
#ifndef MMIOSHIM_TRAP_SYMBOLS_H
#define MMIOSHIM_TRAP_SYMBOLS_H

#include "base/fmt.h"
#include "base/types.h"

/* Remembers the program's name and the vdso. Ordinary context, once a process. */
void symbols_init(void);

/*
 * "uart_putc+0x1c (driver)", "driver+0x1189" where no symbol fits, "?" for
 * code that belongs to no file. The function is looked up at `lookup`
 * (trap/unwind.h), the offset is that of `address`. Stable storage; the same
 * pointer for the same text of the same module. Never NULL.
 */
const char *symbols_text(u64 address, u64 lookup);
/* "driver+0x1189" or "?". */
void symbols_where(u64 address, struct fmt *out);
/*
 * Code as the file has it, where memory may differ: a debugger's breakpoint. Bytes read, at most n; 0: no file, or
 * the address is no part of it.
 */
unsigned symbols_code(u64 address, u8 *code, unsigned n);
/* Modules may have changed. Any context. */
void symbols_forget(void);

#endif
