#!/usr/bin/env python3
"""Writes a C file of functions that drivers have, and of worse ones: generate.py SEED COUNT > FILE.c

Each takes a block of memory (stress.h), which may be a window, and a number. Results depend on nothing else. The same
seed gives the same file."""
import random
import sys

CONDITIONS = ('c', 'nc', 'z', 'nz', 's', 'ns', 'o', 'no', 'p', 'np', 'a', 'be', 'g', 'le')


class Gen:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.labels = 0
        self.top = []      # helpers in front of the function
        self.name = ''
        self.exact = True
        self.reentrant = 0

    # --- small parts ---

    def label(self):
        self.labels += 1
        return 'l%d' % self.labels

    def one(self, *choices):
        return self.r.choice(choices)

    def num(self, low, high):
        return self.r.randint(low, high)

    def scalar(self):
        """A field of 1, 2, 4 or 8 bytes, and its type."""
        field, n, bits = self.one(('b', 16, 8), ('h', 8, 16), ('w', 8, 32), ('q', 6, 64))
        return 'b->%s[%d]' % (field, self.num(0, n - 1)), 'uint%d_t' % bits, bits

    def offset(self, size):
        """Byte offset of an aligned scalar within b, h, w and q."""
        return self.num(0, 111 // size) * size

    def value(self):
        return self.one('a', 'x', '(a >> %d)' % self.num(1, 40), '(a ^ x)', '(x + %d)' % self.num(1, 999),
                        '%dull' % self.num(0, 2 ** 40), '(a * %d)' % self.num(3, 99))

    def inexact(self):
        self.exact = False

    # --- statements: lists of lines; c counts accesses ---

    def s_load(self, depth):
        f, _, _ = self.scalar()
        return ['a = a * %d + %s; c++;' % (self.num(3, 99), f)]

    def s_load_signed(self, depth):
        f, t, _ = self.scalar()
        return ['a += (uint64_t)(int64_t)(%s)%s; c++;' % (t[1:], f)]

    def s_store(self, depth):
        f, t, _ = self.scalar()
        return ['%s = (%s)%s; c++;' % (f, t, self.value())]

    def s_store_constant(self, depth):
        f, t, _ = self.scalar()
        return ['%s = (%s)%d; c++;' % (f, t, self.one(0, 1, self.num(0, 127), self.num(0, 2 ** 31)))]

    def s_rmw(self, depth):
        f, t, _ = self.scalar()
        return ['%s %s= (%s)%s; c += 2;' % (f, self.one('|', '&', '^', '+', '-'), t, self.value())]

    def s_step(self, depth):
        f, _, _ = self.scalar()
        return [self.one('%s++; c += 2;', '%s--; c += 2;', 'a += ++%s; c += 2;', 'a ^= %s--; c += 2;') % f]

    def s_plain_rmw(self, depth):
        """Compilers make one instruction of it only where nothing is volatile."""
        self.inexact()
        f, t, bits = self.scalar()
        f = f.replace('b->', 'p->')
        return [self.one('%s %s= (%s)%s;' % (f, self.one('|', '&', '^', '+', '-'), t, self.value()),
                         '%s++;' % f, '%s = (%s)-%s;' % (f, t, f), '%s = (%s)~%s;' % (f, t, f),
                         '%s = (%s)(%s << %d);' % (f, t, f, self.num(1, 7)),
                         '%s = (%s)(%s >> %d | %s << %d);' % (f, t, f, 3, f, bits - 3)), 'BARRIER;']

    def s_if(self, depth):
        f, t, bits = self.scalar()
        test = self.one('%s > (%s)%s' % (f, t, self.value()), '%s == %d' % (f, self.num(0, 99)),
                        '%s & %d' % (f, 1 << self.num(0, bits - 1 if bits < 32 else 30)), '(%s)%s < 0' % (t[1:], f),
                        '!%s' % f)
        lines = ['c++;', 'if (%s) {' % test] + self.block(depth - 1)
        if self.num(0, 1):
            lines += ['} else {'] + self.block(depth - 1)
        return lines + ['}']

    def s_setcc(self, depth):
        f, t, _ = self.scalar()
        return ['c++; a += %s %s (%s)%s;' % (f, self.one('<', '>=', '==', '!='), t, self.value())]

    def s_poll(self, depth):
        f, t, bits = self.scalar()
        k = self.label()
        return ['for (int %s = 0; %s < %d && (c++, (%s & %d) == 0); %s++) {' % (k, k, self.num(2, 5), f,
                                                                             1 << self.num(0, 5), k),
                '%s += %d; c += 2;' % (f, self.num(1, 30)), '}']

    def s_loop(self, depth):
        k = self.label()
        return ['for (unsigned %s = 0; %s < %d; %s++) {' % (k, k, self.num(2, 4), k)] + self.block(depth - 1) + ['}']

    def s_head(self, depth):
        """The head of the loop is right behind an access, and is one."""
        f, t, _ = self.scalar()
        g, _, _ = self.scalar()
        k = self.label()
        return ['unsigned %s = %d;' % (k, self.num(2, 5)), '%s = (%s)x; c++;' % (f, t), 'do {', 'a += %s; c++;' % g,
                '} while (--%s);' % k]

    def s_dense(self, depth):
        k = self.num(3, 9)
        at = self.num(0, 16 - k)
        if self.num(0, 1):
            return ['b->b[%d] = (uint8_t)x; c++;' % (at + i) for i in range(k)]
        return ['b->b[%d] = (uint8_t)(x >> %d); c++;' % (at + i, 8 * (i % 8)) for i in range(k)]

    def s_dense_loads(self, depth):
        k = self.num(3, 8)
        return ['a += b->w[%d]; c++;' % self.num(0, 7) for _ in range(k)]

    def s_into_run(self, depth):
        """Branches to the middle of a run of accesses."""
        k = self.num(4, 8)
        labels = [self.label() for _ in range(k)]
        lines = ['switch (x %% %d) {' % k] + ['case %d: goto %s;' % (i, labels[i]) for i in range(1, k)] + ['}']
        for i in range(k):
            if i:
                lines.append('%s:' % labels[i])
            lines.append('b->b[%d] = (uint8_t)a; c++;' % i if self.num(0, 3) else 'b->w[%d] = (uint32_t)a; c++;' % (i % 8))
        return lines

    def s_duff(self, depth):
        k = self.label()
        lines = ['unsigned %s = 2;' % k, 'switch (b->b[%d] & 7) {' % self.num(0, 15), 'case 0: do {']
        for i in range(1, 8):
            f, t, _ = self.scalar()
            lines.append('%s c++; /* fall through */ case %d:;' % (self.one('a += %s;' % f, '%s = (%s)a;' % (f, t)), i))
        return lines + ['} while (--%s);' % k, '}', 'c++;']

    def s_switch(self, depth):
        f, _, _ = self.scalar()
        n = self.one(5, 8, 11)
        lines = ['c++; switch (%s %% %d) {' % (f, n)]
        for i in range(n):
            g, t, _ = self.scalar()
            lines += ['case %d:' % i, self.one('a += %s * %dull; c++;' % (g, i + 3), '%s = (%s)(a + %d); c++;' % (g, t, i),
                                               '%s ^= %d; c += 2;' % (g, i + 1), 'a = a << 3 | a >> 61;'), 'break;']
        return lines + ['}']

    def s_float(self, depth):
        i, j, k = (self.num(0, 3) for _ in range(3))
        return [self.one('b->d[%d] = b->d[%d] * 1.5 + (double)(a & 1023); c += 2;' % (i, j),
                         'b->f[%d] = b->f[%d] - 0.25f * b->f[%d]; c += 3;' % (i, j, k),
                         'b->d[%d] = b->f[%d]; c += 2;' % (i, j), 'b->f[%d] = (float)b->d[%d]; c += 2;' % (i, j),
                         'a += b->d[%d] > b->d[%d]; c += 2;' % (i, j), 'b->d[%d] = (double)b->w[%d]; c += 2;' % (i, j))]

    def s_float_live(self, depth):
        """Values stay in vector registers across accesses."""
        k, s, t = self.label(), self.label(), self.label()
        return ['double %s = (double)(x & 255), %s = 1.0;' % (s, t),
                'for (unsigned %s = 0; %s < %d; %s++) {' % (k, k, self.num(2, 5), k),
                '%s = %s * 1.25 + b->w[%s %% 8]; %s += %s; b->h[%s] = (uint16_t)%s; c += 2;' % (s, s, k, t, s, k, k), '}',
                'b->d[%d] = %s - %s; c++;' % (self.num(0, 3), s, t)]

    def s_vector(self, depth):
        self.inexact()
        i, j, k = (self.num(0, 3) for _ in range(3))
        return [self.one('p->vu[%d] += p->vu[%d] * 3;' % (i, j), 'p->vu[%d] = p->vu[%d] ^ p->vu[%d];' % (i, j, k),
                         'p->vf[%d] = p->vf[%d] * 0.5f;' % (i % 2, j % 2), 'p->vu[%d] = (u4){1, 2, 3, (uint32_t)a};' % i,
                         'a += p->vu[%d][%d];' % (i, j), 'p->vu[%d] = (u4)(p->vu[%d] > p->vu[%d]);' % (i, j, k)), 'BARRIER;']

    def s_copy(self, depth):
        self.inexact()
        return [self.one('memcpy(p->b, p->q + %d, %d);' % (self.num(0, 3), self.num(1, 16)), 'memset(p->h, (int)x, %d);' % self.num(1, 16),
                         'p->pair[%d] = p->pair[%d];' % (self.num(0, 1), 2), 'memcpy(p->rest, p->w, 32);',
                         'memmove(p->rest + %d, p->rest, 24);' % self.num(0, 9), 'a += memcmp(p->b, p->rest, 7) > 0;',
                         'p->packed = (struct packed){(uint8_t)x, (uint32_t)a, 7, a ^ x};'), 'BARRIER;']

    def s_text(self, depth):
        self.inexact()
        k = self.label()
        return [self.text_loop(k), 'BARRIER;']

    def text_loop(self, k):
        body = self.one('while (K < 15 && p->rest[K]) K++; a += K;', 'for (; K < 16; K++) p->b[K] ^= (uint8_t)x;',
                        'for (; K < 8; K++) a += p->w[K];', 'for (; K < 8; K++) p->h[0] = (uint16_t)(p->h[0] + p->h[K]);',
                        'for (; K < 32; K++) p->rest[K] = (uint8_t)(a >> 9);', 'for (; K < 6; K++) p->q[K] = p->q[5 - K] + x;')
        return '{ unsigned K = 0; ' .replace('K', k) + body.replace('K', k) + ' }'

    def s_bits(self, depth):
        self.inexact()
        f = self.one('low', 'odd', 'wide', 'top', 'far', 'high')
        o = self.one('p', 'b')
        return [self.one('%s->bits.%s = (unsigned)a;' % (o, f), 'a += %s->bits.%s;' % (o, f), '%s->bits.%s++;' % (o, f),
                         'if (%s->bits.%s & 1) a += 77;' % (o, f)), 'BARRIER;']

    def s_packed(self, depth):
        """Some of these cross words."""
        self.inexact()
        f = self.one('b', 'c', 'd')
        return [self.one('b->packed.%s += 3;' % f, 'a ^= b->packed.%s;' % f, 'b->packed.%s = (uint16_t)a;' % f)]

    def s_atomic(self, depth):
        self.inexact()
        f, t, _ = self.scalar()
        f = f.replace('b->', 'p->')
        k = self.label()
        return [self.one('a += __atomic_fetch_add(&%s, (%s)x, __ATOMIC_SEQ_CST);' % (f, t),
                         '__atomic_fetch_or(&%s, (%s)a, __ATOMIC_SEQ_CST);' % (f, t),
                         'a ^= __atomic_exchange_n(&%s, (%s)x, __ATOMIC_SEQ_CST);' % (f, t),
                         '{ %s %s = (%s)a; a += __atomic_compare_exchange_n(&%s, &%s, (%s)x, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); a += %s; }' %
                         (t, k, t, f, k, t, k),
                         '__atomic_store_n(&%s, (%s)a, __ATOMIC_SEQ_CST);' % (f, t),
                         'a += __atomic_and_fetch(&%s, (%s)~x, __ATOMIC_SEQ_CST);' % (f, t))]

    def s_long_double(self, depth):
        self.inexact()
        return [self.one('b->x = (long double)(a & 0xffff) * 0.5L;', 'b->x = b->x + 1;', 'a += (uint64_t)(b->x > 100);'),
                ] if self.num(0, 1) else ['b->x = (long double)x; b->d[0] = (double)b->x;']

    # --- statements in assembler: what compilers make only now and then ---

    def asm(self, lines, n, base='r'):
        """@0 is a, @1 to @3 scratch, @4 is x, @5 the block; sizes as in @k0. The red zone is the lines' own."""
        self.steady &= not any('%rsp' in l for l in lines)
        text = '\\n\\t'.join(lines).replace('%', '%%').replace('@', '%')
        return ['{ uint64_t t0 = 0, t1 = 0, t2 = 0;',
                '__asm__ volatile("%s" : "+&r"(a), "+&r"(t0), "+&r"(t1), "+&Q"(t2) : "r"(x), "%s"(b) : "cc", "memory");' %
                (text, base), 'a += t0 * 3 + t1 * 5 + t2 * 7; c += %d; }' % n]

    BELOW, ABOVE = 'lea -128(%rsp), %rsp', 'lea 128(%rsp), %rsp'
    ALL_FLAGS = [BELOW, 'pushfq', 'pop @3', ABOVE, 'and $0xcd5, @k3']

    def s_carry(self, depth):
        """A chain of carries through memory operands."""
        n = self.num(2, 5)
        lines = [self.one('stc', 'clc', 'add @0, @1')]
        for _ in range(n):
            o = self.offset(8)
            lines.append(self.one(f'adcq {o}(@5), @0', f'sbbq {o}(@5), @1', f'adcl {o}(@5), @k2'))
        return self.asm(lines + ['setc @b3', 'adc $0, @0'], n)

    def s_flags(self, depth):
        """Flags of a comparison live across accesses that do not touch them."""
        n, size = 1, self.one('b', 'w', 'l', 'q')
        o = self.offset({'b': 1, 'w': 2, 'l': 4, 'q': 8}[size])
        lines = ['%s%s %d(@5), @%s0' % (self.one('cmp', 'add', 'sub'), size, o, {'l': 'k'}.get(size, size))]
        for _ in range(self.num(1, 4)):
            o = self.offset(4)
            lines.append(self.one(f'movl {o}(@5), @k1', f'movl @k4, {o}(@5)', f'movzbl {o}(@5), @k2', f'movb @b4, {o}(@5)'))
            n += 1
        c = self.one(*CONDITIONS)
        lines += self.one([f'set{c} @b3'], [f'cmov{c} @4, @0'], [f'j{c} 1f', 'add $77, @0', '1:'], self.ALL_FLAGS, self.ALL_FLAGS)
        return self.asm(lines, n)

    def s_flags_counter(self, depth):
        """inc and dec keep the carry: so must what lies between."""
        o, n = self.offset(4), self.num(2, 4)
        return self.asm([f'mov ${n}, @k1', self.one('stc', 'clc'), '1:', f'adcl {o}(@5), @k0', f'movl @k4, {o}(@5)',
                         'dec @k1', 'jnz 1b', 'setc @b3'], 2 * n)

    def s_direction(self, depth):
        """Loads and stores while DF is set."""
        return self.asm(['cmp @4, @0', 'std', f'movl {self.offset(4)}(@5), @k1', f'movb @b4, {self.offset(1)}(@5)',
                         f'movzwl {self.offset(2)}(@5), @k2'] + self.ALL_FLAGS + ['cld'], 3)

    def s_red_zone(self, depth):
        """The 128 bytes below rsp hold values across accesses."""
        at = self.num(1, 15) * 8
        return self.asm(['lea -256(%rsp), %rsp', f'mov @4, -{at}(%rsp)', 'mov @0, -128(%rsp)', f'movl {self.offset(4)}(@5), @k1',
                         f'movb @b4, {self.offset(1)}(@5)', f'addl @k4, {self.offset(4)}(@5)', f'xor -{at}(%rsp), @2',
                         'xor -128(%rsp), @2', 'lea 256(%rsp), %rsp'], 4)

    def s_high_bytes(self, depth):
        o = self.offset(1)
        line, n = self.one((f'movb @h3, {o}(@5)', 1), (f'movb {o}(@5), @h3', 1), (f'addb @h3, {o}(@5)', 2),
                           (f'cmpb @h3, {o}(@5)', 1))
        return self.asm(['mov @k4, @k3', 'cmp @4, @0', line, 'setc @b1'], n, 'D')

    def s_short_run(self, depth):
        """Two and three byte instructions in a row with branches among them, back and forth."""
        self.inexact()  # depends on the way
        k = self.num(4, 9)
        first, second = sorted(self.r.sample(range(1, k + 1), 2))
        lines = ['mov $2, @k2', 'mov @4, @1', 'test $1, @b4', self.one('jz 2f', 'jnz 2f')]
        for i in range(k):
            lines += ['1:'] * (i == first) + ['2:'] * (i == second)
            lines.append(self.one(f'movb @b4, {i}(@5)', 'movl @k4, (@5)', 'movl (@5), @k1', f'movl {4 * i}(@5), @k1',
                                  'addl @k4, (@5)', f'cmpl {4 * i}(@5), @k1', f'orb $1, {i}(@5)'))
        lines += ['2:'] * (second == k) + ['dec @k2', 'jnz 1b', self.one('setc @b3', 'nop')]
        return self.asm(lines, 0, self.one('r', 'D'))

    def s_computed(self, depth):
        """A computed jump into the middle of a run of three byte instructions."""
        self.inexact()
        step = self.one('movb %al, 1(%rdi)', 'movl %eax, 8(%rdi)', 'orb %al, 5(%rdi)', 'movb 3(%rdi), %al', 'addl 16(%rdi), %eax')
        text = '\\n\\t'.join(['lea 1f(%rip), %rcx', 'add @0, %rcx', 'jmp *%rcx', '1:'] + [step] * self.num(4, 9))
        return ['{ uint64_t t = 3 * (x & 3); __asm__ volatile("%s" : "+r"(t), "+a"(a) : "D"(b) : "rcx", "cc", "memory"); }' %
                text.replace('%', '%%').replace('@', '%')]

    def s_odd(self, depth):
        """Instructions with a memory operand that are neither moves nor arithmetic, and odd encodings."""
        o8, o4, o2, o1 = (self.offset(s) for s in (8, 4, 2, 1))
        bit = self.num(0, 31)
        lines, n = self.one(
            ([self.BELOW, f'push {o8}(@5)', 'pop @1', self.ABOVE], 1), ([self.BELOW, 'push @4', f'pop {o8}(@5)', self.ABOVE], 1),
            ([f'btl ${bit}, {o4}(@5)', 'setc @b3'], 1), ([f'btsl ${bit}, {o4}(@5)', 'setc @b3'], 2),
            ([f'shrl {o4}(@5)', 'adc $0, @0'], 2), ([f'roll $3, {o4}(@5)'], 2), ([f'negq {o8}(@5)', 'setc @b3'], 2),
            ([f'notw {o2}(@5)'], 2), ([f'imulq $77, {o8}(@5), @1'], 1), (['test @0, @0', f'cmovsq {o8}(@5), @0'], 1),
            ([f'movsbq {o1}(@5), @1', f'movswl {o2}(@5), @k2', f'movslq {o4}(@5), @3'], 3),
            ([f'movzwl {o2}(@5), @k1', f'movzbl {o1}(@5), @k2'], 2), (['test @4, @4', f'sets {o1}(@5)'], 1),
            ([f'testb ${self.num(1, 127)}, {o1}(@5)', 'setz @b3'], 1), ([f'shldl $5, @k4, {o4}(@5)'], 2),
            (['bswap @0', f'movnti @0, {o8}(@5)'], 1), ([f'addr32 movl {o4}(@k5), @k1'], 1), ([f'addr32 movb @b4, {o1}(@k5)'], 1),
            (['.byte 0x2e', f'movl {o4}(@5), @k1'], 1), (['mov @5, @1', f'movl {o4}(@1), @k1'], 1),
            ([f'mov ${o4 // 4}, @k2', 'movl (@5,@2,4), @k2'], 1), ([f'mov ${o8 // 8}, @k2', 'addq @0, (@5,@2,8)'], 2),
            ([f'xorw @w4, {o2}(@5)'], 2), ([f'movw $0x1234, {o2}(@5)'], 1), ([f'movq $-5, {o8}(@5)'], 1),
            (['bt $0, @4', f'adcb $0, {o1}(@5)', 'setc @b3'], 2), ([f'prefetcht0 {o8}(@5)'], 0))
        return self.asm(lines, n)

    def s_string(self, depth):
        k, at = self.num(1, 12), self.num(0, 40)
        if self.num(0, 4) == 0:
            return ['{ uint64_t v = a; const volatile char *s = (const volatile char *)b + %d; c++;' % at,
                    '__asm__ volatile("lodsb" : "+S"(s), "+a"(v) : : "memory"); a += v; a += (uint64_t)(s - (const volatile char *)b); }']
        text, n = self.one(('rep stosb', k), ('rep stosl', k), ('rep movsb', 2 * k), ('rep movsq', 2 * k), ('stosw', 1), ('movsl', 2))
        whole = '\\n\\t'.join(['mov %0, %%rdi', 'mov %1, %%rsi', 'mov %2, %%rcx', text, 'mov %%rdi, %0', 'mov %%rsi, %1', 'mov %%rcx, %2'])
        return ['{ volatile char *d = (volatile char *)b + %d; const volatile char *s = (const volatile char *)b + 128; uint64_t k = %d;' % (at, k),
                '__asm__ volatile("%s" : "+&r"(d), "+&r"(s), "+&r"(k) : "a"(x) : "rdi", "rsi", "rcx", "memory"); c += %d;' % (whole, n),
                'a += (uint64_t)(d - (volatile char *)b) * 3 + (uint64_t)(s - (const volatile char *)b) + k; }']

    # --- statements with helpers of their own ---

    def helper(self, text):
        self.labels += 1
        name = '%s_h%d' % (self.name, self.labels)
        self.top.append(text.replace('NAME', name))
        return name

    def s_leaf(self, depth):
        """A leaf that keeps values below its stack pointer."""
        f, t, _ = self.scalar()
        g, _, _ = self.scalar()
        name = self.helper('''HELPER NAME(volatile struct block *b, uint64_t x, uint64_t *n)
{
    volatile uint64_t kept[%d] = {x, x ^ 1};

    kept[2] = %s;
    %s = (%s)x;
    kept[1] += %s;
    *n += 3;
    return kept[0] * 3 + kept[1] + kept[2];
}
''' % (self.num(3, 12), f, f, t, g))
        return ['a += %s(b, a, &c);' % name]

    def s_recursion(self, depth):
        f, t, _ = self.scalar()
        g, _, _ = self.scalar()
        name = self.helper('''HELPER NAME(volatile struct block *b, uint64_t x, uint64_t *n)
{
    uint64_t below;

    *n += 1;
    if ((x & 7) == 0)
        return %s;
    below = NAME(b, x - 1, n);
    %s = (%s)(x + below);
    return below * 3 + x;
}
''' % (f, g, 'uint64_t'))
        return ['a += %s(b, a, &c);' % name]

    def s_pointer(self, depth):
        """Called by a pointer that lies in the block."""
        self.pointers = True
        f = 'b->w[%d]' % self.num(0, 7) # not the pointer itself: results have no addresses in them
        name = self.helper('''HELPER NAME(volatile struct block *b, uint64_t x, uint64_t *n)
{
    *n += 1;
    return x + %s;
}
''' % f)
        return ['b->q[5] = (uint64_t)(uintptr_t)%s; c += 2;' % name, 'a = ((body_fn *)(uintptr_t)b->q[5])(b, x, &c);',
                'b->q[5] = a; c++;']

    def s_vla(self, depth):
        v, k = self.label(), self.label()
        if self.num(0, 1):
            lines = ['uint8_t %s[1 + (b->b[%d] & 31)]; c++;' % (v, self.num(0, 15))]
            size = 'sizeof(%s)' % v
        else:
            lines = ['uint64_t %sn = 1 + (b->b[%d] & 31); c++;' % (v, self.num(0, 15)), 'volatile uint8_t *%s = __builtin_alloca(%sn);' % (v, v)]
            size = v + 'n'
        return lines + ['for (unsigned %s = 0; %s < %s; %s++) { %s[%s] = (uint8_t)(b->h[%s %% 8] + %s); c++; }' % (k, k, size, k, v, k, k, k),
                        'a += %s[%s / 2] + %s[0];' % (v, size, v)]

    def s_jump(self, depth):
        """longjmp over frames that use the block."""
        self.inexact()
        f, t, _ = self.scalar()
        g, _, _ = self.scalar()
        name = self.helper('''static __attribute__((noinline, noreturn)) void NAME(jmp_buf *away, volatile struct block *b, uint64_t x)
{
    %s += (%s)x;
    longjmp(*away, 1 + (int)(%s & 15));
}
''' % (f, t, g))
        return ['{ jmp_buf away; volatile uint64_t kept = a; int how = _setjmp(away);',
                'if (how == 0) { b->w[%d] ^= (uint32_t)x; %s(&away, b, x); }' % (self.num(0, 7), name),
                'a = kept + (unsigned)how * 11 + b->w[%d]; }' % self.num(0, 7)]

    def s_tiny(self, depth):
        """Functions of two to four instructions with no byte between them: what follows an access belongs to others."""
        names, text = [], '__asm__(".text\\n"\n'
        for i in range(self.num(3, 6)):
            self.labels += 1
            name = '%s_t%d' % (self.name, self.labels)
            names.append(name)
            body = self.one('mov (%rdi), %eax\\n ret', 'mov %esi, (%rdi)\\n xor %eax, %eax\\n ret', 'mov 4(%rdi), %al\\n movzbl %al, %eax\\n ret',
                            'movb %sil, 3(%rdi)\\n mov %esi, %eax\\n ret', 'mov %esi, %eax\\n add (%rdi), %eax\\n ret',
                            'mov %esi, %eax\\n add %eax, (%rdi)\\n ret', 'mov %si, (%rdi)\\n mov 2(%rdi), %ax\\n movzwl %ax, %eax\\n ret',
                            'cmp (%rdi), %esi\\n sete %al\\n movzbl %al, %eax\\n ret', 'push (%rdi)\\n .cfi_adjust_cfa_offset 8\\n pop %rax\\n .cfi_adjust_cfa_offset -8\\n ret',
                            'mov %rsi, %rax\\n mov %al, (%rdi)\\n ret', 'mov (%rdi), %rax\\n jmp 1f\\n 1: ret')
            text += '    ".type %s, @function\\n %s: .cfi_startproc\\n %s\\n .cfi_endproc\\n .size %s, . - %s\\n"\n' % (name, name, body, name, name)
        text += ');\n' + ''.join('uint64_t %s(volatile struct block *b, uint64_t x);\n' % n for n in names)
        self.top.append(text)
        self.inexact()
        self.r.shuffle(names)
        return ['a = a * 3 + %s(b, x);' % n for n in names]

    # --- whole functions ---

    SAFE = ('s_load s_load s_load s_load_signed s_store s_store s_store s_store_constant s_rmw s_rmw s_step s_if s_setcc s_poll '
            's_loop s_head s_dense s_dense_loads s_into_run s_switch s_float s_float_live s_carry s_flags s_flags s_flags_counter s_direction '
            's_red_zone s_odd s_odd s_string s_leaf s_recursion s_pointer s_vla').split()
    ALL = SAFE + ('s_plain_rmw s_plain_rmw s_duff s_vector s_copy s_text s_bits s_packed s_atomic s_long_double s_short_run s_computed '
                  's_high_bytes s_jump s_tiny').split()
    NESTED = 's_load s_load_signed s_store s_store_constant s_rmw s_step s_setcc s_dense_loads s_if s_loop s_float s_flags s_odd s_carry'.split()

    def block(self, depth):
        lines = []
        for _ in range(self.num(1, 3)):
            kinds = [k for k in self.NESTED if depth > 0 or k not in ('s_if', 's_loop')]
            lines += self.statement(self.r.choice(kinds), depth)
        return lines

    def statement(self, kind, depth):
        lines = getattr(self, kind)(depth)
        return ['{'] + lines + ['}'] if any(l.startswith(('unsigned', 'double', 'uint')) for l in lines) else lines

    def function(self, name, kinds, fixed):
        self.name, self.exact, self.steady, self.pointers, self.top = name, True, True, False, []
        lines = []
        for _ in range(self.num(3, 7)):
            lines += self.statement(self.r.choice(kinds), 2)
        lines.append(self.one('*n += c; return a;', '*n += c + 1; return a ^ b->w[%d];' % self.num(0, 7),
                              '*n += c; return stress_tail(b, a, n);', 'b->q[0] = a; *n += c + 1; return a;'))
        head = 'uint64_t a = x * %dull, c = 0; struct block *p = (struct block *)b; (void)p;' % (2 * self.num(1, 2 ** 30) + 1)
        body = '\n'.join('    ' + l for l in [head] + lines)
        if fixed:
            code = '#define BODY_%s \\\n%s\n' % (name, ' \\\n'.join('    ' + l for l in [head] + lines))
            code += '''static FUNCTION %s_fixed(volatile struct block *unused, uint64_t x, uint64_t *n)
{
    volatile struct block *const b = FIXED_BLOCK;
    (void)unused;
    BODY_%s
}
static FUNCTION %s(volatile struct block *b, uint64_t x, uint64_t *n)
{
    BODY_%s
}
''' % (name, name, name, name)
        else:
            code = 'FUNCTION %s(volatile struct block *b, uint64_t x, uint64_t *n);\nFUNCTION %s(volatile struct block *b, uint64_t x, uint64_t *n)\n{\n%s\n}\n' % (name, name, body)
        return ''.join(self.top) + code


PRELUDE = '''/* Written by tests/stress/generate.py %d %d. */
#include <setjmp.h>
#include <string.h>

#include "stress.h"

#define FUNCTION __attribute__((noinline)) uint64_t
#define HELPER static __attribute__((noinline)) uint64_t
#define BARRIER __asm__ volatile("" : : : "memory")

static __attribute__((noinline)) uint64_t stress_tail(volatile struct block *b, uint64_t x, uint64_t *n)
{
    *n += 1;
    return x * 5 + b->h[7];
}
'''


def main():
    if len(sys.argv) != 3:
        sys.exit('generate.py SEED COUNT')
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    g = Gen(seed)
    table = []
    print(PRELUDE % (seed, count))
    for i in range(count):
        name = 'g%d_%d' % (seed, i)
        fixed = i % 12 == 11
        exact = i % 3 == 0 or fixed
        print(g.function(name, [k for k in g.SAFE if not fixed or k in g.NESTED] if exact else g.ALL, fixed))
        table.append('    {"%s", %s, %s, %d, %d, %d, %d},' %
                     (name, name + '_fixed' if fixed else name, name, g.exact, g.steady, g.pointers, fixed))
    print('const struct function functions[] = {\n%s\n};\nconst unsigned function_count = %d;' % ('\n'.join(table), count))


main()
