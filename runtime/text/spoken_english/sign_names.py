"""What signs and single Greek letters are called, and which signs are pictures.

In: a sign. Out: its name, or nothing: then it is left out. Emoji and ornaments are left out in
silence, because a text means the same without them.
"""

from __future__ import annotations

import re
import unicodedata

_GREEK_WRITTEN = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho "
    "sigma sigma tau upsilon phi chi psi omega"
)
_GREEK = dict(zip(map(chr, range(0x3B1, 0x3CA)), _GREEK_WRITTEN.split(), strict=True))
_GREEK |= {letter.upper(): name for letter, name in _GREEK.items()}
_GREEK |= {"ϕ": "phi", "ϵ": "epsilon", "ϑ": "theta"}
_NAMES = {
    **{"♥": "heart", "♡": "heart", "★": "star", "☆": "star", "✓": "check", "✔": "check"},
    **{"✗": "cross", "✘": "cross", "♯": "sharp", "♭": "flat", "♮": "natural", "©": "copyright"},
    **{"¶": "paragraph", "∈": "in", "∉": "not in", "⇒": "implies", "⇔": "if and only if"},
    **{"∀": "for all", "∃": "there is", "∅": "empty set", "∪": "union", "∩": "intersection"},
    **{"⊂": "subset of", "⊆": "subset of", "∧": "and", "∨": "or", "¬": "not", "∑": "sum of"},
    **{"∏": "product of", "∫": "integral of", "∂": "partial", "∇": "nabla", "∆": "delta"},
    **{"∝": "is proportional to", "≡": "is identical to", "≅": "is congruent to", "↑": "up"},
    **{"∼": "about", "∙": "times", "⋅": "times", "↓": "down", "↔": "to and from"},
}
_STARS = re.compile("(★{2,5})☆{0,4}|(★)☆{1,4}")
_SIGN = re.compile(f"[{''.join(_NAMES)}]")
_OHMS = re.compile(r"(?<![\w.,])(\d[\d.,]*) ?([kM]?)[ΩΩ](?!\w)")
_PREFIXES = {"": "", "k": "kilo", "M": "mega"}
_NOTE_A = re.compile(r"\bA(?=[♯♭♮])")
_LETTER = re.compile(rf"(?<![Ͱ-Ͽ])(?!μ[A-Za-z])[{''.join(_GREEK)}](?![Ͱ-Ͽ])")
_SILENT = re.compile(
    "[™®℠←\u2300-\u23ff\u2500-\u2bff\u3000-\u303f\ufffc\ufffd\U0001f000-\U0001faff]"
)


def name_signs(text: str) -> str:
    """Names for signs that have one, with spaces beside them."""
    text = _NOTE_A.sub("A- ", text)
    text = _STARS.sub(lambda found: f" {len(found[1] or found[2])}-star ", text)
    text = _SIGN.sub(lambda found: f" {_NAMES[found[0]]} ", text)
    text = _OHMS.sub(_read_ohms, text)
    return _LETTER.sub(lambda found: f" {_GREEK[found[0]]} ", text)


def is_picture(sign: str) -> bool:
    """Whether nothing is lost without the sign."""
    return unicodedata.category(sign)[0] != "S" or bool(_SILENT.match(sign))


def _read_ohms(found: re.Match[str]) -> str:
    return f"{found[1]} {_PREFIXES[found[2]]}ohm{'' if found[1] == '1' else 's'}"
