# Two commands do everything: `make demo` speaks, `make test` checks.

PYTHON ?= python3
HEADS ?= 6
TEXT ?= The birds sang in the old garden while the rain fell softly.

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help demo venv test check gpu-check format lock engines voice judge compare chat clean

help:
	@echo "make demo [TEXT='…'] [HEADS=3|6|12]   hear it: lean install, export, speak to demo.wav"
	@echo "make test                             everything that is tested, in .venv"
	@echo "make venv                             .venv with all that tests and training need"
	@echo "make check                            ruff and mypy"
	@echo "make gpu-check [PRECISION=fp16] [HEADS=] on a GPU: build, compare, measure, write a report"
	@echo "make engines                          plans of the demo voice for RTX GPUs; no GPU needed"
	@echo "make voice [WORDNET=DIR]              train the demo voice from nothing; resumable, hours"
	@echo "make judge                            judge the voice that make voice trained: docs/voice.md"
	@echo "make compare                          next-token against multi-token prediction, in small"
	@echo "make chat                             train the demo chat, ask it and judge its answers"
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
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --no-deps resemblyzer
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
RECORDINGS := $(VOICE)/recordings
SPEAKERS := heart oak reed slt rms joe
# heart reads every sentence, each of the others 2,500 of their own
FIRST_oak := 0
FIRST_reed := 2500
FIRST_slt := 5000
FIRST_rms := 7500
FIRST_joe := 10000
PREPARE = .venv/bin/python -m train.prepare --codec $(VOICE)/codec --heads 1 3 6 12 \
	--frontend hibari --embeddings speaker
TRAIN_LM = .venv/bin/python -m train.lm --config samples/demo_voice/$(notdir $(@D)).yaml \
	--output $(@D) $(if $(wildcard $(@D)/run/checkpoint-*),--resume)

# glibc returns large blocks to the system after each step and faults them in again: keep them.
voice: export MALLOC_MMAP_MAX_ = 0
voice: export MALLOC_TRIM_THRESHOLD_ = 100000000000
voice: export MALLOC_TOP_PAD_ = 67108864
voice: venv $(foreach heads,12 6 3,$(VOICE)/lm-$(heads)/model.safetensors)

$(VOICE)/sentences.txt: .venv/installed
	mkdir -p $(VOICE)
	.venv/bin/python -m samples.demo_voice.sentences $(WORDNET) $@

$(VOICE)/teachers: .venv/installed
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[teachers]"
	touch $@

$(RECORDINGS)/%/complete: $(VOICE)/sentences.txt $(VOICE)/teachers
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D) --speaker $* \
		$(if $(FIRST_$*),--skip $(FIRST_$*) --limit 2500)
	touch $@

$(VOICE)/codec/complete: $(foreach speaker,$(SPEAKERS),$(RECORDINGS)/$(speaker)/complete)
	.venv/bin/python -m train.codec --config samples/demo_voice/codec.yaml
	touch $@

$(VOICE)/tokens/heart/h12.jsonl: $(VOICE)/codec/complete
	$(PREPARE) $(RECORDINGS)/heart --output $(@D)

$(VOICE)/tokens/others/h12.jsonl: $(VOICE)/codec/complete
	$(PREPARE) $(foreach speaker,$(filter-out heart,$(SPEAKERS)),$(RECORDINGS)/$(speaker)) --output $(@D)

$(VOICE)/lm-12/model.safetensors: $(VOICE)/tokens/heart/h12.jsonl $(VOICE)/tokens/others/h12.jsonl
	$(TRAIN_LM)

$(VOICE)/lm-6/model.safetensors $(VOICE)/lm-3/model.safetensors: $(VOICE)/lm-12/model.safetensors
	$(TRAIN_LM)

# How the trained voice sounds, in runs/demo/judged: the figures of docs/voice.md.
JUDGED_LISTS := everyday harvard hard
JUDGED_HEADS := 3 6 12
REFERENCE_SPEAKERS := heart oak reed slt rms joe
JUDGED := $(VOICE)/judged

judge: $(foreach list,$(JUDGED_LISTS) speakers,$(JUDGED)/$(list)/report.json)

$(VOICE)/engine-%/manifest.json: $(VOICE)/lm-%/model.safetensors
	.venv/bin/python -m export.build --model $(VOICE)/lm-$* --codec $(VOICE)/codec --output $(@D) \
		$$(for file in $(VOICE)/tokens/*/voices/*.safetensors; do \
			echo --voice $$(basename $$file .safetensors)=$$file; done)

$(VOICE)/teacher/%/complete: samples/evaluation/%.txt
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D)
	touch $@

$(VOICE)/references/%/complete: samples/evaluation/harvard.txt
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D) --speaker $*
	touch $@

$(JUDGED)/speakers/report.json: $(VOICE)/engine-6/manifest.json \
		$(foreach speaker,$(REFERENCE_SPEAKERS),$(VOICE)/references/$(speaker)/complete)
	.venv/bin/python -m train.evaluate --engine 6-heads=$(VOICE)/engine-6 --voice all \
		--references $(VOICE)/references --recogniser whisper --output $(@D)

$(JUDGED)/%/report.json: $(VOICE)/teacher/%/complete \
		$(foreach heads,$(JUDGED_HEADS),$(VOICE)/engine-$(heads)/manifest.json)
	.venv/bin/python -m train.evaluate --sentences samples/evaluation/$*.txt \
		--wavs teacher=$(VOICE)/teacher/$* --codec codec=$(VOICE)/engine-6 \
		$(foreach heads,$(JUDGED_HEADS),--engine $(heads)-heads=$(VOICE)/engine-$(heads)) \
		--spectrograms 10 --output $(@D)

# The paper's table in small, in runs/demo/comparison. Next-token prediction takes patience to train.
compare: $(foreach heads,ntp 3 6 12,$(VOICE)/engine-$(heads)/manifest.json)
	.venv/bin/python -m samples.demo_voice.compare ntp=$(VOICE)/engine-ntp \
		$(foreach heads,3 6 12,mtp-$(heads)=$(VOICE)/engine-$(heads)) --output $(VOICE)/comparison

$(VOICE)/lm-ntp/model.safetensors: $(VOICE)/lm-12/model.safetensors
	$(TRAIN_LM)

# The demo chat, in runs/chat: two teachers speak every answer, with the demo voice's codec.
CHAT := runs/chat
CHAT_CODEC := samples/demo_voice/codec
CHAT_VOICES := heart oak

chat: export MALLOC_MMAP_MAX_ = 0
chat: export MALLOC_TRIM_THRESHOLD_ = 100000000000
chat: export MALLOC_TOP_PAD_ = 67108864
chat: venv engine-chat/manifest.json
	.venv/bin/python -m runtime.chat --engine engine-chat --question "What is the capital of France?" -o answer.wav
	.venv/bin/python -m train.evaluate_answers --engine engine-chat --output evaluation/chat

$(CHAT)/answers.txt: samples/demo_chat/domain.py
	.venv/bin/python -m samples.demo_chat.examples sentences $@

$(CHAT)/recordings/complete: $(CHAT)/answers.txt
	for voice in $(CHAT_VOICES); do \
		.venv/bin/python -m samples.demo_voice.synthesize $< $(@D)/$$voice --speaker $$voice || exit 1; \
	done
	touch $@

$(CHAT)/tokens/h6.jsonl: $(CHAT)/recordings/complete
	.venv/bin/python -m train.prepare $(<D) --codec $(CHAT_CODEC) --heads 6 \
		--frontend hibari --embeddings speaker --output $(@D)

$(CHAT)/examples/validation.jsonl: $(CHAT)/tokens/h6.jsonl
	.venv/bin/python -m samples.demo_chat.examples train $< $(@D)

$(CHAT)/lm-6/model.safetensors: $(CHAT)/examples/validation.jsonl
	.venv/bin/python -m train.lm --config samples/demo_chat/lm-6.yaml --output $(@D) \
		$(if $(wildcard $(CHAT)/lm-6/run/checkpoint-*),--resume)

engine-chat/manifest.json: $(CHAT)/lm-6/model.safetensors
	.venv/bin/python -m export.build --model $(<D) --codec $(CHAT_CODEC) --text-head --output $(@D) \
		--voice $(foreach voice,$(CHAT_VOICES),$(voice)=$(CHAT)/tokens/voices/$(voice).safetensors)

clean:
	rm -rf .venv .venv-demo engine-* demo.wav gpu-check build dist
