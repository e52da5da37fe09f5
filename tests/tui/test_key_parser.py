"""What bytes mean: whatever comes, no key is lost, none is made up, and a paste is a paste."""

from __future__ import annotations

import codecs
import random

import pytest
from textual import events
from textual.message import Message

from edgechat.tui.terminal.input_decoder import Decoder
from edgechat.tui.terminal.key_parser import LONGEST_PASTE, PASTE_SECONDS, Keyboard


def read(*pieces: bytes, charset: str = "utf-8") -> list[Message]:
    """What pieces mean that come one right after the other, and then nothing."""
    keyboard = Keyboard(charset)
    found = [message for piece in pieces for message in keyboard.feed(piece, 0.0)]
    while keyboard.deadline is not None:
        found += keyboard.expire(keyboard.deadline)
    return found


def keys(*pieces: bytes, charset: str = "utf-8") -> list[str]:
    found = read(*pieces, charset=charset)
    assert all(isinstance(message, events.Key) for message in found), found
    return [message.key for message in found if isinstance(message, events.Key)]


def typed(*pieces: bytes, charset: str = "utf-8") -> str:
    found = [key for key in read(*pieces, charset=charset) if isinstance(key, events.Key)]
    assert all(key.is_printable or key.character is None for key in found), found
    return "".join(key.character or "" for key in found)


def pasted(*pieces: bytes) -> list[str]:
    return [message.text for message in read(*pieces) if isinstance(message, events.Paste)]


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        (b"gr\xfcn", "utf-8", "grün"),
        (b"caf\xe9", "utf-8", "café"),
        (b"\xe9\xe8\xe0 \xdf", "utf-8", "éèà ß"),
        (b"10 \x80", "utf-8", "10 €"),
        (b"\x81\xff", "utf-8", "\ufffdÿ"),
        (b"\xd0\xd2\xc9", "koi8-r", "при"),
        (b"\xf9\xec\xe5\xed", "iso8859-8", "שלום"),
        ("a\u3000b\u200dc\u00a0d\u200f".encode(), "utf-8", "a\u3000b\u200dc\u00a0d\u200f"),
        ("grün שלום 日本 😀".encode(), "koi8-r", "grün שלום 日本 😀"),
        ("日本".encode("gb18030"), "gb18030", "日本"),
        (b"\xed\xa0\x80", "utf-8", "í\u00a0€"),
        (b"\xf4\x90\x80\x80x", "utf-8", "ô\ufffd€€x"),
    ],
)
def test_bytes_of_any_charset_are_letters(data: bytes, charset: str, text: str) -> None:
    assert typed(data, charset=charset) == text


def test_a_character_may_come_in_pieces() -> None:
    data = "aé日😀ש".encode()
    assert typed(*(bytes([byte]) for byte in data)) == "aé日😀ש"


def test_a_letter_that_could_begin_another_is_there_after_a_moment() -> None:
    keyboard = Keyboard("utf-8")
    assert keyboard.feed(b"\xe9", 5.0) == []
    assert keyboard.deadline is not None
    assert keyboard.deadline < 5.5
    (key,) = keyboard.expire(keyboard.deadline)
    assert isinstance(key, events.Key)
    assert key.character == "é"
    assert keyboard.deadline is None


def test_no_charset_of_python_is_too_strange() -> None:
    for name in ("utf-7", "utf-16", "cp037", "iso2022_jp", "hz", "ascii", "mbcs", "euc_kr", "punycode", "shift_jis"):
        try:
            codecs.lookup(name)
        except LookupError:
            continue
        Decoder(name).feed(bytes(range(256)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\r", ["enter"]),
        (b"\n", ["ctrl+j"]),
        (b"\x1b\r", ["alt+enter"]),
        (b"\x1b\n", ["alt+enter"]),
        (b"\x1b[13;3u", ["alt+enter"]),
        (b"\x1b[27;3;13~", ["alt+enter"]),
        (b"\x1b[13;2u", ["shift+enter"]),
        (b"\x1b[27;2;13~", ["shift+enter"]),
        (b"\x1b[27;5;106~", ["ctrl+j"]),
        (b"\x1b[57414u", ["enter"]),
        (b"\x1bOM", ["enter"]),
        (b"\x1b", ["escape"]),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1b[A\x1bOB\x1b[1;5D\x1b[3~", ["up", "down", "ctrl+left", "delete"]),
        (b"\x1b[[A\x1b[23$\x1b[7^", ["f1", "f23", "ctrl+end"]),
        (b"\x1bOP\x1b[15~\x1b[24~", ["f1", "f5", "f12"]),
        (b"\x1bx\x1bX", ["alt+x", "alt+shift+x"]),
        (b"\x1bO", ["alt+shift+o"]),
        (b"\x1bP", ["alt+shift+p"]),
        (b"\x1b[97;;97u\x1b[99;5u", ["a", "ctrl+c"]),
    ],
)
def test_keys_are_what_terminals_send(data: bytes, expected: list[str]) -> None:
    assert keys(data) == expected
    if len(data) > 2:
        assert keys(*(bytes([byte]) for byte in data)) == expected, "the same, a byte at a time"


@pytest.mark.parametrize(
    "data",
    [
        b"\x1b[?62;22;52c",  # what it is
        b"\x1b[>41;370;0c",
        b"\x1b[0n",  # that it is well
        b"\x1b[5;5R",  # where the cursor is
        b"\x1b[?1;2R",
        b"\x1b[8;24;80t",  # its size
        b"\x1b[?1u",  # its keys
        b"\x1b]0;a title\x07",
        b"\x1b]l/quit\x1b\\",
        b"\x1b]11;rgb:0000/0000/0000\x1b\\",
        b"\x1bP>|xterm(370)\x1b\\",
        b"\x1bP1$r0m\x1b\\",
        b"\x1b_Gi=31;OK\x1b\\",
        b"\x1b]52;c;" + b"A" * 100_000 + b"\x07",
        b"\x1b]0;never ended",
        b"\x1bP1$r never ended",
        b"\x1b[<0;99999999999999999999;1M",
        b"\x1b[<64;-5;-7M",
        b"\x1b[<999;9999999;1m",
        b"\x1b[M\x20\xff\xff",
        b"\x1b[32;10;10M",
        b"\x1b[" + b"9" * 100_000 + b"m",
        b"\x1b[" + b"1;" * 50_000 + b"u",
        b"\x1b[1;2;3",
        b"\x1b[55296u",
        b"\x1b[97;;1114112u",
        b"\x1b[99999999999u",
        b"\x1b[97;;55357u",
        b"\x1b[48;0;0;0;0t",
        b"\x1b[48;99999999999;1;1;1t",
        b"\x1b[201~",
    ],
)
def test_what_a_terminal_says_is_never_typed(data: bytes) -> None:
    assert typed(data, b"") == ""
    assert typed(data[: len(data) // 2], data[len(data) // 2 :]) == ""


def test_a_person_can_type_on_after_an_answer_that_never_ended() -> None:
    keyboard = Keyboard("utf-8")
    keyboard.feed(b"\x1b]0;tit", 0.0)
    assert keyboard.deadline is not None
    keyboard.expire(keyboard.deadline)
    assert [key.key for key in keyboard.feed(b"ok", 9.0) if isinstance(key, events.Key)] == ["o", "k"]


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\r\n"])
def test_a_paste_is_opaque(line_end: bytes) -> None:
    log = b"boot \x1b[1;31mFAILED\x1b[0m" + line_end + b"/quit" + line_end + b"\x1b]0;title\x07end \x1b[A\x03\x11"
    for size in (1, 2, 3, 5, 7, 4096):
        data = b"\x1b[200~" + log + b"\x1b[201~x"
        found = read(*(data[start : start + size] for start in range(0, len(data), size)))
        assert [type(message) for message in found] == [events.Paste, events.Key]
        assert isinstance(found[0], events.Paste)
        assert found[0].text == "boot FAILED\n/quit\nend \u2403\u2411"


def test_marks_within_a_paste_do_not_end_it() -> None:
    assert pasted(b"\x1b[200~a\x1b[200~b\x1b[20\x1b[201m\x1b[201~") == ["ab\u241b[20"]
    assert pasted(b"\x1b[200~\x1b[201~") == []


def test_a_paste_that_stalls_is_shown_and_goes_on() -> None:
    keyboard = Keyboard("utf-8")
    keyboard.feed(b"\x1b[200~one\r", 0.0)
    (first,) = keyboard.expire(PASTE_SECONDS)
    assert isinstance(first, events.Paste)
    assert keyboard.deadline is None
    assert keyboard.feed(b"two\rthree\r", 30.0) == [], "a line of the rest sends nothing"
    (rest,) = keyboard.feed(b"four\x1b[201~", 30.1)
    assert (first.text, isinstance(rest, events.Paste) and rest.text) == ("one\n", "two\nthree\nfour")


@pytest.mark.parametrize(
    ("pieces", "keys"),
    [
        ([b"\x1b", b"[200~/quit\r\x1b[201~"], ["escape"]),  # these are keys, and the paste is one all the same
        ([b"\x1b[", b"200~/quit\r\x1b[201~"], ["left_square_bracket"]),
        ([b"\x1b[2", b"00~/quit\r\x1b[201~"], []),
        ([b"\x1b[200", b"~", b"/quit\r\x1b[201~"], []),
        ([b"\x1b[2", b"0", b"0~/quit\r\x1b[20", b"1~"], []),
        ([b"\x1b[200~/quit\r", b"\x1b[2", b"0", b"1", b"~"], []),
    ],
)
def test_the_marks_of_a_paste_may_stall(pieces: list[bytes], keys: list[str]) -> None:
    """As on a slow line; a paste taken for keys would be obeyed."""
    keyboard = Keyboard("utf-8")
    found: list[Message] = []
    for number, data in enumerate([*pieces, b"x"]):
        if keyboard.deadline is not None:
            found += keyboard.expire(keyboard.deadline)
        found += keyboard.feed(data, number * 10.0)
    assert [each.key for each in found if isinstance(each, events.Key)] == [*keys, "x"]
    assert "".join(each.text for each in found if isinstance(each, events.Paste)) == "/quit\n"


def test_what_only_begins_as_a_mark_keeps_no_key_back() -> None:
    for begun in (b"\x1b", b"\x1b[", b"\x1b[2", b"\x1b[200"):
        keyboard = Keyboard("utf-8")
        keyboard.feed(begun, 0.0)
        assert keyboard.deadline is not None
        keyboard.expire(keyboard.deadline)
        assert [each.key for each in keyboard.feed(b"h", 9.0) if isinstance(each, events.Key)] == ["h"]
        assert [each.key for each in keyboard.feed(b"[", 9.0) if isinstance(each, events.Key)] == [
            "left_square_bracket"
        ]


def test_a_paste_without_an_end_does_not_keep_the_keys() -> None:
    for key, name in ((b"x", "x"), (b"\r", "enter"), (b"\x11", "ctrl+q"), (b"\x1b[A", "up")):
        keyboard = Keyboard("utf-8")
        keyboard.feed(b"\x1b[200~one", 0.0)
        keyboard.expire(2.0)
        assert [each.key for each in keyboard.feed(key, 9.0) if isinstance(each, events.Key)] == [name]


def test_ten_megabytes_are_one_paste_and_more_are_several() -> None:
    def paste(size: int) -> list[str]:
        data = b"\x1b[200~" + b"hello \x1b[31mworld\n" * (size // 17) + b"\x1b[201~"
        return pasted(*(data[start : start + 65536] for start in range(0, len(data), 65536)))

    (one,) = paste(10_000_000)
    assert one == "hello world\n" * (10_000_000 // 17)
    several = paste(LONGEST_PASTE * 2)
    assert len(several) > 1
    assert set("".join(several).split("\n")) == {"hello world", ""}


def test_every_key_is_the_same_however_it_is_cut() -> None:
    dice = random.Random(7)
    parts = [
        b"a",
        "é".encode(),
        "😀".encode(),
        b"\x1b[A",
        b"\x1b[1;5D",
        b"\x1b[<0;3;4M",
        b"\x1b[200~x\x1b[31m\r\x1b[201~",
    ]
    parts += [b"\r", b"\x1b[27;3;13~", b"\x1b]0;t\x07", b"\x1b[?2026;2$y", b"\x1b[I"]
    for _ in range(300):
        data = b"".join(dice.choice(parts) for _ in range(12))
        cuts = sorted(dice.randrange(len(data)) for _ in range(dice.randrange(6)))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        whole, cut = read(data), read(*pieces)
        assert [repr(each) for each in cut] == [repr(each) for each in whole], pieces
