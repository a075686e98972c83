/* Every case of cpu_cases.h, with every form of address, from random states: the CPU against cpu_run. */
#include "cpu_harness.h"

#include "cpu_cases.h"
#include "cpu_form.h"
#include "cpu_point.h"

GROUP(integer, CASES_INTEGER, FORMS);
GROUP(high_byte, CASES_HIGH_BYTE, FORMS_WITHOUT_REX);
GROUP(x87, CASES_X87, FORMS);
GROUP(mmx, CASES_MMX, FORMS);
GROUP(sse, CASES_SSE, FORMS);
GROUP(avx, CASES_AVX, FORMS);
GROUP(avx512, CASES_AVX512, FORMS);
GROUP(fp16, CASES_FP16, FORMS);

/* Operands that end at the guard page or cross into it. Cache hints touch nothing here. */
static bool has_edge(const struct form_case *c, const struct cpu_insn *insn)
{
    return c->form != FORM_RIP && (insn->reads || insn->writes);
}

static void try_case(const struct form_case *c, unsigned rounds)
{
    static struct machine m;
    struct cpu_insn insn;
    bool more;

    if (!cpu_decode(&insn, c->bytes, (unsigned)c->length, &more) || insn.refusal) {
        complain(c->text, insn.refusal ? insn.refusal : "not decoded", 0, 0);
        return;
    }
    for (unsigned i = 0; i < rounds; i++) {
        bool edge = rnd() % 3 == 0 && has_edge(c, &insn);
        u64 at = rnd() & 1 ? target : target + (rnd() & 63);

        rnd_machine(&m);
        tame_bit_offsets(&m, c->text);
        rnd_bytes(data + DATA_BYTES / 2 - 2048, 4096);
        if (edge) {
            at = guard - (rnd() & 1 ? insn.size : rnd() % (insn.size + 1u));
            rnd_bytes((void *)(guard - 1024), 1024);
        }
        point_to(&m, (enum form)c->form, at);
        m.rip = place(c->bytes, (unsigned)c->length);
        compare_run(c->text, &insn, &m);
    }
}

static void try_group(const struct form_case *first, const struct form_case *last)
{
    harness_init();
    CHECK(last - first >= 30);
    for (const struct form_case *c = first; c < last; c++)
        try_case(c, 24);
}

TEST(integer) { try_group(integer_first, integer_last); }
TEST(high_byte) { try_group(high_byte_first, high_byte_last); }
TEST(x87_and_control) { try_group(x87_first, x87_last); }
TEST(mmx) { try_group(mmx_first, mmx_last); }
TEST(sse) { try_group(sse_first, sse_last); }
TEST(avx) { try_group(avx_first, avx_last); }
TEST(avx512) { try_group(avx512_first, avx512_last); }
TEST(fp16) { try_group(fp16_first, fp16_last); }
