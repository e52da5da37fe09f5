"""Reads `genai_config.json` and refuses anything that would run code or reach outside the folder.

The engine does what this file says: which graphs to load, which native libraries, which files to write. So it is
    checked
here, in a process that loads none of it, against the allow list in `genai_schema`. What only the engine can know, such
as a newer model type, is left to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgechat.errors import ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.models.genai_schema import fault_in
from edgechat.models.safe_walk import resolve_inside
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime.regular_files import TooLargeError, read_regular

GENAI_CONFIG = "genai_config.json"

_LARGEST = 1_000_000
_NAMES_A_FILE = frozenset({"filename", "data_file"})
_OTHER_KINDS = {
    "speech": "cohere_asr moonshine nemotron_speech parakeet_tdt streaming_enc_dec_asr whisper",
    "pictures or sound together with text": (
        "fara gemma3 gemma4 gemma4_unified lfm2_audio lfm2_vl mistral3 phi3v phi4mm qwen2_5_vl qwen3_vl qwen3_5"
    ),
    "translation": "marian-ssru",
}
"""Known model types that are not text decoders, with their purpose. Unknown types are left to the engine."""


@dataclass(frozen=True, slots=True)
class GenaiConfig:
    """The parts of a `genai_config.json` that edgechat uses.

    Attributes:
        architecture: `model.type`, such as "phi3" or "llama".
        context_length: Context window in tokens; None if the file does not say.
        files: The files it names, as resolved existing paths.
    """

    architecture: str
    context_length: int | None
    files: tuple[Path, ...]


def read_genai_config(folder: Path, root: Path, *, trust: bool = False) -> GenaiConfig:
    """Read and check the configuration of an ONNX GenAI folder.

    Args:
        folder: The folder, resolved.
        root: The model it is part of, resolved.
        trust: Accept options not known to be harmless, which may load native code or reach outside the model.

    Raises:
        ModelError: The file is damaged or too large, sets an option not known to be harmless, names a file that is
            missing or outside the model, or does not describe a text decoder.
    """
    data = _load(folder / GENAI_CONFIG)
    model = data.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("type"), str) or not model["type"]:
        raise _damaged(folder, "it has no model.type.")
    kind: str = model["type"]
    purpose = next((purpose for purpose, kinds in _OTHER_KINDS.items() if kind in kinds.split()), "")
    if purpose:
        raise ModelError(
            "Model type not supported",
            Sentence(
                '{name} is of type "{kind}", made for {purpose}. edgechat runs text decoders.',
                name=folder.name,
                kind=kind,
                purpose=purpose,
            ),
            "Use a text model, such as one of type llama, phi3, qwen2 or gemma2.",
        )
    decoder = model.get("decoder")
    if not isinstance(decoder, dict) or not (decoder.get("filename") or decoder.get("pipeline")):
        raise ModelError(
            "Model type not supported",
            Sentence(
                '{name} is of type "{kind}" and names no decoder in {genai_config}.',
                name=folder.name,
                kind=shown(kind),
                genai_config=GENAI_CONFIG,
            ),
            "Use a text model: a decoder that continues text.",
        )
    if not trust:
        _refuse_unknown(folder, data)
    length = model.get("context_length")
    return GenaiConfig(kind, length if type(length) is int and length > 0 else None, tuple(_files(folder, root, data)))


def _load(path: Path) -> dict[str, object]:
    try:
        text = read_regular(path, _LARGEST).decode("utf-8")
        data = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except TooLargeError as error:
        raise _damaged(path.parent, f"it is {size_text(error.size)} large, which no real one is.") from error
    except OSError as error:
        raise _damaged(path.parent, f"it cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise _damaged(path.parent, "it is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        raise _damaged(path.parent, f"it is not JSON: {error.msg}, line {error.lineno}.") from error
    except RecursionError as error:
        raise _damaged(path.parent, "it is nested deeper than any real one.") from error
    except ValueError as error:
        raise _damaged(path.parent, f"it cannot be used: {shown(error) or type(error).__name__}.") from error
    if not isinstance(data, dict):
        raise _damaged(path.parent, "it is not a JSON object.")
    return data


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # The engine merges duplicate objects where Python keeps the last one, which could hide a key from this check.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice in one object")
    return found


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON")


def _values(data: object, where: str = "") -> Iterator[tuple[str, str, object]]:
    """Yield each key at any depth: its dotted path, the key, and its value."""
    if isinstance(data, dict):
        for key, value in data.items():
            place = f"{where}.{key}" if where else key
            yield place, key, value
            yield from _values(value, place)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _values(value, f"{where}[{index}]")


def _refuse_unknown(folder: Path, data: dict[str, object]) -> None:
    fault = fault_in(data)
    if fault is None:
        return
    place, value = shown(fault.place) or '""', shown(json.dumps(fault.value, ensure_ascii=False, default=str))
    if fault.expected:
        raise _damaged(folder, f"{place} is {value}; it can only be {fault.expected}.")
    raise ModelError(
        "Model refused",
        Sentence(
            "{genai_config} sets {place} to {value}, which edgechat does not know to be harmless: options "
            "can load native code, or read and write files beyond the model.",
            genai_config=GENAI_CONFIG,
            place=place,
            value=value,
        ),
        "Only if you trust its maker: edgechat models add FOLDER --trust",
    )


def _files(folder: Path, root: Path, data: dict[str, object]) -> Iterator[Path]:
    for place, key, value in _values(data):
        if key == "tokenizer_dir" and value not in ("", "."):
            raise _damaged(folder, f"{place} names another folder for the tokenizer, where edgechat does not look.")
        if key not in _NAMES_A_FILE and not key.endswith("_filename"):
            continue
        if not isinstance(value, str):
            raise _damaged(folder, f"{shown(place)} is not a file name.")
        if not value:
            continue
        path = resolve_inside(folder, value, root, f"{GENAI_CONFIG}, {shown(place)},")
        if not path.is_file():
            raise ModelError(
                "Model folder is incomplete",
                Sentence(
                    "{value} is missing in {folder}; {genai_config} names it in {place}.",
                    value=shown(value),
                    folder=folder,
                    genai_config=GENAI_CONFIG,
                    place=shown(place),
                ),
                "Copy the whole folder again from where it came.",
            )
        if key == "filename" and path.suffix.lower() != ".onnx":
            raise _damaged(folder, f"{shown(place)} names {shown(value)}, which is no .onnx file.")
        yield path


def _damaged(folder: Path, why: str) -> ModelError:
    return ModelError(
        "Model folder is damaged",
        Sentence("{value}: {why}", value=folder / GENAI_CONFIG, why=why),
        "Copy the whole folder again from where it came.",
    )
