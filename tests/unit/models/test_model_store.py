"""The store: whole models or none, whoever dies half-way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgechat.errors import ModelError, StorageError
from edgechat.models import copying, manifest
from edgechat.models.manifest import MANIFEST, quick_check, verify_manifest, write_manifest
from edgechat.models.names import check_name, name_for
from edgechat.models.store import ModelStore
from edgechat.runtime import paths
from edgechat.runtime.regular_files import open_regular
from tests.support.rights import bound_by_rights

Make = Callable[..., Path]
NATIVE = {"decoder": {"filename": "model.onnx", "session_options": {"custom_ops_library": "lib.so"}}}


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


def visible(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.root.iterdir() if not path.name.startswith((".locks", ".trusted")))


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_store_that_does_not_exist_is_empty(store: ModelStore) -> None:
    assert store.list() == ()
    assert store.names() == ()
    assert not store.has("x")
    assert not store.root.exists()


def test_add_get_list_verify_remove(store: ModelStore, genai: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = store.add(genai, on_progress=lambda done, total: seen.append((done, total)))
    assert model.name == "bare"
    assert model.root == paths.models_dir() / "bare"
    assert store.get("bare") == model
    assert store.list() == (model,)
    assert store.verify("bare") == ()
    assert seen[-1][0] == seen[-1][1] > 0
    assert not (genai / MANIFEST).exists(), "the source is not changed"
    assert (store.root.stat().st_mode & 0o077) == 0
    store.remove("bare")
    assert store.list() == ()
    assert visible(store) == []


def test_an_added_model_needs_no_hashing_at_its_first_start(
    store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = store.add(genai)
    monkeypatch.setattr(manifest, "hash_file", lambda *_: pytest.fail("hashed again"))
    assert quick_check(model.root).state == "verified"


def test_an_mlflow_folder_is_copied_whole(store: ModelStore, tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", "flavors: {x: {data: artifacts/og}}")
    (root / "python_model.pkl").write_bytes(b"x")
    model = store.add(root, "phi3")
    assert model.genai == store.root / "phi3" / "artifacts" / "og"
    assert (model.root / "python_model.pkl").exists()


def test_links_become_files(store: ModelStore, genai: Path) -> None:
    (genai / "again.data").symlink_to("model.onnx.data")
    model = store.add(genai)
    assert not (model.root / "again.data").is_symlink()
    assert (model.root / "again.data").read_bytes() == (genai / "model.onnx.data").read_bytes()


def test_links_out_are_not_followed(store: ModelStore, tmp_path: Path, make_mlflow: Make) -> None:
    root = make_mlflow(tmp_path / "m", "flavors: {x: {data: artifacts/og}}")
    (root / "notes.txt").symlink_to("/etc/passwd")
    with pytest.raises(ModelError, match="leaves the model folder"):
        store.add(root)
    assert not store.root.exists()


def test_hard_links_only_when_asked(store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = store.add(genai, "copied")
    linked = store.add(genai, "linked", link=True)
    assert not (copied.root / "model.onnx").samefile(genai / "model.onnx")
    assert (linked.root / "model.onnx").samefile(genai / "model.onnx")
    assert store.verify("linked") == ()

    def other_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    fallen_back = store.add(genai, "fallen-back", link=True)
    assert not (fallen_back.root / "model.onnx").samefile(genai / "model.onnx")


def test_a_taken_name_and_replacing(store: ModelStore, genai: Path, tmp_path: Path, make_genai: Make) -> None:
    store.add(genai, "m")
    other = make_genai(tmp_path / "other", type="phi3")
    with pytest.raises(ModelError, match="Name is taken"):
        store.add(other, "m")
    assert store.get("m").architecture == "llama"
    assert store.add(other, "m", replace=True).architecture == "phi3"
    assert visible(store) == ["m"]


def test_a_bad_model_leaves_the_old_one(store: ModelStore, genai: Path, tmp_path: Path, make_genai: Make) -> None:
    store.add(genai, "m")
    other = make_genai(tmp_path / "other")
    (other / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        store.add(other, "m", replace=True)
    assert store.verify("m") == ()


def test_a_model_that_differs_from_its_own_manifest_is_not_installed(store: ModelStore, genai: Path) -> None:
    write_manifest(genai)
    store.add(genai, "good")
    raw = (genai / "model.onnx").read_bytes()
    (genai / "model.onnx").write_bytes(b"X" + raw[1:])
    with pytest.raises(ModelError, match=r"model\.onnx is not what"):
        store.add(genai, "bad")
    assert visible(store) == ["good"]


def test_trust_is_kept_for_the_name_and_never_brought(store: ModelStore, tmp_path: Path, make_genai: Make) -> None:
    folder = make_genai(tmp_path / "native", **NATIVE)
    with pytest.raises(ModelError, match="native code"):
        store.add(folder)
    assert store.add(folder, trust=True).trusted
    assert store.get("native").trusted
    # A manifest inside the folder that asks for trust is not listened to, nor is trust given to another model.
    shutil.copytree(store.root / "native", store.root / "copied")
    with pytest.raises(ModelError, match="native code"):
        store.get("copied")
    data = json.loads((store.root / "native" / MANIFEST).read_text())
    (store.root / "native" / MANIFEST).write_text(json.dumps({**data, "created": "later", "trusted": True}))
    with pytest.raises(ModelError, match="native code"):
        store.get("native")
    store.remove("native")
    assert not list((store.root / ".trusted").iterdir())


def test_a_broken_model_is_listed_with_its_error(store: ModelStore, genai: Path) -> None:
    store.add(genai, "good")
    store.add(genai, "broken")
    (store.root / "broken" / "tokenizer.json").unlink()
    assert [model.name for model in store.list()] == ["good"]
    assert [(entry.name, entry.error is None) for entry in store.entries()] == [("broken", False), ("good", True)]
    assert [problem.path for problem in store.verify("broken")] == ["tokenizer.json"]
    store.remove("broken")


@pytest.mark.parametrize("name", ["a", "Phi-3.5_mini", "0", "x" * 100, "a.b"])
def test_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a\\b",
            "../x",
            "/etc",
            "a b",
            "a\n",
            "ä",
            "x" * 101,
            "a\0",
            "con",
            "NUL.x",
        ),
        *("a.", "~", "C:x", "\x1b[31m"),
    ],
)
def test_names_that_are_none(store: ModelStore, genai: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_name(name)
    assert "\x1b" not in caught.value.message
    with pytest.raises(ModelError):
        store.add(genai, name)
    for method in (store.get, store.remove, store.verify):
        with pytest.raises(ModelError):
            method(name)
    with pytest.raises(ModelError), store.lock(name):
        pass
    with pytest.raises(ModelError), store.staging(name):
        pass
    assert not store.root.exists()


def test_names_made_from_folders() -> None:
    assert name_for(Path("/x/My model (v2)")) == "My-model-v2"
    assert name_for(Path("/x/" + "y" * 200)) == "y" * 100
    for folder in ("/x/模型", "/", "/x/..."):
        with pytest.raises(ModelError) as caught:
            name_for(Path(folder))
        assert "--name" in caught.value.hint


def test_unknown_names_get_the_nearest(store: ModelStore, genai: Path) -> None:
    store.add(genai, "phi3-mini")
    with pytest.raises(ModelError) as caught:
        store.get("phi3-min")
    assert "phi3-mini" in caught.value.hint


def test_the_store_is_not_added_to_itself(store: ModelStore, genai: Path) -> None:
    nested = ModelStore(genai / "models")
    with pytest.raises(ModelError, match="keeps its models in"):
        nested.add(genai)


# Storage that fails


def test_a_full_disk_is_told_before_copying(store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, used=1, free=16_500_000))
    store.root.mkdir(parents=True)
    with (genai / "model.onnx.data").open("ab") as file:
        file.truncate(3_000_000)
    with pytest.raises(StorageError, match=r"needs 3\.0 MB, and 500 kB are free"):
        store.add(genai)
    assert visible(store) == []


def test_a_disk_that_becomes_full(store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, chunk: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying, "_write_all", full)
    with pytest.raises(StorageError, match="became full"):
        store.add(genai)
    assert visible(store) == []


def test_a_source_that_cannot_be_read(store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> BufferedReader:
        if path.name == "model.onnx.data" and path.parent == genai:
            raise OSError(5, "Input/output error")
        return open_regular(path)

    monkeypatch.setattr(copying, "open_regular", fails)
    with pytest.raises(ModelError, match="Input/output error"):
        store.add(genai)
    assert visible(store) == []


def test_a_store_that_cannot_be_written(genai: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = ModelStore(tmp_path / "file" / "models")
    with pytest.raises(StorageError):
        store.add(genai)
    with pytest.raises(StorageError), store.lock("x"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps rights elsewhere")
def test_a_read_only_store(open_folder: Path, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECHAT_HOME", str(open_folder))
    source = open_folder / "source"
    shutil.copytree(genai, source)
    store = ModelStore()
    store.add(source, "m")
    paths.cache_dir().mkdir(exist_ok=True)
    store.root.chmod(0o500)
    with bound_by_rights(open_folder):
        assert store.get("m").name == "m"
        for action in (lambda: store.add(source, "n"), lambda: store.remove("m")):
            with pytest.raises(StorageError):
                action()


# Staging


def test_staging_shows_the_model_when_it_is_whole(store: ModelStore, make_genai: Make) -> None:
    with store.staging("m") as folder:
        assert list(folder.iterdir()) == []
        make_genai(folder)
        assert store.names() == ()
    assert store.names() == ("m",)
    assert store.verify("m") == ()
    assert visible(store) == ["m"]


def test_staging_keeps_a_manifest_that_was_written(store: ModelStore, make_genai: Make) -> None:
    with store.staging("m") as folder:
        written = write_manifest(make_genai(folder))
    assert manifest.read_manifest(store.root / "m") == written


def test_staging_clears_up_after_an_error(store: ModelStore) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError

    with pytest.raises(RuntimeError), store.staging("m") as folder:
        fail(folder)
    assert visible(store) == []


def test_two_stagings_of_one_name(store: ModelStore, make_genai: Make) -> None:
    def meanwhile(first: Path) -> None:
        with store.staging("m") as second:
            assert first != second
            make_genai(second)

    with pytest.raises(ModelError, match="Name is taken"), store.staging("m") as first:
        meanwhile(first)
    assert visible(store) == ["m"]
    assert store.verify("m") == ()


STAGE = """
import sys, time
from pathlib import Path
from edgechat.models.store import ModelStore
with ModelStore().staging("m") as folder:
    (folder / "half").write_text("x")
    print("filling", flush=True)
    time.sleep(60)
"""

ADD_SLOWLY = """
import sys, time
from pathlib import Path
from edgechat.models.store import ModelStore
def progress(done, total):
    print(done, flush=True)
    if done > 1000:
        time.sleep(60)
ModelStore().add(Path(sys.argv[1]), "m", on_progress=progress, replace=True)
"""

STOP_BETWEEN_RENAMES = """
import os, signal, sys
from pathlib import Path
from edgechat.models.store import ModelStore
real = Path.rename
def rename(self, target):
    if self.name.startswith(".staging-"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
Path.rename = rename
ModelStore().add(Path(sys.argv[1]), "m", replace=True)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL here")


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


@posix
def test_a_kill_while_staging_leaves_nothing(store: ModelStore, genai: Path) -> None:
    child = start(STAGE)
    assert child.stdout is not None
    assert child.stdout.readline() == "filling\n"
    assert store.names() == ()
    assert len(visible(store)) == 2, "the folder of a living process is left alone"
    kill(child)
    assert store.names() == ()
    assert visible(store) == []
    store.add(genai, "m")


@posix
def test_a_kill_while_replacing_keeps_the_old_one(store: ModelStore, genai: Path) -> None:
    old = store.add(genai, "m")
    child = start(ADD_SLOWLY, str(genai))
    assert child.stdout is not None
    while int(child.stdout.readline()) <= 1000:
        pass
    kill(child)
    assert store.get("m") == old
    assert store.verify("m") == ()
    assert visible(store) == ["m"]


@posix
def test_a_kill_between_the_two_renames_brings_the_old_one_back(store: ModelStore, genai: Path) -> None:
    store.add(genai, "m")
    child = start(STOP_BETWEEN_RENAMES, str(genai))
    child.communicate(timeout=20)
    assert child.returncode == -signal.SIGKILL
    assert not (store.root / "m").exists()
    assert store.names() == ("m",)
    assert store.verify("m") == ()
    assert visible(store) == ["m"]


INSTALL = """
import sys, time
from pathlib import Path
from edgechat.models.store import ModelStore
store = ModelStore()
with store.lock("m", on_wait=lambda: print("waiting", flush=True)):
    if store.has("m"):
        print("there", flush=True)
    else:
        print("installing", flush=True)
        time.sleep(float(sys.argv[2]))
        store.add(Path(sys.argv[1]), "m")
        print("installed", flush=True)
"""


def test_two_processes_install_once(store: ModelStore, genai: Path) -> None:
    children = [start(INSTALL, str(genai), "0.7") for _ in range(2)]
    said = [child.communicate(timeout=30) for child in children]
    assert sorted(out for out, _ in said) == ["installing\ninstalled\n", "waiting\nthere\n"], said
    assert store.verify("m") == ()


@posix
def test_a_dead_holder_lets_the_lock_go(store: ModelStore, genai: Path) -> None:
    child = start(INSTALL, str(genai), "60")
    assert child.stdout is not None
    assert child.stdout.readline() == "installing\n"
    waited: list[bool] = []
    kill(child)
    with store.lock("m", on_wait=lambda: waited.append(True)):
        pass
    assert waited == []


def test_many_adding_at_once_leave_one_whole_model(store: ModelStore, genai: Path) -> None:
    script = "import sys; from pathlib import Path; from edgechat.models.store import ModelStore\n"
    script += "ModelStore().add(Path(sys.argv[1]), 'm', replace=True)"
    children = [start(script, str(genai)) for _ in range(4)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    assert verify_manifest(store.root / "m") == []
    assert visible(store) == ["m"]


def test_a_replaced_model_does_not_come_back(store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(genai, "m")
    with monkeypatch.context() as patched:  # a process that dies before it has deleted anything
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        store.add(genai, "m", replace=True)
        store.remove("m")
    assert store.names() == ()
    assert visible(store) == []
