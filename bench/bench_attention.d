bench/bench_attention: bench/bench_attention.c src/base/clock.h \
 src/base/mem.h src/base/pool.h src/base/status.h src/codec/formats.h \
 src/codec/layout.h include/turboquant.h src/codec/kernels.h \
 src/codec/kernels.def src/cpu/cpu.h
src/base/clock.h:
src/base/mem.h:
src/base/pool.h:
src/base/status.h:
src/codec/formats.h:
src/codec/layout.h:
include/turboquant.h:
src/codec/kernels.h:
src/codec/kernels.def:
src/cpu/cpu.h:
