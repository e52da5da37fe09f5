"""Model folders made up from seeds: a small whole one that answers, with one thing changed that its number chooses.

The graph, the weights and the tokenizer are real, so that what opens is also loaded and asked. What a hostile model
would write, if it could, are files beside it: `CANARY` is one of a user's, and nothing else may appear there.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

CANARY = "canary"

Attack = Callable[[Path, random.Random], None]
ATTACKS: list[Attack] = []

PLAIN = '{"flavors": {"python_function": {"data": "model"}}, "metadata": {"name": "tiny"}}'


def attack(made: Attack) -> Attack:
    """Put a way of breaking a folder on the list; a case's number says which one it is, and seeds it."""
    ATTACKS.append(made)
    return made


def _file(root: Path, rng: random.Random) -> Path:
    """Any file of the model."""
    return rng.choice(sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()))


def _config(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "model" / "genai_config.json"
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


def _graph(root: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    path = root / "model" / "model.onnx"
    model = onnx.load(str(path), load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())


def _values(data: Any) -> list[tuple[Any, Any]]:
    """Each place of a JSON value that can be given another: the object or list, and the key."""
    found = []
    for key in list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        found.append((data, key))
        found += _values(data[key])
    return found


WRITERS = (
    "session.collect_node_memory_stats_to_file",
    "session.optimized_model_filepath",
    "session.node_partition_config_file",
    "session.moe.offload.derived_cache_dir",
    "session.moe_expert_counter_state_file",
    "session.layer_assignment_settings",
    "ep.context_file_path",
    "enable_profiling",
    "custom_ops_library",
    "session.an_option_of_next_year",
)
PLACES = ("../" + CANARY, "../../" + CANARY, "../new", "new", "/usr/../{outside}/" + CANARY, "{outside}/new")


@attack
def an_option_that_writes(root: Path, rng: random.Random) -> None:
    place = rng.choice(PLACES).replace("{outside}", str(root.parent).lstrip("/"))
    option = {rng.choice(WRITERS): place}
    section = rng.choice(("session_options", "run_options"))
    _config(root, lambda data: data["model"]["decoder"].setdefault(section, {}).update(option))


@attack
def an_option_of_a_stage_that_writes(root: Path, rng: random.Random) -> None:
    option = {rng.choice(WRITERS): f"../../{CANARY}"}
    stage = {"a": {"filename": "model.onnx", "session_options": option}}
    parts: list[dict[str, Any]] = [
        {"decoder": {"pipeline": [stage]}},
        {"decoder": {"pipeline": stage}},
        {"draft": stage["a"]},
        {"mtp": stage["a"]},
    ]
    _config(root, lambda data: _merge(data["model"], rng.choice(parts)))


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


@attack
def an_option_in_other_letters(root: Path, rng: random.Random) -> None:
    name = rng.choice(WRITERS)
    names = (
        name.upper(),
        name.title(),
        name + " ",
        " " + name,
        name.replace("_", "-"),
        name + "\0",
        name.replace("s", "ſ"),
    )
    _config(
        root, lambda data: data["model"]["decoder"]["session_options"].update({rng.choice(names): f"../../{CANARY}"})
    )


@attack
def a_key_twice(root: Path, rng: random.Random) -> None:
    path = root / "model" / "genai_config.json"
    evil = json.dumps({"decoder": {"session_options": {rng.choice(WRITERS): f"../../{CANARY}"}}})
    text = path.read_text("utf-8")
    path.write_text(
        f'{{"model": {evil}, {text[1:]}' if rng.random() < 0.5 else f'{text[:-2]}, "model": {evil}}}', "utf-8"
    )


@attack
def json_as_one_reads_it_and_another_does_not(root: Path, rng: random.Random) -> None:
    path = root / "model" / "genai_config.json"
    evil = json.dumps({"model": {"decoder": {"session_options": {rng.choice(WRITERS): f"../../{CANARY}"}}}})
    text = path.read_text("utf-8")
    forms = (
        f"{text}{evil}",
        f"{evil}{text}",
        f"\ufeff{text}",
        f"// {evil}\n{text}",
        f"/* */ {text}",
        f"{text},",
        f"[{text}]",
    )
    path.write_text(rng.choice(forms), "utf-8")


@attack
def another_value_somewhere(root: Path, rng: random.Random) -> None:
    def change(data: dict[str, Any]) -> None:
        inside, key = rng.choice(_values(data))
        values: tuple[Any, ...] = (
            None,
            True,
            -1,
            0,
            2**31,
            10**30,
            1e308,
            "",
            "x" * 5000,
            "\0",
            "../x",
            [],
            {},
            [[]],
            {"a": {}},
            float("nan"),
        )
        inside[key] = rng.choice(values)

    _config(root, change)


@attack
def a_number_of_any_size(root: Path, rng: random.Random) -> None:
    def change(data: dict[str, Any]) -> None:
        numbers = [(inside, key) for inside, key in _values(data) if type(inside[key]) in (int, float)]
        inside, key = rng.choice(numbers)
        inside[key] = rng.choice((-(2**31), -1, 0, 1, 3, 10**5, 10**8, 2**31 - 1, 2**31, 2**63, 0.5, 1e40))

    _config(root, change)


@attack
def a_key_left_out(root: Path, rng: random.Random) -> None:
    def change(data: dict[str, Any]) -> None:
        inside, key = rng.choice([(inside, key) for inside, key in _values(data) if isinstance(inside, dict)])
        del inside[key]

    _config(root, change)


@attack
def a_section_of_another_engine(root: Path, rng: random.Random) -> None:
    profile = {"id": "x", "overlay": {"model": {"decoder": {"filename": f"../../{CANARY}"}}}}
    more: tuple[dict[str, Any], ...] = (
        {"runtime_profiles": [profile]},
        {"hooks": {"on_load": "touch x"}},
        {"Model": {}},
        {"": {}},
        {"version": 2},
    )
    _config(root, lambda data: data.update(rng.choice(more)))


@attack
def a_file_elsewhere(root: Path, rng: random.Random) -> None:
    where = rng.choice(
        (f"../../{CANARY}", str(root.parent / CANARY), f"..\\..\\{CANARY}", f"C:\\{CANARY}", "/dev/zero", ".")
    )
    shared = {"name": "w", "data_file": where, "offset": "0", "length": "4", "data_type": 1, "shape": [1]}
    parts = (
        {"decoder": {"filename": where}},
        {"decoder": {"shared_initializers": [shared]}},
        {"vision": {"filename": where}},
        {"speech": {"config_filename": where}},
        {"tokenizer_dir": where},
        {"embedding": {"filename": where}},
        {"draft": {"filename": where}},
    )
    _config(root, lambda data: _merge(data["model"], rng.choice(parts)))


@attack
def mlmodel_names_a_place_elsewhere(root: Path, rng: random.Random) -> None:
    where = rng.choice(
        ("..", "/", "../x", "~", "model/../..", "C:\\", "\\\\host\\x", "a\0b", str(root.parent), "file:///etc")
    )
    flavors = (
        {"python_function": {"data": where}},
        {"python_function": {"artifacts": {"m": {"path": where}}}},
        {"transformers": {"model_binary": where}},
        {"x": {"data": "model"}, "y": {"data": where}},
    )
    (root / "MLmodel").write_text(json.dumps({"flavors": rng.choice(flavors)}), "utf-8")


@attack
def yaml_that_is_none(root: Path, rng: random.Random) -> None:
    bomb = "\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))])
    forms = (
        bomb,
        "a: &a [*a]",
        "flavors: {a: !!python/object/apply:os.system ['touch ../ran']}",
        "flavors: !!python/name:os.system",
        "[" * 20_000,
        "- " * 20_000,
        "a: " + "9" * 5000,
        "x: &x {a: b}\ny: {<<: *x}",
        "\xff\xfe",
        PLAIN + "\n---\n" + PLAIN,
        "%TAG ! tag:x,2000:\n--- !y\n" + PLAIN,
        "? " * 3000,
        "flavors: {x: {data: model}}\npad: " + "x" * 300_000,
    )
    (root / "MLmodel").write_text(rng.choice(forms), "utf-8")


def _nested(rng: random.Random) -> str:
    depth = rng.choice((500, 5000, 200_000))
    return rng.choice(("[" * depth, '{"a":' * depth, "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth))


@attack
def json_without_end(root: Path, rng: random.Random) -> None:
    names = ("genai_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    (root / "model" / rng.choice(names)).write_text(_nested(rng), "utf-8")


@attack
def a_manifest_that_is_none(root: Path, rng: random.Random) -> None:
    entry = {"size": 5, "sha256": "0" * 64}
    files: tuple[Any, ...] = (
        {"../x": entry},
        {"/etc/passwd": entry},
        {"MLmodel": {"size": 10**400, "sha256": 5}},
        {"MLmodel": entry},
        {str(n): entry for n in range(20_000)},
        [],
        None,
        {"": entry},
        {"a\0": entry},
    )
    text = json.dumps({"version": rng.choice((1, 1, 1, 2, "1")), "created": "x\x1b[2J", "files": rng.choice(files)})
    text = rng.choice((text, text, text[:-5], _nested(rng), "", "\x00"))
    (root / "edgechat-manifest.json").write_text(text, "utf-8")


def _strange(path: Path, rng: random.Random) -> None:
    """Something that is no file, or not one of the model's, under a name."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match rng.randrange(7):
        case 0 | 1:
            os.mkfifo(path)
        case 2:
            path.mkdir()
        case 3:
            path.symlink_to(rng.choice(("/dev/zero", "/dev/tty", "/dev/full", "/proc/self/mem", "/etc/hostname")))
        case 4:
            path.symlink_to(f"../../{CANARY}")
        case 5:
            path.symlink_to(path.name)
        case _:
            here = Path.cwd()
            os.chdir(path.parent)  # a socket's name has room for a hundred bytes
            try:
                with socket.socket(socket.AF_UNIX) as one:
                    one.bind(path.name)
            finally:
                os.chdir(here)


NAMES = (
    "MLmodel",
    "edgechat-manifest.json",
    "registered_model_meta",
    "README.md",
    "LICENSE",
    "model_card.md",
    "requirements.txt",
    "config.json",
    "genai_config.json",
    "model",
    "input_example.json",
)
INNER = (
    "genai_config.json",
    "model.onnx",
    "model.onnx.data",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "config.json",
    "README.md",
    "LICENSE",
    "extra/x",
)


@attack
def no_file_under_a_name(root: Path, rng: random.Random) -> None:
    _strange(root / rng.choice(NAMES), rng)


@attack
def no_file_under_a_name_of_the_engine(root: Path, rng: random.Random) -> None:
    path = root / "model" / rng.choice(INNER)
    path.parent.mkdir(exist_ok=True)
    _strange(path, rng)


@attack
def folders_without_end(root: Path, rng: random.Random) -> None:
    here = Path.cwd()
    os.chdir(rng.choice((root, root / "model")))
    try:
        for _ in range(rng.choice((40, 1500))):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)


@attack
def files_without_end(root: Path, rng: random.Random) -> None:
    folder = rng.choice((root, root / "model")) / "many"
    folder.mkdir()
    for number in range(rng.choice((300, 21_000))):
        (folder / str(number)).touch()


@attack
def folders_that_are_links(root: Path, rng: random.Random) -> None:
    folder = root / "model"
    for name in "abcdefgh"[: rng.randrange(1, 9)]:
        (folder / name).symlink_to(rng.choice((".", "..", "../model", "/", "a", "../..")))


@attack
def names_that_are_none(root: Path, rng: random.Random) -> None:
    names = (b"\xff\xfe", b"a\x1b]0;x\x07", b"a\nb", "\u202e".encode(), b" ", b"-rf", b"a" * 255, b"con", b"~")
    place = os.fsencode(rng.choice((root, root / "model"))) + b"/" + rng.choice(names)
    Path(os.fsdecode(place)).write_bytes(b"x")


@attack
def a_file_that_is_cut(root: Path, rng: random.Random) -> None:
    path = _file(root, rng)
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


@attack
def bytes_that_are_others(root: Path, rng: random.Random) -> None:
    path = _file(root, rng)
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 5, 100))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


@attack
def a_file_that_is_gone(root: Path, rng: random.Random) -> None:
    _file(root, rng).unlink()


@attack
def a_file_that_is_huge(root: Path, rng: random.Random) -> None:
    """Sparse: it takes no room on the disk. Weights may be large, and reading them takes its time."""
    path = _file(root, rng)
    with path.open("ab") as file:
        file.truncate(rng.choice((300_000, 3_000_000, 300_000_000, 300_000_000 if "onnx" in path.name else 10**12)))


@attack
def a_name_that_is_a_command(root: Path, rng: random.Random) -> None:
    """`hostile_option`: nodes whose names are text, and an option that writes them."""
    text = f"x\ntouch {root.parent / 'ran'}\n#"

    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[rng.randrange(len(model.graph.node))].name = text

    _graph(root, rename)
    place = f"../../{CANARY}" if rng.random() < 0.5 else str(root.parent / CANARY)
    if rng.random() < 0.8:
        _config(root, lambda data: data["model"]["decoder"]["session_options"].update({WRITERS[0]: place}))


@attack
def weights_elsewhere(root: Path, rng: random.Random) -> None:
    places = (
        f"../../{CANARY}",
        str(root.parent / CANARY),
        "/dev/zero",
        "/etc/hostname",
        "*/_ORT_MEM_ADDR_/*",
        "gone",
        "",
        ".",
    )
    place = rng.choice(places)

    def change(model: onnx.ModelProto) -> None:
        tensors = [one for one in model.graph.initializer if one.data_location == TensorProto.EXTERNAL]
        for entry in rng.choice(tensors).external_data:
            if entry.key == "location":
                entry.value = place
            elif rng.random() < 0.5:
                entry.value = rng.choice(("0", "-1", str(2**63), "x", entry.value))

    _graph(root, change)


@attack
def a_graph_of_another_kind(root: Path, rng: random.Random) -> None:
    def change(model: onnx.ModelProto) -> None:
        node = rng.choice(model.graph.node)
        match rng.randrange(4):
            case 0:
                node.op_type = rng.choice(("Loop", "PyOp", "EPContext", "Reboot", "MatMul"))
            case 1:
                node.domain = rng.choice(("ai.onnx.contrib", "com.evil", "com.microsoft", "x" * 1000))
            case 2:
                model.graph.node.append(
                    helper.make_node("EPContext", [], ["y"], domain="com.microsoft", ep_cache_context="../../x")
                )
            case _:
                del model.graph.node[rng.randrange(len(model.graph.node))]

    _graph(root, change)


@attack
def a_tokenizer_of_another_kind(root: Path, rng: random.Random) -> None:
    path = root / "model" / "tokenizer.json"
    data = json.loads(path.read_text("utf-8"))
    for _ in range(rng.choice((1, 1, 3))):
        inside, key = rng.choice(_values(data))
        inside[key] = rng.choice((None, -1, 2**31, 2**40, "", "x" * 10_000, [], {}, "\0", {"type": "Sequence"}))
    if rng.random() < 0.3:
        data["padding"] = {"strategy": {"Fixed": 2**31}, "direction": "Left", "pad_id": 0, "pad_token": "x"}
    path.write_text(json.dumps(data), "utf-8")


@attack
def a_template_of_another_kind(root: Path, rng: random.Random) -> None:
    templates = (
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch ../ran').read() }}",
        "{% include '/etc/passwd' %}",
        "{% for a in messages %}{{ a.content",
        "{{ 'x' * 10**6 }}",
        "{{" * 2000,
        "\x00",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set x = messages %}{{ x.clear() }}",
    )
    path = root / "model" / "tokenizer_config.json"
    data = json.loads(path.read_text("utf-8"))
    data["chat_template"] = rng.choice((*templates, [{"name": "default", "template": "{{ 1 }}"}], 5, None, {}))
    path.write_text(json.dumps(data), "utf-8")


@attack
def a_hugging_face_folder(root: Path, rng: random.Random) -> None:
    """The other form: weights whose header lies."""
    shutil.rmtree(root / "model")
    (root / "MLmodel").unlink()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1}
    (root / "config.json").write_text(json.dumps(config), "utf-8")
    (root / "tokenizer.json").write_text("{}", "utf-8")
    (root / "tokenizer_config.json").write_text('{"chat_template": "x"}', "utf-8")
    entries: tuple[Any, ...] = (
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2**60, 2**60], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [10**4000] * 300, "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**70]},
        {"dtype": "F32", "shape": "x", "data_offsets": None},
        {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]},
        [],
    )
    header = json.dumps(
        {"a": rng.choice(entries), "b": entries[0], "__metadata__": rng.choice(({}, 5, {"a": []}))}
    ).encode()
    header = rng.choice((header, header, header[:-3], _nested(rng).encode()))
    length = rng.choice((len(header), len(header), 0, 1, 2**31, 2**63, 2**64 - 1))
    (root / "model.safetensors").write_bytes(struct.pack("<Q", length) + header + bytes(8))
    if rng.random() < 0.3:
        (root / "model.safetensors").rename(root / "a.safetensors")
        names = ("a.safetensors", "../a.safetensors", "/etc/passwd", "a\\b.safetensors", 5, None)
        index = {"weight_map": {"x": rng.choice(names), "y": rng.choice(names)}}
        (root / "model.safetensors.index.json").write_text(rng.choice((json.dumps(index), _nested(rng))), "utf-8")
    if rng.random() < 0.3:
        _strange(root / rng.choice(("README.md", "tokenizer_config.json", "config.json", "chat_template.jinja")), rng)


def break_folder(root: Path, number: int) -> str:
    """Break the folder in the way of that number; its name."""
    made = ATTACKS[number % len(ATTACKS)]
    made(root, random.Random(number))
    return made.__name__
