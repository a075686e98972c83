# mmioshim. `make help` lists targets and knobs.

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
V       ?= 0
DEBUG   ?= 0
SAN     ?= 0
VERSION := 0.1.0

BINDIR  := $(PREFIX)/bin
LIBDIR  := $(PREFIX)/lib
INCDIR  := $(PREFIX)/include
MANDIR  := $(PREFIX)/share/man
COMPDIR := $(PREFIX)/share/bash-completion/completions

# One build directory per configuration, so that knobs never mix objects.
B := build/$(notdir $(CC))$(if $(filter 1,$(DEBUG)),-debug)$(if $(filter 1,$(SAN)),-san)

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@echo "  $(1)	$(2)")

WARN   := -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla
OPT    := $(if $(filter 1,$(DEBUG)),-O0,-O2) -g
CFLAGS_ALL = -std=gnu17 -D_GNU_SOURCE $(OPT) $(WARN) -Ipreload -I. -fno-strict-aliasing -MMD -MP $(CFLAGS)
# The library: nothing leaks out, thread-locals without the loader's help, no stack protector in a signal handler's way.
REGS       := -mgeneral-regs-only
LIB_CFLAGS = $(REGS) -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-stack-protector -fasynchronous-unwind-tables
comma := ,
# Small structs are cleared and copied by moves: gcc likes rep stos and rep movs, which take longer to begin than all the
# rest of an access, and likes them more without vectors. clang knows no such option, and does so by itself.
STRATEGY := unrolled_loop:512:noalign$(comma)libcall:-1:noalign
LIB_CFLAGS += $(if $(findstring clang,$(CC)),,-mmemset-strategy=$(STRATEGY) -mmemcpy-strategy=$(STRATEGY))
SAN_FLAGS  := $(if $(filter 1,$(SAN)),-fsanitize=address$(comma)undefined -fno-omit-frame-pointer)

LIB_SRC := $(sort $(wildcard preload/*.c preload/*/*.c preload/*/*.S))
LIB_OBJ := $(patsubst %,$(B)/%.o,$(LIB_SRC)) $(B)/maps.o $(B)/known.o
# What an ordinary process (the command, unit tests) takes of the library: all but what traps and interposes.
POOL_OBJ := $(filter-out $(B)/known.o $(B)/preload/shim.c.o $(B)/preload/patch/% $(B)/preload/calls/% $(B)/preload/trap/% $(B)/preload/interpose/% $(B)/preload/tree/% $(B)/preload/base/mem.c.o \
	$(B)/preload/config/fdt_libc.c.o,$(LIB_OBJ))
TOOL_SRC := $(sort $(wildcard tools/*.c))
TOOL_OBJ := $(patsubst %.c,$(B)/%.o,$(TOOL_SRC))
EXAMPLES := $(patsubst examples/%.c,examples/%,$(sort $(wildcard examples/*.c)))

.PHONY: FORCE all run test test-all deps install uninstall clean help bench bench-peers stress fuzz fuzz-insn check-deps
all: libmmioshim.so mmioshim mmioshim-nbd $(EXAMPLES)

# --- set-up: what is missing is installed by the first command of a fresh clone ---

PACKAGES := gcc make libunwind-dev libzydis-dev libfdt-dev device-tree-compiler libpng-dev libnbd-dev
TEST_PACKAGES := git bats bats-support bats-assert busybox g++ clang python3 gdb strace procps util-linux e2fsprogs pciutils socat tcpdump nbdkit qemu-utils util-linux-extra ioport python3-gpiozero flashrom libhugetlbfs-bin dpdk dpdk-dev memtool memtester pcm xxd bsdextrautils iproute2

deps:
	$(Q)sh tests/deps.sh $(PACKAGES) $(TEST_PACKAGES)
build-deps:
	$(Q)sh tests/deps.sh $(PACKAGES)

run: build-deps
	$(Q)$(MAKE) --no-print-directory all
	LD_PRELOAD=./libmmioshim.so ./examples/driver

test: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)CC="$(CC)" sh tests/run.sh

test-all: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)CC="$(CC)" sh tests/run.sh unit static cases fuzz diff bats all

# N=executions, SEED=number: random instructions, in ordinary memory and in a window.
N    ?= 10000000
SEED ?= $(shell date +%s)
fuzz-insn: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(MAKE) -s -f tests/diff/Makefile CC="$(CC)" all
	@echo "  FUZZ	seed $(SEED)"
	$(Q)LD_PRELOAD=./libmmioshim.so MMIOSHIM_MAP=build/tests/diff/diff.dtb MMIOSHIM_LOG=none MMIOSHIM_BACKTRACE=0 \
		build/tests/diff/fuzz_insn $(N) $(SEED)

# SECONDS=number, SEED=number: the tests of tests/stress.bats with more functions, signals and rounds, seed after seed.
SECONDS ?= 600
stress: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)CC="$(CC)" sh tests/stress/long.sh $(SECONDS) $(SEED)

# ROUNDS=n, BEFORE=an earlier libmmioshim.so, OUT=directory of bench.json: tests/bench/bench.py.
bench:
	$(Q)sh tests/deps.sh $(PACKAGES) python3
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(MAKE) -s -f tests/bench/Makefile CC="$(CC)" all
	$(Q)CC="$(CC)" python3 -B tests/bench/bench.py

# What cannot be installed is left out.
PEER_PACKAGES := libunicorn-dev qemu-system-x86
bench-peers:
	$(Q)sh tests/deps.sh $(PACKAGES) python3
	$(Q)for package in $(PEER_PACKAGES); do \
		sh tests/deps.sh $$package || echo "bench-peers: without $$package: its rows say so"; done
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(MAKE) -s -f tests/bench/Makefile CC="$(CC)" peers
	$(Q)CC="$(CC)" python3 -B tests/bench/peers.py

# --- library ---

libmmioshim.so: $(B)/libmmioshim.so
	$(Q)cp -f $< $@.new && mv -f $@.new $@

$(B)/libmmioshim.so: $(LIB_OBJ) preload/mmioshim.map
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -o $@ $(LIB_OBJ) $(LDFLAGS) -Wl,--version-script=preload/mmioshim.map -Wl,-z,initfirst,-z,now,-z,relro \
		-Wl,-z,noexecstack,-z,nodelete -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -Wl,-soname,libmmioshim.so -Wl,-z,defs \
		-l:libfdt.a -ldl

$(B)/maps.c: $(patsubst %,$(B)/%.dtb,virt virt-low pc) preload/config/maps/embed.sh
	$(call say,GEN,$@)
	$(Q)sh preload/config/maps/embed.sh $(filter %.dtb,$^) > $@.new && mv $@.new $@

$(B)/%.dtb: preload/config/maps/%.dts preload/config/maps/virt.dts
	$(call say,DTC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)dtc -q -I dts -O dtb -o $@ $<

# A program that runs here and now: what it finds in the libraries of this machine is known to ours.
KNOWN_OBJ := $(patsubst %,$(B)/preload/calls/%.c.o,known/list known sites) $(filter $(B)/preload/base/% $(B)/preload/cpu/%,$(POOL_OBJ))
$(B)/known-list: $(KNOWN_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) -ldl

# Each time, because those libraries may be others by now; what stays the same keeps its age.
$(B)/known.c: $(B)/known-list FORCE
	$(Q)LD_PRELOAD= $< > $@.new && if cmp -s $@.new $@; then rm $@.new; else echo "  GEN	$@" && mv $@.new $@; fi

$(B)/maps.o $(B)/known.o: $(B)/%.o: $(B)/%.c
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS_ALL) $(LIB_CFLAGS) -c $< -o $@

# These stand in for functions that compilers know: no loop in them may become a call of itself.
$(B)/preload/base/mem.c.o $(B)/preload/config/fdt_libc.c.o: OWN_CFLAGS := -fno-builtin $(if $(findstring clang,$(CC)),,-fno-tree-loop-distribute-patterns)

$(B)/preload/calls/sites.c.o: REGS :=

$(B)/preload/%.c.o: preload/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(LIB_CFLAGS) $(OWN_CFLAGS) -c $< -o $@

$(B)/preload/%.S.o: preload/%.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -Ipreload -fPIC -MMD -MP -c $< -o $@

# --- command ---

mmioshim: $(B)/mmioshim
	$(Q)cp -f $< $@.new && mv -f $@.new $@

$(B)/mmioshim: $(TOOL_OBJ) $(POOL_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) -o $@ $^ $(LDFLAGS) $(SAN_FLAGS) -lfdt -lpng -ldl

$(B)/tools/%.o: tools/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(SAN_FLAGS) -DLIBDIR='"$(LIBDIR)"' -DVERSION='"$(VERSION)"' -c $< -o $@

# --- helpers: what needs libraries that have no place in somebody's program ---

mmioshim-nbd: $(B)/tools/helper/nbd
	$(Q)cp -f $< $@.new && mv -f $@.new $@

$(B)/tools/helper/nbd: tools/helper/nbd.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS_ALL) $(SAN_FLAGS) -o $@ $< $(LDFLAGS) -lnbd

# --- examples: ordinary programs that know nothing of us ---

examples/%: examples/%.c
	$(call say,CC,$<)
	$(Q)$(CC) -O1 -g -Wall -Wextra -Werror -fno-omit-frame-pointer -o $@ $< -lpthread

# --- install ---

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(LIBDIR)/mmioshim $(DESTDIR)$(INCDIR)/mmioshim \
		$(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(COMPDIR)
	install -m 755 mmioshim $(DESTDIR)$(BINDIR)/mmioshim
	install -m 755 libmmioshim.so $(DESTDIR)$(LIBDIR)/libmmioshim.so
	install -m 755 mmioshim-nbd $(DESTDIR)$(LIBDIR)/mmioshim/mmioshim-nbd
	install -m 644 preload/mmioshim/client.h preload/mmioshim/device.h $(DESTDIR)$(INCDIR)/mmioshim/
	sed -e 's|@PREFIX@|$(PREFIX)|g; s|@VERSION@|$(VERSION)|g' tools/mmioshim.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/mmioshim.pc
	install -m 644 tools/man/mmioshim.1 $(DESTDIR)$(MANDIR)/man1/mmioshim.1
	install -m 644 tools/man/libmmioshim.7 $(DESTDIR)$(MANDIR)/man7/libmmioshim.7
	install -m 644 tools/completion/mmioshim.bash $(DESTDIR)$(COMPDIR)/mmioshim

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/mmioshim $(DESTDIR)$(LIBDIR)/libmmioshim.so $(DESTDIR)$(LIBDIR)/pkgconfig/mmioshim.pc \
		$(DESTDIR)$(LIBDIR)/mmioshim/mmioshim-nbd $(DESTDIR)$(INCDIR)/mmioshim/client.h $(DESTDIR)$(INCDIR)/mmioshim/device.h \
		$(DESTDIR)$(MANDIR)/man1/mmioshim.1 $(DESTDIR)$(MANDIR)/man7/libmmioshim.7 $(DESTDIR)$(COMPDIR)/mmioshim
	-rmdir $(DESTDIR)$(INCDIR)/mmioshim $(DESTDIR)$(LIBDIR)/mmioshim

clean:
	rm -rf build libmmioshim.so mmioshim mmioshim-nbd $(EXAMPLES)

help:
	@echo "targets:"
	@echo "  all        library ./libmmioshim.so, command ./mmioshim, ./examples/* (the default)"
	@echo "  run        installs what is missing, builds, runs the example driver under the library"
	@echo "  test       installs what is missing, builds, runs every test"
	@echo "  test-all   the same, and programs of other languages, which it installs with apt-get"
	@echo "  fuzz-insn  compares random instructions in memory and in a window; N=executions, SEED=number"
	@echo "  stress     generated functions while their access sites become hot; SECONDS=number, SEED=number"
	@echo "  bench      measures costs as ratios within one run; ROUNDS=n, BEFORE=an earlier library"
	@echo "  bench-peers  the same for what else answers registers: Unicorn and QEMU, which it installs with apt-get"
	@echo "  deps       installs missing Debian packages"
	@echo "  install    to PREFIX (default /usr/local), below DESTDIR; uninstall takes it back"
	@echo "  clean      removes what was built"
	@echo "knobs: V=1 shows commands, DEBUG=1 builds with -O0, SAN=1 builds the command with sanitizers, CC=gcc|clang"

-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(KNOWN_OBJ:.o=.d) $(B)/tools/helper/nbd.d
