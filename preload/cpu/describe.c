#include "cpu/plan.h"
#include "base/trapsafe.h"

static const char *kind_text(const struct cpu_insn *insn)
{
    static const char *const texts[] = {
        [KIND_REFUSED] = "refused",
        [KIND_NOP] = "nothing to do (touches no memory)",
        [KIND_PORT] = "string port I/O, one access an iteration",
        [KIND_LOAD] = "fast path (load)",
        [KIND_STORE] = "fast path (store)",
        [KIND_STORE_IMM] = "fast path (store of an immediate)",
        [KIND_EXECUTE] = "re-executed",
        [KIND_STRING] = "string, one access an iteration",
        [KIND_STACK] = "stack and control flow",
        [KIND_XLAT] = "fast path (table look-up)",
        [KIND_GATHER] = "gather, element by element",
        [KIND_SCATTER] = "scatter, element by element",
        [KIND_DIRECT64] = "64-byte direct store",
        [KIND_ZERO_LINE] = "64 zero bytes stored",
        [KIND_XSAVE] = "re-executed as far as ymm, other components copied",
    };

    if (insn->kind == KIND_PORT && !insn->size)
        return "port I/O";
    return texts[insn->kind];
}

static const char *direction(const struct cpu_insn *insn)
{
    if (insn->reads && insn->writes)
        return insn->kind == KIND_STRING ? "read and write" : "read, then write";
    return insn->writes ? "write" : "read";
}

/* What else than the operand is accessed. */
static const char *other_access(const struct cpu_insn *insn)
{
    const struct plan *p = plan_of(insn);

    if (insn->kind == KIND_DIRECT64)
        return ", then write 64 bytes where the register points";
    if (insn->kind != KIND_STACK || p->source != FROM_MEMORY)
        return "";
    switch (p->op) {
    case STACK_PUSH:
        return ", then write to the stack";
    case STACK_POP:
        return ", after a read from the stack";
    case STACK_CALL:
        return ", then write of the return address to the stack";
    default:
        return "";
    }
}

static void describe_elements(const struct plan *p, struct fmt *out)
{
    static const char *const masks[] = {
        [MASK_OPMASK] = "opmask bit set",
        [MASK_SIGNS] = "sign bit of the mask register set",
        [MASK_MMX] = "sign bit of the mask register set",
        [MASK_PACKED] = "as many as the opmask has bits, contiguous",
    };

    if (p->mask == MASK_NONE)
        return;
    fmt_str(out, "elements: ");
    fmt_dec(out, p->element);
    fmt_str(out, p->element == 1 ? " byte each, " : " bytes each, ");
    fmt_str(out, masks[p->mask]);
    fmt_char(out, '\n');
}

static void describe_operand(const struct cpu_insn *insn, struct fmt *out)
{
    if (!insn->size || insn->kind == KIND_NOP || !(insn->reads || insn->writes))
        return;
    fmt_str(out, "operand: ");
    fmt_str(out, direction(insn));
    fmt_char(out, ' ');
    fmt_dec(out, insn->size);
    fmt_str(out, insn->size == 1 ? " byte" : " bytes");
    if (insn->kind == KIND_XSAVE)
        fmt_str(out, " and the components that edx:eax asks for");
    fmt_str(out, other_access(insn));
    fmt_char(out, '\n');
    describe_elements(plan_of(insn), out);
}

static void describe_port(const struct plan *p, struct fmt *out)
{
    fmt_str(out, p->op == PORT_IN || p->op == PORT_INS ? "port: read " : "port: write ");
    fmt_dec(out, p->reg_size);
    fmt_str(out, p->reg_size == 1 ? " byte at " : " bytes at ");
    if (p->source == FROM_IMMEDIATE)
        fmt_hex(out, p->imm);
    else
        fmt_str(out, "dx");
    fmt_char(out, '\n');
}

static void describe_components(u8 components, u8 lazy, struct fmt *out)
{
    static const char *const names[8] = {"x87", "SSE", "AVX", NULL, NULL, "opmask", "ZMM_Hi256", "Hi16_ZMM"};
    const char *separator = "";

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
        if (!(components >> i & 1))
            continue;
        fmt_str(out, separator);
        fmt_str(out, names[i]);
        if (lazy >> i & 1)
            fmt_str(out, " (if in use)");
        separator = ", ";
    }
    if (!components)
        fmt_str(out, "none");
    fmt_char(out, '\n');
}

static void describe_stub(const struct plan *p, struct fmt *out)
{
    fmt_str(out, "stub:");
    for (unsigned i = 0; i < p->stub_length; i++) {
        fmt_char(out, ' ');
        fmt_hexpad(out, p->stub[i], 2);
    }
    fmt_str(out, "  ");
    cpu_disassemble(p->stub, p->stub_length, 0, out);
    fmt_str(out, "\nstate loaded: ");
    describe_components(p->load, p->lazy, out);
    fmt_str(out, "state saved: ");
    describe_components(p->save, p->lazy, out);
}

void cpu_describe(const struct cpu_insn *insn, struct fmt *out)
{
    fmt_str(out, "kind: ");
    fmt_str(out, kind_text(insn));
    if (insn->refusal) {
        fmt_str(out, ": ");
        fmt_str(out, insn->refusal);
    }
    fmt_char(out, '\n');
    describe_operand(insn, out);
    if (insn->kind == KIND_PORT)
        describe_port(plan_of(insn), out);
    else if (plan_of(insn)->stub)
        describe_stub(plan_of(insn), out);
}
