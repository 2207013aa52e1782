# Two commands do everything: `make demo` speaks, `make test` checks.

PYTHON ?= python3
HEADS ?= 6
TEXT ?= The birds sang in the old garden while the rain fell softly.

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: help python demo venv test check gpu-check checked-gpu format lock engines published-engines voice \
	rehearsal adopt judge compare chat chat-speakerless docs clean

help:
	@echo "make demo [TEXT='…'] [HEADS=3|6|12]   hear it: lean install, export to demo-engine, speak to demo.wav"
	@echo "make test                             everything that is tested, in .venv"
	@echo "make venv                             .venv with all that tests and training need"
	@echo "make check                            ruff and mypy"
	@echo "make docs                             the docs as a site, in build/site"
	@echo "make gpu-check [PRECISION=fp16] [HEADS=] on a GPU: build, compare, measure, write a report"
	@echo "make engines [HEADS=]                 plans of the demo voice for RTX GPUs; no GPU needed"
	@echo "make published-engines [HEADS=]       the same of random weights in the published size"
	@echo "make voice [WORDNET=DIR]              train the demo voice from nothing; resumable, hours"
	@echo "make rehearsal [WORDNET=DIR]          the same in small, in minutes: would it go through?"
	@echo "make adopt                            let the repository speak with what make voice trained"
	@echo "make judge                            judge the voice that make voice trained: docs/voice.md"
	@echo "make compare                          next-token against multi-token prediction, in small"
	@echo "make chat                             train the demo chat, ask it and judge its answers"
	@echo "make chat-speakerless                 the same without a speaker in the prompt"
	@echo "make lock                             write requirements.lock from .venv"
	@echo "make clean                            remove what make has made, but nothing that was trained"

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: this needs Python 3.11 or newer, found as $(PYTHON); name another: PYTHON=python3.12" >&2; \
		exit 2; }

# The text goes to the program as it stands: neither make nor a shell looks into it.
unexport TEXT
demo: export SPOKEN := $(value TEXT)
demo: .venv-demo/installed
	.venv-demo/bin/python -m export.build --heads $(HEADS) --output demo-engine
	.venv-demo/bin/python -m runtime.tts --engine demo-engine -o demo.wav -- "$$SPOKEN"

.venv-demo/installed: pyproject.toml requirements.lock commands/version.py | python
	$(PYTHON) -m venv .venv-demo
	@echo "installing what speaking and exporting need, 380 MB in .venv-demo, from the package index: a minute or more ..."
	.venv-demo/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[export,phonemes]"
	touch $@

venv: .venv/installed

.venv/installed: pyproject.toml requirements.lock commands/version.py | python
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

# The docs as a site that needs no network: open build/site/index.html.
docs: export NO_MKDOCS_2_WARNING := 1
docs: venv
	.venv/bin/mkdocs build --quiet --strict
	@echo "wrote build/site/index.html"

# What mypy knows about packages that are compiled and carry no types.
build/typings: .venv/installed .ci/write_typings.py
	rm -rf $@
	.venv/bin/python .ci/write_typings.py $@
	mkdir -p $@

DEMO_MODEL := samples/demo_voice/$(HEADS)-heads/model.safetensors
SCALES := build/scales-$(HEADS)
QUANTIZED := int8 fp8 int4

# For whoever has a GPU: build for it, compare with the CPU, measure, write one report. Whether there
# is one is asked first, with nothing but the standard library; the environment takes gigabytes.
PRECISION ?= fp16
ENGINE ?= gpu-check/engine
REFERENCE ?= gpu-check/reference
CHECKED_SCALES := $(if $(filter $(PRECISION),$(QUANTIZED)),$(SCALES)-$(PRECISION))
gpu-check: python
	@$(PYTHON) -m runtime.gpu_check --find-gpu
	@$(MAKE) --no-print-directory checked-gpu

checked-gpu: venv $(CHECKED_SCALES:%=%/calibration.json)
	target=$$(.venv/bin/python -m runtime.gpu_check --print-target) && mkdir -p gpu-check && \
	{ test -d $(REFERENCE) || .venv/bin/python -m export.build --heads $(HEADS) --dialect portable \
		--output $(REFERENCE); } && \
	{ test -d $(ENGINE) || .venv/bin/python -m export.build $$target --precision $(PRECISION) \
		$(CHECKED_SCALES:%=--calibration %) --heads $(HEADS) --output $(ENGINE); } && \
	.venv/bin/python -m runtime.gpu_check --engine $(ENGINE) --reference $(REFERENCE)

format: venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

lock: venv
	.venv/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

# Plans for RTX GPUs at every precision: of the demo voice, and of random weights in the published
# size, for what building costs. Cut off, the same command goes on where it was.
ENGINE_PRECISIONS ?= fp16 bf16 $(QUANTIZED)
PLANS_OF := $(filter-out $(QUANTIZED),$(ENGINE_PRECISIONS))
QUANTIZED_PLANS_OF := $(filter $(QUANTIZED),$(ENGINE_PRECISIONS))
PLAN_SOURCES := .venv/installed $(wildcard export/*.py export/*/*.py)
BUILD_PLANS = .venv/bin/python -m export.build --target tensorrt-rtx --precision $* --output $(@D)
CALIBRATE = .venv/bin/python -m calibration.run --precision $* --dialect portable --output $(@D)

engines: $(ENGINE_PRECISIONS:%=engine-rtx-$(HEADS)-%/manifest.json)

$(PLANS_OF:%=engine-rtx-$(HEADS)-%/manifest.json): engine-rtx-$(HEADS)-%/manifest.json: $(DEMO_MODEL) $(PLAN_SOURCES)
	$(BUILD_PLANS) --heads $(HEADS)

$(QUANTIZED_PLANS_OF:%=engine-rtx-$(HEADS)-%/manifest.json): engine-rtx-$(HEADS)-%/manifest.json: \
		$(SCALES)-%/calibration.json $(DEMO_MODEL) $(PLAN_SOURCES)
	$(BUILD_PLANS) --heads $(HEADS) --calibration $(<D)

$(SCALES)-%/calibration.json: $(DEMO_MODEL) samples/calibration.txt .venv/installed
	mkdir -p $(dir $(@D))
	$(CALIBRATE) --heads $(HEADS) --texts samples/calibration.txt

PUBLISHED := runs/published-$(HEADS)
PUBLISHED_SOURCE := --model $(PUBLISHED)/model --codec $(PUBLISHED)/codec

published-engines: $(ENGINE_PRECISIONS:%=$(PUBLISHED)/engine-%/manifest.json)

$(PLANS_OF:%=$(PUBLISHED)/engine-%/manifest.json): $(PUBLISHED)/engine-%/manifest.json: \
		$(PUBLISHED)/tokens.jsonl $(PLAN_SOURCES)
	$(BUILD_PLANS) $(PUBLISHED_SOURCE)

$(QUANTIZED_PLANS_OF:%=$(PUBLISHED)/engine-%/manifest.json): $(PUBLISHED)/engine-%/manifest.json: \
		$(PUBLISHED)/scales-%/calibration.json $(PLAN_SOURCES)
	$(BUILD_PLANS) $(PUBLISHED_SOURCE) --calibration $(<D)

$(PUBLISHED)/scales-%/calibration.json: $(PUBLISHED)/tokens.jsonl
	$(CALIBRATE) $(PUBLISHED_SOURCE) --tokens $< --method nearest --activations max --weights max

$(PUBLISHED)/tokens.jsonl: .venv/installed
	.venv/bin/python -m benchmarks.published_size --heads $(HEADS) --output $(@D)

# The demo voice from nothing, in runs/demo. Cut off, the same command goes on where it was.
WORDNET ?= /usr/share/wordnet
VOICE := runs/demo
CONFIGS := samples/demo_voice
SENTENCE_OPTIONS :=
RECORDINGS := $(VOICE)/recordings
SPEAKERS := heart oak reed slt rms joe
# whose synthesizers do not tell durations
UNTIMED := slt rms joe
# heart reads every sentence, each of the others as many of their own
EACH := 2500
FIRST_oak := 0
FIRST_reed = $(EACH)
FIRST_slt = $$((2 * $(EACH)))
FIRST_rms = $$((3 * $(EACH)))
FIRST_joe = $$((4 * $(EACH)))
PREPARE = .venv/bin/python -m train.prepare --codec $(VOICE)/codec --heads 1 3 6 12 \
	--frontend hibari --embeddings speaker
TRAIN_LM = .venv/bin/python -m train.lm --config $(CONFIGS)/$(notdir $(@D)).yaml \
	--output $(@D) $(if $(wildcard $(@D)/run/checkpoint-*),--resume)

# glibc returns large blocks to the system after each step and faults them in again: keep them.
voice chat chat-speakerless: export MALLOC_MMAP_MAX_ = 0
voice chat chat-speakerless: export MALLOC_TRIM_THRESHOLD_ = 100000000000
voice chat chat-speakerless: export MALLOC_TOP_PAD_ = 67108864
voice: venv $(foreach heads,12 6 3,$(VOICE)/lm-$(heads)-short/model.safetensors) $(VOICE)/codec/tuned

$(VOICE)/sentences.txt: .venv/installed
	mkdir -p $(VOICE)
	.venv/bin/python -m samples.demo_voice.sentences $(WORDNET) $@ $(SENTENCE_OPTIONS)

$(VOICE)/teachers: .venv/installed
	.venv/bin/python -m pip install --quiet --constraint requirements.lock --editable ".[teachers]"
	touch $@

$(RECORDINGS)/%/complete: $(VOICE)/sentences.txt $(VOICE)/teachers
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D) --speaker $* \
		$(if $(FIRST_$*),--skip $(FIRST_$*) --limit $(EACH))
	touch $@

$(VOICE)/codec/complete: $(foreach speaker,$(SPEAKERS),$(RECORDINGS)/$(speaker)/complete)
	.venv/bin/python -m train.codec --config $(CONFIGS)/codec.yaml
	touch $@

$(VOICE)/tokens/heart/h12.jsonl: $(VOICE)/codec/complete
	$(PREPARE) $(RECORDINGS)/heart --output $(@D)

$(VOICE)/aligned: $(foreach speaker,$(UNTIMED),$(RECORDINGS)/$(speaker)/complete)
	.venv/bin/python -m train.align $(^D) --frontend hibari --output $@

$(VOICE)/tokens/others/h12.jsonl: $(VOICE)/codec/complete $(VOICE)/aligned
	$(PREPARE) $(RECORDINGS)/oak $(RECORDINGS)/reed $(foreach speaker,$(UNTIMED),$(VOICE)/aligned/$(speaker)) \
		--output $(@D)

$(VOICE)/lm-12/model.safetensors: $(VOICE)/tokens/heart/h12.jsonl $(VOICE)/tokens/others/h12.jsonl
	$(TRAIN_LM)

# It goes on with its own mistakes, in the same folder.
$(VOICE)/lm-12/tuned: $(VOICE)/lm-12/model.safetensors
	.venv/bin/python -m train.lm --config $(CONFIGS)/lm-12-tuned.yaml --output $(@D) --resume
	touch $@

$(VOICE)/lm-6-first/model.safetensors $(VOICE)/lm-3-first/model.safetensors: $(VOICE)/lm-12/tuned
	$(TRAIN_LM)

# They go on twice, mostly with long sentences, and speak with the mean of both.
$(VOICE)/lm-6-a/model.safetensors $(VOICE)/lm-6-b/model.safetensors: $(VOICE)/lm-6-first/model.safetensors
	$(TRAIN_LM)

$(VOICE)/lm-3-a/model.safetensors $(VOICE)/lm-3-b/model.safetensors: $(VOICE)/lm-3-first/model.safetensors
	$(TRAIN_LM)

$(VOICE)/lm-6/model.safetensors $(VOICE)/lm-3/model.safetensors: %/model.safetensors: \
		%-a/model.safetensors %-b/model.safetensors
	.venv/bin/python -m train.mean_checkpoint $(^D) --dtype float16 --output $(@D)

# Last, all of them learn to say a word or two: heart reads all of these texts, the others some.
SHORT_EACH := 500
SHORT_RECORDINGS := $(VOICE)/short-recordings
$(VOICE)/short-texts.txt: .venv/installed
	mkdir -p $(VOICE)
	.venv/bin/python -m samples.demo_voice.short_texts $(WORDNET) $@ $(SHORT_OPTIONS)

$(SHORT_RECORDINGS)/%/complete: $(VOICE)/short-texts.txt $(VOICE)/teachers
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D) --speaker $* \
		$(if $(FIRST_$*),--limit $(SHORT_EACH))
	touch $@

# A speaker is the same in short texts and in long ones.
$(VOICE)/tokens/short/h12.jsonl: $(VOICE)/tokens/heart/h12.jsonl $(SHORT_RECORDINGS)/heart/complete
	$(PREPARE) $(SHORT_RECORDINGS)/heart --output $(@D)
	cp $(<D)/speakers/*.safetensors $(@D)/speakers

$(VOICE)/short-aligned: $(foreach speaker,$(UNTIMED),$(SHORT_RECORDINGS)/$(speaker)/complete)
	.venv/bin/python -m train.align $(^D) --frontend hibari --output $@

$(VOICE)/tokens/short-others/h12.jsonl: $(VOICE)/tokens/others/h12.jsonl $(VOICE)/short-aligned \
		$(foreach speaker,oak reed,$(SHORT_RECORDINGS)/$(speaker)/complete)
	$(PREPARE) $(SHORT_RECORDINGS)/oak $(SHORT_RECORDINGS)/reed \
		$(foreach speaker,$(UNTIMED),$(VOICE)/short-aligned/$(speaker)) --output $(@D)
	cp $(<D)/speakers/*.safetensors $(@D)/speakers

$(VOICE)/lm-12-short/model.safetensors: $(VOICE)/lm-12/tuned
$(foreach heads,12 6 3,$(VOICE)/lm-$(heads)-short/model.safetensors): %-short/model.safetensors: \
		%/model.safetensors $(VOICE)/tokens/short/h12.jsonl $(VOICE)/tokens/short-others/h12.jsonl
	$(TRAIN_LM)

# The decoder goes on with what the models predict: it is their tokens that it will speak.
$(VOICE)/predicted/h%.jsonl: $(VOICE)/lm-%/model.safetensors
	.venv/bin/python -m train.predict --model $(<D) --tokens $(VOICE)/tokens/heart/h$*.jsonl --output $@

$(VOICE)/codec/tuned: $(VOICE)/lm-12/tuned $(foreach heads,12 6 3,$(VOICE)/predicted/h$(heads).jsonl)
	.venv/bin/python -m train.codec --config $(CONFIGS)/codec-tuned.yaml --phase decoder
	touch $@

# The whole of it in small, to see in minutes whether the hours would go through.
REHEARSAL := runs/rehearsal
rehearsal: venv
	.venv/bin/python -m samples.demo_voice.rehearsal $(REHEARSAL)
	$(MAKE) voice VOICE=$(REHEARSAL) CONFIGS=$(REHEARSAL)/configs EACH=4 \
		SENTENCE_OPTIONS="--limit 6" SHORT_OPTIONS="--count 12" SHORT_EACH=4

# What was trained in the place of what the repository speaks with.
SAMPLE := samples/demo_voice
adopt: voice
	for heads in 12 6 3; do \
		cp $(foreach file,config.json model.safetensors tokenizer.json tokenizer_config.json,$(VOICE)/lm-$$heads-short/$(file)) \
			$(SAMPLE)/$$heads-heads || exit 1; \
	done
	.venv/bin/python -m train.halve_codec $(VOICE)/codec $(SAMPLE)/codec
	cp $(VOICE)/tokens/heart/voices/*.safetensors $(VOICE)/tokens/others/voices/*.safetensors $(SAMPLE)/voices

# How the trained voice sounds, in runs/demo/judged: the figures of docs/voice.md.
JUDGED_LISTS := everyday harvard hard long
JUDGED_HEADS := 3 6 12
JUDGED := $(VOICE)/judged

judge: $(foreach list,$(JUDGED_LISTS) speakers,$(JUDGED)/$(list)/report.json)

EXPORT_VOICE = .venv/bin/python -m export.build --model $(<D) --codec $(VOICE)/codec --output $(@D) \
	$$(for file in $(VOICE)/tokens/heart/voices/*.safetensors $(VOICE)/tokens/others/voices/*.safetensors; do \
		echo --voice $$(basename $$file .safetensors)=$$file; done)

$(VOICE)/engine-ntp/manifest.json: $(VOICE)/lm-ntp/model.safetensors $(VOICE)/codec/tuned
	$(EXPORT_VOICE)

$(VOICE)/engine-%/manifest.json: $(VOICE)/lm-%-short/model.safetensors $(VOICE)/codec/tuned
	$(EXPORT_VOICE)

$(VOICE)/teacher/%/complete: samples/evaluation/%.txt
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D)
	touch $@

$(VOICE)/references/%/complete: samples/evaluation/harvard.txt
	.venv/bin/python -m samples.demo_voice.synthesize $< $(@D) --speaker $*
	touch $@

$(JUDGED)/speakers/report.json: $(VOICE)/engine-6/manifest.json \
		$(foreach speaker,$(SPEAKERS),$(VOICE)/references/$(speaker)/complete)
	.venv/bin/python -m evaluation.speech --engine 6-heads=$(VOICE)/engine-6 --voice all \
		--references $(VOICE)/references --recogniser whisper --output $(@D)

$(JUDGED)/%/report.json: $(VOICE)/teacher/%/complete \
		$(foreach heads,$(JUDGED_HEADS),$(VOICE)/engine-$(heads)/manifest.json)
	.venv/bin/python -m evaluation.speech --sentences samples/evaluation/$*.txt \
		--wavs teacher=$(VOICE)/teacher/$* --codec codec=$(VOICE)/engine-6 \
		$(foreach heads,$(JUDGED_HEADS),--engine $(heads)-heads=$(VOICE)/engine-$(heads)) \
		--spectrograms 10 --output $(@D)

# The paper's table in small, in runs/demo/comparison.
compare: $(foreach heads,ntp 3 6 12,$(VOICE)/engine-$(heads)/manifest.json)
	.venv/bin/python -m samples.demo_voice.compare ntp=$(VOICE)/engine-ntp \
		$(foreach heads,3 6 12,mtp-$(heads)=$(VOICE)/engine-$(heads)) --output $(VOICE)/comparison

$(VOICE)/lm-ntp/model.safetensors: $(VOICE)/lm-3/model.safetensors
	$(TRAIN_LM)

# The demo chat, in runs/chat: two teachers speak every answer, with the demo voice's codec.
CHAT := runs/chat
CHAT_CODEC := samples/demo_voice/codec
CHAT_VOICES := heart oak

chat: venv engine-chat/manifest.json
	.venv/bin/python -m runtime.chat --engine engine-chat --question "What is the capital of France?" -o answer.wav
	.venv/bin/python -m evaluation.answers --engine engine-chat --output judged/chat

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

# The same with no speaker in the prompt, from one teacher's recordings.
SPEAKERLESS := $(CHAT)/speakerless

chat-speakerless: venv engine-chat-speakerless/manifest.json
	.venv/bin/python -m evaluation.answers --engine engine-chat-speakerless \
		--output judged/chat-speakerless

$(SPEAKERLESS)/tokens/h6.jsonl: $(CHAT)/recordings/complete
	.venv/bin/python -m train.prepare $(<D)/heart --codec $(CHAT_CODEC) --heads 6 \
		--frontend hibari --embeddings speaker --output $(@D)

$(SPEAKERLESS)/examples/validation.jsonl: $(SPEAKERLESS)/tokens/h6.jsonl
	.venv/bin/python -m samples.demo_chat.examples train $< $(@D)

$(SPEAKERLESS)/lm-6/model.safetensors: $(SPEAKERLESS)/examples/validation.jsonl
	.venv/bin/python -m train.lm --config samples/demo_chat/lm-6-speakerless.yaml --output $(@D) \
		$(if $(wildcard $(SPEAKERLESS)/lm-6/run/checkpoint-*),--resume)

engine-chat-speakerless/manifest.json: $(SPEAKERLESS)/lm-6/model.safetensors
	.venv/bin/python -m export.build --model $(<D) --codec $(CHAT_CODEC) --text-head --output $(@D) \
		--voice $(foreach voice,$(CHAT_VOICES),$(voice)=samples/demo_chat/voices/$(voice).safetensors)

# What make has made, each by its name: an engine that somebody else made here stays. So do reports
# and whatever took a training (runs, engine-chat).
ALL_PRECISIONS := fp16 bf16 $(QUANTIZED)
RTX_ENGINES := $(foreach heads,3 6 12,$(ALL_PRECISIONS:%=engine-rtx-$(heads)-%))
MADE_SCALES := $(foreach heads,3 6 12,$(QUANTIZED:%=build/scales-$(heads)-%))
clean:
	if test -f .venv/installed; then rm -rf .venv; fi
	rm -rf .venv-demo demo-engine demo.wav gpu-check/engine gpu-check/reference $(RTX_ENGINES)
	rm -rf build/typings build/site $(MADE_SCALES)
