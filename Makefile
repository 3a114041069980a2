# make              build/turbine, build/libturboquant.{a,so}
# make lib          the library alone, which needs nothing but a C compiler
# make install      both, a manual page and completions, under PREFIX=/usr/local
# make lib install  the library alone
# make check        units, kernels, golden models, fuzzers for a moment: under two minutes
# make check-api    the command line, servers and clients: some seven minutes
#                   both with SAN=address,undefined too; script/test does all of it
# make bench        kernel timings                        make fuzz FUZZ_SECONDS=600
# make check-crowd  the scheduler, at length
# make check-store-kill  the store, killed at every moment
# make check-neon   kernels for 64-bit Arm, under qemu    make format: clang-format
# make check-emulated EMULATOR="COMMAND"  kernels for x86-64 that this machine cannot run
# make check-claude Claude Code against the server; npm fetches it once (175 MB)
CC      ?= cc
AR      ?= ar
OBJCOPY ?= objcopy
SAN     ?=
PKG_CONFIG ?= pkg-config
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
MANDIR  ?= $(DATADIR)/man
FUZZ_SECONDS ?= 2
FUZZ_CC ?= clang
PYTHON  ?= $(if $(wildcard build/venv/bin/python),build/venv/bin/python,python3)

comma := ,
OUT := build$(if $(filter-out cc gcc,$(CC)),/$(notdir $(CC)))$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

# Asked for when the first recipe needs them: those of the library do not.
PKGS       := libpcre2-8 jansson libedit libxxhash libmicrohttpd libcurl libcrypto
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS)))$(PKG_LIBS)

# What the soname of the library ends in, and its release.
ABI     := 0
VERSION := $(ABI).1.0

# Sanitizers on kernels that are unrolled take gcc many minutes at -O2, and half of the
# time at -O1 where variables are tracked for a debugger: reports need lines only.
OPT     ?= $(if $(SAN),-O1 -g1,-O2 -g)
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
           -Wmissing-prototypes -Wvla -Werror
CFLAGS  := -std=c11 -D_POSIX_C_SOURCE=200809L $(OPT) $(WARN) -ffp-contract=off -fPIC \
           -fvisibility=hidden -fstack-protector-strong -pthread $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CPPFLAGS = -Iinclude -Isrc -MMD -MP $(PKG_CFLAGS)
LDLIBS  = $(PKG_LIBS) -lm -pthread

SRC      := $(wildcard src/*/*.c)
OBJ      := $(SRC:%.c=$(OUT)/%.o)
CLI_OBJ  := $(filter $(OUT)/src/cli/%,$(OBJ))
LIB_OBJ  := $(filter-out $(CLI_OBJ),$(OBJ))
CODEC_OBJ := $(filter $(OUT)/src/codec/% $(OUT)/src/cpu/%,$(OBJ))

UNIT     := $(patsubst %.c,$(OUT)/%,$(wildcard tests/unit/test_*.c))
CHECK    := $(patsubst %.c,$(OUT)/%,$(wildcard tests/check/check_*.c))
BENCH    := $(patsubst %.c,$(OUT)/%,$(wildcard bench/bench_*.c))
FUZZ     := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

all: $(OUT)/turbine lib

lib: $(OUT)/libturboquant.a $(OUT)/libturboquant.so

$(OUT)/turbine: $(OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# Only what the public header declares leaves the library: hidden symbols become local.
$(OUT)/libturboquant.a: $(CODEC_OBJ)
	ld -r -o $(OUT)/turboquant.o $^
	$(OBJCOPY) --localize-hidden $(OUT)/turboquant.o
	rm -f $@ && $(AR) rcs $@ $(OUT)/turboquant.o

$(OUT)/libturboquant.so: $(CODEC_OBJ)
	$(CC) $(CFLAGS) -shared -Wl,-soname,libturboquant.so.$(ABI) -o $@ $^ -lm

$(CODEC_OBJ): PKG_CFLAGS :=

$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Files that the assembler includes.
$(OUT)/src/server/web_assets.o build/fuzz/src/server/web_assets.o: $(wildcard src/server/web/*)

# ---- tests ----
$(OUT)/tests/unit/%: $(OUT)/tests/unit/%.o $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

# Tests of what commands share link more than the library.
$(OUT)/tests/unit/test_server_link: $(OUT)/src/cli/server_link.o $(patsubst %.c,$(OUT)/%.o,$(wildcard src/cli/environment*.c))
# All but main and what asks it for its commands.
$(OUT)/tests/unit/test_doctor: $(filter-out %/main.o %/cmd_man.o %/cmd_completion.o \
                                 $(OUT)/src/cli/completion%,$(CLI_OBJ))

# The server with a scheduler that follows a script instead of a model.
SCRIPTED := $(OUT)/tests/server/scripted_server
$(SCRIPTED): $(patsubst %.c,$(OUT)/%.o,$(wildcard tests/server/*.c)) \
             $(filter-out $(OUT)/src/engine/scheduler%.o,$(LIB_OBJ))
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# A disk that forgets what was not synced, for LD_PRELOAD; without sanitizers.
FORGET := $(OUT)/tests/store/forget.so
$(FORGET): tests/store/forget.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -O1 -fPIC -shared -o $@ $<

# Memory that is short now and then, for LD_PRELOAD; without sanitizers.
NO_MEMORY := $(OUT)/tests/fault/no_memory.so
$(NO_MEMORY): tests/fault/no_memory.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -O1 -fPIC -shared -o $@ $<

# What pytest asks: programs without a main of the command line.
ASKED := $(OUT)/tests/api/dialect_transcript $(OUT)/tools/api_fields

$(ASKED): %: %.o $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# The generated part of docs/api.md.
docs: $(OUT)/tools/api_fields
	@$(PYTHON) tools/update_api_docs.py $< docs/api.md

$(OUT)/tests/check/%: $(OUT)/tests/check/%.o $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# Where clang is missing, and with other sanitizers than their own, fuzzers are left out.
CHECK_FUZZ := $(if $(SAN),,$(if $(shell command -v $(FUZZ_CC)),$(FUZZ)))

GOLDEN := tests/api/test_golden.py
RUN_TESTS := TURBINE=$(OUT)/turbine PYTHON=$(PYTHON) tools/run_tests.sh

check: $(OUT)/turbine $(UNIT) $(CHECK) $(CHECK_FUZZ) house symbols
	@$(RUN_TESTS) $(UNIT) $(CHECK) $(GOLDEN)
	@$(if $(CHECK_FUZZ),tools/run_fuzz.sh $(FUZZ_SECONDS) $(CHECK_FUZZ),true)

check-api: $(OUT)/turbine $(ASKED) $(SCRIPTED) $(FORGET) $(NO_MEMORY)
	@$(RUN_TESTS) $(filter-out $(GOLDEN),$(wildcard tests/api/test_*.py))

unit: $(UNIT) $(CHECK)
	@tools/run_tests.sh $(UNIT) $(CHECK)

# Every answer of 2,000 requests in too little memory is that of a session of its own.
check-crowd: $(OUT)/tests/unit/test_scheduler
	$< 2000

# kill -9 at 200 random moments of create and rm, and at each change of the disk, also of
# one that forgets what was not synced.
check-store-kill: $(OUT)/turbine $(FORGET)
	@TURBINE=$(OUT)/turbine STORE_KILLS=200 timeout 3000 $(PYTHON) -m pytest -q -p no:cacheprovider tests/api/test_store_kill.py

# Codec and tensor for 64-bit Arm, linked statically and run under an emulator as a
# processor with the dot-product instructions and as one without.
NEON_CC   ?= aarch64-linux-gnu-gcc
NEON_QEMU ?= qemu-aarch64
NEON_CPUS := max cortex-a53
NEON_OBJ  := $(patsubst %.c,build/aarch64/%.o,$(filter src/base/% src/cpu/% src/codec/% src/tensor/%,$(SRC)))
NEON_CHECK := $(patsubst tests/check/%.c,build/aarch64/tests/check/%,$(wildcard tests/check/check_*.c))

build/aarch64/%.o: %.c | neon-tools
	@mkdir -p $(@D)
	$(NEON_CC) -Iinclude -Isrc -MMD -MP $(CFLAGS) -c -o $@ $<

$(NEON_CHECK): %: %.o $(NEON_OBJ)
	$(NEON_CC) $(CFLAGS) -static -o $@ $^ -lm

neon-tools:
	@command -v $(NEON_CC) >/dev/null && command -v $(NEON_QEMU) >/dev/null || { \
	    echo "check-neon needs $(NEON_CC) and $(NEON_QEMU); on Debian:" \
	        "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" >&2; exit 1; }

check-neon: $(NEON_CHECK)
	@for cpu in $(NEON_CPUS); do for check in $(NEON_CHECK); do \
	    echo "$$cpu: $$check" && $(NEON_QEMU) -cpu $$cpu $$check --quick || exit 1; done; done
	@echo "$(words $(foreach c,$(NEON_CPUS),$(NEON_CHECK))) passed, 0 failed"

# The same for x86-64 under whatever runs a static program as another processor would.
EMULATED_CHECK := $(patsubst tests/check/%.c,$(OUT)/tests/check/static/%,$(wildcard tests/check/check_*.c))

$(EMULATED_CHECK): $(OUT)/tests/check/static/%: $(OUT)/tests/check/%.o $(filter $(NEON_OBJ:build/aarch64/%=$(OUT)/%),$(LIB_OBJ))
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static -o $@ $^ -lm

check-emulated: $(EMULATED_CHECK)
	@test -n "$(EMULATOR)" || { echo 'check-emulated: EMULATOR="COMMAND" says what runs the programs' >&2; exit 1; }
	@for check in $(EMULATED_CHECK); do echo "$$check" && $(EMULATOR) $$check --quick || exit 1; done
	@echo "$(words $(EMULATED_CHECK)) passed, 0 failed"

# Not part of check: the program is fetched, and under terms of its own.
.PHONY: check-claude
check-claude: $(OUT)/turbine $(SCRIPTED)
	@TURBINE=$(OUT)/turbine timeout 900 $(PYTHON) -m pytest -q -rs -p no:cacheprovider tests/claude

house:
	@tools/check_layers.py src layers.txt
	@tools/check_house.py src

symbols: $(OUT)/libturboquant.a $(OUT)/libturboquant.so
	@! nm -g --defined-only $(OUT)/libturboquant.a | grep -E ' [A-Z] ' | grep -v ' tq_'
	@! nm -D --defined-only $(OUT)/libturboquant.so | grep -E ' [A-Z] ' | grep -v ' tq_'

$(OUT)/bench/%: $(OUT)/bench/%.o $(LIB_OBJ)
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# Fleets that are simulated, for a benchmark and a test.
$(OUT)/bench/bench_route_sim $(OUT)/tests/unit/test_policy_sim: $(OUT)/bench/route_sim.o

bench: $(CHECK) $(BENCH)
	@for b in $(CHECK); do $$b --bench || exit 1; done
	@for b in $(BENCH); do $$b || exit 1; done

# libFuzzer; what the fuzzers reach is compiled again with the sanitizers.  A fuzzer of
# another folder does not link before the folder is in the list.
FUZZ_SRC := $(filter src/base/% src/json/% src/cpu/% src/codec/% src/dialect/% src/gguf/% src/grammar/% src/access/body.c src/text/% src/tensor/d%,$(SRC)) \
            $(filter src/http/client% src/http/download% src/store/%,$(SRC)) \
            $(filter src/router/config% src/router/policy% src/router/edit.c src/router/load_report.c,$(SRC))
FUZZ_OBJ := $(FUZZ_SRC:%.c=build/fuzz/%.o)
FUZZ_FLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g1 -ffp-contract=off -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

# Checks of undefined behaviour in unrolled intrinsics take clang minutes; gcc makes them
# in `make SAN=address,undefined check`.
$(patsubst %.c,build/fuzz/%.o,$(wildcard src/*/kernels_avx*.c)): \
    FUZZ_FLAGS := $(subst $(comma)undefined,,$(FUZZ_FLAGS))

build/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_FLAGS) -c -o $@ $<

build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o $(FUZZ_OBJ)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LDLIBS)

fuzz: $(FUZZ)
	@tools/run_fuzz.sh $(FUZZ_SECONDS) $(FUZZ)

format:
	clang-format -i $$(find src include tests bench examples -name '*.[ch]' 2>/dev/null)

# `make lib install` installs the library alone.
install: install-lib $(if $(filter lib,$(MAKECMDGOALS)),,install-turbine)

# Where bash, zsh and fish look.
COMPLETIONS := bash-completion/completions zsh/site-functions fish/vendor_completions.d

install-turbine: $(OUT)/turbine
	install -d $(DESTDIR)$(BINDIR)
	install $(OUT)/turbine $(DESTDIR)$(BINDIR)/
	install -d $(DESTDIR)$(MANDIR)/man1 $(addprefix $(DESTDIR)$(DATADIR)/,$(COMPLETIONS))
	$(OUT)/turbine man >$(DESTDIR)$(MANDIR)/man1/turbine.1
	$(OUT)/turbine completion bash >$(DESTDIR)$(DATADIR)/$(word 1,$(COMPLETIONS))/turbine
	$(OUT)/turbine completion zsh >$(DESTDIR)$(DATADIR)/$(word 2,$(COMPLETIONS))/_turbine
	$(OUT)/turbine completion fish >$(DESTDIR)$(DATADIR)/$(word 3,$(COMPLETIONS))/turbine.fish

# A folder as turboquant.pc names it: relative to the prefix where it lies below.
pc_dir = $(patsubst $(abspath $(PREFIX))/%,$${prefix}/%,$(abspath $(1)))

install-lib: lib
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)
	install -m 644 include/turboquant.h $(DESTDIR)$(INCLUDEDIR)/
	install -m 644 $(OUT)/libturboquant.a $(DESTDIR)$(LIBDIR)/
	install $(OUT)/libturboquant.so $(DESTDIR)$(LIBDIR)/libturboquant.so.$(VERSION)
	ln -sf libturboquant.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libturboquant.so.$(ABI)
	ln -sf libturboquant.so.$(ABI) $(DESTDIR)$(LIBDIR)/libturboquant.so
	sed -e 's|@PREFIX@|$(abspath $(PREFIX))|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBDIR@|$(call pc_dir,$(LIBDIR))|' -e 's|@INCLUDEDIR@|$(call pc_dir,$(INCLUDEDIR))|' \
	    src/codec/turboquant.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/turboquant.pc

clean:
	rm -rf build

-include $(OBJ:.o=.d) $(UNIT:=.d) $(CHECK:=.d) $(ASKED:=.d) $(patsubst %.c,$(OUT)/%.d,$(wildcard tests/server/*.c)) $(BENCH:=.d) $(OUT)/bench/route_sim.d $(NEON_OBJ:.o=.d) $(NEON_CHECK:=.d) \
         $(FUZZ_OBJ:.o=.d) $(patsubst build/fuzz/%,build/fuzz/tests/fuzz/%.d,$(FUZZ))
.PHONY: all lib check check-api check-crowd check-store-kill docs check-neon neon-tools check-emulated unit house symbols bench fuzz format install \
        install-lib install-turbine clean
.SECONDARY:
