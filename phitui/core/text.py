"""Text from outside (a model's output, a driver's strings, a file's names) made safe for a terminal.

A terminal obeys what is written to it: an answer may hold sequences that move the cursor, set the clipboard,
or turn the reading order around. What stays after `sanitize` is shown as it stands and nothing else.
"""

from __future__ import annotations

import re

# A command string (OSC, DCS, …) that does not end takes at most this much text with it, and never a line end.
# It is also the most that is held back of a stream. Long enough for a title or a link.
STRING_LIMIT_CHARS = 1024

# ECMA-48, section 5.4: parameters, intermediates, final. The 8-bit introducers are U+0080–U+009F in Unicode.
_CSI = r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}"
# OSC, DCS, SOS, PM, APC up to their terminator: ST, BEL (xterm), or CAN and SUB, which break a sequence off.
_STRING = rf"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x1b\x07\x9c\x18\x1a\r\n]{{0,{STRING_LIMIT_CHARS}}}"
# Everything else that begins with ESC: character sets (ESC ( B), resets (ESC c), saved cursors (ESC 7), …
_SHORT = r"\x1b[ -/]{0,16}"
_ESCAPE = rf"(?P<escape>{_CSI}[@-~]?|{_STRING}(?:\x1b\\|[\x07\x9c\x18\x1a])?|{_SHORT}[0-~]?)"
_NEWLINE = r"(?P<newline>\r\n?|[\x0b\x0c\x85\u2028\u2029])"
_SURROGATE = r"(?P<surrogate>[\ud800-\udfff])"
# Controls; then what shows nothing but changes what is seen or copied: soft hyphen, zero-width space, word
# joiner and invisible operators, embeddings, overrides and isolates of direction, deprecated format controls,
# the byte order mark, annotations, musical controls, and tags, which spell hidden ASCII. Kept, because
# scripts and emoji need them: ZWNJ, ZWJ, the direction marks U+200E, U+200F, U+061C, and variation selectors.
_HIDDEN = (
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
_TOKEN = f"{_ESCAPE}|{_NEWLINE}|{_SURROGATE}|{_HIDDEN}"
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"
# What stands at the end of a chunk and may go on in the next one.
_OPEN = rf"(?P<open>(?:{_CSI}|{_STRING}|{_SHORT}|\r)\Z)"

# Compiled at the first suspicious text (and kept by re): most runs never need them before the first frame.
_OPEN_OR_TOKEN = f"{_OPEN}|{_TOKEN}"
# One character class: tells the common harmless text apart at the speed of a scan.
_may_be_unsafe = re.compile(_HIDDEN[:-1] + r"\u2028\u2029\ud800-\udfff]")

_REPLACEMENT = {"newline": "\n", "surrogate": "\ufffd"}


def _replacement(match: re.Match[str]) -> str:
    return _REPLACEMENT.get(match.lastgroup or "", "")


def sanitize(text: str) -> str:
    """`text` without terminal sequences, controls and invisible characters that mislead.

    Whole sequences go (CSI, OSC, DCS, APC, PM, SOS and short ones, 7-bit and 8-bit, ended or not); tabs and
    line ends stay, and every line end becomes a newline; lone surrogates become U+FFFD. A command string that
    never ends takes at most the rest of its line, and at most `STRING_LIMIT_CHARS` characters.
    """
    if _may_be_unsafe.search(text) is None:
        return text
    return re.sub(_TOKEN, _replacement, text)


def without_controls(text: str) -> str:
    """`text` without terminal sequences and controls alone, as a person may send it: what shows nothing stays, such as
    the tags of a flag, or the spaces without width of Khmer. It is not safe to draw."""
    if _may_be_unsafe.search(text) is None:
        return text
    return re.sub(f"{_ESCAPE}|{_NEWLINE}|{_SURROGATE}|{_CONTROL}", _replacement, text)


class StreamSanitizer:
    """`sanitize` for text that comes in chunks, cut anywhere.

    What `feed` and `flush` return, put together, equals `sanitize` of the whole. Held back is only the
    beginning of a sequence at the end of a chunk: at most `STRING_LIMIT_CHARS` characters and a few.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return what is certain by now."""
        text = self._held + chunk
        self._held = ""
        if _may_be_unsafe.search(text) is None:
            return text
        return re.sub(_OPEN_OR_TOKEN, self._replace, text)

    def flush(self) -> str:
        """The stream has ended: return what was held back, cleaned as it stands."""
        text, self._held = self._held, ""
        return sanitize(text)

    def _replace(self, match: re.Match[str]) -> str:
        if match.lastgroup == "open":  # stands at the end: there is no match after it
            self._held = match.group()
            return ""
        return _replacement(match)


def one_line(text: str, limit: int) -> str:
    """`text` as a label: sanitized, one line, runs of space made one, cut to `limit` characters with "…"."""
    line = " ".join(sanitize(text).split())
    return line if len(line) <= limit else line[: max(limit - 1, 0)].rstrip() + "…"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 row", "2 rows"."""
    return f"{number} {noun}{'s' * (number != 1)}"
