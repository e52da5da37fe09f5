"""Parses the start of a GGUF file: metadata and the tensor list, with every number checked against the file's size.

The `gguf` package trusts what a file declares: a truncated or hostile file makes it raise arbitrary exceptions or loop
until memory runs out, and a large vocabulary takes it seconds. So files are parsed only here. Standard library only, so
that a preflight costs neither numpy nor time.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import one_line as shown
from edgechat.errors import ConvertError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.regular_files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]

# Storage types that can be converted exactly: (values per block, bytes per block).
BLOCKS: Mapping[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}
# ggml's type numbers; those not in BLOCKS are for the error message.
_TYPE_NAMES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K"}
_TYPE_NAMES |= {11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS"}
_TYPE_NAMES |= {19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32"}
_TYPE_NAMES |= {27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4"}

# More than any real file has; without limits, files of a few megabytes could request unlimited memory.
_MOST_KEYS, _MOST_TENSORS = 10_000, 100_000
_MOST_VALUES = 8_000_000  # in all arrays; a vocabulary of 262,144 tokens with merges has 1.3 million
_LONGEST_TEXT = 4_000_000  # bytes per string; chat templates have up to a hundred thousand

# Metadata value types by number, as struct formats; 8 is a string, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 16


@dataclass(frozen=True)
class TensorInfo:
    """Location and storage of a tensor.

    Attributes:
        name: Its GGUF name.
        shape: Rows first, as in numpy (GGUF stores the fastest dimension first).
        type: Storage type, a key of `BLOCKS`.
        offset: Position of the first byte in the file.
        size: Size in bytes.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size: int


@dataclass(frozen=True)
class GgufHeader:
    """The parsed header of a GGUF file.

    Attributes:
        metadata: Every key with its value; arrays are tuples.
        tensors: By name; each lies within the file, and none overlap.
    """

    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]

    def text(self, key: str) -> str | None:
        """Return a string value; None if it is missing or not a string."""
        value = self.metadata.get(key)
        return value.encode("utf-8", errors="replace").decode("utf-8") if isinstance(value, str) else None

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer value.

        Raises:
            ConvertError: It is missing and there is no default, or it is not an integer.
        """
        value = self.metadata.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise malformed(f"The metadata key {key} is {'missing' if value is None else 'not a whole number'}.")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a value as float.

        Raises:
            ConvertError: It is missing and there is no default, or it is not a finite number.
        """
        value = self.metadata.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise malformed(f"The metadata key {key} is {'missing' if value is None else 'not a number'}.")
        return float(value)


def malformed(reason: str) -> ConvertError:
    """Return the error for a damaged or mislabelled file."""
    return ConvertError("Malformed GGUF file", reason, "Download the file again and compare its checksum.")


def read_header(source: Path) -> GgufHeader:
    """Read the metadata and the tensor list of a file.

    Raises:
        ConvertError: The file cannot be read, is empty, not GGUF, truncated or damaged, declares more than any real
            one, or contains a type without an exact ONNX equivalent.
    """
    try:
        with open_regular(source) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise malformed(f"{shown(source.name)} is empty.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Scanner(data).header()
    except OSError as error:
        raise ConvertError(
            "GGUF file cannot be read",
            Sentence("{source_name}: {strerror}.", source_name=shown(source), strerror=error.strerror or error),
            "Look whether the path is right.",
        ) from error


def _refuse_overlaps(tensors: Iterable[TensorInfo]) -> None:
    """Refuse overlapping tensors: a small file could otherwise convert to a huge model."""
    before: TensorInfo | None = None
    for info in sorted(tensors, key=lambda info: info.offset):
        if before is not None and info.offset < before.offset + before.size:
            raise malformed(f"Tensors {shown(before.name)} and {shown(info.name)} share bytes of the file.")
        before = info


class _Scanner:
    """Scans the bytes, checking at every step that they exist."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self._at = 0
        self._values = 0

    def header(self) -> GgufHeader:
        if self._take(4) != b"GGUF":
            raise malformed("The file does not begin with GGUF.")
        (version,) = self._unpack("I")
        if version not in (2, 3):
            # A big-endian file has its version in the wrong byte order, 3 << 24.
            raise ConvertError(
                "Unsupported GGUF file",
                Sentence("GGUF version {version} is not supported, only 2 and 3 are.", version=version),
            )
        tensor_count, key_count = self._unpack("QQ")
        if key_count > _MOST_KEYS or tensor_count > _MOST_TENSORS:
            raise malformed(
                f"It declares {key_count:,} metadata keys and {tensor_count:,} tensors, as no real file does."
            )
        metadata: dict[str, Value] = {}
        for _ in range(key_count):
            key = self._string()
            if key in metadata:
                raise malformed(f"The metadata key {shown(key)} is there twice.")
            metadata[key] = self._value(self._unpack("I")[0])
        infos = [self._tensor() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= _MAX_ALIGNMENT:
            raise malformed(f"An alignment of {shown(alignment)} makes no sense.")
        start = -(-self._at // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for info in infos:
            placed = TensorInfo(info.name, info.shape, info.type, start + info.offset, info.size)
            if info.offset % alignment:
                raise malformed(f"Tensor {shown(info.name)} does not begin at a multiple of {alignment} bytes.")
            if placed.offset + placed.size > self._size:
                raise malformed(f"The file ends before tensor {shown(info.name)} does.")
            if info.name in tensors:
                raise malformed(f"Tensor {shown(info.name)} is listed twice.")
            tensors[info.name] = placed
        _refuse_overlaps(tensors.values())
        return GgufHeader(metadata, tensors)

    def _tensor(self) -> TensorInfo:
        name = self._string()
        (count,) = self._unpack("I")
        if not 0 < count <= _MAX_DIMENSIONS:
            raise malformed(f"Tensor {shown(name)} has {counted(count, 'dimension')}.")
        shape = self._unpack("Q" * count)[::-1]
        number, offset = self._unpack("IQ")
        type_name = _TYPE_NAMES.get(number, f"number {number}")
        if type_name not in BLOCKS:
            raise ConvertError(
                "Unsupported quantisation",
                Sentence(
                    "Tensor {name} is stored as {type_name}, which has no exact ONNX form here.",
                    name=shown(name),
                    type_name=type_name,
                ),
                Sentence("Use a file in one of these: {blocks}.", blocks=", ".join(BLOCKS)),
            )
        values, size = BLOCKS[type_name]
        if not all(shape) or shape[-1] % values:
            raise malformed(
                f"Tensor {shown(name)}: {' x '.join(map(str, shape))} values are no whole {type_name} blocks."
            )
        return TensorInfo(name, shape, type_name, offset, prod(shape) // values * size)

    def _value(self, kind: int) -> Value:
        if kind != _ARRAY:
            return self._scalar(kind)
        element, count = self._unpack("IQ")
        # A string takes at least 8 bytes. Checked before the loop, which a false count would keep busy for ages.
        smallest = 8 if element == _STRING else struct.calcsize(self._format(element))
        if count * smallest > self._size - self._at:
            raise malformed(f"A list of {count} values is declared, for which the file is too short.")
        self._values += count
        if self._values > _MOST_VALUES:
            raise malformed(f"Its metadata lists more than {_MOST_VALUES:,} values, as no real file does.")
        if element == _STRING:
            return tuple(self._string() for _ in range(count))
        return tuple(self._unpack(f"{count}{self._format(element)}"))

    def _scalar(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self._string()
        value: int | float | bool = self._unpack(self._format(kind))[0]
        return value

    def _format(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise malformed(f"Unknown kind of metadata value: {kind}.")
        return _SCALARS[kind]

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        if length > _LONGEST_TEXT and length <= self._size - self._at:
            raise malformed(f"A text of {length:,} bytes is in its metadata, as in no real file.")
        # Keep invalid UTF-8 recognisable: it does not matter in a name, but a tokenizer must refuse it.
        return self._take(length).decode("utf-8", errors="surrogateescape")

    def _unpack(self, layout: str) -> tuple[int, ...]:
        layout = f"<{layout}"
        return struct.unpack(layout, self._take(struct.calcsize(layout)))

    def _take(self, length: int) -> bytes:
        if length > self._size - self._at:
            raise malformed(f"The file ends in the middle of its header, at byte {self._size:,}.")
        self._at += length
        return self._data[self._at - length : self._at]
