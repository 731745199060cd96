# The C programs of tests/ and benchmarks/, found by folder. Used by the Makefile; runs by itself too:
# `make -f tests/native.mk -j2 build/sim`. A folder that is empty gives no program and no error.
#
#   tests/sim/*.c                 build/sim, build/sim-fast   one program each
#   tests/exhaustive/<name>.c     build/exhaustive/<name>     beside the pure layers, as build/sim has them
#   tests/fuzz/fuzz_<name>.c      build/fuzz/<name>           replays files; with clang also <name>-libfuzzer
#   tests/stress/<name>.c         build/stress/<name>         beside all layers, under ThreadSanitizer
#   benchmarks/yardsticks/<n>.c   build/yardsticks/<n>        plain C, optimised
#
# Each variant compiles into a folder of its own, so changing one file rebuilds one object per variant.

SEEDS ?= 200
SIM ?= sim
FUZZ_SECONDS ?= 60
CLANG ?= clang

PURE := $(wildcard native/base/*.c native/wire/*.c native/seal/*.c native/engine/*.c)
OUTER := $(wildcard native/io/*.c native/api/*.c)
SIM_SOURCES := $(wildcard tests/sim/*.c)
MODELS := $(patsubst tests/exhaustive/%.c,build/exhaustive/%,$(wildcard tests/exhaustive/*.c))
TARGETS := $(patsubst tests/fuzz/fuzz_%.c,build/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
STRESS := $(patsubst tests/stress/%.c,build/stress/%,$(wildcard tests/stress/*.c))
YARDSTICKS := $(patsubst benchmarks/yardsticks/%.c,build/yardsticks/%,$(wildcard benchmarks/yardsticks/*.c))
FUZZERS := $(if $(shell command -v $(CLANG) 2>/dev/null),$(addsuffix -libfuzzer,$(TARGETS)))
SIMS := $(if $(SIM_SOURCES),build/sim build/sim-fast)

WARN := -Wall -Wextra -Wconversion -Wshadow -Werror
COMMON := -std=gnu11 -g -I native -I tests -pthread $(WARN) -MMD -MP
LIBS = -pthread $(shell pkg-config --libs libcrypto 2>/dev/null || echo -lcrypto)

# Variants: how the same sources are compiled.
CC_check := gcc
CF_check := -O1 -DRUDP_SIMULATION -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CC_fast := gcc
CF_fast := -O2 -DRUDP_SIMULATION
CC_thread := gcc
CF_thread := -O1 -fsanitize=thread -fno-omit-frame-pointer
CC_fuzz := $(CLANG)
CF_fuzz := -O1 -DRUDP_SIMULATION -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer

# A leak or a race is a failure; the exit status says so.
export UBSAN_OPTIONS := print_stacktrace=1
export TSAN_OPTIONS := halt_on_error=1

.PHONY: all check yardsticks run-sim run-named run-exhaustive run-stress run-replay run-fuzz
.DELETE_ON_ERROR:
.SECONDARY:

all: $(SIMS) $(MODELS) $(TARGETS) $(STRESS) $(YARDSTICKS)

yardsticks: $(YARDSTICKS)

# What `make test` runs before pytest; the long runs belong to `make sanitize`.
check: run-exhaustive run-replay run-named

# Seeds: many faults at once, then the one that needs a quiet world to be judged (P10).
run-sim: $(if $(SIM_SOURCES),build/$(SIM))
	@$(if $<,./$< --seeds $(SEEDS) && ./$< --seeds $(SEEDS) --narrow && ./$< --seeds 20 --crowded,echo "sim: no sources")

# The simulator's share of the ordinary tests: what it found once, and a small size of what it measures.
run-named: $(if $(SIM_SOURCES),build/sim-fast)
	@$(if $<,./$< --regressions tests/sim/regressions.txt && ./$< --seeds 20 --narrow \
	    && ./$< --seeds 5 --crowded && ./$< --join 300 && ./$< --cluster 10000)

run-exhaustive: $(MODELS)
	@set -e; for program in $^; do echo "$$program"; ./$$program; done

run-stress: $(STRESS)
	@set -e; for program in $^; do echo "$$program"; ./$$program; done

run-replay: $(TARGETS)
	@set -e; for program in $^; do \
	    folder=tests/fuzz/corpus/$$(basename $$program); \
	    if [ -d $$folder ]; then find $$folder -type f | sort | xargs -r ./$$program; fi; done

ifeq ($(FUZZERS),)
run-fuzz:
	@echo "fuzzing needs clang with libFuzzer. On Debian type:  sudo apt-get install clang"; exit 1
else
run-fuzz: $(FUZZERS)
	@set -e; for program in $^; do \
	    name=$$(basename $$program -libfuzzer); mkdir -p build/fuzz/corpus/$$name tests/fuzz/corpus/$$name; \
	    echo "$$name: $(FUZZ_SECONDS) s"; \
	    ./$$program -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -verbosity=0 \
	        build/fuzz/corpus/$$name tests/fuzz/corpus/$$name; done
endif

# Objects and archives. An archive lets a program take only what it uses, so the layers above the one
# under test need not be finished.
define variant
build/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@$$(CC_$(1)) $$(COMMON) $$(CF_$(1)) -c -o $$@ $$<

build/$(1)/libnative.a: $$(patsubst %.c,build/$(1)/%.o,$$(PURE) $(if $(filter thread,$(1)),$$(OUTER)))
	@mkdir -p $$(@D); rm -f $$@; ar rcs $$@ $$^
endef
$(foreach name,check fast thread fuzz,$(eval $(call variant,$(name))))

link = @mkdir -p $(@D); $(CC_$(1)) $(CF_$(1)) $(2) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) && echo "built $@"

build/sim: $(patsubst %.c,build/check/%.o,$(SIM_SOURCES)) build/check/libnative.a
	$(call link,check)

build/sim-fast: $(patsubst %.c,build/fast/%.o,$(SIM_SOURCES)) build/fast/libnative.a
	$(call link,fast)

$(MODELS): build/exhaustive/%: build/check/tests/exhaustive/%.o build/check/libnative.a
	$(call link,check)

$(TARGETS): build/fuzz/%: build/check/tests/fuzz/fuzz_%.o build/check/tests/fuzz/replay_main.o \
		build/check/libnative.a
	$(call link,check)

$(addsuffix -libfuzzer,$(TARGETS)): build/fuzz/%-libfuzzer: build/fuzz/tests/fuzz/fuzz_%.o \
		build/fuzz/libnative.a
	$(call link,fuzz,-fsanitize=fuzzer)

$(STRESS): build/stress/%: build/thread/tests/stress/%.o build/thread/libnative.a
	$(call link,thread)

build/yardsticks/%: benchmarks/yardsticks/%.c $(wildcard benchmarks/yardsticks/*.h) native/base/crc32c.c
	@mkdir -p $(@D); gcc -std=gnu11 -O2 -g -I native $(WARN) -o $@ $< native/base/crc32c.c $(LIBS) && \
		echo "built $@"

-include $(shell find build -name '*.d' 2>/dev/null)
