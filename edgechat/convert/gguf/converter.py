"""Converts a GGUF file to an ONNX GenAI folder with the same weights, without requantising any to fewer bits.

`check_gguf` is cheap and standard library only, so the chat path may use it to identify a file. `convert_gguf` loads
numpy and onnx and belongs in a separate process. A damaged file must always result in a `ConvertError`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from edgechat.chat.sanitize import one_line as shown
from edgechat.convert.gguf.header import GgufHeader, malformed, read_header
from edgechat.errors import ConvertError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.extras import install_command
from edgechat.runtime.progress import FractionCallback
from edgechat.runtime.regular_files import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from edgechat.convert.decoder_graph import DecoderType
    from edgechat.convert.genai_config import TokenIds


# GGUF's token type for control tokens.
_CONTROL = 3
# Fractions of the total time: hashing, the graph with its weights, and the tokenizer, in that order.
_HASHED, _WRITTEN = 0.05, 0.85


@dataclass(frozen=True)
class GgufSummary:
    """The contents of a GGUF file.

    Attributes:
        architecture: `llama` or `phi3`.
        parameters: Number of weights.
        quantisation: Storage types of the matrices, by number of weights: "Q4_1 + Q8_0".
        context_length: Context window the model was trained for, in tokens.
        name: The author's name for it, or the file's name.
        licence: SPDX id or other text, or None if the file does not say.
    """

    architecture: DecoderType
    parameters: int
    quantisation: str
    context_length: int
    name: str
    licence: str | None


@dataclass(frozen=True)
class ConversionReport(GgufSummary):
    """The result of a conversion.

    Attributes:
        source_sha256: Digest of the GGUF file, in hexadecimal.
        bytes_written: Size of the folder.
    """

    source_sha256: str
    bytes_written: int


def check_gguf(source: Path) -> GgufSummary:
    """Describe a GGUF file if it can be converted.

    Raises:
        ConvertError: The file cannot be read, is damaged, or has an unsupported architecture or quantisation.
    """
    return _summary(source, read_header(source))


def convert_gguf(source: Path, out_dir: Path, *, on_progress: FractionCallback | None = None) -> ConversionReport:
    """Write a model folder: graph, weights, `genai_config.json` and the tokenizer's files.

    Args:
        source: The GGUF file.
        out_dir: Created if missing. Its contents after an error are not a model: convert into a temporary folder and
            rename that.
        on_progress: Called occasionally with a fraction from 0 to 1 and a short phrase.

    Raises:
        ConvertError: The file cannot be read, is damaged, or has an unsupported architecture, quantisation or
            tokenizer.
        OSError: The disk is full, or the folder is not writable.
    """
    # numpy and onnx take most of a second to import, which just checking a file need not pay for.
    try:
        from edgechat.convert.decoder_graph import write_decoder
    except ImportError as error:
        raise ConvertError(
            "A library for converting is missing",
            Sentence("{name} is not installed.", name=error.name or "onnx"),
            install_command("convert"),
        ) from error
    from edgechat.convert.genai_config import write_genai_config
    from edgechat.convert.gguf.tokenizer import write_tokenizer
    from edgechat.convert.gguf.weights import GgufDecoder

    report = on_progress or _ignore
    report(0.0, "reading")
    header = read_header(source)
    summary = _summary(source, header)
    decoder = GgufDecoder(source, header, summary.architecture)
    tokens = _token_ids(header, decoder.config.vocabulary)
    out_dir.mkdir(parents=True, exist_ok=True)
    with open_regular(source) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    write_decoder(
        decoder.config,
        decoder,
        out_dir,
        lambda fraction, phrase: report(_HASHED + fraction * (_WRITTEN - _HASHED), phrase),
    )
    write_genai_config(decoder.config, tokens, out_dir)
    report(_WRITTEN, "tokenizer")
    write_tokenizer(header.metadata, out_dir)
    report(1.0, "done")
    return ConversionReport(
        **{field: getattr(summary, field) for field in GgufSummary.__dataclass_fields__},
        source_sha256=digest,
        bytes_written=sum(path.stat().st_size for path in out_dir.iterdir()),
    )


def _summary(source: Path, header: GgufHeader) -> GgufSummary:
    architecture: DecoderType
    match header.text("general.architecture"):
        case "llama":
            architecture = "llama"
        case "phi3":
            architecture = "phi3"
        case other:
            raise ConvertError(
                "Unsupported architecture",
                Sentence(
                    "{name} is of architecture {other}; llama and phi3 are supported.",
                    name=shown(source.name),
                    other=shown(other or "unknown"),
                ),
            )
    if header.integer("split.count", 1) > 1:
        raise ConvertError(
            "Unsupported GGUF file",
            Sentence("{name} is one part of several.", name=source.name),
            "Join the parts with llama.cpp's gguf-split first.",
        )
    weights: Counter[str] = Counter()
    for info in header.tensors.values():
        if len(info.shape) > 1:
            weights[info.type] += prod(info.shape)
    return GgufSummary(
        architecture=architecture,
        parameters=sum(prod(info.shape) for info in header.tensors.values()),
        quantisation=" + ".join(name for name, _ in weights.most_common()),
        context_length=header.integer(f"{architecture}.context_length"),
        name=header.text("general.name") or source.stem,
        licence=header.text("general.license"),
    )


def _token_ids(header: GgufHeader, vocabulary: int) -> TokenIds:
    """Return the token ids the engine needs, all within the vocabulary."""
    from edgechat.convert.genai_config import END_NAMES, TokenIds

    tokens = header.metadata.get("tokenizer.ggml.tokens")
    kinds = header.metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, tuple) or not tokens:
        raise malformed("The file holds no tokens.")
    if len(tokens) > vocabulary:
        raise malformed(f"The file lists {counted(len(tokens), 'token')} and embeds {vocabulary}.")
    kinds = kinds if isinstance(kinds, tuple) and len(kinds) == len(tokens) else (_CONTROL,) * len(tokens)
    named = [index for index, token in enumerate(tokens) if token in END_NAMES and kinds[index] == _CONTROL]
    declared = [_declared(header, key, len(tokens)) for key in ("eos", "eot", "eom")]
    # A dict preserves the order and removes duplicates.
    eos = tuple(dict.fromkeys([index for index in declared if index is not None] + named))
    if not eos:
        raise malformed("No token ends a reply: tokenizer.ggml.eos_token_id is missing.")
    bos, pad = _declared(header, "bos", len(tokens)), _declared(header, "padding", len(tokens))
    return TokenIds(bos=eos[0] if bos is None else bos, eos=eos, pad=eos[0] if pad is None else pad)


def _declared(header: GgufHeader, role: str, count: int) -> int | None:
    key = f"tokenizer.ggml.{role}_token_id"
    if key not in header.metadata:
        return None
    index = header.integer(key)
    if not 0 <= index < count:
        raise malformed(f"The metadata key {key} is {index}; the number of tokens is {count}.")
    return index


def _ignore(fraction: float, phrase: str) -> None:
    """Default progress callback, which does nothing."""
