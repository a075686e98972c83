# SITES functions, each with one access through its first argument, as compilers write accessors: a status bit, a write,
# a load with a long displacement, a field. `sites` holds their addresses.
#include "sites.h"
	.intel_syntax noprefix

	.macro accessor n
	.p2align 4
site_\n:
	.if (\n % 4) == 0
	mov	eax, [rdi]
	test	al, 32
	setne	al
	movzx	eax, al
	.elseif (\n % 4) == 1
	mov	[rdi+4], esi
	mov	eax, esi
	.elseif (\n % 4) == 2
	mov	eax, [rdi+0x100]
	.else
	movzx	eax, byte ptr [rdi+7]
	shr	eax, 3
	and	eax, 7
	.endif
	ret
	.pushsection .data.rel.ro, "aw"
	.quad	site_\n
	.popsection
	.endm

	.pushsection .data.rel.ro, "aw"
	.p2align 3
	.globl	sites
sites:
	.popsection
	.text
	.altmacro
	.set	number, 0
	.rept	SITES
	accessor %number
	.set	number, number + 1
	.endr
	.section .note.GNU-stack, "", @progbits
