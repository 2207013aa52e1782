"""Prompt templates, text normalisation, and where the answer begins.

In: text. Out: the prompt as a string, and its split into the question, on which no loss is
taken, and the answer. It does not know tokenizers, files or tensors. The templates are those of
the published training code (arXiv 2506.12537, repository cnxupupup/SLM-Decoupled-MTP).
"""

from __future__ import annotations

from dataclasses import dataclass

HUMAN = "[Human]"
ASSISTANT = "[Assistant]"
ANSWER_MARK = ASSISTANT + ":"
SPEECH_START = "<sosp>"
SPEECH_END = "<eosp>"
SPEECH_PAD = "<|speech_pad|>"
SPEAKER_PLACEHOLDER = "<|placeholder|>"

IGNORED_LABEL = -100

TTS_PROMPT = f"{HUMAN}: Read this sentence: {{text}}.\n {ANSWER_MARK} The speech is: {SPEECH_START}"
TTS_SPEAKER_PROMPT = (
    f"{HUMAN}: Read this sentence: {{text}}. You should speak like: {SPEAKER_PLACEHOLDER}.\n"
    f" {ANSWER_MARK} The speech is: {SPEECH_START}"
)
SPEECH_TAIL = ".\n\n"
ASR_QUESTION_START = f"{HUMAN}: Recognize this speech: {SPEECH_START}"
ASR_ANSWER = f".\n {ANSWER_MARK} The text is: {{text}}.\n\n"
TEXT_DIALOGUE = f"{HUMAN}: {{instruction}}\n {ANSWER_MARK} {{response}}\n\n"


@dataclass(frozen=True)
class PromptTemplates:
    """What stands around the speech.

    `tts` and `tts_speaker` end in `<sosp>`, the last token before the first speech token.
    `tail` follows `<eosp>` in training only.
    """

    tts: str = TTS_PROMPT
    tts_speaker: str = TTS_SPEAKER_PROMPT
    tail: str = SPEECH_TAIL

    def prompt(self, text: str, *, with_speaker: bool) -> str:
        """The prompt for `text`, replaced literally: braces in the text stay what they are."""
        template = self.tts_speaker if with_speaker else self.tts
        return template.replace("{text}", text)


def normalize_text(text: str) -> str:
    """Text as the published training data has it: one capital, its own full stop kept."""
    return text.strip().lower().capitalize()


def asr_answer(text: str) -> str:
    """What follows `<eosp>` in a recognition example."""
    return ASR_ANSWER.replace("{text}", text)


def text_dialogue(instruction: str, response: str) -> str:
    """A text-only example. The response is put in first: it may itself hold `{instruction}`."""
    question, answer = TEXT_DIALOGUE.split("{instruction}")
    return question + instruction + answer.replace("{response}", response)


def split_question(prompt: str) -> tuple[str, str]:
    """Split after the first `[Assistant]:`; without one everything is the question.

    The loss is taken on the second part only.
    """
    question, mark, answer = prompt.partition(ANSWER_MARK)
    return question + mark, answer
