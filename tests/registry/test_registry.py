"""Pulling from and pushing to a real MLflow server, and what becomes of bad servers and bad models."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgechat.errors import ConfigError, ModelError, RegistryError, StorageError
from edgechat.models.manifest import MANIFEST
from edgechat.models.origin import ORIGINS
from edgechat.models.store import ModelStore
from edgechat.registry.pull import PULLS, check_servers, pull
from edgechat.registry.push import Pushed, connect, push
from edgechat.registry.resumable_download import Fetched, fetch_files, list_files
from tests.support.mlflow_server import MlflowServer, Proxy, free_port

# Importing MLflow's larger parts brings warnings of others.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def server(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A running server, named by the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    return mlflow_server.uri


@pytest.fixture
def proxy(mlflow_server: MlflowServer) -> Iterator[Proxy]:
    with Proxy(mlflow_server.uri) as made:
        yield made


@pytest.fixture(scope="module")
def phi3(mlflow_server: MlflowServer, tiny_phi3: Path, tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """A small model on the server, as phi3@champion, version 1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECHAT_HOME", str(tmp_path_factory.mktemp("pushing")))
        return push(tiny_phi3, register="phi3", alias="champion", tracking_uri=mlflow_server.uri)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def nothing_there(store: ModelStore) -> bool:
    return store.names() == () and not [p for p in store.root.glob(".*") if p.name not in {".locks", PULLS, ORIGINS}]


class TestPush:
    """What a pushed model is on the server."""

    def test_a_bare_folder_becomes_a_model_of_its_run(self, server: str, tiny_phi3: Path, own_home: Path) -> None:
        before = contents(tiny_phi3)
        told: list[tuple[int, int]] = []
        pushed = push(tiny_phi3, register="bare", alias="fresh", on_progress=lambda *step: told.append(step))
        assert contents(tiny_phi3) == before
        assert list(own_home.rglob("push-*")) == []
        assert told[-1][0] == told[-1][1] > 0
        assert (pushed.name, pushed.version, pushed.alias, pushed.tracking_uri) == ("bare", "1", "fresh", server)
        client = connect(server)
        run = client.get_run(pushed.run_id)
        assert run.info.status == "FINISHED"
        assert client.get_experiment(run.info.experiment_id).name == "edgechat"
        assert [output.model_id for output in run.outputs.model_outputs] == [pushed.model_id]
        logged = client.get_logged_model(pushed.model_id)
        assert (logged.name, str(logged.status), logged.source_run_id) == ("model", "READY", pushed.run_id)
        assert logged.params["architecture"] == "phi3"
        assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "bare", "version": "1"}]
        version = client.get_model_version_by_alias("bare", "fresh")
        assert (version.version, version.run_id, version.source) == ("1", pushed.run_id, f"models:/{pushed.model_id}")

    def test_mlmodel_and_manifest_on_the_server(self, server: str, phi3: Pushed) -> None:
        model = pull("models:/phi3/1").model
        card = yaml.safe_load((model.root / "MLmodel").read_text())
        assert (card["run_id"], card["model_id"], card["model_uuid"]) == (phi3.run_id, phi3.model_id, phi3.model_id)
        assert card["artifact_path"].endswith(f"{phi3.model_id}/artifacts")
        assert ModelStore().verify("phi3") == ()

    def test_into_a_run_of_the_callers(self, server: str, tiny_phi3: Path) -> None:
        client = connect(server)
        run = client.create_run(client.create_experiment("callers"))
        pushed = push(tiny_phi3, run_id=run.info.run_id)
        assert pushed == Pushed(run.info.run_id, pushed.model_id, "", "", "", server)
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        assert pull(f"runs:/{run.info.run_id}/model").model.architecture == "phi3"

    def test_a_damaged_folder_is_not_sent(self, server: str, tiny_phi3: Path) -> None:
        model = ModelStore().add(tiny_phi3, "damaged")
        weights = model.root / "model.onnx"
        weights.write_bytes(b"X" + weights.read_bytes()[1:])
        with pytest.raises(ModelError, match=r"model\.onnx .* is not what"):
            push(model.root, register="damaged")
        with pytest.raises(RegistryError, match="damaged"):
            pull("models:/damaged/1")

    @pytest.mark.parametrize(
        ("name", "alias"), [("a/b", None), ("", None), ("fine", "v1"), ("fine", "a b"), (None, "x")]
    )
    def test_names_are_looked_at_before_anything_is_sent(
        self, proxy: Proxy, tiny_phi3: Path, name: str | None, alias: str | None
    ) -> None:
        with pytest.raises(ModelError):
            push(tiny_phi3, register=name, alias=alias, tracking_uri=proxy.uri)
        assert proxy.asked == []

    def test_a_failure_half_way_marks_the_run(self, server: str, proxy: Proxy, tiny_phi3: Path) -> None:
        def full(path: str, body: bytes) -> bytes:
            if path.endswith("model.onnx"):
                raise OSError(errno.ENOSPC, "the server's disk is full")
            return body

        proxy.rewrite = full
        with pytest.raises(RegistryError):
            push(tiny_phi3, register="broken", tracking_uri=proxy.uri, experiment="broken")
        client = connect(server)
        experiment = client.get_experiment_by_name("broken").experiment_id
        (run,) = client.search_runs([experiment])
        (logged,) = client.search_logged_models([experiment])
        assert (run.info.status, str(logged.status)) == ("FAILED", "FAILED")


class TestPull:
    """From the server to the store."""

    def test_every_form_of_uri(self, server: str, phi3: Pushed) -> None:
        store = ModelStore()
        location = connect(server).get_logged_model(phi3.model_id).artifact_location
        http = f"{server}/api/2.0/mlflow-artifacts/artifacts/{location.removeprefix('mlflow-artifacts:/')}"
        for number, uri in enumerate(
            (
                *("models:/phi3@champion", "models:/phi3/1", "models:/phi3/latest", f"models:/{phi3.model_id}"),
                *(f"runs:/{phi3.run_id}/model", location, http),
            )
        ):
            pulled = pull(uri, name=f"n{number}", tracking_uri=None if uri != http else "http://127.0.0.1:1")
            origin = pulled.model.origin
            assert origin is not None
            assert (origin.server, origin.uri, origin.location) == (
                server,
                uri,
                location.replace(location, origin.location),
            )
            assert origin.aliases == (("champion",) if number < 3 else ())
            assert store.get(f"n{number}") == pulled.model
        assert store.names() == tuple(f"n{number}" for number in range(7))
        assert list((store.root / PULLS).iterdir()) == []

    def test_what_is_here_is_not_fetched_again(self, proxy: Proxy, phi3: Pushed) -> None:
        first = pull("models:/phi3@champion", tracking_uri=proxy.uri)
        assert first.fetched is not None
        assert any("artifacts/" in path for path in proxy.asked)
        proxy.asked.clear()
        again = pull("models:/phi3/1", tracking_uri=proxy.uri)
        assert again.fetched is None
        assert again.model == first.model
        assert not any("mlflow-artifacts" in path for path in proxy.asked)
        (first.model.genai / "model.onnx").write_bytes(b"damaged since")
        assert pull("models:/phi3@champion", tracking_uri=proxy.uri).fetched is not None
        assert ModelStore().verify("phi3") == ()

    def test_a_new_version_takes_the_place_of_the_old(self, server: str, tiny_phi3: Path, tiny_llama: Path) -> None:
        push(tiny_phi3, register="moving", alias="champion")
        assert pull("models:/moving@champion", name="mine").model.architecture == "phi3"
        assert [standing.state for standing in self.asked()] == ["current"]
        push(tiny_llama, register="moving", alias="champion")
        assert [(standing.now, standing.state) for standing in self.asked()] == [("2", "outdated")]
        pulled = pull("models:/moving@champion")
        assert (pulled.model.name, pulled.model.architecture, pulled.before) == ("mine", "llama", "1")
        assert [standing.state for standing in self.asked()] == ["current"]
        # Going back by number finds the alias where it is now.
        old = pull("models:/moving/1", name="old").model.origin
        assert old is not None
        assert old.aliases == ()
        connect(server).delete_registered_model("moving")
        assert {standing.state for standing in self.asked()} == {"gone"}

    @staticmethod
    def asked() -> list[Any]:
        standings, failed = check_servers(ModelStore().origins.all().values())
        assert failed == []
        return standings

    def test_an_alias_that_moved_back_means_the_older_one(self, server: str, tiny_phi3: Path) -> None:
        for alias in ("champion", "champion"):
            push(tiny_phi3, register="back", alias=alias)
        pull("models:/back/1", name="one")
        pull("models:/back@champion", name="two")
        connect(server).set_registered_model_alias("back", "champion", "1")
        pull("models:/back@champion", name="one")
        found = ModelStore().origins.all()
        assert (found["one"].aliases, found["two"].aliases) == (("champion",), ())

    def test_a_taken_name_is_refused_with_the_way_out(self, server: str, phi3: Pushed, tiny_llama: Path) -> None:
        store = ModelStore()
        store.add(tiny_llama, "phi3")
        with pytest.raises(ModelError, match="Another model is called phi3") as caught:
            pull("models:/phi3@champion")
        assert "--name" in caught.value.hint
        assert "--replace" in caught.value.hint
        assert store.get("phi3").architecture == "llama"
        assert pull("models:/phi3@champion", replace=True).model.architecture == "phi3"

    def test_the_tracking_store_is_only_read(self, mlflow_server: MlflowServer, server: str, phi3: Pushed) -> None:
        before = contents(mlflow_server.folder / "artifacts")
        pull("models:/phi3@champion")
        assert contents(mlflow_server.folder / "artifacts") == before


class TestLocalStores:
    """A database on this device, and MLflow's folders of old."""

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        work = tmp_path / "work"
        work.mkdir()
        monkeypatch.chdir(work)
        yield
        assert list(work.iterdir()) == [], "nothing is written into the working directory"

    @pytest.mark.parametrize("kind", ["sqlite", "file"])
    def test_push_and_pull(self, tiny_phi3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = f"sqlite:///{tmp_path}/mlflow.db" if kind == "sqlite" else (tmp_path / "store").as_uri()
        pushed = push(tiny_phi3, register="phi3", alias="champion", tracking_uri=uri)
        before = contents(tmp_path / ("mlartifacts" if kind == "sqlite" else "store"))
        for number, asked in enumerate(
            ("models:/phi3@champion", f"runs:/{pushed.run_id}/model", f"models:/{pushed.model_id}")
        ):
            assert pull(asked, name=f"n{number}", tracking_uri=uri).model.architecture == "phi3"
        assert contents(tmp_path / ("mlartifacts" if kind == "sqlite" else "store")) == before

    def test_mlflow_refuses_folders(self, tiny_phi3: Path, tmp_path: Path) -> None:
        with pytest.raises(RegistryError) as caught:
            push(tiny_phi3, register="phi3", tracking_uri=(tmp_path / "store").as_uri())
        assert "MLFLOW_ALLOW_FILE_STORE" in caught.value.hint

    @pytest.mark.parametrize("uri", ["sqlite:////{}/gone.db", "file://{}/gone", "{}/gone", "sqlite:///gone.db"])
    def test_a_pull_makes_no_store(self, tmp_path: Path, uri: str) -> None:
        with pytest.raises(RegistryError, match="No such store"):
            pull("models:/phi3/1", tracking_uri=uri.format(tmp_path))
        assert not list(tmp_path.glob("gone*"))


class TestBadServers:
    """Servers that are down, slow, something else, or without the model."""

    def refusal(self, uri: str, asked: str = "models:/phi3@champion") -> RegistryError:
        with pytest.raises(RegistryError) as caught:
            pull(asked, tracking_uri=uri)
        assert caught.value.hint
        assert caught.value.exit_code == 3
        assert nothing_there(ModelStore())
        assert "secret" not in str(caught.value)
        return caught.value

    def test_none_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(RegistryError, match="No MLflow server named") as caught:
            pull("models:/phi3@champion")
        assert "--tracking-uri" in caught.value.hint

    def test_down(self) -> None:
        address = f"127.0.0.1:{free_port()}"
        error = self.refusal(f"http://me:secret@{address}")
        assert error.title == "MLflow server cannot be reached"
        assert error.message == f"http://{address} gives no connection."

    def test_one_that_never_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            error = self.refusal(f"http://me:secret@127.0.0.1:{silent.getsockname()[1]}")
        assert error.title == "MLflow server does not answer"

    def test_one_that_stops_half_way(self, proxy: Proxy, phi3: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
        connect(proxy.uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setattr(Proxy, "FIRST", 10)
        proxy.stall = "model.onnx"
        assert self.refusal(proxy.uri).title == "MLflow server does not answer"

    def test_no_mlflow_server(self, proxy: Proxy) -> None:
        for body in (b"<html>", b"[]"):
            proxy.rewrite = lambda path, _, body=body: body
            assert self.refusal(proxy.uri).title == "Not an MLflow server"
        assert self.refusal(f"{proxy.uri}/wrong/path").title == "Not an MLflow server"

    @pytest.mark.parametrize(
        "body", [b"{}", b'{"files": [{}]}', b'{"files": [[]]}', b"[", b'{"model_version": {"version": []}}']
    )
    def test_answers_in_a_form_of_their_own(self, proxy: Proxy, phi3: Pushed, body: bytes) -> None:
        for part in ("alias", "model-versions/get?", "artifacts?"):
            proxy.rewrite = lambda path, told, part=part: body if part in path else told
            self.refusal(proxy.uri)

    def test_http_where_https_was_meant(self, mlflow_server: MlflowServer) -> None:
        error = self.refusal(mlflow_server.uri.replace("http", "https"))
        assert "encrypted" in error.message
        assert "http://" in error.hint

    def test_a_database_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "text.db").write_text("no database at all " * 100)
        assert "not a database" in self.refusal(f"sqlite:///{tmp_path}/text.db").message

    def test_a_timeout_that_is_none(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")
        with pytest.raises(ConfigError, match="soon"):
            connect(server)

    @pytest.mark.parametrize(
        "uri", ["http://", "http://[bad", "http://no.such.host.invalid:1", "ftp://x/y", "nonsense:x"]
    )
    def test_addresses_that_lead_nowhere(self, uri: str) -> None:
        self.refusal(uri)

    @pytest.mark.parametrize(
        "asked",
        [
            *("models:/nope@champion", "models:/nope/1", "models:/nope/latest", "models:/phi3@nope", "models:/phi3/99"),
            *("models:/m-0123", "runs:/0123/model", "mlflow-artifacts:/nowhere/at/all"),
        ],
    )
    def test_what_is_not_there(self, server: str, phi3: Pushed, asked: str) -> None:
        error = self.refusal(server, asked)
        assert error.title in {"Not on the server", "Nothing there"}

    def test_a_run_without_that_model(self, server: str, phi3: Pushed) -> None:
        assert "no model called other" in self.refusal(server, f"runs:/{phi3.run_id}/other").message

    def test_a_model_of_another_kind(self, server: str, tmp_path: Path, proxy: Proxy) -> None:
        (tmp_path / "MLmodel").write_text("flavors: {sklearn: {}}\n")
        (tmp_path / "weights.bin").write_bytes(b"x" * 1000)
        client = connect(server)
        run = client.create_run(client.create_experiment("other-kind"))
        client.log_artifact(run.info.run_id, str(tmp_path / "MLmodel"), "model")
        client.log_artifact(run.info.run_id, str(tmp_path / "weights.bin"), "model")
        error = self.refusal(proxy.uri, f"runs:/{run.info.run_id}/model")
        assert error.title == "Not a model that can chat"
        assert "is an MLflow model" in error.message
        assert not any("weights.bin" in path for path in proxy.asked), "it is told before anything is fetched"


class TestDamage:
    """What comes is not what the manifest says."""

    def test_a_changed_file_is_fetched_again(self, proxy: Proxy, phi3: Pushed) -> None:
        def corrupt(path: str, body: bytes) -> bytes:
            return b"X" + body[1:] if path.endswith("/model.onnx") else body

        proxy.rewrite = corrupt
        with pytest.raises(ModelError, match=r"model\.onnx of models:/phi3@champion is not what"):
            pull("models:/phi3@champion", tracking_uri=proxy.uri)
        assert nothing_there(ModelStore())
        proxy.rewrite = None
        pulled = pull("models:/phi3@champion", tracking_uri=proxy.uri)
        assert pulled.fetched is not None
        assert 0 < pulled.fetched.reused < pulled.fetched.size
        assert ModelStore().verify("phi3") == ()

    def test_a_missing_file(self, proxy: Proxy, phi3: Pushed) -> None:
        def lose(path: str, body: bytes) -> bytes:
            if "artifacts?path" not in path:
                return body
            listing = json.loads(body)
            return json.dumps({"files": [f for f in listing["files"] if f["path"] != "tokenizer.json"]}).encode()

        proxy.rewrite = lose
        with pytest.raises(ModelError, match=r"lacks model/tokenizer\.json"):
            pull("models:/phi3@champion", tracking_uri=proxy.uri)
        assert nothing_there(ModelStore())

    def test_a_file_that_is_cut(self, proxy: Proxy, phi3: Pushed) -> None:
        proxy.rewrite = lambda path, body: body[:-10] if path.endswith("/model.onnx") else body
        with pytest.raises(RegistryError, match="Download broke off"):
            pull("models:/phi3@champion", tracking_uri=proxy.uri)

    def test_what_lay_damaged_since_the_last_try(self, proxy: Proxy, phi3: Pushed) -> None:
        proxy.rewrite = lambda path, body: body[:-1] if path.endswith("/tokenizer.json") else body
        with pytest.raises(RegistryError):
            pull("models:/phi3@champion", tracking_uri=proxy.uri)
        (half_done,) = (ModelStore().root / PULLS).rglob("model.onnx")
        half_done.write_bytes(b"X" + half_done.read_bytes()[1:])
        proxy.rewrite = None
        pull("models:/phi3@champion", tracking_uri=proxy.uri)
        assert ModelStore().verify("phi3") == ()

    def test_a_disk_that_fills_up_on_the_way(self, tmp_path: Path) -> None:
        class Larger(Hostile):
            def fetch(self, path: str, goal: Path) -> None:
                super().fetch(path, goal)
                if path == "weights":
                    raise OSError(errno.ENOSPC, "No space left on device")

        remote, place = Larger({"": ("genai_config.json", "weights")}), tmp_path / "place"
        with pytest.raises(StorageError, match="Not enough space"):
            fetch_files(remote, list_files(remote, "models:/x/1"), place, requested="models:/x/1")
        assert sorted(contents(place)) == ["files/genai_config.json", "source.json"], (
            "what is whole stays, no half does"
        )

    def test_too_large_for_the_disk(self, server: str, phi3: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        with pytest.raises(StorageError, match="Not enough space"):
            pull("models:/phi3@champion")
        assert nothing_there(ModelStore())


class Hostile:
    """A server's folder that calls its files what it likes."""

    location = "x:/y"

    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = names

    def entries(self, folder: str) -> Iterator[tuple[str, int | None]]:
        for name in self._names[folder]:
            yield name, None if name in self._names else 1

    def fetch(self, path: str, goal: Path) -> None:
        goal.write_bytes(b"x")


class TestHostilePaths:
    """Nothing is written outside of the download's own folder."""

    @pytest.mark.parametrize(
        "name",
        ["../x", "/x", "a/../../x", "..", "C:\\x", "C:x", "..\\x", "a\\..\\..\\x", "x\0y", "", ".", "a/b", "\\\\h\\x"],
    )
    def test_names(self, name: str) -> None:
        with pytest.raises(RegistryError, match="outside of the model"):
            list_files(Hostile({"": ("genai_config.json", name)}), "models:/x/1")

    def test_folders_without_end(self) -> None:
        class Endless(Hostile):
            def entries(self, folder: str) -> Iterator[tuple[str, int | None]]:
                yield f"{folder}/a".lstrip("/"), None

        with pytest.raises(RegistryError, match="more than 30 deep"):
            list_files(Endless({}), "models:/x/1")

    def test_a_file_where_a_folder_has_to_be(self, tmp_path: Path) -> None:
        remote = Hostile({"": ("a", "b"), "b": ("b/genai_config.json",)})
        files = {**list_files(remote, "models:/x/1"), "a/c": 1}
        with pytest.raises(StorageError):
            fetch_files(remote, files, tmp_path / "place", requested="models:/x/1")

    def test_from_a_real_server(self, proxy: Proxy, phi3: Pushed, own_home: Path) -> None:
        def climb(path: str, body: bytes) -> bytes:
            if "artifacts?path" not in path:
                return body
            files = [*json.loads(body)["files"], {"path": "../../../climbed", "is_dir": False, "file_size": 1}]
            return json.dumps({"files": files}).encode()

        proxy.rewrite = climb
        with pytest.raises(RegistryError):
            pull("models:/phi3@champion", tracking_uri=proxy.uri)
        assert nothing_there(ModelStore())
        assert list(own_home.parent.rglob("climbed")) == []

    def test_fetching_alone(self, tmp_path: Path) -> None:
        remote = Hostile({"": ("genai_config.json",)})
        files = list_files(remote, "models:/x/1")
        fetched = fetch_files(remote, files, tmp_path / "place", requested="models:/x/1")
        assert fetched == Fetched(tmp_path / "place" / "files", 1, 0)
        # Without a manifest nothing tells whether a file is still that of the same model: it comes anew.
        assert fetch_files(remote, files, tmp_path / "place", requested="models:/x/1").reused == 0


SMALL = """
import sys
for name in {whole!r}:
    sys.modules[name] = None
from edgechat.runtime.opt_outs import go_offline
go_offline()
from edgechat.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
WHOLE = (
    "alembic",
    "docker",
    "flask",
    "graphene",
    "gunicorn",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "sqlalchemy",
)
"""What mlflow requires and mlflow-skinny does not."""


def small(*arguments: str, cwd: Path, missing: tuple[str, ...] = WHOLE) -> subprocess.CompletedProcess[str]:
    """Run edgechat as if mlflow-skinny alone were installed."""
    return subprocess.run(
        [sys.executable, "-c", SMALL.format(whole=missing), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "EDGECHAT_HOME": os.environ["EDGECHAT_HOME"], "HOME": str(cwd.parent)},
    )


def test_a_server_needs_the_small_mlflow_alone(server: str, phi3: Pushed, tiny_phi3: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    pulled = small("models", "pull", "models:/phi3@champion", "--tracking-uri", server, cwd=work)
    assert (pulled.returncode, pulled.stdout) == (0, "phi3\n"), pulled.stderr
    pushed = small("models", "push", str(tiny_phi3), "--register", "small", "--tracking-uri", server, cwd=work)
    assert pushed.returncode == 0, pushed.stderr
    assert "models:/small/1" in pushed.stdout
    (tmp_path / "a.db").touch()
    refused = small("models", "pull", "models:/phi3/1", "--tracking-uri", f"sqlite:///{tmp_path}/a.db", cwd=work)
    assert refused.returncode == 3
    assert "uv sync --inexact --extra mlflow" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(work.iterdir()) == []


def test_an_edgechat_without_mlflow_says_so(server: str, tmp_path: Path) -> None:
    """As a packaged one is."""
    refused = small("models", "pull", "models:/phi3/1", "--tracking-uri", server, cwd=tmp_path, missing=("mlflow",))
    assert refused.returncode == 3
    assert refused.stderr.startswith("edgechat: MLflow is missing\n")


def test_the_manifest_rides_along(server: str, phi3: Pushed) -> None:
    assert MANIFEST in {file.path for file in connect(server).list_logged_model_artifacts(phi3.model_id)}
