"""GGUF files made up from seeds: a small whole one, broken in a way that its number chooses.

The file is taken apart once, and put together again with one thing or two changed, so that a lie is well-formed
wherever it is not the point. `python -m tests.hostile.gguf_files OUT FILE...` converts files, one JSON line a file,
with a bound on its memory; a hang or a blow-up is seen by whoever started it.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.hostile.gguf_form import KINDS, Gguf, Key, Tensor, text

MEMORY = 1_000_000_000
"""Bytes a conversion may take beyond what is there before it; the files have some hundred kilobytes."""

HUGE = (0, 1, 2, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**48, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (
    b"",
    b"\0",
    b"a\0b",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x1b]0;x\x07",
    "\u202e".encode(),
    b"x" * 70_000,
    b"../../x",
)
FLOATS = (float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e-45, 3e38, -0.0)

Attack = Callable[[Gguf, random.Random], Gguf]
ATTACKS: list[Attack] = []


def attack(made: Attack) -> Attack:
    """Put a way of breaking a file on the list; a case's number says which one it is, and seeds it."""
    ATTACKS.append(made)
    return made


def _key(file: Gguf, name: str, **changes: Any) -> Gguf:
    return replace(file, keys=[replace(key, **changes) if key.name.decode() == name else key for key in file.keys])


def _some_key(file: Gguf, rng: random.Random, **changes: Any) -> Gguf:
    return _key(file, rng.choice(file.keys).name.decode(), **changes)


def _tensor(file: Gguf, index: int, **changes: Any) -> Gguf:
    tensors = list(file.tensors)
    tensors[index] = replace(tensors[index], **changes)
    return replace(file, tensors=tensors)


def _numeric(file: Gguf) -> list[Key]:
    return [key for key in file.keys if key.kind in KINDS]


@attack
def a_number_of_any_size(file: Gguf, rng: random.Random) -> Gguf:
    key = rng.choice([key for key in _numeric(file) if key.kind in (4, 10)])
    return _key(file, key.name.decode(), kind=10, value=struct.pack("<Q", rng.choice(HUGE)))


@attack
def a_number_below_zero(file: Gguf, rng: random.Random) -> Gguf:
    key = rng.choice(_numeric(file))
    return _key(file, key.name.decode(), kind=11, value=struct.pack("<q", -rng.choice(HUGE[:8])))


@attack
def a_number_that_is_none(file: Gguf, rng: random.Random) -> Gguf:
    key = rng.choice(_numeric(file))
    return _key(file, key.name.decode(), kind=12, value=struct.pack("<d", rng.choice(FLOATS)))


@attack
def two_numbers_of_any_size(file: Gguf, rng: random.Random) -> Gguf:
    return a_number_of_any_size(a_number_of_any_size(file, rng), rng)


@attack
def a_head_of_any_size(file: Gguf, rng: random.Random) -> Gguf:
    """Sizes that agree with each other and are bounded by no tensor alone: the tables of rotations."""
    size = 2 ** rng.randrange(5, 16)
    packed = struct.pack("<Q", size)
    for name in ("llama.attention.key_length", "llama.attention.value_length", "llama.rope.dimension_count"):
        file = replace(
            file, keys=[*(key for key in file.keys if key.name.decode() != name), Key(name.encode(), 10, packed)]
        )
    file = _key(file, "llama.context_length", kind=10, value=struct.pack("<Q", rng.choice((512, 131_072, 2**40))))
    rows = {"attn_q": 4 * size, "attn_k": 2 * size, "attn_v": 2 * size}
    tensors = []
    for one in file.tensors:
        part = one.name.decode().split(".")[2] if one.name.startswith(b"blk") else ""
        dims = (
            (one.dims[0], rows[part])
            if part in rows
            else (4 * size, one.dims[1])
            if part == "attn_output"
            else one.dims
        )
        tensors.append(replace(one, dims=dims))
    return replace(file, tensors=tensors).laid_out(rng.random() < 0.7)


@attack
def words_that_are_none(file: Gguf, rng: random.Random) -> Gguf:
    return _some_key(file, rng, kind=8, value=text(rng.choice(WORDS)))


@attack
def a_template_that_is_no_text(file: Gguf, rng: random.Random) -> Gguf:
    words = (b"{{ \xff }}", b"\xed\xa0\x80", b"{{ 1 }}\0{{ 2 }}", b"{{" * 5000, b"y" * 3_000_000, b"\x1b]0;x\x07")
    word = rng.choice(words)
    return replace(file, keys=[*file.keys, Key(b"tokenizer.chat_template", 8, text(word))])


@attack
def another_kind_of_value(file: Gguf, rng: random.Random) -> Gguf:
    return _some_key(file, rng, kind=rng.choice((*range(14), 255, 2**31)))


@attack
def a_list_in_a_list(file: Gguf, rng: random.Random) -> Gguf:
    depth = rng.choice((2, 10, 5000))
    value = struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQ", 4, 0)
    return _some_key(file, rng, kind=9, value=value)


@attack
def a_list_of_any_length(file: Gguf, rng: random.Random) -> Gguf:
    value = struct.pack("<IQ", rng.choice((0, 4, 6, 7, 8, 12, 77)), rng.choice(HUGE)) + bytes(rng.randrange(0, 4000))
    return _some_key(file, rng, kind=9, value=value)


@attack
def a_key_twice(file: Gguf, rng: random.Random) -> Gguf:
    twice = rng.choice(file.keys)
    return replace(
        file, keys=[*file.keys, replace(twice, value=rng.choice(file.keys).value) if rng.random() < 0.5 else twice]
    )


@attack
def a_key_left_out(file: Gguf, rng: random.Random) -> Gguf:
    gone = rng.choice(file.keys)
    return replace(file, keys=[key for key in file.keys if key is not gone])


@attack
def many_keys(file: Gguf, rng: random.Random) -> Gguf:
    count = rng.choice((100, 20_000, 200_000))
    return replace(file, keys=[*file.keys, *(Key(b"k%d" % n, 0, b"\0") for n in range(count))])


@attack
def counts_of_any_size(file: Gguf, rng: random.Random) -> Gguf:
    return replace(file, counts=(rng.choice((None, *HUGE)), rng.choice((None, *HUGE))))


@attack
def another_version(file: Gguf, rng: random.Random) -> Gguf:
    return replace(
        file, magic=rng.choice((b"GGUF", b"GGML", b"FUGG")), version=rng.choice((0, 1, 2, 4, 3 << 24, 2**32 - 1))
    )


@attack
def an_alignment(file: Gguf, rng: random.Random) -> Gguf:
    kind = rng.choice((4, 5, 7, 10, 8))
    value = (
        text(b"32")
        if kind == 8
        else struct.pack("<" + KINDS[kind], rng.choice((0, 1)) if kind != 4 else rng.choice(HUGE[:9]))
    )
    return replace(file, keys=[*file.keys, Key(b"general.alignment", kind, value)])


@attack
def sides_of_any_size(file: Gguf, rng: random.Random) -> Gguf:
    index = rng.randrange(len(file.tensors))
    dims = list(file.tensors[index].dims)
    dims[rng.randrange(len(dims))] = rng.choice(HUGE)
    return _tensor(file, index, dims=tuple(dims))


@attack
def another_number_of_sides(file: Gguf, rng: random.Random) -> Gguf:
    index = rng.randrange(len(file.tensors))
    dims = rng.choice(((), (0,), (32,), (32, 0), (1, 1, 32, 32), (1,) * 5, (2**32, 2**32), (32,) * 200))
    return _tensor(file, index, dims=dims)


@attack
def another_storage(file: Gguf, rng: random.Random) -> Gguf:
    return _tensor(file, rng.randrange(len(file.tensors)), kind=rng.choice((*range(42), 2**31, 2**32 - 1)))


@attack
def another_place(file: Gguf, rng: random.Random) -> Gguf:
    places = (0, 1, 31, 32, len(file.data), len(file.data) - 32, 2**62, *HUGE)
    return _tensor(file, rng.randrange(len(file.tensors)), offset=rng.choice(places))


@attack
def all_in_one_place(file: Gguf, rng: random.Random) -> Gguf:
    """The bytes of one matrix, said to be those of thousands."""
    layers = rng.choice((2, 200, 5000))
    first = [one for one in file.tensors if one.name.startswith(b"blk.0.")]
    more = [
        replace(one, name=one.name.replace(b"blk.0.", b"blk.%d." % layer))
        for layer in range(1, layers)
        for one in first
    ]
    file = _key(file, "llama.block_count", kind=10, value=struct.pack("<Q", layers))
    return replace(file, tensors=[*file.tensors, *more])


@attack
def a_tensor_twice(file: Gguf, rng: random.Random) -> Gguf:
    return replace(file, tensors=[*file.tensors, rng.choice(file.tensors)])


@attack
def a_tensor_left_out(file: Gguf, rng: random.Random) -> Gguf:
    gone = rng.randrange(len(file.tensors))
    return replace(file, tensors=[one for index, one in enumerate(file.tensors) if index != gone])


@attack
def another_name(file: Gguf, rng: random.Random) -> Gguf:
    names = (*WORDS, b"blk.99999.attn_q.weight", b"blk.-1.attn_q.weight", b"rope_freqs.weight", b"output.weight")
    return _tensor(file, rng.randrange(len(file.tensors)), name=rng.choice(names))


@attack
def values_that_are_no_numbers(file: Gguf, rng: random.Random) -> Gguf:
    one = rng.choice(file.tensors)
    data = bytearray(file.data)
    for _ in range(rng.choice((1, 50))):
        at = one.offset + rng.randrange(0, 200) // 2 * 2
        data[at : at + 2] = rng.choice((b"\xff\x7f", b"\x00\x7c", b"\x00\xfc", b"\x80\x7f", b"\xc0\xff"))
    return replace(file, data=bytes(data))


@attack
def tokens_that_are_none(file: Gguf, rng: random.Random) -> Gguf:
    count = 260
    words = rng.choice(
        (
            [b"a"] * count,
            [rng.choice(WORDS) for _ in range(count)],
            [b"%d" % n for n in range(count - rng.randrange(1, 100))],
            [b"%d" % n for n in range(count + rng.randrange(1, 100))],
            [b"a" * (n + 1) for n in range(count)],
            [b"\xe2\x96\x81" * 1000 + b"%d" % n for n in range(count)],
            [b"b" * 100_000, *(b"%d" % n for n in range(count - 1))],
            [],
        )
    )
    value = struct.pack("<IQ", 8, len(words)) + b"".join(map(text, words))
    return _key(file, "tokenizer.ggml.tokens", value=value)


@attack
def kinds_of_tokens(file: Gguf, rng: random.Random) -> Gguf:
    count = rng.choice((0, 100, 260, 261))
    kinds = [rng.choice((1, 2, 3, 4, 5, 6, 7, -1, 2**31 - 1)) for _ in range(count)]
    return _key(file, "tokenizer.ggml.token_type", value=struct.pack(f"<IQ{count}i", 5, count, *kinds))


@attack
def scores_that_are_none(file: Gguf, rng: random.Random) -> Gguf:
    count = rng.choice((0, 259, 260, 300))
    scores = [rng.choice((0.0, -1.0, *FLOATS)) for _ in range(count)]
    return _key(file, "tokenizer.ggml.scores", value=struct.pack(f"<IQ{count}f", 6, count, *scores))


@attack
def ids_out_of_range(file: Gguf, rng: random.Random) -> Gguf:
    role = rng.choice(("bos", "eos", "unknown", "padding", "eot", "eom"))
    name = f"tokenizer.ggml.{role}_token_id"
    key = Key(name.encode(), 10, struct.pack("<Q", rng.choice((259, 260, 261, *HUGE))))
    return replace(file, keys=[*(one for one in file.keys if one.name != key.name), key])


@attack
def another_kind_of_tokenizer(file: Gguf, rng: random.Random) -> Gguf:
    file = _key(file, "tokenizer.ggml.model", value=text(rng.choice((b"gpt2", b"bert", b"t5", b"none", *WORDS))))
    file = _key(file, "tokenizer.ggml.pre", value=text(rng.choice((b"llama-bpe", b"qwen2", b"smollm", *WORDS))))
    merges = [rng.choice((b"a b", b"", b" ", b"a", b"\xff \xff", b"<unk> <s>")) for _ in range(rng.randrange(0, 50))]
    value = struct.pack("<IQ", 8, len(merges)) + b"".join(map(text, merges))
    return replace(file, keys=[*file.keys, Key(b"tokenizer.ggml.merges", 9, value)])


@attack
def rotations_that_are_none(file: Gguf, rng: random.Random) -> Gguf:
    kinds = (b"linear", b"yarn", b"longrope", b"none", *WORDS)
    more = [
        Key(b"llama.rope.scaling.type", 8, text(rng.choice(kinds))),
        Key(b"llama.rope.scaling.factor", 12, struct.pack("<d", rng.choice((2.0, 1e300, 1e-300, *FLOATS)))),
        Key(b"llama.rope.scaling.attn_factor", 12, struct.pack("<d", rng.choice((1.0, 1e300, *FLOATS)))),
        Key(b"llama.rope.scaling.original_context_length", 10, struct.pack("<Q", rng.choice(HUGE))),
    ]
    count = 8
    factors = struct.pack(f"<{count}f", *(rng.choice((1.0, 2.0, *FLOATS)) for _ in range(count)))
    name = rng.choice((b"rope_freqs.weight", b"rope_factors_long.weight"))
    file = replace(file, keys=[*file.keys, *more])
    return file.with_tensor(Tensor(name, (count,), 0, 0), factors)


def _raw(change: Callable[[bytearray, random.Random], None]) -> Attack:
    def changed(file: Gguf, rng: random.Random) -> Gguf:
        data = bytearray(file.raw())
        change(data, rng)
        return replace(file, written=bytes(data))

    return changed


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(0, len(data)) :]


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 30, 300))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _flip_head(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 5))):
        data[rng.randrange(4, 8000)] = rng.choice((0, 1, 255, rng.randrange(256)))


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.choice((1, 8, 4096)))


def _wipe(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at : at + 512] = bytes(rng.choice((0, 255)) for _ in range(1)) * 512


def _number(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(4, 8000)
    data[at : at + 8] = struct.pack("<Q", rng.choice(HUGE))


ATTACKS += [_raw(_cut), _raw(_flip), _raw(_flip_head), _raw(_flip_head), _raw(_insert), _raw(_wipe), _raw(_number)]


def broken(whole: Gguf, number: int) -> bytes:
    """The file of that number."""
    rng = random.Random(number)
    made = ATTACKS[number % len(ATTACKS)](whole, rng)
    if number >= 10 * len(ATTACKS) and made.written is None:  # later ones carry two lies
        with suppress(LookupError, ValueError):  # the second lie has nothing left to lie about
            made = rng.choice(ATTACKS)(made, rng)
    return made.raw()


@dataclass
class Outcome:
    """What came of one file: a refusal's words, or a model; the seconds it took."""

    name: str
    words: str
    seconds: float
    fault: str = ""


def _convert(source: Path, out: Path) -> Outcome:
    from edgechat.convert.gguf.converter import check_gguf, convert_gguf
    from edgechat.errors import ConvertError
    from edgechat.models.folder import open_model

    began = time.monotonic()
    words = fault = ""
    try:
        check_gguf(source)
        convert_gguf(source, out)
        open_model(out)
        words = "converted"
    except ConvertError as error:
        words = f"{error.title}: {error.message}"
        if not error.title or not error.message or any(ord(letter) < 32 for letter in words + error.hint):
            fault = f"a refusal without words, or with controls: {words!r}"
        if len(words) > 1000:
            fault = f"a refusal of {len(words)} letters"
    except BaseException as error:  # MemoryError too: that is the point
        fault = f"{type(error).__name__}: {str(error)[:200]}"
    return Outcome(source.name, words, round(time.monotonic() - began, 3), fault)


def main(out: str, *files: str) -> None:
    """Convert each file into a folder below `out`, within the bound on memory, and tell of it on a line."""
    import resource

    import edgechat.convert.gguf.tokenizer
    import edgechat.convert.gguf.weights
    import edgechat.models.folder  # noqa: F401 - what is imported later would count

    for name in ("onnx", "tokenizers"):
        __import__(name)
    taken = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    for name in files:
        print(json.dumps({"begun": Path(name).name}), flush=True)
        found = _convert(Path(name), Path(out) / Path(name).stem)
        print(json.dumps(vars(found)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
