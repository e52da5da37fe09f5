"""A Hugging Face model folder, read as data: what it is, and whether it is whole and carries no code.

Two rooms need this, the one that opens models and the one that converts them, and neither may learn it by loading the
folder: weights in PyTorch's own format are pickles, which run code when they are read, and a folder can bring code of
its own. So only JSON and the headers of safetensors files are read here, and torch and transformers are never imported.
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
from edgechat.runtime.regular_files import TooLargeError, open_regular, read_regular

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"

_TOKENIZER_CONFIG = "tokenizer_config.json"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_LARGEST_JSON = 16_000_000
"""Bytes; the index of a very large model has a few megabytes."""
_LARGEST_HEADER = 32_000_000
"""Bytes; a hundred thousand tensors have about half of it."""
_MOST_SIDES = 8
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
_BITS |= {"I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8}

_AGAIN = "Copy the whole folder again from where it came."


@dataclass(frozen=True, slots=True)
class HfFolder:
    """A causal language model in Hugging Face form that was looked at and found whole.

    Attributes:
        weights: The folder with config.json and the safetensors files.
        tokenizer: The folder with tokenizer.json: the same, or the one beside it where MLflow puts it.
        architecture: `model_type` of the configuration, such as "llama".
        context_length: Tokens the model was made for; None where the configuration does not say.
        layers: Number of decoder layers; 0 where the configuration does not say.
        parameters: Number of weights.
        stored_as: How most of the weights are stored, such as "bfloat16".
        weight_files: The safetensors files, sorted by name.
        chat_template: Whether the tokenizer brings a chat template.
        licence: As the metadata on top of the model card tells it; None where it does not.
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
    """The folder with config.json and weights: the path itself, or where MLflow's transformers flavor puts it in it.

    Args:
        path: A Hugging Face folder, or an MLflow model folder.

    Returns:
        The folder, or None where there is none.
    """
    # "pipeline" is the name before MLflow 2.4.
    candidates = (path, path / "model", path / "pipeline")
    return next((folder for folder in candidates if (folder / CONFIG).is_file()), None)


def read_hf_folder(folder: Path) -> HfFolder:
    """Read and judge a Hugging Face folder.

    Args:
        folder: The one with config.json, as `hf_folder_in` finds it.

    Raises:
        ModelError: It is none, is damaged or incomplete, is no causal language model, or would run code when it is
            loaded.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(
            "Not a Hugging Face model",
            f"There is no {CONFIG} in {folder}.",
            "Give the folder that save_pretrained() of transformers wrote.",
        )
    config = _json(folder / CONFIG)
    tokenizer = _tokenizer_of(folder)
    template = _judge(folder)
    if tokenizer != folder:
        template = _judge(tokenizer)
    kind = config.get("model_type")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else ""
    if not isinstance(kind, str) or not str(name).endswith(("ForCausalLM", "LMHeadModel")):
        raise ModelError(
            "Model cannot chat",
            f"{folder / CONFIG} describes a {_quoted(name or kind or 'model of no type')}.",
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
        f"{TOKENIZER} is missing in {folder}.",
        "Save the tokenizer with the model: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER).",
    )


def _judge(folder: Path) -> bool:
    """Refuse what brings code or is half a model; else say whether the folder has a chat template.

    `auto_map` in a configuration is no code: it names some, and many models that the library knows by itself carry it.
    Whoever loads the folder forbids it, and then a model that needs it fails.
    """
    own = sorted(path.name for path in folder.glob("*.py"))
    if own:
        raise ModelError(
            "Model refused",
            f"{folder} brings code of its own ({_quoted(own[0])}), which could run on loading.",
            "If transformers knows the model by itself, as it knows Phi-3, use a copy without the .py files.",
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            "Not a whole model",
            f"{folder} is an adapter (adapter_config.json); the model it changes is somewhere else.",
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
                raise ModelError("Model folder is incomplete", f"{_quoted(name)} is missing in {folder}.", _AGAIN)
        return tuple(folder / name for name in names)
    pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickled:
        raise ModelError(
            "Model refused",
            f"The weights in {folder} are pickled ({_quoted(pickled[0])}), and reading a pickle runs what is in it.",
            "Use the model in safetensors form; save_pretrained() of transformers writes it.",
        )
    raise ModelError("Model folder is incomplete", f"There are no weights (*.safetensors) in {folder}.", _AGAIN)


def _tensors(file: Path) -> Iterator[tuple[str, int]]:
    """Type and number of weights of each tensor, from the header, which also says where in the file each one is."""
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
        # The format has no gaps and no overlaps: a few bytes could otherwise stand for weights without end.
        if tensor.begin != end:
            raise _damaged(file, "its tensors overlap, or leave bytes out")
        end = tensor.end
    if size != 8 + length + end:
        raise _damaged(file, f"it has {counted(size, 'byte')} in place of {8 + length + end:,}")
    for tensor in tensors:
        yield tensor.dtype, tensor.count


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of a safetensors file: its type, its weights, and its bytes counted from the end of the header."""

    dtype: str
    count: int
    begin: int
    end: int


def _tensor(dtype: object, shape: object, data_offsets: object) -> _Tensor:
    """An entry of the header. Raises ValueError where its parts do not agree."""
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(data_offsets, list):
        raise ValueError("an entry of another form")
    numbers = [*shape, *data_offsets]
    # Checked before they are multiplied: numbers of thousands of digits are JSON too.
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
    """From the metadata on top of a model card, also of the copy that MLflow keeps beside the weights' folder."""
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
    return ModelError("Model folder is damaged", f"{path}: {why}.", _AGAIN)


def _quoted(value: object) -> str:
    """A word of the folder's maker on one line, with nothing in it that a terminal would obey."""
    return repr(str(value)[:100])[1:-1]
