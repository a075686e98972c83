/*
 * Cases as bytes: the assembler makes them of text, with every form of address. A table of a group lies between
 * NAME_first and NAME_last.
 */
#ifndef MMIOSHIM_TESTS_CPU_FORM_H
#define MMIOSHIM_TESTS_CPU_FORM_H

#include "base/types.h"

enum form { FORM_BASE, FORM_SIB, FORM_REX, FORM_GS, FORM_NARROW, FORM_RIP, FORM_NARROW_GS, FORM_COUNT };

struct form_case {
    const u8 *bytes;
    u64 length;
    const char *text;
    u64 form;
};

#define ENTRY(form, pre, operand, post) \
    ".pushsection .text.cases, \"ax\"\n" \
    "771: " pre operand post "\n" \
    "772:\n" \
    ".popsection\n" \
    ".pushsection .rodata.names, \"a\"\n" \
    "773: .asciz \"" pre operand post "\"\n" \
    ".popsection\n" \
    ".quad 771b, 772b - 771b, 773b, " form "\n"

#define FORMS(pre, post) \
    ENTRY("0", pre, "(%rdi)", post) \
    ENTRY("1", pre, "0x40(%rbx,%rsi,2)", post) \
    ENTRY("2", pre, "-0x1230(%r13,%r12,8)", post) \
    ENTRY("3", pre, "%gs:0x10(%r14)", post) \
    ENTRY("4", pre, "0x7c(%ebp,%r9d)", post) \
    ENTRY("5", pre, "0x2200(%rip)", post) \
    ENTRY("6", pre, "%gs:-8(%r14d,%r9d,4)", post)

#define FORMS_WITHOUT_REX(pre, post) \
    ENTRY("0", pre, "(%rdi)", post) \
    ENTRY("1", pre, "0x40(%rbx,%rsi,2)", post) \
    ENTRY("5", pre, "0x2200(%rip)", post)

#define GROUP(name, list, forms) \
    extern const struct form_case name##_first[], name##_last[]; \
    __asm__(".pushsection .data.rel.ro, \"aw\"\n" \
            ".balign 8\n" \
            ".globl " #name "_first, " #name "_last\n" #name "_first:\n" list(forms) #name "_last:\n" \
            ".popsection\n")

#endif
