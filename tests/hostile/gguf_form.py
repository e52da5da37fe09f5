"""A GGUF file taken apart, so that any part of it can be another one."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

KINDS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34), 30: (1, 2)}


def text(value: bytes) -> bytes:
    """A string as the format has it."""
    return struct.pack("<Q", len(value)) + value


@dataclass(frozen=True)
class Key:
    """A metadata key, its kind of value, and the value's bytes."""

    name: bytes
    kind: int
    value: bytes


@dataclass(frozen=True)
class Tensor:
    """An entry of the list of tensors."""

    name: bytes
    dims: tuple[int, ...]
    kind: int
    offset: int

    @property
    def size(self) -> int:
        """Bytes of a tensor of a kind that is known here."""
        values, size = _BLOCKS[self.kind]
        count = 1
        for side in self.dims:
            count *= side
        return count // values * size


@dataclass(frozen=True)
class Gguf:
    """A file; `written` stands for all of it where it is set."""

    keys: list[Key]
    tensors: list[Tensor]
    data: bytes
    magic: bytes = b"GGUF"
    version: int = 3
    counts: tuple[int | None, int | None] = (None, None)
    written: bytes | None = None

    def raw(self) -> bytes:
        """The bytes of the file."""
        if self.written is not None:
            return self.written
        tensors, keys = self.counts
        head = self.magic + struct.pack("<I", self.version)
        head += struct.pack(
            "<QQ", len(self.tensors) if tensors is None else tensors, len(self.keys) if keys is None else keys
        )
        parts = [head]
        parts += [text(key.name) + struct.pack("<I", key.kind) + key.value for key in self.keys]
        for one in self.tensors:
            sides = struct.pack(f"<I{len(one.dims)}Q", len(one.dims), *one.dims)
            parts.append(text(one.name) + sides + struct.pack("<IQ", one.kind, one.offset))
        joined = b"".join(parts)
        return joined + bytes(-len(joined) % 32) + self.data

    def with_tensor(self, tensor: Tensor, data: bytes) -> Gguf:
        """The file with another tensor at its end."""
        start = len(self.data) + -len(self.data) % 32
        return replace(
            self, tensors=[*self.tensors, replace(tensor, offset=start)], data=self.data.ljust(start, b"\0") + data
        )

    def laid_out(self, whole: bool) -> Gguf:
        """The file with room for each tensor as large as it now says, all the bytes zero; not `whole`, as it was."""
        if not whole:
            return self
        tensors, at = [], 0
        for one in self.tensors:
            tensors.append(replace(one, offset=at))
            at += one.size + -one.size % 32
        return replace(self, tensors=tensors, data=bytes(min(at, 40_000_000)))


def taken_apart(path: Path) -> Gguf:
    """Read a whole file."""
    raw = path.read_bytes()
    at = 4

    def number(form: str) -> Any:
        nonlocal at
        (value,) = struct.unpack_from("<" + form, raw, at)
        at += struct.calcsize("<" + form)
        return value

    def string() -> bytes:
        nonlocal at
        length = number("Q")
        at += length
        return raw[at - length : at]

    def skip(kind: int) -> None:
        nonlocal at
        if kind == 8:
            string()
        elif kind == 9:
            inner, count = number("I"), number("Q")
            for _ in range(count):
                skip(inner)
        else:
            at += struct.calcsize(KINDS[kind])

    version, tensor_count, key_count = number("I"), number("Q"), number("Q")
    keys = []
    for _ in range(key_count):
        name, kind = string(), number("I")
        began = at
        skip(kind)
        keys.append(Key(name, kind, raw[began:at]))
    tensors = []
    for _ in range(tensor_count):
        name, sides = string(), number("I")
        dims = tuple(number("Q") for _ in range(sides))
        tensors.append(Tensor(name, dims, number("I"), number("Q")))
    return Gguf(keys, tensors, raw[at + -at % 32 :], version=version)
