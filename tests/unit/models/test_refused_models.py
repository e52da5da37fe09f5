"""Folders that are refused, each with a reason a user can act on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgechat.errors import ModelError
from edgechat.models.folder import open_model

Make = Callable[..., Path]


def refusal(path: Path, *, trust: bool = False) -> ModelError:
    with pytest.raises(ModelError) as caught:
        open_model(path, trust=trust)
    error = caught.value
    assert error.title
    assert error.message
    assert not any(ord(letter) < 32 for letter in error.title + error.message + error.hint)
    return error


def test_a_missing_path(tmp_path: Path) -> None:
    error = refusal(tmp_path / "gone")
    assert error.title == "Model not found"
    assert "gone" in error.message


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    assert refusal(Path("~nobody-of-that-name/model")).title == "Model not found"
    assert refusal(Path("a\0b")).title == "Model not found"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert refusal(loop).title == "Model not found"


@pytest.mark.parametrize("name", ["MLmodel", "model.onnx", "weights.gguf", "notes.txt"])
def test_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    error = refusal(tmp_path / name)
    assert "is a file" in error.message
    assert error.hint


def test_a_folder_without_a_model(tmp_path: Path, make_genai: Make) -> None:
    error = refusal(tmp_path)
    assert "MLmodel" in error.message
    assert "genai_config.json" in error.message
    make_genai(tmp_path / "phi3")
    assert str(tmp_path / "phi3") in refusal(tmp_path).hint


@pytest.mark.parametrize(
    ("mlmodel", "reason"),
    [
        ("flavors: [", "not plain YAML"),
        ("flavors: {a: !!python/object/apply:os.mkdir ['MARKER']}", "not plain YAML"),
        ("- a\n- b\n", "not a YAML mapping"),
        ("", "not a YAML mapping"),
        ("run_id: x", "names no flavors"),
        ("flavors: []", "names no flavors"),
        ("a: " + "9" * 5000, "not plain YAML"),
        ("a: 2026-99-99", "not plain YAML"),
        ("? [a, {b: c}]\n: d", "not plain YAML"),
        ("x: &x {a: b}\ny: {<<: *x}", "not plain YAML"),
        ("[" * 20_000, "nested deeper"),
        ("flavors: {x: {}}\npad: " + "x" * 300_000, "kB large"),
        ("\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]), "more values"),
        ("a: &a [*a]", "nested deeper"),
    ],
    ids=lambda value: value[:16],
)
def test_an_mlmodel_that_is_not_one(
    tmp_path: Path, make_mlflow: Make, monkeypatch: pytest.MonkeyPatch, mlmodel: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refusal(make_mlflow(tmp_path / "m", mlmodel))
    assert error.title == "Model folder is damaged"
    assert reason in error.message
    assert not (tmp_path / "MARKER").exists()


def test_an_mlmodel_that_is_not_text(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", "")
    (root / "MLmodel").write_bytes(b"\xff\xfe\x00bad")
    assert "UTF-8" in refusal(root).message


@pytest.mark.parametrize("path", ["/etc", "../og", "artifacts/../../og", "C:\\og", "\\\\host\\og", "..\\og", "a\0b"])
@pytest.mark.parametrize("key", ["data", "artifacts"])
def test_paths_in_mlmodel_that_leave_the_folder(
    tmp_path: Path, make_mlflow: Make, make_genai: Make, path: str, key: str
) -> None:
    make_genai(tmp_path / "og")
    flavor = {"data": path} if key == "data" else {"artifacts": {"phi": {"path": path}}}
    root = make_mlflow(tmp_path / "m", json.dumps({"flavors": {"python_function": flavor}}))
    error = refusal(root)
    assert error.title == "Unsafe model folder"
    assert "outside the model folder" in error.message


def test_a_folder_of_the_model_that_is_a_link_out(tmp_path: Path, make_mlflow: Make, genai: Path) -> None:
    root = make_mlflow(tmp_path / "m", "flavors: {x: {data: og}}", at="unused")
    (root / "og").symlink_to(genai)
    assert "outside the model folder" in refusal(root).message
    (root / "og").unlink()
    (root / "og").mkdir()
    (root / "og" / "inner").symlink_to(genai)
    assert "leads out" in refusal(root).message


def test_mlmodel_as_a_link_out(tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", "flavors: {x: {data: artifacts/og}}")
    (root / "MLmodel").rename(tmp_path / "MLmodel")
    (root / "MLmodel").symlink_to(tmp_path / "MLmodel")
    assert refusal(root).title == "Unsafe model folder"


@pytest.mark.parametrize("name", ["model.onnx.data", "genai_config.json", "tokenizer.json", "extra/deep.bin"])
def test_files_that_are_links_out(tmp_path: Path, genai: Path, name: str) -> None:
    outside = tmp_path / "outside"
    inside = genai / name
    inside.parent.mkdir(exist_ok=True)
    outside.write_bytes(inside.read_bytes() if inside.exists() else b"secret")
    inside.unlink(missing_ok=True)
    inside.symlink_to(outside)
    error = refusal(genai)
    assert name in error.message
    assert "leaves the model folder" in error.message
    assert "cp -rL" in error.hint


def test_links_to_nowhere_and_in_circles(genai: Path) -> None:
    (genai / "gone").symlink_to(genai / "nothing")
    assert "gone" in refusal(genai).message
    (genai / "gone").unlink()
    (genai / "self").symlink_to(genai / "self")
    assert "self" in refusal(genai).message
    (genai / "self").unlink()
    (genai / "up").symlink_to(genai)
    assert "up" in refusal(genai).message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(genai: Path) -> None:
    os.mkfifo(genai / "pipe")
    error = refusal(genai)
    assert "neither a file nor a folder" in error.message
    assert "without it" in error.hint
    assert "neither a folder nor a file" in refusal(genai / "pipe").message


def test_several_models_and_none(tmp_path: Path, make_mlflow: Make, make_genai: Make) -> None:
    root = make_mlflow(tmp_path / "m", "flavors: {x: {data: both}}", at="both/cpu")
    make_genai(root / "both" / "gpu")
    error = refusal(root)
    assert error.title == "Several models in one folder"
    assert str(root / "both" / "cpu") in error.hint
    other = make_mlflow(tmp_path / "n", "flavors: {sklearn: {data: model.pkl}}", at="elsewhere")
    assert "model.pkl" in refusal(other).message


@pytest.mark.parametrize(
    "options",
    [
        {"session_options": {"custom_ops_library": "lib.so"}},
        {"session_options": {"provider_options": [{"QNN": {"backend_path": "QnnHtp.dll"}}]}},
        {"session_options": {"provider_options": [{"x": {"ep_Library_path": "x.so"}}]}},
        {"session_options": {"enable_profiling": "profile.json"}},
        {"pipeline": [{"a": {"session_options": {"custom_ops_library": "lib.so"}}}]},
        {"session_options": {"custom_ops_library": ""}},
        {"session_options": {"enable_profiling": "0"}},
        {"session_options": {"session.collect_node_memory_stats_to_file": "out"}},
        {"session_options": {"Session.Intra_op.allow_spinning": "1"}},
        {"session_options": {"session.optimized_model_filepath": "out"}},
        {"session_options": {"session.moe.offload.derived_cache_dir": "out"}},
        {"session_options": {"session.an_option_of_next_year": "1"}},
        {"session_options": {"ep.context_file_path": "out"}},
        {"session_options": {"provider_options": [{"OpenVINO": {"cache_dir": "out"}}]}},
        {"session_options": {"provider_options": [{"cuda": {"user_compute_stream": "1"}}]}},
        {"run_options": {"run.an_option_of_next_year": "1"}},
        {"pipeline": {"a": {"session_options": {"session.node_partition_config_file": "out"}}}},
        {"pipeline": {"a": {"run_options": {"x": "1"}}}},
        {"next_year": {"filename": "model.onnx"}},
    ],
    ids=str,
)
def test_options_that_are_not_known_need_trust(tmp_path: Path, make_genai: Make, options: dict[str, Any]) -> None:
    folder = make_genai(tmp_path / "m", decoder={"filename": "model.onnx", **options})
    error = refusal(folder)
    assert error.title == "Model refused"
    assert "--trust" in error.hint
    assert f"model.decoder.{next(iter(options))}" in error.message
    assert open_model(folder, trust=True).trusted


@pytest.mark.parametrize("section", ["runtime_profiles", "overlay", "Model", "model.decoder", ""])
def test_sections_that_are_not_known_need_trust(genai: Path, section: str) -> None:
    path = genai / "genai_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), section: [{"overlay": {}}]}))
    assert refusal(genai).title == "Model refused"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"context_length": 0}, "model.context_length"),
        ({"context_length": 1e300}, "model.context_length"),
        ({"vocab_size": -5}, "model.vocab_size"),
        ({"eos_token_id": [1, "2"]}, "model.eos_token_id[1]"),
        ({"eos_token_id": 1.5}, "model.eos_token_id"),
        ({"decoder": {"filename": "model.onnx", "num_hidden_layers": 10**9}}, "num_hidden_layers"),
        ({"decoder": {"filename": "model.onnx", "head_size": True}}, "head_size"),
        ({"decoder": {"filename": "model.onnx", "session_options": []}}, "session_options"),
        ({"decoder": {"filename": "model.onnx", "session_options": {"intra_op_num_threads": 10**6}}}, "threads"),
        ({"decoder": {"filename": "model.onnx", "session_options": {"log_id": "a\nb"}}}, "log_id"),
        ({"decoder": {"filename": "model.onnx", "inputs": {"past_key_names": ["x"]}}}, "past_key_names"),
        ({"decoder": {"filename": "model.onnx", "sliding_window": {"layers": [0.5]}}}, "layers[0]"),
    ],
    ids=str,
)
def test_values_that_make_no_sense(tmp_path: Path, make_genai: Make, options: dict[str, Any], reason: str) -> None:
    error = refusal(make_genai(tmp_path / "m", **options))
    assert error.title == "Model folder is damaged"
    assert reason in error.message


@pytest.mark.parametrize(
    "text", ['{"model": {"type": "llama", "context_length": NaN}}', "\ufeff{}", '{} {"model": {}}']
)
def test_what_the_engine_might_read_otherwise(genai: Path, text: str) -> None:
    (genai / "genai_config.json").write_text(text, "utf-8")
    assert refusal(genai).title == "Model folder is damaged"


def test_graphs_that_are_no_onnx_and_another_tokenizer(tmp_path: Path, make_genai: Make) -> None:
    folder = make_genai(tmp_path / "m", decoder={"filename": "tokenizer.json"})
    assert "no .onnx" in refusal(folder, trust=True).message
    folder = make_genai(tmp_path / "m", tokenizer_dir="other")
    assert "tokenizer_dir" in refusal(folder).message
    assert "tokenizer_dir" in refusal(folder, trust=True).message
    open_model(make_genai(tmp_path / "m", tokenizer_dir=""))


def test_weights_that_two_graphs_share_are_in_the_model(tmp_path: Path, make_genai: Make) -> None:
    shared = {"name": "w", "data_file": "../secret", "offset": "0", "length": "4", "data_type": 1, "shape": [1]}
    decoder = {"filename": "model.onnx", "shared_initializers": [shared]}
    assert "outside the model folder" in refusal(make_genai(tmp_path / "m", decoder=decoder)).message
    shared["data_file"] = "model.onnx.data"
    open_model(make_genai(tmp_path / "m", decoder=decoder))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_texts_without_end(genai: Path, name: str) -> None:
    with (genai / name).open("ab") as file:
        file.truncate(10**12)  # sparse: it takes no room
    error = refusal(genai)
    assert name in error.message
    assert "TB large" in error.message


def test_folders_without_end(genai: Path) -> None:
    deep = genai
    for _ in range(40):
        deep /= "d"
    deep.mkdir(parents=True)
    assert "nested deeper" in refusal(genai).message


def test_folders_nested_as_deep_as_names_can_be(genai: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(genai)
        for _ in range(1500):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)
    assert "nested deeper" in refusal(genai).message
    subprocess.run(["rm", "-rf", genai / "d"], check=True)  # pytest's own cleaning is recursive


def test_a_key_given_twice_hides_nothing(genai: Path) -> None:
    (genai / "genai_config.json").write_text(
        '{"model": {"type": "llama", "decoder": {"filename": "model.onnx", "session_options":'
        ' {"custom_ops_library": "x.so"}}, "decoder": {"filename": "model.onnx"}}}'
    )
    assert "twice" in refusal(genai).message


@pytest.mark.parametrize(
    ("part", "key"),
    [
        *((part, "filename") for part in ("decoder", "draft", "mtp", "embedding", "encoder", "vision", "speech")),
        *((part, key) for part in ("vision", "speech") for key in ("config_filename", "adapter_filename")),
    ],
)
def test_files_it_names_must_be_there(tmp_path: Path, make_genai: Make, key: str, part: str) -> None:
    decoder = {"filename": "model.onnx"}
    parts = {"decoder": decoder, part: {**(decoder if part == "decoder" else {}), key: "gone.onnx"}}
    error = refusal(make_genai(tmp_path / "m", **parts))
    assert error.title == "Model folder is incomplete"
    assert "gone.onnx" in error.message
    parts[part][key] = ""
    if (part, key) != ("decoder", "filename"):
        open_model(make_genai(tmp_path / "m", **parts))


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "C:\\x.onnx", "..\\x.onnx"])
def test_files_it_names_must_be_inside(tmp_path: Path, make_genai: Make, name: str) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert "outside the model folder" in refusal(make_genai(tmp_path / "m", decoder={"filename": name})).message


@pytest.mark.parametrize("name", ["tokenizer.json", "model.onnx"])
def test_missing_files(genai: Path, name: str) -> None:
    (genai / name).unlink()
    error = refusal(genai)
    assert error.title == "Model folder is incomplete"
    assert name in error.message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"model": {}}', "no model.type"),
        ('{"model": 3}', "no model.type"),
        ('{"model": {"type": "llama", "decoder": {"filename": 3}}}', "a name of up to"),
        ("[" * 100_000, "nested deeper"),
        ('{"a": "' + "x" * 1_000_001 + '"}', "large"),
    ],
    ids=lambda value: value[:16],
)
def test_a_damaged_configuration(genai: Path, text: str, reason: str) -> None:
    (genai / "genai_config.json").write_text(text)
    error = refusal(genai)
    assert error.title == "Model folder is damaged"
    assert reason in error.message


def test_a_configuration_that_is_not_text(genai: Path) -> None:
    (genai / "genai_config.json").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refusal(genai).message


@pytest.mark.parametrize("kind", ["whisper", "phi3v", "marian-ssru", "nemotron_speech", "qwen2_5_vl"])
def test_types_that_do_not_chat(tmp_path: Path, make_genai: Make, kind: str) -> None:
    error = refusal(make_genai(tmp_path / "m", type=kind))
    assert error.title == "Model type not supported"
    assert kind in error.message


def test_a_model_without_a_decoder(tmp_path: Path, make_genai: Make) -> None:
    error = refusal(make_genai(tmp_path / "m", type="clip\x1b[31m", decoder={}, vision={"filename": "model.onnx"}))
    assert "names no decoder" in error.message
    assert "clip" in error.message


PIECES = st.sampled_from(
    [
        "flavors",
        "data",
        "artifacts",
        "path",
        "model",
        "type",
        "decoder",
        "filename",
        "..",
        ".",
        "/",
        "~",
        "\0",
        "\ud800",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | PIECES | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PIECES | st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(["MLmodel", "og/genai_config.json"]), content=VALUES | st.binary(max_size=200))
def test_whatever_is_written_there_only_model_errors_come_out(tmp_path: Path, name: str, content: object) -> None:
    (tmp_path / "og").mkdir(exist_ok=True)
    (tmp_path / "MLmodel").write_text("flavors: {x: {data: og}}")
    (tmp_path / "og" / "genai_config.json").write_text("{}")
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / name).write_bytes(raw)
    with suppress(ModelError):
        open_model(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(model=VALUES, flavors=VALUES)
def test_whatever_the_parts_are_only_model_errors_come_out(tmp_path: Path, model: object, flavors: object) -> None:
    (tmp_path / "og").mkdir(exist_ok=True)
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": {"x": {"data": "og"}, "y": flavors}, "metadata": flavors}))
    config = {"type": "llama", "decoder": {"filename": "x"}, "x": model}
    (tmp_path / "og" / "genai_config.json").write_text(json.dumps({"model": config}))
    (tmp_path / "og" / "x").write_bytes(b"x")
    (tmp_path / "og" / "tokenizer.json").write_bytes(b"x")
    with suppress(ModelError):
        open_model(tmp_path)
