"""GGUF files become folders that answer as the files' weights say, and bad files are refused with a reason."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from edgechat.convert.gguf.converter import GgufSummary, check_gguf, convert_gguf
from edgechat.convert.gguf.header import read_header
from edgechat.errors import ConvertError
from tests.hostile.gguf_form import Key, taken_apart, text
from tests.unit.convert.engine import load, logits_of, with_float_activations
from tests.unit.convert.reference import Reference, divergence
from tests.unit.convert.tiny_gguf import TOKENS, write_tiny_gguf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARITY: dict[str, dict[str, Any]] = {
    "llama Q4_1": {},
    "llama Q4_0": {"kind": Type.Q4_0},
    "llama Q8_0, own head": {"kind": Type.Q8_0, "tied": False},
    "llama F32": {"kind": Type.F32, "embedding": Type.F32},
    "llama F16": {"kind": Type.F16, "embedding": Type.F16},
    "llama, mixed as in Q4_K_M": {
        "kind": Type.Q4_K,
        "embedding": Type.Q6_K,
        "kinds": {"attn_v": Type.Q6_K, "ffn_down": Type.Q6_K},
    },
    "llama, gate and up apart": {"kinds": {"ffn_gate": Type.Q4_0}},
    "llama, tied Q4_1": {"embedding": Type.Q4_1},
    "llama, linear scaling": {"linear_scaling": 4.0},
    "llama, frequency factors": {"frequency_factors": True},
    "phi3 Q4_0": {"architecture": "phi3", "kind": Type.Q4_0, "tied": False},
    "phi3, mixed as in Q4_K_M": {
        "architecture": "phi3",
        "kind": Type.Q4_K,
        "embedding": Type.Q6_K,
        "kinds": {"attn_qkv": Type.Q5_K, "ffn_down": Type.Q6_K},
        "tied": False,
    },
    "phi3, LongRoPE": {"architecture": "phi3", "tied": False, "original_context": 64},
    "phi3, sliding window": {"architecture": "phi3", "window": 24},
    "phi3, part of a head rotated": {"architecture": "phi3", "rotated": 16, "original_context": 64},
}


@pytest.mark.parametrize("options", PARITY.values(), ids=PARITY.keys())
def test_logits_are_those_of_the_weights(tmp_path: Path, options: dict[str, Any]) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", **options)
    convert_gguf(source, tmp_path / "out")
    ids = np.random.default_rng(3).integers(0, 256, 80).tolist()
    reference = Reference(source)
    expected = reference.logits(ids[:60])[29:]
    # As shipped, with int8 activations: random weights are more sensitive to those than trained ones.
    assert divergence(expected, logits_of(load(tmp_path / "out"), ids[:60], prompt=30))[0] < 0.05
    # With float32 activations nothing is left but the order of additions.
    model = load(with_float_activations(tmp_path / "out"))
    # Token by token from a prompt of 30, in the short context of LongRoPE.
    np.testing.assert_allclose(logits_of(model, ids[:60], prompt=30), expected, rtol=0, atol=5e-4)
    # All 80 at once, which is in LongRoPE's long context.
    np.testing.assert_allclose(logits_of(model, ids, prompt=80), reference.logits(ids)[-1:], rtol=0, atol=5e-4)


def test_report_config_and_progress(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", context=8192)
    heard: list[tuple[float, str]] = []
    report = convert_gguf(
        source, tmp_path / "deep" / "out", on_progress=lambda fraction, phrase: heard.append((fraction, phrase))
    )
    out = tmp_path / "deep" / "out"
    assert (report.architecture, report.quantisation, report.name) == ("llama", "Q4_1 + Q8_0", "Tiny")
    assert (report.context_length, report.licence) == (8192, "apache-2.0")
    assert report.parameters == 260 * 256 + 256 + 2 * (2 * 256 + 2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256)
    assert report.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert report.bytes_written == sum(path.stat().st_size for path in out.iterdir())
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(phrase for _, phrase in heard)
    config = json.loads((out / "genai_config.json").read_text("utf-8"))
    # The end of a turn by its usual name, after the declared end of a text.
    assert config["model"]["eos_token_id"] == [258, 259]
    assert (config["model"]["bos_token_id"], config["model"]["pad_token_id"]) == (257, 258)
    assert (config["model"]["context_length"], config["search"]["max_length"]) == (8192, 4096)
    assert (config["model"]["type"], config["model"]["vocab_size"]) == ("llama", 260)
    assert "custom_ops_library" not in json.dumps(config)
    assert {path.name for path in out.iterdir()} == {
        "model.onnx",
        "model.onnx.data",
        "genai_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    }


def test_check_reads_without_numpy(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    summary = check_gguf(source)
    assert isinstance(summary, GgufSummary)
    assert (summary.quantisation, summary.name) == ("Q4_1 + Q8_0", "Tiny")
    code = (
        "import sys; from pathlib import Path; from edgechat.convert.gguf.converter import check_gguf;"
        "check_gguf(Path(sys.argv[1])); assert not {'numpy', 'onnx', 'gguf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(source)], check=True)


def refused(source: Path, *words: str) -> None:
    """Both entries refuse the file, naming what is wrong, and leave no folder behind."""
    conversion_refused(source, *words)
    with pytest.raises(ConvertError) as caught:
        check_gguf(source)
    assert all(word in str(caught.value) for word in words)
    assert not (source.parent / "out").exists()


def conversion_refused(source: Path, *words: str) -> None:
    with pytest.raises(ConvertError) as caught:
        convert_gguf(source, source.parent / "out")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_other_architecture(tmp_path: Path) -> None:
    refused(write_tiny_gguf(tmp_path / "tiny.gguf", "gemma2"), "gemma2")


def test_other_quantisation_names_type_and_tensor(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", kinds={"blk.1.ffn_up": Type.MXFP4})
    refused(source, "MXFP4", "blk.1.ffn_up.weight")


def test_tensor_the_graph_would_leave_out(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", extra={"blk.0.attn_q.bias": (256,)})
    conversion_refused(source, "blk.0.attn_q.bias")


def test_rotation_the_engine_cannot_do(tmp_path: Path) -> None:
    conversion_refused(write_tiny_gguf(tmp_path / "tiny.gguf", "phi3", rotated=24), "24 of 32")


def test_rotation_of_part_of_a_llama_head(tmp_path: Path) -> None:
    conversion_refused(write_tiny_gguf(tmp_path / "tiny.gguf", rotated=16), "16 of 32")


def test_more_tokens_than_embeddings(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    data = source.read_bytes()
    # The embedding's second dimension, right after its name, number of dimensions and first dimension.
    at = data.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 8
    source.write_bytes(data[:at] + struct.pack("<Q", len(TOKENS) - 1) + data[at + 8 :])
    conversion_refused(source, "260", "259")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("empty", lambda data: b""),
        ("magic", lambda data: b"GGML" + data[4:]),
        ("only magic", lambda data: data[:4]),
        ("version 1", lambda data: data[:4] + struct.pack("<I", 1) + data[8:]),
        ("big endian", lambda data: data[:4] + struct.pack(">I", 3) + data[8:]),
        ("many tensors", lambda data: data[:8] + struct.pack("<Q", 1 << 62) + data[16:]),
        ("many keys", lambda data: data[:16] + struct.pack("<Q", 1 << 62) + data[24:]),
        ("long key", lambda data: data[:24] + struct.pack("<Q", (1 << 64) - 1) + data[32:]),
        ("one byte short", lambda data: data[:-1]),
        ("weights missing", lambda data: data[: len(data) // 2]),
        ("zeros", lambda data: b"GGUF" + bytes(4096)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_files(tmp_path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    source.write_bytes(change(source.read_bytes()))
    refused(source)


def test_huge_lists_are_refused_at_once(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    data = source.read_bytes()
    for key in (b"tokenizer.ggml.tokens", b"tokenizer.ggml.scores"):
        at = data.index(key) + len(key) + 4 + 4
        source.write_bytes(data[:at] + struct.pack("<Q", 1 << 60) + data[at + 8 :])
        refused(source, f"{1 << 60}")


def test_a_header_cut_or_changed_anywhere_is_refused_or_right(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    data = source.read_bytes()
    header = data.index(b"blk.0.ffn_up.weight") + 60
    rng = np.random.default_rng(0)
    for at in rng.integers(0, header, 150).tolist():
        source.write_bytes(data[:at])
        refused(source)
    passed = 0
    for at in rng.integers(0, header, 300).tolist():
        source.write_bytes(data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :])
        try:
            check_gguf(source)
        except ConvertError:
            passed += 1
    assert passed > 20


def test_metadata_that_make_no_sense(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    data = source.read_bytes()
    for key, value, words in (
        (b"llama.block_count", 3, "blk.2"),
        (b"llama.block_count", (1 << 32) - 1, "blk.2"),
        (b"llama.attention.head_count", 0, "head_count is 0"),
        (b"llama.attention.head_count", 7, "7 heads"),
        (b"llama.context_length", 0, "context_length is 0"),
        (b"tokenizer.ggml.eos_token_id", 260, "eos_token_id is 260"),
    ):
        at = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key) + 4
        source.write_bytes(data[:at] + struct.pack("<I", value) + data[at + 4 :])
        conversion_refused(source, words)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.5])
def test_rotary_base_that_makes_no_sense(tmp_path: Path, value: float) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    data, key = source.read_bytes(), b"llama.rope.freq_base"
    at = data.index(key) + len(key) + 4
    source.write_bytes(data[:at] + struct.pack("<f", value) + data[at + 4 :])
    conversion_refused(source, "Malformed")


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    tensor = read_header(source).tensors["blk.0.attn_q.weight"]
    data = source.read_bytes()
    source.write_bytes(data[: tensor.offset] + b"\x00\x7c" + data[tensor.offset + 2 :])
    conversion_refused(source, "blk.0.attn_q.weight", "no numbers")


def test_missing_file_and_what_stands_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="No such file"):
        check_gguf(tmp_path / "none.gguf")
    source = write_tiny_gguf(tmp_path / "tiny.gguf")
    (tmp_path / "file").write_text("in the way", "utf-8")
    with pytest.raises(OSError, match="file"):
        convert_gguf(source, tmp_path / "file" / "out")


def test_tensors_that_share_bytes(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    tensors = read_header(source).tensors
    data = source.read_bytes()
    start = min(info.offset for info in tensors.values())
    entry = data.index(b"blk.0.attn_v.weight")
    at = data.index(struct.pack("<Q", tensors["blk.0.attn_v.weight"].offset - start), entry)
    shared = struct.pack("<Q", tensors["blk.0.attn_k.weight"].offset - start)
    source.write_bytes(data[:at] + shared + data[at + 8 :])
    conversion_refused(source, "blk.0.attn_k.weight", "blk.0.attn_v.weight", "share bytes")


@pytest.mark.parametrize("name", ["output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_norms_that_are_no_numbers(tmp_path: Path, name: str, value: float) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    at = read_header(source).tensors[name].offset
    data = source.read_bytes()
    source.write_bytes(data[:at] + struct.pack("<f", value) + data[at + 4 :])
    conversion_refused(source, name, "no numbers")


def test_bfloat16_that_is_no_number(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", kind=Type.BF16, layers=1)
    at = read_header(source).tensors["blk.0.attn_q.weight"].offset
    data = source.read_bytes()
    source.write_bytes(data[:at] + b"\x80\x7f" + data[at + 2 :])
    conversion_refused(source, "blk.0.attn_q.weight", "no numbers")


def test_a_table_of_rotations_that_no_tensor_bounds(tmp_path: Path) -> None:
    """Each size is allowed by itself; a file of two megabytes took eight gigabytes of memory."""
    source = write_tiny_gguf(
        tmp_path / "tiny.gguf", hidden=2048, heads=2, kv_heads=2, inner=32, context=131_072, layers=1
    )
    conversion_refused(source, "1024 values", "131,072 positions")


@pytest.mark.parametrize("template", [b"{{ '\xff' }}", b"\xed\xa0\x80", b"{{ 1 }}\0{{ 2 }}"])
def test_a_chat_template_that_is_no_text(tmp_path: Path, template: bytes) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    file = taken_apart(source)
    source.write_bytes(replace(file, keys=[*file.keys, Key(b"tokenizer.chat_template", 8, text(template))]).raw())
    conversion_refused(source, "tokenizer.chat_template", "not UTF-8")


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    file = taken_apart(source)
    source.write_bytes(replace(file, keys=[*file.keys, file.keys[0]]).raw())
    conversion_refused(source, "general.architecture", "twice")


def test_names_are_cut_and_shown_without_controls(tmp_path: Path) -> None:
    source = write_tiny_gguf(tmp_path / "tiny.gguf", layers=1)
    file = taken_apart(source)
    evil = replace(file.tensors[0], name=b"\x1b]0;x\x07" + b"x" * 100_000, dims=())
    source.write_bytes(replace(file, tensors=[evil, *file.tensors[1:]]).raw())
    with pytest.raises(ConvertError) as caught:
        check_gguf(source)
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tiny.gguf")
    refused(tmp_path / "tiny.gguf", "named pipe")
