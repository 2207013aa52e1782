"""Prompt templates, text normalisation, and the split of a prompt into question and answer.

In: text. Out: the prompt as a string, and its two parts. Training takes no loss on the question.
It does not know tokenizers, files or tensors. The templates are those of the published training
code (arXiv 2506.12537, repository cnxupupup/SLM-Decoupled-MTP).
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
    """The text before and after the speech.

    All but `tail` end in `<sosp>`, the last token before the first speech token. `chat` and
    `chat_speaker` are for spoken answers to questions. The paper gives their order (question, text
    answer, spoken answer) but no template, so these join the published templates for text and for
    speech. `tail` follows `<eosp>` in training only.
    """

    tts: str = TTS_PROMPT
    tts_speaker: str = TTS_SPEAKER_PROMPT
    tail: str = SPEECH_TAIL
    chat: str = CHAT_PROMPT
    chat_speaker: str = CHAT_SPEAKER_PROMPT

    def prompt(self, text: str, *, with_speaker: bool) -> str:
        """The prompt for `text`. Braces in the text have no meaning."""
        template = self.tts_speaker if with_speaker else self.tts
        return template.replace("{text}", text)

    def chat_parts(self, *, with_speaker: bool) -> ChatParts:
        """The parts of the chat template, which holds `{question}` and then `{answer}` once."""
        template = self.chat_speaker if with_speaker else self.chat
        before, after_answer = template.split("{answer}")
        question, written = split_question(before)
        return ChatParts(question, written, after_answer)


@dataclass(frozen=True)
class ChatParts:
    """A chat template, split where the model begins to write, and before and after its answer.

    `question` holds `{question}`. A model continues it with `before_answer`, the answer and
    `after_answer`, which ends in `<sosp>`. `question` and its continuation are tokenized
    separately, both in training and in use.
    """

    question: str
    before_answer: str
    after_answer: str

    def ask(self, question: str) -> str:
        """The prompt, up to where the model begins to write."""
        return self.question.replace("{question}", question)

    def write(self, answer: str) -> str:
        """The text that the model writes before it speaks."""
        return self.before_answer + answer + self.after_answer


def normalize_text(text: str) -> str:
    """Text as in the published training data: only the first letter is a capital.

    A full stop at the end stays.
    """
    return text.strip().lower().capitalize()


def asr_answer(text: str) -> str:
    """The text after `<eosp>` in a recognition example."""
    return ASR_ANSWER.replace("{text}", text)


def text_dialogue(instruction: str, response: str) -> str:
    """A text-only example. Both texts may hold the names of places, such as `{instruction}`."""
    question, answer = TEXT_DIALOGUE.split("{instruction}")
    return question + instruction + answer.replace("{response}", response)


def split_question(prompt: str) -> tuple[str, str]:
    """Split after the first `[Assistant]:`. Without one, all of the prompt is the question.

    Training takes its loss on the second part only.
    """
    question, mark, answer = prompt.partition(ANSWER_MARK)
    return question + mark, answer
