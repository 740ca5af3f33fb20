# make demo        build everything, fetch the model, generate in four ways
# make test        all tests                          make test-long   also under sanitizers, and for 64-bit ARM
# make lib         .build/release/libivg.so           make python      .build/venv with the package and `ivg`
# make install     to PREFIX=/usr/local, for C and C++; DESTDIR= for packages; make uninstall takes it away
# make wheel       .build/wheel/ivg-*.whl             make docs        .build/docs: the reference of the Python package
# make model       the model of the demo and tests    make bench       speed, as ratios
# make sentiment   trains the demo's guides and compares all methods: an hour or so
# make clean       removes what was built, but not the model

SWIFT ?= swift
PYTHON ?= python3

PREFIX ?= /usr/local
LIBDIR ?= lib
DESTDIR ?=

# Programs for tests that this machine lacks, see Tests/get_tools.sh.
TOOLS := .build/tools/bin
export PATH := $(CURDIR)/$(TOOLS):$(PATH)

VENV := .build/venv
BENCH ?=
LIBRARY := .build/release/libivg.so
MODEL := .build/models/SmolLM2-135M-Instruct.Q4_1.gguf
VARIANTS := $(foreach type,F16 Q8_0 Q4_0,.build/models/SmolLM2-135M-Instruct.$(type).gguf)
PACKAGE := $(shell find bindings/python -name '*.py' -not -path '*/tests/*') bindings/python/pyproject.toml
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check

.PHONY: demo sentiment test test-swift test-abi test-install test-python test-llm test-rust test-hosts test-manual test-arm test-long \
	lib install uninstall python dev wheel docs model variants bench clean FORCE

demo: python model
	$(VENV)/bin/python examples/demo.py

lib: $(LIBRARY)

$(LIBRARY): .build/.kernels FORCE # swift knows what else to rebuild
	$(SWIFT) build -c release --product ivg
	@ln -sf libivg.so .build/release/libivg.so.0 # the name that programs look for

# Swift does not notice when a C struct changes that rooms above the next one use: their objects go.
.build/.kernels: Sources/CIVGKernels/include/CIVGKernels.h
	rm -rf .build/*/release/*.build/*.swift.o .build/*/release/*.build/*.swiftdeps .build/*/release/*.build/*.priors
	@mkdir -p .build && touch $@

python: $(VENV)/.installed

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(LIBRARY) $(PACKAGE) | $(VENV)/bin/pip
	$(PIP) './bindings/python[cli]'
	@touch $@

dev: $(VENV)/.developing

$(VENV)/.developing: bindings/python/pyproject.toml $(VENV)/.installed
	$(PIP) './bindings/python[cli,dev,docs]'
	$(PIP) './bindings/python[ray]' || echo "no Ray for this Python: its example is not tested"
	@touch $@

model: $(MODEL)

$(MODEL):
	$(PYTHON) examples/get_model.py .build/models

# The same model in other types, which the golden tests compare with llama.cpp's figures.
variants: $(VARIANTS)

$(VARIANTS) &: $(MODEL) | dev
	$(VENV)/bin/python Tests/Fixtures/make_model_variants.py $(MODEL) .build/models

# Needs what `make lib` built; does not build it, so that no file of the build belongs to root.
install uninstall:
	bindings/c/install.sh $@ PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' DESTDIR='$(DESTDIR)'

wheel: lib
	bindings/python/build_wheel.sh .build/wheel

docs: dev
	$(VENV)/bin/python bindings/python/make_docs.py .build/docs

test: test-swift test-abi test-install test-python test-llm test-rust test-hosts test-manual

test-swift: .build/.kernels variants
	$(SWIFT) test -c release --disable-testable-imports # the same objects as make lib

$(TOOLS): Tests/get_tools.sh
	Tests/get_tools.sh .build/tools
	@touch $@

test-abi: lib variants $(TOOLS)
	Tests/ABI/run.sh
	Tests/Kernels/run_neon.sh

test-install: lib model $(TOOLS)
	Tests/Install/run.sh

test-rust: lib model dev
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" bindings/rust/test.sh

test-hosts: lib model
	Tests/Hosts/run.sh

test-manual: dev model
	$(VENV)/bin/python Tests/Manual/run.py

test-llm: dev
	PYTHON=$(VENV)/bin/python bindings/llm-ivg/test.sh

test-python: dev model
	cd bindings/python && ../../$(VENV)/bin/ruff check --config pyproject.toml . ../../examples ../c ../../Tests/ABI ../../Tests/Manual
	cd bindings/python && ../../$(VENV)/bin/ruff format --check --config pyproject.toml . ../../examples ../c ../../Tests/ABI ../../Tests/Manual
	cd bindings/python && ../../$(VENV)/bin/mypy
	cd bindings/python && ../../$(VENV)/bin/pytest

# The library for 64-bit ARM, in an emulator. Fetches some 600 MB the first time.
test-arm: lib model $(TOOLS)
	Tests/ARM/run.sh

test-long: test test-arm
	Tests/ABI/sanitize.sh

# Options in BENCH, e.g. `make bench BENCH=--quick`. The first time this builds llama.cpp for this CPU: about ten minutes.
# With --avx2 among them once more, held to AVX2.
bench: lib variants $(VENV)/.bench $(if $(findstring --avx2,$(BENCH)),$(VENV)-avx2/.bench)
	$(VENV)/bin/python Tests/Benchmarks/bench.py $(BENCH)

$(VENV)/.bench: Tests/Benchmarks/requirements.txt | $(VENV)/bin/pip
	CMAKE_ARGS="-DLLAVA_BUILD=OFF" $(PIP) --requirement $<
	@touch $@

$(VENV)-avx2/.bench: Tests/Benchmarks/requirements.txt
	$(PYTHON) -m venv $(VENV)-avx2
	CMAKE_ARGS="-DLLAVA_BUILD=OFF -DGGML_NATIVE=OFF" $(VENV)-avx2/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --requirement $<
	@touch $@

# Options in SENTIMENT, e.g. `make sentiment SENTIMENT='--imdb path/to/imdb.py'`.
sentiment: $(VENV)/.sentiment model
	$(VENV)/bin/python examples/sentiment/run.py $(SENTIMENT)

$(VENV)/.sentiment: examples/sentiment/requirements.txt $(VENV)/.installed
	$(PIP) './bindings/python[cli,plot]' --requirement $<
	@touch $@

clean:
	$(SWIFT) package clean
	rm -rf $(VENV) $(VENV)-avx2 .build/thread .build/address .build/aarch64

FORCE:
