"""Registry URIs and where pulled models came from, without any server."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgechat.errors import ModelError
from edgechat.models.manifest import write_manifest
from edgechat.models.origin import ORIGINS, Origin
from edgechat.models.registry_uri import Reference, parse_reference, plain_server, without_credentials
from edgechat.models.store import ModelStore
from edgechat.models.uri import pulled_notice, resolve_model

RUN = "4eef4bba544143cd956e120f31a6e59b"
ORIGIN = Origin(
    uri="models:/phi3@champion",
    server="http://one:5000",
    pulled_at="2026-11-25T10:40:31+00:00",
    name="phi3",
    version="3",
    aliases=("champion", "shadow"),
    run_id=RUN,
    model_id="m-1",
    location="mlflow-artifacts:/1/models/m-1/artifacts",
)


@pytest.fixture
def store() -> ModelStore:
    return ModelStore()


def later(origin: Origin, minute: int, **changes: Any) -> Origin:
    return dataclasses.replace(origin, pulled_at=f"2026-11-25T11:{minute:02}:00+00:00", **changes)


def records(store: ModelStore) -> list[str]:
    return sorted(path.name.partition("~")[0] for path in (store.root / ORIGINS).glob("*"))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("models:/phi3@champion", Reference("models:/phi3@champion", name="phi3", alias="champion")),
        ("models:/phi3/03", Reference("models:/phi3/3", name="phi3", version="3")),
        ("models:/my model ä/Latest", Reference("models:/my model ä/latest", name="my model ä", latest=True)),
        ("MODELS:/a@b@c", Reference("models:/a@b@c", name="a@b", alias="c")),
        ("models:/m-0af1", Reference("models:/m-0af1", model_id="m-0af1")),
        (f" runs:/{RUN}/a/model/ ", Reference(f"runs:/{RUN}/a/model", run_id=RUN, path="a/model")),
        ("mlflow-artifacts:/1/x", Reference("mlflow-artifacts:/1/x")),
        ("https://me:secret@Host:1/a?token=secret", Reference("https://host:1/a")),
    ],
)
def test_uris(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        *("models:", "models:/", "models:/phi3", "models:/@champion", "models:/phi3@", "models:/phi3/Production"),
        *(
            "models:/phi3/1/2",
            "models:/phi3@a/1",
            "models://host/phi3/1",
            "models:phi3/1",
            "models:/../1",
            "models:/ /1",
        ),
        *(
            "models:/a/../1",
            "runs:/",
            f"runs:/{RUN}",
            f"runs:/{RUN}/../x",
            f"runs:/{RUN}//x",
            "runs:/\\x/y",
            "models:/a\nb/1",
        ),
        *("mlflow-artifacts:/", "mlflow-artifacts:/../x", "s3://b/k", "phi3", "", "models:/phi3/\u0663"),
    ],
)
def test_malformed_uris(text: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_reference(text)
    assert caught.value.title == "Model URI not understood"
    assert "models:/NAME@ALIAS" in caught.value.hint


def test_a_password_may_have_an_at_sign_in_it() -> None:
    assert without_credentials("http://u:p@ss@host/x@y") == "http://host/x@y"


def test_credentials_are_never_shown() -> None:
    for uri in ("models:/phi3/x?http://me:secret@h", "https://me:secret@h/../x"):
        with pytest.raises(ModelError) as caught:
            parse_reference(uri)
        assert "secret" not in str(caught.value)
    assert plain_server("https://me:secret@Mlflow.Example:5000/base/?token=secret#secret") == (
        "https://mlflow.example:5000/base"
    )
    assert (
        plain_server("postgresql+psycopg2://me:secret@db/mlflow?sslmode=require") == "postgresql+psycopg2://db/mlflow"
    )


class TestStore:
    """The record beside a model."""

    def test_every_uri_of_a_pulled_model_finds_it(self, store: ModelStore, genai: Path) -> None:
        added = store.add(genai, "phi3", origin=ORIGIN)
        assert added.origin == ORIGIN
        for uri in (
            "models:/phi3@champion",
            "models:/phi3@shadow",
            "models:/phi3/3",
            "models:/phi3/latest",
            "models:/m-1",
        ):
            assert resolve_model(uri) == added
            assert pulled_notice(uri) == f"{uri} is version 3, pulled 2026-11-25 10:40 UTC from http://one:5000"
        assert resolve_model(ORIGIN.location) == added
        assert resolve_model("phi3") == added
        assert pulled_notice("phi3") == ""

    def test_the_folder_is_left_as_its_manifest_says(self, store: ModelStore, genai: Path) -> None:
        model = store.add(genai, "phi3", origin=ORIGIN)
        assert store.verify("phi3") == ()
        assert not list(model.root.rglob("*origin*"))

    @pytest.mark.parametrize("uri", ["models:/phi3@other", "models:/phi3/4", f"runs:/{RUN}/model", "models:/m-2"])
    def test_what_was_not_pulled_names_the_command(self, store: ModelStore, genai: Path, uri: str) -> None:
        store.add(genai, "phi3", origin=ORIGIN)
        with pytest.raises(ModelError) as caught:
            resolve_model(uri)
        assert caught.value.hint.endswith(f"edgechat models pull {uri}")
        assert ("phi3 version 3 (champion, shadow) is" in caught.value.message) == uri.startswith("models:/phi3")
        assert pulled_notice(uri) == ""

    def test_a_hint_can_be_pasted(self) -> None:
        with pytest.raises(ModelError) as caught:
            resolve_model("models:/my model/1")
        assert caught.value.hint.endswith("edgechat models pull 'models:/my model/1'")

    def test_the_record_goes_with_its_model(self, store: ModelStore, genai: Path) -> None:
        store.add(genai, "phi3", origin=ORIGIN)
        store.remove("phi3")
        assert records(store) == []
        store.add(genai, "phi3", origin=ORIGIN)
        assert store.add(genai, "phi3", replace=True).origin is None
        assert records(store) == []

    def test_what_was_pulled_last_is_told_by_no_clock(self, store: ModelStore, genai: Path) -> None:
        """The device has started in 1970 since; a record that is put right later was not pulled again."""
        store.add(genai, "one", origin=ORIGIN)
        back = dataclasses.replace(ORIGIN, server="http://two:5000", pulled_at="1970-01-01T00:01:00+00:00")
        added = store.add(genai, "two", origin=back)
        store.origins.update("one", store.origins.all()["one"])
        assert resolve_model("models:/phi3@champion") == added
        again = store.add(genai, "one", replace=True, origin=back)
        assert resolve_model("models:/phi3@champion") == again

    def test_a_record_speaks_of_its_own_model_only(self, store: ModelStore, genai: Path) -> None:
        model = store.add(genai, "phi3", origin=ORIGIN)
        (model.root / "model.onnx").write_bytes(b"another graph")
        write_manifest(model.root)
        assert store.get("phi3").origin is None
        with pytest.raises(ModelError, match="not on this device"):
            resolve_model("models:/phi3@champion")

    def test_a_kill_between_record_and_model_keeps_the_old_ones(
        self, store: ModelStore, genai: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.add(genai, "phi3", origin=ORIGIN)
        (genai / "model.onnx").write_bytes(b"version 4")
        rename = Path.rename

        def killed(path: Path, target: Path) -> Path:
            if path.name.startswith(".staging-"):
                raise KeyboardInterrupt
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.add(genai, "phi3", replace=True, origin=later(ORIGIN, 1, version="4"))
        monkeypatch.undo()
        monkeypatch.setenv("EDGECHAT_HOME", str(store.root.parents[1]))
        assert len(records(store)) == 2
        assert resolve_model("models:/phi3@champion").origin == ORIGIN

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"uri": 3}', "\ufffd", '{"uri": "' + "x" * 70_000 + '"}'])
    def test_a_damaged_record_counts_as_none(self, store: ModelStore, genai: Path, text: str) -> None:
        store.add(genai, "phi3", origin=ORIGIN)
        (record,) = (store.root / ORIGINS).iterdir()
        record.write_text(text)
        assert store.get("phi3").origin is None
        assert store.origins.all() == {}


class TestSeveral:
    """One URI, several models."""

    def test_what_was_pulled_last_counts(self, store: ModelStore, genai: Path) -> None:
        store.add(genai, "one", origin=ORIGIN)
        store.add(genai, "two", origin=later(ORIGIN, 2, server="http://two:5000"))
        store.add(genai, "old", origin=later(ORIGIN, 1, version="2", aliases=()))
        assert resolve_model("models:/phi3@champion").name == "two"
        assert "from http://two:5000" in pulled_notice("models:/phi3/3")
        store.remove("two")
        assert resolve_model("models:/phi3@champion").name == "one"

    def test_latest_is_the_highest_of_the_server_pulled_from_last(self, store: ModelStore, genai: Path) -> None:
        store.add(genai, "ten", origin=dataclasses.replace(ORIGIN, version="10", aliases=()))
        store.add(genai, "nine", origin=later(ORIGIN, 1, version="9"))
        assert resolve_model("models:/phi3/latest").name == "ten"
        store.add(genai, "elsewhere", origin=later(ORIGIN, 2, version="1", server="http://two:5000"))
        assert resolve_model("models:/phi3/latest").name == "elsewhere"


def test_resolving_imports_no_mlflow(store: ModelStore, genai: Path) -> None:
    store.add(genai, "phi3", origin=ORIGIN)
    code = (
        "import sys; from edgechat.models.uri import resolve_model; "
        "print(resolve_model('models:/phi3@champion').name); "
        "assert not {'mlflow', 'requests', 'urllib3', 'numpy'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.stdout, ended.stderr) == ("phi3\n", "")
