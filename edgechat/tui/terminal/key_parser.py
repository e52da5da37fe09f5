"""What the bytes from a terminal mean: keys, pastes, the mouse, and answers that nobody is to see.

Textual's tables say which key a sequence is. Where a sequence ends is decided here, by the grammar of ECMA-48, so that
one nobody knows is left out as a whole and never becomes text. A paste is opaque from its mark to its mark: nothing in
it is a key, however it was cut into pieces and however long a mark stalled in its middle. Bytes that mean nothing are
harmless; nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from typing import Final
from unicodedata import category

from textual import constants, events, messages
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual._xterm_parser import XTermParser
from textual.geometry import Size
from textual.keys import Keys
from textual.message import Message

from edgechat.chat.sanitize import has_controls, without_controls
from edgechat.tui.terminal.input_decoder import Decoder

ESC: Final = "\x1b"
PASTE_BEGINS: Final = "\x1b[200~"
PASTE_ENDS: Final = "\x1b[201~"

LETTER_SECONDS = 0.1
"""How long the rest of a character may take; what came of it is then another charset's letter."""

SEQUENCE_SECONDS = 1.0
"""How long the rest of a sequence may take that has begun as no typed text does."""

ANSWER_SECONDS = 0.5
"""How long the rest of a terminal's answer may take; until then all that comes belongs to it."""

PASTE_SECONDS = 2.0
"""How long the rest of a paste may take before what has come of it is shown."""

STALLED_SECONDS = 0.3
"""The same once a paste has stalled."""

SURE: Final = 3
"""Characters of a mark that nobody types; of fewer, the rest must come in one piece."""

LONGEST_SEQUENCE = 512
"""Characters of a sequence that are looked at; longer ones mean nothing."""

LONGEST_PASTE = 16 * 1024 * 1024
"""Characters of a paste that are given at once; a longer one comes in parts."""

# A minus is no part of a number by the rules; Ghostty writes it all the same.
_CONTROL = re.compile(r"\x1b\[[-0-?]*[ -/]*[@-~]")
_CONTROL_BEGUN = re.compile(r"\x1b\[[-0-?]*[ -/]*\Z")
_CONTROL_BROKEN = re.compile(r"\x1b\[[-0-?]*[ -/]*")
_X10_MOUSE = re.compile(r"\x1b\[M.{3}", re.DOTALL)
_LINUX_KEY = re.compile(r"\x1b\[\[[A-E]")
_LONGER_BEGUN = re.compile(r"\x1b\[(?:M.{0,2}|\[)\Z", re.DOTALL)
_RXVT_KEY = re.compile(r"\x1b\[\d+\$")
_KEYPAD = re.compile(r"\x1bO[0-9;]*[ -~]")
_KEYPAD_BEGUN = re.compile(r"\x1bO[0-9;]*\Z")
_ANSWER = re.compile(r"\x1b(?:\][0-9lL]|P[0-9>!$+=|]|_[A-Z])")
_ANSWER_ENDS = re.compile(r"[\x07\x18\x1a\x9c]|\x1b\\")
_MOUSE = re.compile(r"\x1b\[<\d{1,3};\d{1,6};\d{1,6}[Mm]")
_MODE_ANSWER = re.compile(r"\x1b\[\?(\d{1,5});(\d)\$y")
_SIZE_REPORT = re.compile(r"\x1b\[48;(\d{1,5})[\d:]*;(\d{1,5})[\d:]*;(\d{1,6})[\d:]*;(\d{1,6})[\d:]*t")
_OTHER_KEY = re.compile(r"\x1b\[27;(\d{1,3});(\d{1,7})~")
_NUMBERED = re.compile(r"\x1b\[(\d*)[\d:;]*[^u]\Z")
_PLACE = re.compile(r"\x1b\[\d+;\d+R")
_MODIFIED_F3 = re.compile(r"\x1b\[1;\d{1,2}R")


class SignKey(events.Key):
    """A key that types what cannot be seen and is text all the same: a wide space, a joiner of signs, a mark."""

    @property
    def is_printable(self) -> bool:
        """Python calls these signs unprintable, and text widgets would drop them."""
        return True


SignKey.handler_name = events.Key.handler_name


class Keyboard:
    """Turns bytes into messages.

    Attributes:
        deadline: When `expire` is to be called, on the clock of the times given; None for never.
    """

    def __init__(self, charset: str | None = None) -> None:
        """Nothing was read yet.

        Args:
            charset: For bytes that are not UTF-8; None is that of the locale.
        """
        self.deadline: float | None = None
        self._decoder = Decoder(charset)
        self._tables = XTermParser()
        self._begun = ""  # a sequence of which the end has not come, or a piece of the mark that ends a paste
        self._pasted: list[str] | None = None
        self._pasted_size = 0
        self._stalled = False
        self._answering = False
        self._late = ""  # what began as the mark of a paste does, and was given up

    def feed(self, data: bytes, now: float) -> list[Message]:
        """Take bytes that came.

        Args:
            data: The bytes, cut anywhere.
            now: The time on a clock that only goes forward.

        Returns:
            What they mean, in order.
        """
        text = self._late_mark(self._decoder.feed(data))
        if self._stalled and text and not self._begun:
            self._judge_stalled(text)
        found = list(self._parse(self._begun + text))
        self._set_deadline(now)
        return found

    def expire(self, now: float) -> list[Message]:
        """Nothing came until the deadline: give what is waiting as what it can only be.

        Args:
            now: The time, on the same clock.

        Returns:
            What that means.
        """
        found: list[Message] = []
        if rest := self._decoder.flush():
            found += self._parse(self._begun + rest)
        kept = ""
        if self._pasted is not None:
            if len(self._begun) >= SURE:  # the rest of the mark ends the paste, whenever it comes
                kept = self._begun
            else:
                self._pasted.append(self._begun)
            found += self._give_paste()
            self._stalled = True
        elif not self._answering:
            found += self._unfinished(self._begun)
            if self._begun and PASTE_BEGINS.startswith(self._begun):
                self._late = self._begun
        self._begun, self._answering = kept, False
        self.deadline = None
        return found

    def _late_mark(self, text: str) -> str:
        """Put the begin of a paste's mark and the rest of it together, if that is what comes after it was given up.

        Nobody types that rest, and as keys the whole paste would be obeyed.
        """
        if not self._late or not text:
            return text
        late, self._late = self._late, ""
        rest = PASTE_BEGINS[len(late) :]
        whole = text.startswith(rest) or (len(late) >= SURE and rest.startswith(text))
        return late + text if whole else text

    def use_pixels(self, size: Size, pixels: Size | None) -> None:
        """From now on the mouse tells pixels, of which a screen of that size has so many."""
        self._tables.terminal_size, self._tables.terminal_pixel_size = size, pixels
        self._tables.mouse_pixels = pixels is not None

    def _set_deadline(self, now: float) -> None:
        if self._pasted is not None:
            # A paste that stalled has been shown; only what came since is waited for.
            waiting = bool(self._pasted or self._begun or not self._stalled)
            seconds = (STALLED_SECONDS if self._stalled else PASTE_SECONDS) if waiting else None
        elif self._answering:
            seconds = ANSWER_SECONDS
        elif self._begun:
            seconds = SEQUENCE_SECONDS if self._begun.startswith("\x1b[") else constants.ESCAPE_DELAY
        else:
            seconds = LETTER_SECONDS if self._decoder.waiting else None
        self.deadline = None if seconds is None else now + seconds

    # The grammar

    def _parse(self, text: str) -> Iterator[Message]:
        self._begun = ""
        place = 0
        while place < len(text):
            if self._pasted is not None:
                place = yield from self._read_paste(text, place)
            elif self._answering:
                place = self._skip_answer(text, place)
            elif text[place] == ESC:
                place = yield from self._read_sequence(text, place)
            else:
                yield from self._keys(text[place])
                place += 1

    def _read_sequence(self, text: str, start: int) -> Generator[Message, None, int]:
        """Read what begins with ESC. Returns where it ends."""
        if _LONGER_BEGUN.match(text, start):  # what would be whole by the rules, and is not
            self._begun = text[start:]
            return len(text)
        for pattern in (_X10_MOUSE, _LINUX_KEY, _RXVT_KEY, _CONTROL, _KEYPAD):
            if not (match := pattern.match(text, start)):
                continue
            if pattern is _RXVT_KEY and match[0] not in ANSI_SEQUENCES_KEYS:
                continue
            yield from self._understand(match[0])
            return match.end()
        rest = text[start:]
        if rest in (ESC, "\x1b]", "\x1bP", "\x1b_") or _KEYPAD_BEGUN.match(rest) or _CONTROL_BEGUN.match(rest):
            self._begun = rest[:LONGEST_SEQUENCE]
            return len(text)
        if match := _ANSWER.match(text, start):
            self._answering = True
            return match.end()
        if rest.startswith("\x1b["):
            match = _CONTROL_BROKEN.match(rest)
            assert match is not None
            yield from self._unfinished(match[0])
            return start + match.end()
        if rest.startswith("\x1bO") or rest[1] == ESC:
            yield from self._unfinished(rest[: 1 if rest[1] == ESC else 2])
            return start + (1 if rest[1] == ESC else 2)
        yield from self._alt(rest[1])
        return start + 2

    def _skip_answer(self, text: str, start: int) -> int:
        """Leave out what a terminal answers, up to its end or the sequence that cuts it short."""
        if match := _ANSWER_ENDS.search(text, start):
            cut = text.find(ESC, start, match.start())
            self._answering = False
            return match.end() if cut < 0 else cut
        cut = text.find(ESC, start)
        if cut < 0:
            return len(text)
        if cut == len(text) - 1:  # the end of it may have begun
            self._begun = ESC
            return len(text)
        self._answering = False
        return cut

    # What a sequence means

    def _understand(self, sequence: str) -> Iterator[Message]:
        """What a whole sequence means; nothing for one that nobody knows."""
        if len(sequence) > LONGEST_SEQUENCE:
            return
        if sequence == PASTE_BEGINS:
            self._pasted, self._pasted_size, self._stalled = [], 0, False
        elif sequence == "\x1b[I":
            yield events.AppFocus()
        elif sequence == "\x1b[O":
            yield events.AppBlur()
        elif match := _OTHER_KEY.fullmatch(sequence):  # xterm's other way to say what kitty says
            yield from self._keys(f"\x1b[{match[2]};{match[1]}u")
        elif match := _SIZE_REPORT.fullmatch(sequence):
            height, width, pixel_height, pixel_width = map(int, match.groups())
            if min(height, width, pixel_height, pixel_width) > 0:
                yield events.Resize.from_dimensions((width, height), (pixel_width, pixel_height))
        elif match := _MODE_ANSWER.fullmatch(sequence):
            yield from self._mode(match[1], int(match[2]))
        elif _MOUSE.fullmatch(sequence):
            yield from self._mouse(sequence)
        elif not _PLACE.fullmatch(sequence) or _MODIFIED_F3.fullmatch(sequence):
            yield from self._keys(sequence)

    def _mode(self, mode: str, setting: int) -> Iterator[Message]:
        if mode == "2026" and setting > 0:
            yield messages.TerminalSupportsSynchronizedOutput()
        elif mode == "2048" and constants.SMOOTH_SCROLL:
            yield messages.InBandWindowResize.from_setting_parameter(setting)

    def _mouse(self, sequence: str) -> Iterator[Message]:
        with suppress(ValueError, OverflowError, ZeroDivisionError):
            if event := self._tables.parse_mouse_code(sequence):
                yield event

    def _keys(self, sequence: str) -> Iterator[Message]:
        """The keys that Textual's tables know a sequence for."""
        match = _NUMBERED.match(sequence)
        if match and sequence not in ANSI_SEQUENCES_KEYS and f"{match[1] or 1}{sequence[-1]}" not in FUNCTIONAL_KEYS:
            return  # its number would be taken for a letter's
        found: Iterable[events.Key] = ()
        with suppress(ValueError, OverflowError, TypeError):  # numbers that are no characters
            found = list(self._tables._sequence_to_key_events(sequence))
        for key in found:
            if key.key != Keys.Ignore and not _is_half_a_character(key.character):
                yield SignKey(key.key, key.character) if _is_unseen_sign(key.character) else key

    def _alt(self, character: str) -> Iterator[Message]:
        """A key with Alt, which terminals send as ESC and the key."""
        if character in "\r\n":
            yield events.Key("alt+enter", None)
        elif ESC + character in ANSI_SEQUENCES_KEYS:
            yield from self._keys(ESC + character)
        else:
            yield from self._tables._sequence_to_key_events(character, alt=True)

    def _unfinished(self, sequence: str) -> Iterator[Message]:
        """What a sequence is that ended too soon: the keys that a person can have pressed, or nothing."""
        if sequence == ESC:
            yield events.Key("escape", ESC)
        elif len(sequence) == 2:
            yield from self._alt(sequence[1])

    # Pastes

    def _read_paste(self, text: str, start: int) -> Generator[Message, None, int]:
        """Read on in a paste. Returns where that ends."""
        assert self._pasted is not None
        end = text.find(PASTE_ENDS, start)
        if end >= 0:
            self._pasted.append(text[start:end])
            yield from self._give_paste()
            self._pasted, self._stalled = None, False
            return end + len(PASTE_ENDS)
        end = len(text) - _begun_at_the_end(text, PASTE_ENDS)
        end = max(end, start)
        self._begun = text[end:]
        self._pasted.append(text[start:end])
        self._pasted_size += end - start
        if self._pasted_size > LONGEST_PASTE:
            yield from self._give_paste()
        return len(text)

    def _give_paste(self) -> Iterator[Message]:
        assert self._pasted is not None
        text = "".join(self._pasted)
        self._pasted, self._pasted_size = [], 0
        if text := without_controls(text):
            yield events.Paste(text)

    def _judge_stalled(self, text: str) -> None:
        """Whether what comes after a long silence is a key, or the rest of the paste, which comes in larger pieces."""
        if len(text) == 1 or (_is_one_key(text) and text != PASTE_ENDS):
            self._pasted, self._stalled = None, False


def _is_unseen_sign(text: str | None) -> bool:
    return text is not None and len(text) == 1 and category(text) in ("Zs", "Cf", "Co") and not has_controls(text)


def _is_one_key(text: str) -> bool:
    match = _CONTROL.fullmatch(text) or _KEYPAD.fullmatch(text)
    return match is not None and not text.endswith("m")  # an "m" ends a colour


def _is_half_a_character(text: str | None) -> bool:
    return text is not None and any("\ud800" <= character <= "\udfff" for character in text)


def _begun_at_the_end(text: str, mark: str) -> int:
    """How many characters at the end of a text may be the begin of a mark."""
    return next((size for size in range(len(mark) - 1, 0, -1) if text.endswith(mark[:size])), 0)
