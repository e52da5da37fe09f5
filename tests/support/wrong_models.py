"""Models that are whole and wrong: weights and tokenizers changed in ways that no file's digest would tell."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import onnx

from edgechat.models.manifest import write_manifest

KINDS = ("flipped", "scaled", "zeroed", "shuffled", "moved", "tokenizer")


def copy_of(model: Path, to: Path) -> Path:
    """A copy of an MLflow model folder whose weights and tokenizer can be written to."""
    shutil.copytree(model, to)
    for path in to.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return to


def damage(root: Path, kind: str, seed: int) -> str:
    """Make the model in `root/model` wrong, and its manifest right again; return what was done."""
    draw = random.Random(seed)
    folder = root / "model"
    done = _other_tokenizer(folder, draw) if kind == "tokenizer" else _other_weights(folder, kind, draw)
    write_manifest(root)
    return f"{kind}: {done}"


def _other_tokenizer(folder: Path, draw: random.Random) -> str:
    """The words of the vocabulary, a tenth of them under each other's numbers."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    added = {token["content"] for token in tokenizer["added_tokens"]}
    chosen = [word for word in vocabulary if word not in added and draw.random() < 0.1]
    numbers = [vocabulary[word] for word in chosen]
    draw.shuffle(numbers)
    vocabulary.update(zip(chosen, numbers, strict=True))
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), "utf-8")
    return f"{len(chosen)} words"


def _other_weights(folder: Path, kind: str, draw: random.Random) -> str:
    graph = onnx.load(str(folder / "model.onnx"), load_external_data=False).graph
    outside = [each for each in graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
    floats = kind in ("flipped", "scaled")
    # The scales of the weights where it has to be numbers; else the weights themselves, the larger half of them.
    wanted = [
        each
        for each in outside
        if (each.data_type == onnx.TensorProto.FLOAT) == floats and len(each.dims) >= 2 and np.prod(each.dims) > 4096
    ]
    tensor = draw.choice(wanted)
    place = {entry.key: entry.value for entry in tensor.external_data}
    path = folder / place["location"]
    offset, length = int(place.get("offset", 0)), int(place["length"])
    data = bytearray(path.read_bytes())
    part = memoryview(data)[offset : offset + length]
    match kind:
        case "flipped":  # the highest bit of one scale's exponent
            where = draw.randrange(length // 4) * 4
            (bits,) = struct.unpack_from("<I", part, where)
            struct.pack_into("<I", part, where, bits ^ 0x40000000)
        case "scaled":
            values = np.frombuffer(part, "<f4")
            part[:] = (values * np.float32(draw.choice([0, 0.25, -1, 3]))).tobytes()
        case "zeroed":
            part[:] = bytes(length)
        case "shuffled":
            values = np.frombuffer(part, np.uint8)
            part[:] = np.random.default_rng(draw.randrange(2**31)).permutation(values).tobytes()
        case _:  # moved by a few bytes, as by a transfer that lost some
            lost = draw.randrange(1, 64)
            part[:] = part[lost:].tobytes() + bytes(lost)
    del part
    path.unlink()  # it may be a hard link of the model it was copied from
    path.write_bytes(data)
    return f"{tensor.name} {list(tensor.dims)}"
