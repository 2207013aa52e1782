# Two commands do everything: `make demo` speaks, `make test` checks.

PYTHON ?= python3
HEADS ?= 6
TEXT ?= The birds sang in the old garden while the rain fell softly.

.DELETE_ON_ERROR:
.PHONY: help demo venv test check gpu-check format lock engines voice clean

help:
	@echo "make demo [TEXT='…'] [HEADS=3|6|12]   hear it: lean install, export, speak to demo.wav"
	@echo "make test                             everything that is tested, in .venv"
	@echo "make venv                             .venv with all that tests and training need"
	@echo "make check                            ruff and mypy"
	@echo "make gpu-check [PRECISION=fp16] [HEADS=] on a GPU: build, compare, measure, write a report"
	@echo "make engines                          plans of the demo voice for RTX GPUs; no GPU needed"
	@echo "make voice [WORDNET=DIR]              train the demo voice from nothing; resumable, hours"
	@echo "make lock                             write requirements.lock from .venv"

demo: .venv-demo/installed
	.venv-demo/bin/python -m export.build --heads $(HEADS) --output engine-$(HEADS)
	.venv-demo/bin/python -m runtime.tts --engine engine-$(HEADS) "$(TEXT)" -o demo.wav

.venv-demo/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[export,phonemes]"
	touch $@

venv: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint requirements.lock torch
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[dev]"
	touch $@

test: venv
	.venv/bin/python -m pytest

check: venv build/typings
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# What mypy knows about packages that are compiled and carry no types.
build/typings: .venv/installed .ci/write_typings.py
	rm -rf $@
	.venv/bin/python .ci/write_typings.py $@
	mkdir -p $@

# For whoever has a GPU: build for it, compare with the CPU, measure, write one report.
PRECISION ?= fp16
ENGINE ?= gpu-check/engine
REFERENCE ?= gpu-check/reference
gpu-check: venv
	target=$$(.venv/bin/python -m runtime.gpu_check --print-target) && mkdir -p gpu-check && \
	{ test -d $(REFERENCE) || .venv/bin/python -m export.build --heads $(HEADS) --dialect portable \
		--output $(REFERENCE); } && \
	{ test -d $(ENGINE) || .venv/bin/python -m export.build $$target --precision $(PRECISION) \
		--heads $(HEADS) --output $(ENGINE); } && \
	.venv/bin/python -m runtime.gpu_check --engine $(ENGINE) --reference $(REFERENCE)

format: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: venv
	.venv/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

ENGINE_PRECISIONS ?= fp16 bf16

engines: venv
	for precision in $(ENGINE_PRECISIONS); do \
		.venv/bin/python -m export.build --target tensorrt-rtx --precision $$precision \
			--output engine-rtx-$$precision || exit 1; \
	done

# The demo voice from nothing, in runs/demo. Cut off, the same command goes on where it was.
WORDNET ?= /usr/share/wordnet
VOICE := runs/demo
TRAIN_LM = .venv/bin/python -m train.lm --config samples/demo_voice/$(notdir $(@D)).yaml \
	--output $(@D) $(if $(wildcard $(@D)/run/checkpoint-*),--resume)

# glibc returns large blocks to the system after each step and faults them in again: keep them.
voice: export MALLOC_MMAP_MAX_ = 0
voice: export MALLOC_TRIM_THRESHOLD_ = 100000000000
voice: export MALLOC_TOP_PAD_ = 67108864
voice: venv $(VOICE)/lm-12/model.safetensors $(VOICE)/lm-6/model.safetensors $(VOICE)/lm-3/model.safetensors

$(VOICE)/sentences.txt:
	mkdir -p $(VOICE)
	.venv/bin/python -m samples.demo_voice.sentences $(WORDNET) $@

$(VOICE)/corpus/complete: $(VOICE)/sentences.txt
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D)
	touch $@

$(VOICE)/codec/complete: $(VOICE)/corpus/complete
	.venv/bin/python -m train.codec --config samples/demo_voice/codec.yaml
	touch $@

$(VOICE)/tokens/h12.jsonl: $(VOICE)/codec/complete
	.venv/bin/python -m train.prepare $(VOICE)/corpus --codec $(VOICE)/codec --heads 1 3 6 12 \
		--frontend hibari --embeddings speaker --output $(VOICE)/tokens

$(VOICE)/lm-12/model.safetensors: $(VOICE)/tokens/h12.jsonl
	$(TRAIN_LM)

$(VOICE)/lm-6/model.safetensors $(VOICE)/lm-3/model.safetensors: $(VOICE)/lm-12/model.safetensors
	$(TRAIN_LM)

clean:
	rm -rf .venv .venv-demo engine-* demo.wav gpu-check build dist
