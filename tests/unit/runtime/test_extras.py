"""A hint that names an extra names a command that installs it here, and every extra it can name exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edgechat.runtime import extras
from edgechat.runtime.extras import install_command

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCK = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]}


def test_a_checkout_is_managed_by_uv() -> None:
    assert install_command("mlflow", "convert") == "uv sync --inexact --extra mlflow --extra convert"


def test_an_installed_package_asks_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert install_command("mlflow", "convert") == "pip install 'edgechat[mlflow,convert]'"


def test_every_extra_that_is_named_exists() -> None:
    calls = [
        name
        for path in (ROOT / "edgechat").rglob("*.py")
        for found in re.findall(r"install_command\(([\"'][^)]*)\)", path.read_text("utf-8"))
        for name in re.findall(r"[\"']([\w-]+)[\"']", found)
    ]
    assert len(calls) >= 5
    assert set(calls) <= set(EXTRAS)


@pytest.mark.parametrize("name", ["transformers", "huggingface-hub", "safetensors", "tokenizers"])
def test_the_lock_holds_what_the_transformers_extra_imports(name: str) -> None:
    """An override once took the hub client away, without which transformers cannot be imported."""
    reached: set[str] = set()
    waiting = [need["name"] for need in LOCK["edgechat"]["optional-dependencies"]["transformers"]]
    while waiting:
        package = waiting.pop()
        if package not in reached:
            reached.add(package)
            waiting += [need["name"] for need in LOCK[package].get("dependencies", ())]
    assert name in reached
