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
CHAT_PROMPT = f"{HUMAN}: {{question}}\n {ANSWER_MARK} {{answer}} The speech is: {SPEECH_START}"
CHAT_SPEAKER_PROMPT = (
    f"{HUMAN}: {{question}} You should speak like: {SPEAKER_PLACEHOLDER}.\n"
    f" {ANSWER_MARK} {{answer}} The speech is: {SPEECH_START}"
)
SPEECH_TAIL = ".\n\n"
ASR_QUESTION_START = f"{HUMAN}: Recognize this speech: {SPEECH_START}"
ASR_ANSWER = f".\n {ANSWER_MARK} The text is: {{text}}.\n\n"
TEXT_DIALOGUE = f"{HUMAN}: {{instruction}}\n {ANSWER_MARK} {{response}}\n\n"


@dataclass(frozen=True)
class PromptTemplates:
    """What stands around the speech.

    All but `tail` end in `<sosp>`, the last token before the first speech token. `chat` and
    `chat_speaker` are for spoken answers to questions: the paper gives the order (question, text
    answer, spoken answer) but no template, so these join the published ones for text and for
    speech. `tail` follows `<eosp>` in training only.
    """

    tts: str = TTS_PROMPT
    tts_speaker: str = TTS_SPEAKER_PROMPT
    tail: str = SPEECH_TAIL
    chat: str = CHAT_PROMPT
    chat_speaker: str = CHAT_SPEAKER_PROMPT

    def prompt(self, text: str, *, with_speaker: bool) -> str:
        """The prompt for `text`, replaced literally: braces in the text stay what they are."""
        template = self.tts_speaker if with_speaker else self.tts
        return template.replace("{text}", text)

    def chat_parts(self, *, with_speaker: bool) -> ChatParts:
        """The pieces of the chat template. It holds `{question}` and `{answer}` once, in order."""
        template = self.chat_speaker if with_speaker else self.chat
        before, after_answer = template.split("{answer}")
        question, written = split_question(before)
        return ChatParts(question, written, after_answer)


@dataclass(frozen=True)
class ChatParts:
    """A chat template, cut where the model begins to write and around its answer.

    `question` holds `{question}`; a model continues it with `before_answer`, the answer and
    `after_answer`, which ends in `<sosp>`. Each side of the first cut is tokenized by itself, in
    training as in use.
    """

    question: str
    before_answer: str
    after_answer: str

    def ask(self, question: str) -> str:
        """What the model is given, up to where it begins to write."""
        return self.question.replace("{question}", question)

    def write(self, answer: str) -> str:
        """What the model writes before it speaks."""
        return self.before_answer + answer + self.after_answer


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
