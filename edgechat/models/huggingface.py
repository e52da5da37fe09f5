"""A Hugging Face model folder, read purely as data: what it is, and that it is complete and free of code.

Both opening and converting models need this without loading the folder: weights in PyTorch's own format are pickles,
which run code when read, and a folder can include code of its own. So only JSON and safetensors headers are read here,
and torch and transformers are never imported.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgechat.errors import ModelError
from edgechat.i18n.catalog import counted
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.regular_files import TooLargeError, open_regular, read_regular

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"

_TOKENIZER_CONFIG = "tokenizer_config.json"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LARGEST_JSON = 16_000_000
"""Bytes; the index of a very large model takes a few megabytes."""
_LARGEST_HEADER = 32_000_000
"""Bytes; a header with a hundred thousand tensors takes about half of this."""
_MOST_SIDES = 8
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
_BITS |= {"I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8}

_AGAIN = "Copy the whole folder again from where it came."


@dataclass(frozen=True, slots=True)
class HfFolder:
    """A causal language model in Hugging Face format that has been inspected and found complete.

    Attributes:
        weights: The folder with config.json and the safetensors files.
        tokenizer: The folder with tokenizer.json: the same one, or its sibling in MLflow's layout.
        architecture: `model_type` from the configuration, such as "llama".
        context_length: Context window in tokens; None if the configuration does not say.
        layers: Number of decoder layers; 0 if the configuration does not say.
        parameters: Number of weights.
        stored_as: Type of most of the weights, such as "bfloat16".
        weight_files: The safetensors files, sorted by name.
        chat_template: Whether the tokenizer has a chat template.
        licence: From the model card's metadata; None if it does not say.
    """

    weights: Path
    tokenizer: Path
    architecture: str
    context_length: int | None
    layers: int
    parameters: int
    stored_as: str
    weight_files: tuple[Path, ...]
    chat_template: bool
    licence: str | None


def hf_folder_in(path: Path) -> Path | None:
    """Find the folder with config.json and weights: the path itself, or its location in MLflow's transformers layout.

    Args:
        path: A Hugging Face folder, or an MLflow model folder.

    Returns:
        The folder, or None.
    """
    # "pipeline" is the name used before MLflow 2.4.
    candidates = (path, path / "model", path / "pipeline")
    return next((folder for folder in candidates if (folder / CONFIG).is_file()), None)


def read_hf_folder(folder: Path) -> HfFolder:
    """Read and check a Hugging Face folder.

    Args:
        folder: The folder with config.json, as found by `hf_folder_in`.

    Raises:
        ModelError: It is not one, is damaged or incomplete, is not a causal language model, or would run code when
            loaded.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(
            "Not a Hugging Face model",
            Sentence("There is no {config} in {folder}.", config=CONFIG, folder=folder),
            "Give the folder that save_pretrained() of transformers wrote.",
        )
    config = _json(folder / CONFIG)
    tokenizer = _tokenizer_of(folder)
    template = _check(folder)
    if tokenizer != folder:
        template = _check(tokenizer)
    kind = config.get("model_type")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else ""
    if not isinstance(kind, str) or not str(name).endswith(("ForCausalLM", "LMHeadModel")):
        raise ModelError(
            "Model cannot chat",
            Sentence(
                "{value} describes a {quoted}.",
                value=folder / CONFIG,
                quoted=_quoted(name or kind or "model of no type"),
            ),
            "Use a causal language model: its architecture ends in ForCausalLM.",
        )
    files = _weight_files(folder)
    stored: dict[str, int] = {}
    for file in files:
        for dtype, count in _tensors(file):
            stored[dtype] = stored.get(dtype, 0) + count
    return HfFolder(
        weights=folder,
        tokenizer=tokenizer,
        architecture=kind,
        context_length=_number(config, "max_position_embeddings", "n_positions"),
        layers=_number(config, "num_hidden_layers", "n_layer") or 0,
        parameters=sum(stored.values()),
        stored_as=_DTYPES.get(most := max(stored, key=stored.__getitem__, default=""), most),
        weight_files=files,
        chat_template=template,
        licence=_licence(folder),
    )


_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64", "I8": "int8", "U8": "uint8"}


def _number(config: dict[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int and config[key] > 0), None)


def _tokenizer_of(folder: Path) -> Path:
    for candidate in (folder, folder.parent / "components" / "tokenizer"):
        if (candidate / TOKENIZER).is_file():
            return candidate
    raise ModelError(
        "Model folder is incomplete",
        Sentence("{tokenizer} is missing in {folder}.", tokenizer=TOKENIZER, folder=folder),
        "Save the tokenizer with the model: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER).",
    )


def _check(folder: Path) -> bool:
    """Refuse folders that contain code or are incomplete; otherwise return whether there is a chat template.

    `auto_map` in a configuration is not code but refers to some, and many models that the library supports natively
    have it. Whoever loads the folder forbids custom code, so a model that needs it fails.
    """
    own = sorted(path.name for path in folder.glob("*.py"))
    if own:
        raise ModelError(
            "Model refused",
            Sentence(
                "{folder} brings code of its own ({quoted}), which could run on loading.",
                folder=folder,
                quoted=_quoted(own[0]),
            ),
            "If transformers knows the model by itself, as it knows Phi-3, use a copy without the .py files.",
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            "Not a whole model",
            Sentence(
                "{folder} is an adapter (adapter_config.json); the model it changes is somewhere else.", folder=folder
            ),
            "Merge it first, with merge_and_unload() of the library peft, and save the result.",
        )
    settings = _json(folder / _TOKENIZER_CONFIG) if (folder / _TOKENIZER_CONFIG).is_file() else {}
    return "chat_template" in settings or (folder / "chat_template.jinja").is_file()


def _weight_files(folder: Path) -> tuple[Path, ...]:
    if (folder / "model.safetensors").is_file():
        return (folder / "model.safetensors",)
    if (folder / _INDEX).is_file():
        shards = _json(folder / _INDEX).get("weight_map")
        names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
        if not names:
            raise _damaged(folder / _INDEX, "it names no weights")
        for name in names:
            if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
                raise _damaged(folder / _INDEX, f"it names {_quoted(name)} as weights")
            if not (folder / name).is_file():
                raise ModelError(
                    "Model folder is incomplete",
                    Sentence("{quoted} is missing in {folder}.", quoted=_quoted(name), folder=folder),
                    _AGAIN,
                )
        return tuple(folder / name for name in names)
    pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickled:
        raise ModelError(
            "Model refused",
            Sentence(
                "The weights in {folder} are pickled ({quoted}), and reading a pickle runs what is in it.",
                folder=folder,
                quoted=_quoted(pickled[0]),
            ),
            "Use the model in safetensors form; save_pretrained() of transformers writes it.",
        )
    raise ModelError(
        "Model folder is incomplete",
        Sentence("There are no weights (*.safetensors) in {folder}.", folder=folder),
        _AGAIN,
    )


def _tensors(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the type and number of weights of each tensor, from the header, which also gives its position."""
    try:
        with open_regular(file) as opened:
            size = os.fstat(opened.fileno()).st_size
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise _damaged(file, "it does not begin as a safetensors file does")
            header = json.loads(opened.read(length))
        header.pop("__metadata__", None)
        tensors = sorted((_tensor(**entry) for entry in header.values()), key=lambda tensor: tensor.begin)
    except OSError as error:
        raise _damaged(file, f"it cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(file, "its header is not that of a safetensors file") from error
    end = 0
    for tensor in tensors:
        # The format allows no gaps or overlaps; otherwise a few bytes could stand for unlimited weights.
        if tensor.begin != end:
            raise _damaged(file, "its tensors overlap, or leave bytes out")
        end = tensor.end
    if size != 8 + length + end:
        raise _damaged(file, f"it has {counted(size, 'byte')} in place of {8 + length + end:,}")
    for tensor in tensors:
        yield tensor.dtype, tensor.count


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor in a safetensors file: its type, number of weights, and byte range after the header."""

    dtype: str
    count: int
    begin: int
    end: int


def _tensor(dtype: object, shape: object, data_offsets: object) -> _Tensor:
    """Parse a header entry. Raises ValueError if it is inconsistent."""
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(data_offsets, list):
        raise ValueError("an entry of another form")
    numbers = [*shape, *data_offsets]
    # Checked before multiplying, since numbers with thousands of digits are valid JSON.
    if (
        len(shape) > _MOST_SIDES
        or len(data_offsets) != 2
        or not all(type(n) is int and 0 <= n < 1 << 48 for n in numbers)
    ):
        raise ValueError("numbers that make no sense")
    count, (begin, end) = prod(shape), data_offsets
    bits = _BITS.get(dtype)
    if begin > end or (bits is not None and (end - begin) * 8 != count * bits):
        raise ValueError("a size that is not that of its shape")
    return _Tensor(dtype, count, begin, end)


_METADATA = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_LICENCE = re.compile(r"^license:[ \t]*[\"']?([^\s\"']+)", re.MULTILINE)


def _licence(folder: Path) -> str | None:
    """Read the licence from the model card's metadata, or from MLflow's copy next to the weights folder."""
    for path in (folder / "README.md", folder.parent / "model_card.md"):
        try:
            with open_regular(path) as opened:
                head = _METADATA.match(opened.read(50_000).decode("utf-8", "replace").replace("\r\n", "\n"))
        except OSError:
            continue
        if head is not None and (named := _LICENCE.search(head[1])) is not None:
            return _quoted(named[1])
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_regular(path, _LARGEST_JSON).decode("utf-8"))
    except TooLargeError as error:
        raise _damaged(path, "it is larger than any real one") from error
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(data, dict):
        raise _damaged(path, "it is not a JSON object")
    return data


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError("Model folder is damaged", Sentence("{path}: {why}.", path=path, why=why), _AGAIN)


def _quoted(value: object) -> str:
    """Quote text from the folder's author on one line, without anything a terminal would interpret."""
    return repr(str(value)[:100])[1:-1]
