/*
 * Instructions with a memory operand, in AT&T syntax: what stands before the
 * operand and what behind it. Each is tried with every form of address.
 */
#define CASES_INTEGER(X) \
    X("addb %cl, ", "") X("addw %dx, ", "") X("addl %r8d, ", "") X("addq %r15, ", "") X("addw ", ", %cx") \
    X("addl ", ", %r10d") X("addq ", ", %rsp") X("addl %esp, ", "") X("addw %sp, ", "") X("addb %spl, ", "") \
    X("adcb %al, ", "") X("adcl ", ", %edx") X("adcq $-5, ", "") X("sbbw %ax, ", "") X("sbbq ", ", %r11") \
    X("andl $0x7fffffff, ", "") X("andb $0x0f, ", "") X("orw $0x1234, ", "") X("orq ", ", %rcx") \
    X("xorl %edx, ", "") X("xorb ", ", %r8b") X("subq %rsp, ", "") X("subl ", ", %eax") X("subw $9, ", "") \
    X("cmpb $3, ", "") X("cmpl %ecx, ", "") X("cmpq ", ", %r15") X("cmpw ", ", %sp") X("testb $0x80, ", "") \
    X("testl %eax, ", "") X("testq $0x12345678, ", "") X("lock addl %ecx, ", "") X("lock subq $1, ", "") \
    X("lock orb $1, ", "") X("lock andw %ax, ", "") X("lock incl ", "") X("lock decq ", "") X("lock negb ", "") \
    X("lock notl ", "") X("lock adcl $0, ", "") X("incb ", "") X("incw ", "") X("incl ", "") X("incq ", "") \
    X("decb ", "") X("decl ", "") X("decq ", "") X("negl ", "") X("negq ", "") X("notb ", "") X("notq ", "") \
    X("xaddb %cl, ", "") X("xaddl %r11d, ", "") X("xaddq %rdx, ", "") X("lock xaddq %rsp, ", "") \
    X("xchgb %al, ", "") X("xchgw %cx, ", "") X("xchgl %r8d, ", "") X("xchgq %rsp, ", "") X("cmpxchgb %cl, ", "") \
    X("cmpxchgw %dx, ", "") X("cmpxchgl %ecx, ", "") X("lock cmpxchgq %r10, ", "") X("lock cmpxchgq %rsp, ", "") \
    X("cmpxchg8b ", "") X("lock cmpxchg8b ", "") X("lock cmpxchg16b ", "") X("mulb ", "") X("mulw ", "") \
    X("mull ", "") X("mulq ", "") X("imulb ", "") X("imull ", "") X("imulq ", "") X("imulw ", ", %cx") \
    X("imull ", ", %r8d") X("imulq ", ", %rsp") X("imull $77, ", ", %ecx") X("imulq $-1000, ", ", %r10") \
    X("imulw $300, ", ", %dx") X("divb ", "") X("divw ", "") X("divl ", "") X("divq ", "") X("idivb ", "") \
    X("idivl ", "") X("idivq ", "") X("shlb ", "") X("shll %cl, ", "") X("shlq $13, ", "") X("shrw $3, ", "") \
    X("shrq %cl, ", "") X("sarb %cl, ", "") X("sarl $31, ", "") X("rolb $3, ", "") X("rolq %cl, ", "") \
    X("rorw %cl, ", "") X("rcll %cl, ", "") X("rclb $5, ", "") X("rcrq $1, ", "") X("rcrw %cl, ", "") \
    X("shldl $7, %ecx, ", "") X("shldq %cl, %r8, ", "") X("shrdw $3, %dx, ", "") X("shrdl %cl, %esp, ", "") \
    X("btl $5, ", "") X("btsq $63, ", "") X("btrw $3, ", "") X("btcl $31, ", "") X("lock btsl $2, ", "") \
    X("btw %cx, ", "") X("btl %ecx, ", "") X("btq %r8, ", "") X("btsw %dx, ", "") X("btsl %r10d, ", "") \
    X("btrq %rcx, ", "") X("btcl %edx, ", "") X("lock btsq %r15, ", "") X("lock btrl %esp, ", "") \
    X("btcq %rsp, ", "") X("bsfw ", ", %cx") X("bsfl ", ", %ecx") X("bsrq ", ", %r10") X("tzcntl ", ", %edx") \
    X("lzcntq ", ", %rcx") X("popcntw ", ", %ax") X("popcntl ", ", %esp") X("popcntq ", ", %r15") \
    X("movl %ecx, ", "") X("movb %spl, ", "") X("movw %r8w, ", "") X("movq %rsp, ", "") X("movb $0x5a, ", "") \
    X("movw $0x1234, ", "") X("movl $-2, ", "") X("movq $-2, ", "") X("movb ", ", %r10b") X("movw ", ", %cx") \
    X("movl ", ", %r15d") X("movq ", ", %rcx") X("movl ", ", %esp") X("movw ", ", %sp") X("movl ", ", %edi") \
    X("movb ", ", %bpl") X("movzbw ", ", %ax") X("movzbl ", ", %ecx") X("movzbq ", ", %r8") X("movzwl ", ", %edx") \
    X("movzwq ", ", %rsp") X("movsbw ", ", %dx") X("movsbl ", ", %r10d") X("movsbq ", ", %rcx") \
    X("movswl ", ", %eax") X("movswq ", ", %r15") X("movslq ", ", %rdx") X("movw %fs, ", "") X("movw %ss, ", "") \
    X("movbew ", ", %cx") X("movbel ", ", %r8d") X("movbeq ", ", %rsp") X("movbew %dx, ", "") X("movbel %ecx, ", "") \
    X("movbeq %rsp, ", "") X("movntil %ecx, ", "") X("movntiq %r15, ", "") X("cmovzl ", ", %ecx") \
    X("cmovnzq ", ", %r8") X("cmovcw ", ", %dx") X("cmovsl ", ", %esp") X("cmovgl ", ", %eax") X("setz ", "") \
    X("setc ", "") X("setg ", "") X("setp ", "") X("crc32b ", ", %ecx") X("crc32l ", ", %r8d") \
    X("crc32q ", ", %rsp") X("adcxl ", ", %ecx") X("adoxq ", ", %r10") X("andnl ", ", %ecx, %edx") \
    X("andnq ", ", %rsp, %r8") X("andnl ", ", %esp, %esp") X("bextrl %ecx, ", ", %edx") X("bextrq %rsp, ", ", %r10") \
    X("bzhiq %rcx, ", ", %rax") X("blsil ", ", %ecx") X("blsrq ", ", %rsp") X("blsmskl ", ", %r15d") \
    X("pdepl ", ", %ecx, %edx") X("pextq ", ", %r8, %rsp") X("mulxl ", ", %ecx, %eax") X("mulxq ", ", %rsp, %r8") \
    X("rorxl $7, ", ", %ecx") X("rorxq $63, ", ", %rsp") X("sarxl %ecx, ", ", %edx") X("shlxq %rsp, ", ", %r10") \
    X("shrxl %eax, ", ", %esp") X("larl ", ", %ecx") X("lsll ", ", %r8d") X("verr ", "") X("verw ", "") \
    X("clflush ", "") X("prefetcht0 ", "") X("prefetchw ", "") X("nopl ", "") X("nopw ", "")

/* No REX prefix can go with these, so only some forms of address. */
#define CASES_HIGH_BYTE(X) \
    X("addb ", ", %ah") X("orb %ch, ", "") X("xchgb %ah, ", "") X("lock xaddb %bh, ", "") X("cmpb ", ", %dh") \
    X("movb %ah, ", "") X("movb %bh, ", "") X("movb ", ", %dh") X("movb ", ", %ch") X("cmpxchgb %dh, ", "") \
    X("adcb %ch, ", "") X("testb %ah, ", "")

#define CASES_X87(X) \
    X("flds ", "") X("fldl ", "") X("fldt ", "") X("filds ", "") X("fildl ", "") X("fildll ", "") X("fbld ", "") \
    X("fsts ", "") X("fstl ", "") X("fstps ", "") X("fstpl ", "") X("fstpt ", "") X("fists ", "") X("fistl ", "") \
    X("fistps ", "") X("fistpl ", "") X("fistpll ", "") X("fisttps ", "") X("fisttpl ", "") X("fisttpll ", "") \
    X("fbstp ", "") X("fadds ", "") X("faddl ", "") X("fsubs ", "") X("fsubl ", "") X("fsubrs ", "") \
    X("fsubrl ", "") X("fmuls ", "") X("fmull ", "") X("fdivs ", "") X("fdivl ", "") X("fdivrs ", "") \
    X("fdivrl ", "") X("fiadds ", "") X("fiaddl ", "") X("fisubl ", "") X("fisubrs ", "") X("fimull ", "") \
    X("fidivs ", "") X("fidivrl ", "") X("ficoms ", "") X("ficompl ", "") X("fcoms ", "") X("fcoml ", "") \
    X("fcomps ", "") X("fcompl ", "") X("fldcw ", "") X("fnstcw ", "") X("fnstsw ", "") X("fnstenv ", "") \
    X("fldenv ", "") X("fnsave ", "") X("frstor ", "") X("data16 fnstenv ", "") X("data16 fnsave ", "") \
    X("data16 frstor ", "") X("fxsave ", "") X("fxsave64 ", "") X("ldmxcsr ", "") X("stmxcsr ", "") \
    X("vldmxcsr ", "") X("vstmxcsr ", "")

#define CASES_MMX(X) \
    X("movd ", ", %mm1") X("movd %mm2, ", "") X("movq ", ", %mm3") X("movq %mm4, ", "") X("movntq %mm5, ", "") \
    X("paddb ", ", %mm1") X("paddw ", ", %mm2") X("paddq ", ", %mm3") X("psubsw ", ", %mm4") X("pmullw ", ", %mm5") \
    X("pmaddwd ", ", %mm6") X("pand ", ", %mm7") X("pxor ", ", %mm0") X("pcmpeqd ", ", %mm1") \
    X("packsswb ", ", %mm2") X("punpcklbw ", ", %mm3") X("punpckhwd ", ", %mm4") X("psllq ", ", %mm5") \
    X("psraw ", ", %mm6") X("pshufw $0x1b, ", ", %mm7") X("pinsrw $2, ", ", %mm1") X("pavgb ", ", %mm2") \
    X("psadbw ", ", %mm3") X("pshufb ", ", %mm4") X("pabsd ", ", %mm5") X("palignr $3, ", ", %mm6") \
    X("pmuludq ", ", %mm7") X("cvtpi2ps ", ", %xmm1") X("cvtpi2pd ", ", %xmm2") X("cvtps2pi ", ", %mm1") \
    X("cvttpd2pi ", ", %mm2")

#define CASES_SSE(X) \
    X("movaps ", ", %xmm1") X("movaps %xmm2, ", "") X("movups ", ", %xmm15") X("movups %xmm8, ", "") \
    X("movapd ", ", %xmm3") X("movdqa %xmm4, ", "") X("movdqu ", ", %xmm5") X("movdqu %xmm6, ", "") \
    X("lddqu ", ", %xmm7") X("movss ", ", %xmm1") X("movss %xmm2, ", "") X("movsd ", ", %xmm3") \
    X("movsd %xmm4, ", "") X("movlps ", ", %xmm5") X("movlps %xmm6, ", "") X("movhps ", ", %xmm7") \
    X("movhps %xmm8, ", "") X("movlpd ", ", %xmm9") X("movhpd %xmm10, ", "") X("movd ", ", %xmm1") \
    X("movd %xmm2, ", "") X("movq ", ", %xmm3") X("movq %xmm4, ", "") X("movntps %xmm5, ", "") \
    X("movntpd %xmm6, ", "") X("movntdq %xmm7, ", "") X("movntdqa ", ", %xmm8") X("movddup ", ", %xmm1") \
    X("movshdup ", ", %xmm2") X("movsldup ", ", %xmm3") X("addps ", ", %xmm1") X("addpd ", ", %xmm2") \
    X("addss ", ", %xmm3") X("addsd ", ", %xmm4") X("subps ", ", %xmm5") X("subsd ", ", %xmm6") \
    X("mulps ", ", %xmm7") X("mulpd ", ", %xmm8") X("mulss ", ", %xmm9") X("divps ", ", %xmm10") \
    X("divpd ", ", %xmm11") X("divss ", ", %xmm12") X("divsd ", ", %xmm13") X("sqrtps ", ", %xmm14") \
    X("sqrtsd ", ", %xmm15") X("minps ", ", %xmm1") X("maxsd ", ", %xmm2") X("rcpps ", ", %xmm3") \
    X("rsqrtss ", ", %xmm4") X("andps ", ", %xmm5") X("andnpd ", ", %xmm6") X("orps ", ", %xmm7") \
    X("xorpd ", ", %xmm8") X("cmpltps ", ", %xmm1") X("cmpneqsd ", ", %xmm2") X("comiss ", ", %xmm3") \
    X("comisd ", ", %xmm4") X("ucomiss ", ", %xmm5") X("ucomisd ", ", %xmm6") X("shufps $0x1b, ", ", %xmm7") \
    X("shufpd $1, ", ", %xmm8") X("unpcklps ", ", %xmm9") X("unpckhpd ", ", %xmm10") X("addsubps ", ", %xmm11") \
    X("haddpd ", ", %xmm12") X("hsubps ", ", %xmm13") X("dpps $0x71, ", ", %xmm1") X("dppd $0x31, ", ", %xmm2") \
    X("roundps $1, ", ", %xmm3") X("roundsd $2, ", ", %xmm4") X("insertps $0x1c, ", ", %xmm5") \
    X("extractps $2, %xmm6, ", "") X("blendps $5, ", ", %xmm7") X("blendvps %xmm0, ", ", %xmm8") \
    X("pblendvb %xmm0, ", ", %xmm9") X("pblendw $0x5a, ", ", %xmm10") X("mpsadbw $3, ", ", %xmm11") \
    X("phminposuw ", ", %xmm12") X("cvtsi2ssl ", ", %xmm1") X("cvtsi2sdq ", ", %xmm2") X("cvtss2sil ", ", %ecx") \
    X("cvttsd2siq ", ", %rsp") X("cvtss2sd ", ", %xmm3") X("cvtsd2ss ", ", %xmm4") X("cvtps2pd ", ", %xmm5") \
    X("cvtpd2ps ", ", %xmm6") X("cvtdq2ps ", ", %xmm7") X("cvtdq2pd ", ", %xmm8") X("cvtps2dq ", ", %xmm9") \
    X("cvttpd2dq ", ", %xmm10") X("paddb ", ", %xmm1") X("paddd ", ", %xmm2") X("psubq ", ", %xmm3") \
    X("pmuludq ", ", %xmm4") X("pmulld ", ", %xmm5") X("pmaddubsw ", ", %xmm6") X("pminsb ", ", %xmm7") \
    X("pmaxud ", ", %xmm8") X("pand ", ", %xmm9") X("pandn ", ", %xmm10") X("pcmpgtq ", ", %xmm11") \
    X("pcmpeqb ", ", %xmm12") X("ptest ", ", %xmm13") X("packusdw ", ", %xmm14") X("punpckhqdq ", ", %xmm15") \
    X("pshufb ", ", %xmm1") X("pshufd $0x4e, ", ", %xmm2") X("pshufhw $7, ", ", %xmm3") X("palignr $5, ", ", %xmm4") \
    X("pslld ", ", %xmm5") X("psrlq ", ", %xmm6") X("psraw ", ", %xmm7") X("pmovsxbw ", ", %xmm1") \
    X("pmovzxbd ", ", %xmm2") X("pmovsxbq ", ", %xmm3") X("pmovzxdq ", ", %xmm4") X("pinsrb $3, ", ", %xmm5") \
    X("pinsrw $2, ", ", %xmm6") X("pinsrd $1, ", ", %xmm7") X("pinsrq $1, ", ", %xmm8") X("pextrb $3, %xmm9, ", "") \
    X("pextrw $2, %xmm10, ", "") X("pextrd $1, %xmm11, ", "") X("pextrq $1, %xmm12, ", "") \
    X("pcmpistri $0x0c, ", ", %xmm1") X("pcmpestri $0x18, ", ", %xmm2") X("pcmpistrm $0x40, ", ", %xmm3") \
    X("pcmpestrm $0x00, ", ", %xmm4") X("aesenc ", ", %xmm5") X("aesdeclast ", ", %xmm6") X("aesimc ", ", %xmm7") \
    X("aeskeygenassist $1, ", ", %xmm8") X("pclmulqdq $0x10, ", ", %xmm9") X("sha1rnds4 $1, ", ", %xmm1") \
    X("sha1nexte ", ", %xmm2") X("sha256rnds2 %xmm0, ", ", %xmm3") X("sha256msg1 ", ", %xmm4") \
    X("gf2p8mulb ", ", %xmm5") X("gf2p8affineqb $3, ", ", %xmm6")

#define CASES_AVX(X) \
    X("vmovaps ", ", %xmm1") X("vmovaps ", ", %ymm2") X("vmovups %ymm3, ", "") X("vmovdqu ", ", %ymm14") \
    X("vmovdqa %xmm15, ", "") X("vmovss ", ", %xmm1") X("vmovss %xmm2, ", "") X("vmovsd ", ", %xmm3") \
    X("vmovlps ", ", %xmm4, %xmm5") X("vmovhpd ", ", %xmm6, %xmm7") X("vmovhps %xmm8, ", "") X("vmovd ", ", %xmm9") \
    X("vmovq ", ", %xmm10") X("vmovq %xmm11, ", "") X("vmovntps %ymm12, ", "") X("vmovntdqa ", ", %ymm13") \
    X("vlddqu ", ", %ymm1") X("vmovddup ", ", %ymm2") X("vmovshdup ", ", %xmm3") X("vaddps ", ", %ymm1, %ymm2") \
    X("vaddpd ", ", %xmm3, %xmm4") X("vaddss ", ", %xmm5, %xmm6") X("vmulps ", ", %ymm9, %ymm8") \
    X("vdivpd ", ", %ymm10, %ymm11") X("vdivsd ", ", %xmm12, %xmm13") X("vsqrtps ", ", %ymm14") \
    X("vsqrtss ", ", %xmm15, %xmm1") X("vminpd ", ", %ymm1, %ymm2") X("vandps ", ", %ymm3, %ymm4") \
    X("vxorpd ", ", %xmm5, %xmm6") X("vcmpps $1, ", ", %ymm7, %ymm8") X("vcmpsd $0x11, ", ", %xmm9, %xmm10") \
    X("vcomiss ", ", %xmm11") X("vtestps ", ", %ymm12") X("vptest ", ", %ymm13") \
    X("vshufps $0x1b, ", ", %ymm1, %ymm2") X("vunpckhps ", ", %ymm3, %ymm4") X("vhaddps ", ", %ymm5, %ymm6") \
    X("vdpps $0xf1, ", ", %ymm7, %ymm8") X("vroundpd $3, ", ", %ymm9") X("vblendps $0x5a, ", ", %ymm10, %ymm11") \
    X("vblendvps %ymm1, ", ", %ymm2, %ymm3") X("vpblendvb %xmm4, ", ", %xmm5, %xmm6") \
    X("vpblendd $9, ", ", %ymm7, %ymm8") X("vinsertf128 $1, ", ", %ymm1, %ymm2") X("vextractf128 $1, %ymm3, ", "") \
    X("vinserti128 $0, ", ", %ymm4, %ymm5") X("vextracti128 $1, %ymm6, ", "") \
    X("vperm2f128 $0x21, ", ", %ymm7, %ymm8") X("vperm2i128 $0x83, ", ", %ymm9, %ymm10") \
    X("vpermilps $0x1b, ", ", %ymm11") X("vpermilpd ", ", %ymm12, %ymm13") X("vpermd ", ", %ymm14, %ymm15") \
    X("vpermq $0x4e, ", ", %ymm1") X("vpermps ", ", %ymm2, %ymm3") X("vbroadcastss ", ", %xmm1") \
    X("vbroadcastss ", ", %ymm2") X("vbroadcastsd ", ", %ymm3") X("vbroadcastf128 ", ", %ymm4") \
    X("vbroadcasti128 ", ", %ymm5") X("vpbroadcastb ", ", %xmm6") X("vpbroadcastw ", ", %ymm7") \
    X("vpbroadcastd ", ", %xmm8") X("vpbroadcastq ", ", %ymm9") X("vcvtsi2ssl ", ", %xmm1, %xmm2") \
    X("vcvtsi2sdq ", ", %xmm3, %xmm4") X("vcvtsd2sil ", ", %ecx") X("vcvttss2siq ", ", %rsp") \
    X("vcvtps2pd ", ", %ymm5") X("vcvtpd2psy ", ", %xmm6") X("vcvtpd2psx ", ", %xmm6") X("vcvtdq2ps ", ", %ymm7") \
    X("vcvttpd2dqy ", ", %xmm8") X("vcvtph2ps ", ", %xmm9") X("vcvtph2ps ", ", %ymm10") \
    X("vcvtps2ph $4, %xmm11, ", "") X("vcvtps2ph $4, %ymm12, ", "") X("vcvtss2sd ", ", %xmm1, %xmm2") \
    X("vpaddb ", ", %ymm1, %ymm2") X("vpsubd ", ", %xmm3, %xmm4") X("vpmulld ", ", %ymm5, %ymm6") \
    X("vpmaddwd ", ", %ymm7, %ymm8") X("vpand ", ", %ymm9, %ymm10") X("vpcmpgtd ", ", %ymm11, %ymm12") \
    X("vpackssdw ", ", %ymm13, %ymm14") X("vpshufb ", ", %ymm15, %ymm1") X("vpshufd $0x4e, ", ", %ymm2") \
    X("vpalignr $9, ", ", %ymm3, %ymm4") X("vpslld ", ", %ymm5, %ymm6") X("vpsllvd ", ", %ymm7, %ymm8") \
    X("vpsravd ", ", %xmm9, %xmm10") X("vpsrlvq ", ", %ymm11, %ymm12") X("vpmovsxbw ", ", %ymm13") \
    X("vpmovzxbq ", ", %ymm14") X("vpmovsxwd ", ", %xmm15") X("vpinsrb $3, ", ", %xmm1, %xmm2") \
    X("vpinsrq $1, ", ", %xmm3, %xmm4") X("vpextrb $7, %xmm5, ", "") X("vpextrd $3, %xmm6, ", "") \
    X("vpextrw $1, %xmm7, ", "") X("vmpsadbw $5, ", ", %ymm8, %ymm9") X("vpcmpistri $0x0c, ", ", %xmm10") \
    X("vaesenc ", ", %xmm1, %xmm2") X("vaesdec ", ", %ymm3, %ymm4") X("vpclmulqdq $1, ", ", %ymm5, %ymm6") \
    X("vfmadd213ps ", ", %ymm1, %ymm2") X("vfmadd231sd ", ", %xmm3, %xmm4") X("vfnmsub132pd ", ", %ymm5, %ymm6") \
    X("vfmaddsub213ps ", ", %xmm7, %xmm8") X("vgf2p8affineqb $1, ", ", %ymm9, %ymm10") \
    X("vmaskmovps ", ", %xmm1, %xmm2") X("vmaskmovps ", ", %ymm3, %ymm4") X("vmaskmovpd ", ", %ymm5, %ymm6") \
    X("vmaskmovps %ymm7, %ymm8, ", "") X("vmaskmovpd %xmm9, %xmm10, ", "") X("vpmaskmovd ", ", %ymm11, %ymm12") \
    X("vpmaskmovq %ymm13, %ymm14, ", "") X("vpmaskmovd %xmm15, %xmm1, ", "") X("{vex} vpdpbusd ", ", %ymm2, %ymm3")

#define CASES_AVX512(X) \
    X("vmovaps ", ", %zmm1") X("vmovups %zmm31, ", "") X("vmovdqu64 ", ", %zmm17") X("vmovdqa32 ", ", %ymm18") \
    X("vmovdqu8 ", ", %xmm19") X("vmovdqa64 %zmm3, ", "") X("vmovdqu8 ", ", %zmm1{%k1}") \
    X("vmovdqu8 ", ", %zmm30{%k2}{z}") X("vmovdqu16 ", ", %ymm2{%k3}") X("vmovdqu32 ", ", %zmm3{%k4}{z}") \
    X("vmovdqu64 ", ", %zmm4{%k5}") X("vmovaps ", ", %zmm5{%k6}") X("vmovupd ", ", %ymm6{%k7}{z}") \
    X("vmovdqu8 %zmm7, ", "{%k1}") X("vmovdqu16 %zmm8, ", "{%k2}") X("vmovdqu32 %zmm9, ", "{%k3}") \
    X("vmovdqu64 %zmm20, ", "{%k4}") X("vmovaps %ymm21, ", "{%k5}") X("vmovupd %xmm22, ", "{%k6}") \
    X("vmovss ", ", %xmm23{%k1}") X("vmovss %xmm24, ", "{%k2}") X("vmovsd ", ", %xmm25{%k3}{z}") \
    X("vmovsd %xmm26, ", "{%k4}") X("vmovd ", ", %xmm27") X("vmovq %xmm28, ", "") X("vmovntdq %zmm29, ", "") \
    X("vmovntdqa ", ", %zmm30") X("vmovddup ", ", %zmm1{%k1}") X("vmovddup ", ", %xmm16") \
    X("vmovsldup ", ", %zmm2{%k2}{z}") X("vmovlps ", ", %xmm17, %xmm18") X("vmovhpd %xmm19, ", "") \
    X("vaddps ", ", %zmm1, %zmm2") X("vaddps ", ", %zmm16, %zmm17{%k1}") X("vaddps ", "{1to16}, %zmm3, %zmm4{%k2}") \
    X("vaddpd ", "{1to8}, %zmm5, %zmm6") X("vaddpd ", "{1to2}, %xmm16, %xmm7{%k3}{z}") \
    X("vaddss ", ", %xmm18, %xmm8{%k4}") X("vsubps ", ", %ymm9, %ymm20{%k5}{z}") \
    X("vmulpd ", ", %zmm10, %zmm11{%k6}") X("vdivps ", ", %zmm12, %zmm13{%k7}") \
    X("vdivsd ", ", %xmm14, %xmm15{%k1}") X("vsqrtpd ", "{1to8}, %zmm21{%k2}") X("vmaxps ", ", %zmm22, %zmm23") \
    X("vfmadd213ps ", ", %zmm1, %zmm2{%k1}") X("vfmadd231pd ", "{1to8}, %zmm3, %zmm4{%k2}{z}") \
    X("vfnmadd132ss ", ", %xmm5, %xmm6{%k3}") X("vrcp14ps ", ", %zmm7{%k4}") X("vrsqrt14pd ", "{1to8}, %zmm8") \
    X("vscalefps ", ", %zmm9, %zmm10{%k5}") X("vrndscalepd $1, ", ", %zmm11{%k6}") \
    X("vreduceps $2, ", ", %zmm12{%k7}") X("vgetexpps ", ", %zmm13{%k1}") \
    X("vgetmantsd $3, ", ", %xmm14, %xmm15{%k2}") X("vfixupimmps $0, ", ", %zmm16, %zmm17{%k3}") \
    X("vrangepd $5, ", ", %zmm18, %zmm19{%k4}") X("vcmpps $1, ", ", %zmm1, %k2{%k1}") \
    X("vcmppd $2, ", "{1to8}, %zmm2, %k3") X("vcmpss $4, ", ", %xmm3, %k4{%k5}") \
    X("vfpclassps $0x99, ", "{1to16}, %k5{%k6}") X("vfpclassss $0x18, ", ", %k6") \
    X("vpcmpd $1, ", ", %zmm4, %k7{%k1}") X("vpcmpub $5, ", ", %zmm5, %k1{%k2}") X("vpcmpeqw ", ", %ymm6, %k2{%k3}") \
    X("vptestmd ", "{1to16}, %zmm7, %k3{%k4}") X("vptestnmb ", ", %zmm8, %k4{%k5}") \
    X("vpshufbitqmb ", ", %zmm9, %k5{%k6}") X("vpaddb ", ", %zmm1, %zmm2{%k1}") \
    X("vpaddd ", "{1to16}, %zmm3, %zmm4{%k2}") X("vpsubq ", ", %zmm5, %zmm6{%k3}{z}") \
    X("vpmullq ", ", %zmm7, %zmm8{%k4}") X("vpmulhrsw ", ", %zmm9, %zmm10{%k5}") \
    X("vpmaddwd ", ", %zmm11, %zmm12{%k6}") X("vpandd ", "{1to16}, %zmm13, %zmm14{%k7}") \
    X("vpternlogd $0x96, ", ", %zmm15, %zmm16{%k1}") X("vpternlogq $0xca, ", "{1to8}, %zmm17, %zmm18") \
    X("vpminuq ", ", %zmm19, %zmm20{%k2}") X("vpabsw ", ", %zmm21{%k3}") X("vpopcntb ", ", %zmm22{%k4}") \
    X("vpopcntd ", "{1to16}, %zmm23{%k5}") X("vplzcntd ", ", %zmm24{%k6}") X("vpconflictd ", ", %zmm25{%k7}") \
    X("vprold $3, ", ", %zmm26{%k1}") X("vprorvq ", "{1to8}, %zmm27, %zmm28{%k2}") \
    X("vpslld ", ", %zmm1, %zmm2{%k3}") X("vpslld $3, ", ", %zmm3{%k4}") X("vpsravw ", ", %zmm4, %zmm5{%k5}") \
    X("vpshldd $7, ", ", %zmm6, %zmm7{%k6}") X("vpshrdvw ", ", %zmm8, %zmm9{%k7}") \
    X("vpmadd52luq ", "{1to8}, %zmm10, %zmm11{%k1}") X("vpdpbusd ", ", %zmm12, %zmm13{%k2}") \
    X("vpdpwssds ", "{1to16}, %zmm14, %zmm15") X("vdpbf16ps ", ", %zmm16, %zmm17{%k3}") \
    X("vcvtne2ps2bf16 ", ", %zmm18, %zmm19{%k4}") X("vcvtneps2bf16 ", "{1to16}, %ymm20{%k5}") \
    X("vpunpcklbw ", ", %zmm1, %zmm2{%k1}") X("vpackusdw ", "{1to16}, %zmm3, %zmm4{%k2}") \
    X("vpshufb ", ", %zmm5, %zmm6{%k3}") X("vpermd ", "{1to16}, %zmm7, %zmm8{%k4}") \
    X("vpermb ", ", %zmm9, %zmm10{%k5}{z}") X("vpermi2d ", ", %zmm11, %zmm12{%k6}") \
    X("vpermt2pd ", ", %zmm13, %zmm14{%k7}") X("vshuff32x4 $0x1b, ", ", %zmm15, %zmm16{%k1}") \
    X("valignq $3, ", ", %zmm17, %zmm18{%k2}") X("vpmultishiftqb ", "{1to8}, %zmm19, %zmm20{%k3}") \
    X("vpmultishiftqb ", ", %zmm21, %zmm22{%k4}") X("vdbpsadbw $0x1b, ", ", %zmm23, %zmm24{%k5}") \
    X("vpsadbw ", ", %zmm25, %zmm26") X("vpblendmd ", "{1to16}, %zmm27, %zmm28{%k6}") \
    X("vblendmpd ", ", %zmm1, %zmm2{%k7}{z}") X("vgf2p8affineqb $1, ", "{1to8}, %zmm3, %zmm4{%k1}") \
    X("vgf2p8affineqb $1, ", ", %zmm5, %zmm6{%k2}{z}") X("vgf2p8mulb ", ", %zmm7, %zmm8{%k3}") \
    X("vaesenc ", ", %zmm9, %zmm10") X("vpclmulqdq $0x11, ", ", %zmm11, %zmm12") \
    X("vp2intersectd ", ", %zmm13, %k2") X("vbroadcastss ", ", %zmm1{%k1}") X("vbroadcastsd ", ", %zmm2{%k2}{z}") \
    X("vbroadcastf32x2 ", ", %zmm3{%k3}") X("vbroadcastf32x4 ", ", %zmm4{%k4}") \
    X("vbroadcasti64x2 ", ", %zmm5{%k5}{z}") X("vbroadcastf32x8 ", ", %zmm6{%k6}") \
    X("vbroadcasti64x4 ", ", %zmm7{%k7}") X("vpbroadcastb ", ", %zmm8{%k1}") X("vpbroadcastw ", ", %ymm9{%k2}") \
    X("vpbroadcastd ", ", %xmm10{%k3}") X("vpbroadcastq ", ", %zmm11{%k4}{z}") \
    X("vinsertf32x4 $2, ", ", %zmm1, %zmm2{%k1}") X("vinserti64x4 $1, ", ", %zmm3, %zmm4{%k2}") \
    X("vextractf32x4 $3, %zmm5, ", "{%k3}") X("vextracti64x4 $1, %zmm6, ", "{%k4}") \
    X("vextractf64x2 $1, %zmm7, ", "") X("vpcompressd %zmm1, ", "{%k1}") X("vpcompressb %zmm2, ", "{%k2}") \
    X("vcompresspd %ymm3, ", "{%k3}") X("vpcompressw %xmm4, ", "{%k4}") X("vpcompressq %zmm5, ", "") \
    X("vpexpandd ", ", %zmm6{%k5}") X("vpexpandb ", ", %zmm7{%k6}{z}") X("vexpandps ", ", %ymm8{%k7}") \
    X("vpexpandw ", ", %zmm9{%k1}") X("vexpandpd ", ", %zmm10") X("vpmovqb %zmm1, ", "{%k1}") \
    X("vpmovdw %zmm2, ", "{%k2}") X("vpmovwb %zmm3, ", "{%k3}") X("vpmovsqd %zmm4, ", "") \
    X("vpmovusdb %ymm5, ", "{%k4}") X("vpmovqw %xmm6, ", "{%k5}") X("vpmovzxbd ", ", %zmm7{%k6}") \
    X("vpmovsxwq ", ", %zmm8{%k7}{z}") X("vpmovsxbw ", ", %zmm9{%k1}") X("vpmovzxbq ", ", %xmm10{%k2}") \
    X("vcvtps2pd ", ", %zmm1{%k1}") X("vcvtps2pd ", "{1to8}, %zmm2{%k2}") X("vcvtpd2ps ", "{1to8}, %ymm3{%k3}") \
    X("vcvtps2ph $4, %zmm4, ", "{%k4}") X("vcvtps2ph $4, %ymm20, ", "") X("vcvtph2ps ", ", %zmm5{%k5}") \
    X("vcvtdq2pd ", ", %zmm6{%k6}") X("vcvtudq2ps ", ", %zmm7{%k7}") X("vcvttpd2qq ", ", %zmm8{%k1}") \
    X("vcvtqq2ps ", "{1to8}, %ymm9{%k2}") X("vcvtps2uqq ", ", %zmm10{%k3}") X("vcvtsd2usi ", ", %ecx") \
    X("vcvttss2usi ", ", %rsp") X("vcvtusi2sdq ", ", %xmm11, %xmm12") X("vcvtsd2ss ", ", %xmm13, %xmm14{%k4}") \
    X("kmovb ", ", %k1") X("kmovw ", ", %k2") X("kmovd ", ", %k3") X("kmovq ", ", %k4") X("kmovb %k5, ", "") \
    X("kmovw %k6, ", "") X("kmovd %k7, ", "") X("kmovq %k1, ", "") X("vpinsrd $1, ", ", %xmm16, %xmm17") \
    X("vpextrq $1, %xmm18, ", "") X("vinsertps $0x1c, ", ", %xmm19, %xmm20")

#define CASES_FP16(X) \
    X("vmovsh ", ", %xmm1{%k1}") X("vmovsh %xmm2, ", "{%k2}") X("vmovw ", ", %xmm3") X("vmovw %xmm4, ", "") \
    X("vaddph ", ", %zmm1, %zmm2{%k1}") X("vaddph ", "{1to32}, %zmm3, %zmm4{%k2}{z}") \
    X("vmulsh ", ", %xmm5, %xmm6{%k3}") X("vdivph ", ", %ymm7, %ymm8") X("vsqrtsh ", ", %xmm9, %xmm10{%k4}") \
    X("vfmadd213ph ", ", %zmm11, %zmm12{%k5}") X("vfmulcph ", ", %zmm13, %zmm14") \
    X("vfcmaddcph ", "{1to16}, %zmm15, %zmm16{%k7}") X("vfmaddcph ", ", %zmm15, %zmm16{%k6}{z}") \
    X("vfmulcsh ", ", %xmm17, %xmm18") X("vcmpph $1, ", ", %zmm1, %k2{%k1}") X("vcmpsh $2, ", ", %xmm2, %k3{%k2}") \
    X("vcomish ", ", %xmm3") X("vcvtph2pd ", ", %zmm4{%k1}") X("vcvtph2psx ", ", %zmm5{%k2}") \
    X("vcvtph2w ", ", %zmm6{%k3}") X("vcvtph2qq ", "{1to8}, %zmm7{%k4}") X("vcvtpd2ph ", "{1to8}, %xmm8{%k5}") \
    X("vcvtqq2ph ", "{1to8}, %xmm9{%k6}") X("vcvtw2ph ", ", %zmm10{%k7}") X("vcvtsh2si ", ", %ecx") \
    X("vcvtsi2shl ", ", %xmm11, %xmm12") X("vcvttsh2usi ", ", %rsp") X("vcvtsh2ss ", ", %xmm13, %xmm14{%k1}") \
    X("vrcpph ", ", %zmm15{%k2}") X("vscalefph ", ", %zmm16, %zmm17{%k3}") X("vgetmantph $3, ", ", %zmm18{%k4}") \
    X("vreducesh $1, ", ", %xmm19, %xmm20{%k5}") X("vfpclassphz $0x99, ", ", %k6{%k7}")
