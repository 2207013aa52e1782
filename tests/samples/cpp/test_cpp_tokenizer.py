"""The C++ program's tokenizer against the `tokenizers` package, its noise against NumPy's."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from formats.checkpoint.qwen2_tokenizer import _QWEN2_PATTERN
from formats.checkpoint.tokenizer import build_phoneme_tokenizer
from samples.cpp import write_unicode_tables

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "samples" / "cpp"
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
STRINGS = 10_000

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")

# What random strings are made of. Pieces come whole, alphabets letter by letter.
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABC'sStTrReEvVmMlLdD'ſK",
    " \t\n\r\u00a0\u2003\u3000\u0085\x0b\u1680\u2028",
    "0123456789١½Ⅳ",
    "e\u0301\u0300\u0345\u0323\u0327o\u0308\u1100\u1161\u11a8가\u0958\u2126\u212b\ufb1d\u0344",
    "中文あह\u093f😀👨\u200d👩",
    ".,;:!?()-\"'’ˈˌ",
)
PIECES = ["<sosp>", "<a1>", "<a10>", "<a1024>", "<a1", "[Human]", "<|im_start|>", "'ll", "'RE"]
PIECES += ["\r\n", "  \n ", "<ne\u0301>", "<né>", "Café", "Cafe\u0301", "tion", " the", " of"]
PHONEMES = "abdfhijklmnpstuvwz ðŋɑɔəɛɡɪɹʃʊʌʒʤʧθᵊᵻæ.,!?ˈˌˈˌ\n"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert COMPILER is not None
    program = tmp_path_factory.mktemp("cpp") / "driver"
    parts = ("tokenizer", "unicode", "word_rules", "manifest")
    sources = [Path(__file__).parent / "driver.cpp", ROOT / "native/engine/weights/json.cpp"]
    sources += [PROGRAM / f"{part}.cpp" for part in parts]
    folders = [ROOT / "native/engine", ROOT / "native/include", PROGRAM]
    command = [COMPILER, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
    command += [f"-I{folder}" for folder in folders] + [str(source) for source in sources]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    return program


def train_bpe() -> Tokenizer:
    """Qwen2's rules, with a vocabulary learned from this project's pages."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=2_000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
    tokenizer.train_from_iterator(pages, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>"])
    plain = ("<sosp>", "<a1>", "<a10>", "<a1024>", "[Human]")
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])
    tokenizer.add_tokens([AddedToken(token, normalized=True) for token in ("<né>", "Cafe\u0301")])
    return tokenizer


def random_strings(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [_random_string(draw) for _ in range(count)]


def _random_string(draw: random.Random) -> str:
    text, length = "", draw.randint(0, 40)
    while len(text) < length:
        kind = draw.random()
        if kind < 0.15:
            point = draw.randrange(0x110000)
            text += "" if 0xD800 <= point < 0xE000 else chr(point)
        elif kind < 0.3:
            text += draw.choice(PIECES)
        else:
            alphabet = draw.choice(ALPHABETS)
            text += "".join(draw.choices(alphabet, k=draw.randint(1, 5)))
    return text


def encode(driver: Path, tokenizer: Path, texts: list[str]) -> list[list[tuple[int, int, int]]]:
    """(id, first byte, last byte + 1) of each token, by the C++ program."""
    given = "".join(f"{text.encode().hex()}\n" for text in texts)
    command = [str(driver), "tokens", str(tokenizer)]
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")[:-1]
    assert len(lines) == len(texts)
    return [[_numbers(token) for token in line.split()] for line in lines]


def _numbers(token: str) -> tuple[int, int, int]:
    number, begin, end = map(int, token.split(":"))
    return number, begin, end


def compare(driver: Path, tokenizer: Tokenizer, texts: list[str], folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    for text, found in zip(texts, encode(driver, path, texts), strict=True):
        wanted = tokenizer.encode(text, add_special_tokens=False)
        assert [number for number, _, _ in found] == wanted.ids, ascii(text)
        if unicodedata.normalize("NFC", text) == text:
            places = [len(text[:end].encode()) for offsets in wanted.offsets for end in offsets]
            assert [end for _, *ends in found for end in ends] == places, ascii(text)


def test_bpe_equals_the_package(driver: Path, tmp_path: Path) -> None:
    compare(driver, train_bpe(), random_strings(STRINGS, 1), tmp_path)


def test_phonemes_equal_the_package(driver: Path, tmp_path: Path) -> None:
    draw = random.Random(2)
    texts = ["".join(draw.choices(PHONEMES, k=draw.randint(0, 30))) for _ in range(STRINGS)]
    tokenizer = build_phoneme_tokenizer(["hˌi hæd mˈʌni.", "ðə ʃˈɪp, ænd"], mtp=True)
    compare(driver, tokenizer, texts + random_strings(1_000, 3), tmp_path)


def test_long_words_take_no_long_time(driver: Path, tmp_path: Path) -> None:
    compare(driver, train_bpe(), ["tion" * 20_000], tmp_path)


def test_older_files_write_merges_as_strings(driver: Path, tmp_path: Path) -> None:
    tokenizer = train_bpe()
    content = tokenizer.to_str()
    path = tmp_path / "old.json"
    values = json.loads(content)
    values["model"]["merges"] = [" ".join(pair) for pair in values["model"]["merges"]]
    path.write_text(json.dumps(values), encoding="utf-8")
    texts = random_strings(200, 4)
    wanted = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    assert [[token[0] for token in line] for line in encode(driver, path, texts)] == wanted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('"NFC"', "a normalizer other than NFC"),
        ('"Isolated"', "behavior"),
        ('"ByteLevel"', "another Sequence"),
        ('"BPE"', "the model"),
    ],
)
def test_other_kinds_are_refused(driver: Path, tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(train_bpe().to_str().replace(change, '"Other"'), encoding="utf-8")
    done = subprocess.run([str(driver), "tokens", str(path)], capture_output=True, text=True)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1, 2**32, 2**63 - 1])
def test_noise_is_numpys(driver: Path, seed: int) -> None:
    command = [str(driver), "noise", str(seed), "3", "1001"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    wanted = np.random.default_rng([seed, 3]).random(1001, dtype=np.float32)
    assert [float.fromhex(number) for number in said] == wanted.tolist()


def test_tables_are_those_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has edited what the generator writes, and the package has not changed."""
    monkeypatch.setattr(write_unicode_tables, "TABLES", tmp_path / "unicode_tables.h")
    assert write_unicode_tables.main([]) == 0
    written = (tmp_path / "unicode_tables.h").read_text(encoding="utf-8")
    assert written == (PROGRAM / "unicode_tables.h").read_text(encoding="utf-8")
