"""Addresses and names of the net: URLs, e-mail, files, handles, hashtags, `C++`, `.NET`.

In: text. Out: "w w w dot example dot com slash docs". Which letters form a word is for
`spell_label`, which asks the dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container

from runtime.text.joined_sentences import JOINT, ends_joined_sentence

_TOP_LEVEL = (
    "com org net edu gov mil info biz io dev app ai co uk de fr eu ch at ca au tv ly jp xyz tech"
)
_EXTENSIONS = (
    "txt md pdf doc docx xls xlsx ppt pptx odt rtf csv tsv json yaml yml toml xml html htm css "
    "js ts jsx tsx py ipynb c h cpp hpp rs go java kt swift rb php sh bat ps1 sql ini cfg conf "
    "log lock jpg jpeg png gif svg webp bmp tif tiff ico mp3 mp4 wav flac ogg m4a avi mov mkv "
    "webm epub zip tar gz tgz bz2 xz 7z rar exe dll so iso dmg deb rpm apk onnx safetensors "
    "gguf bin pt pth ckpt"
)
_LABEL = r"[^\W_](?:[\w-]{0,62}[^\W_])?"
_SCHEME = re.compile(r"(?:https?|ftp)://|mailto:", re.IGNORECASE)
# What a piece between spaces, commas and brackets may be as a whole.
_ADDRESS = re.compile(
    rf"(?i:https?|ftp)://\S+|(?:mailto:)?\w[\w.+-]{{0,63}}@(?:{_LABEL}\.){{1,8}}[A-Za-z]{{2,12}}|www\.\S+"
    rf"|(?:{_LABEL}\.){{1,8}}(?:(?i:{'|'.join(_TOP_LEVEL.split())})(?::\d+)?(?:[/?#]\S*)?"
    rf"|(?i:{'|'.join(_EXTENSIONS.split())}))"
    r"|(?:~|\.{1,2})?(?:/[\w.+~-]{1,100}){2,60}/?|[A-Za-z]:\\\S*|(?:~|\.{1,2})/[\w.+~/-]+|/[a-z][\w.+~-]*"
    rf"|(?:[\w.-]{{1,100}}/){{1,60}}[\w-]{{1,100}}\.(?i:{'|'.join(_EXTENSIONS.split())})"
)
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # "D.C", "J.H": letters, not a file of C
_GLUED = re.compile(
    r"(?<![^\s(\"“'])([^\W\d_]{2,40})([.!?])([^\W\d_]{2,40})(?![^\s.,;:!?)\"”']|\.\w)"
)
_GLUED_TITLE = re.compile(r"\b((?:Mr|Mrs|Ms|Dr|Prof|St|Mt|Gen|Sen|Gov|Rev|Capt)\.)(?=[A-Z][a-z])")
_CHUNK = re.compile(r"\S+")
_DIVIDER = re.compile(r"([,;()<>\"“”\[\]{}|*]+)")
_TRAILING = re.compile(r"(?:'s)?[.:!?']{0,8}$")
_MAX_ADDRESS_CHARACTERS = 2000
_HANDLE = re.compile(r"(?<![\w@./])@(?=[^\W\d_])([\w]{1,60})")
_HASHTAG = re.compile(r"(?<![\w&#/])#(?=\w*[^\W\d_])([\w-]{1,100})")
_DOT_NAME = re.compile(
    r"(?<![\w.…])\.(?=[^\W\d_]{2})|(?<=[a-z])\.(?=(?:js|NET|io|ai)\b)|(?<=ASP)\.(?=NET)"
)
_PLUSES = re.compile(r"\b([A-Za-z])\+\+(?!\+)")
_SHARP = re.compile(r"(?<!\w)([A-G])#(?!\w)")
_GRADE = re.compile(r"(?<![\w'-])([A-F])\+(?![\w+])")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+|[^\w\s]|_|\s+")
_NAMED = {
    **{".": "dot", "/": "slash", "\\": "backslash", "-": "dash", "_": "underscore", ":": "colon"},
    **{"?": "question mark", "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus"},
    **{
        "~": "tilde",
        "@": "at",
        "*": "star",
        "!": "",
        ",": "comma",
        ";": "semicolon",
        "$": "dollar",
    },
}
_SHORT_WORDS_WRITTEN = (
    "am an as at be by do go he hi if in is it me my no of oh on or so to up we us ok"
)
_SHORT_WORDS = frozenset(_SHORT_WORDS_WRITTEN.split())
_SAID_LABELS_WRITTEN = "co edu org gov app dev net com"
_SAID_LABELS = frozenset(_SAID_LABELS_WRITTEN.split())
_VOWEL = re.compile("[aeiouyAEIOUYà-öø-ÿ]")


def read_addresses(text: str, words: Container[str]) -> str:
    """Words for URLs, e-mail addresses, file names, handles and hashtags."""
    text = _part_sentences(text, words)
    text = _CHUNK.sub(lambda chunk: _read_chunk(chunk[0], words), text)
    text = _HANDLE.sub(lambda found: f"at {_read_name(found[1], words)}", text)
    text = _HASHTAG.sub(lambda found: f"hashtag {_read_name(found[1], words)}", text)
    text = _PLUSES.sub(r"\1 plus plus", text)
    text = _GRADE.sub(_name_mark("plus"), _SHARP.sub(_name_mark("sharp"), text))
    return _DOT_NAME.sub(_read_dot, text)


def _part_sentences(text: str, words: Container[str]) -> str:
    """A space after each stop that was typed without one: "Mr.Smith", "late.We", "cats.dogs"."""
    text = _GLUED_TITLE.sub(r"\1 ", text)
    text = JOINT.sub(lambda found: found[0] + (" " if ends_joined_sentence(found) else ""), text)
    return _GLUED.sub(lambda found: _part_words(found, words), text)


def _part_words(found: re.Match[str], words: Container[str]) -> str:
    """Two words that the dictionary has, unless they are an address as a whole."""
    before, stop, after = found.groups()
    is_prose = all(
        small in words or small.removesuffix("s") in words
        for small in (before.lower(), after.lower())
    )
    if not is_prose or _ADDRESS.fullmatch(f"{before}{stop}{after}"):
        return found[0]
    return f"{before}{stop} {after}"


def spell_label(label: str, words: Container[str]) -> str:
    """A word that the dictionary has, or that can be said; else its letters one by one."""
    small = label.lower()
    if small in _SHORT_WORDS | _SAID_LABELS or (len(label) > 2 and _is_sayable(small, words)):
        return small if label.isupper() else label
    return " ".join(small) if "a" not in small else label.upper()


def _is_sayable(label: str, words: Container[str]) -> bool:
    is_known = label in words or label.capitalize() in words
    return is_known or (len(label) > 3 and bool(_VOWEL.search(label)))


def _read_chunk(chunk: str, words: Container[str]) -> str:
    """What stands between two spaces, with the addresses in it read."""
    if len(chunk) > _MAX_ADDRESS_CHARACTERS or not any(sign in chunk for sign in "./\\@"):
        return chunk
    return "".join(_read_piece(piece, words) for piece in _DIVIDER.split(chunk))


def _read_piece(piece: str, words: Container[str]) -> str:
    """The piece in words if it is an address, followed by the punctuation of its sentence."""
    end = _TRAILING.search(piece)
    address, trailing = (piece[: end.start()], end[0]) if end else (piece, "")
    if not _ADDRESS.fullmatch(address) or _INITIALS.fullmatch(address):
        return piece
    return _read_pieces(_SCHEME.sub("", address, count=1).rstrip("/"), words) + trailing


def _read_name(name: str, words: Container[str]) -> str:
    """A handle: its words, with or without underscores."""
    return _read_pieces(name.replace("_", " ").replace("-", " "), words)


def _read_pieces(body: str, words: Container[str]) -> str:
    read = [_NAMED.get(piece) if not piece.isalnum() else piece for piece in _PIECE.findall(body)]
    spoken = [
        spell_label(piece, words) if piece.isalpha() and piece in body else piece
        for piece in read
        if piece
    ]
    return " ".join(spoken)


def _name_mark(name: str) -> Callable[[re.Match[str]], str]:
    """ "B+" -> "B plus"; a hyphen tells that "A" is no article."""
    return lambda found: f"{found[1]}{'-' if found[1] == 'A' else ''} {name}"


def _read_dot(found: re.Match[str]) -> str:
    return "dot " if found.start() == 0 or found.string[found.start() - 1].isspace() else " dot "
