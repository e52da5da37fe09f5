"""Models that compute wrong though every file is as its manifest says: the self-test's numbers tell each of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgechat.engine import fingerprint
from edgechat.engine.client import EngineClient, EngineOptions, ModelSource
from edgechat.engine.references import reference_of
from edgechat.errors import EdgechatError
from edgechat.models.manifest import verify_manifest
from edgechat.models.mlflow_card import read_mlmodel
from tests.hostile.conftest import Campaign, sample
from tests.wrong_models import KINDS, copy_of, damage

pytestmark = pytest.mark.model


async def said(root: Path) -> float:
    """The distance as the self-test measures it; raises where it fails."""
    known = reference_of(read_mlmodel(root)[0].metadata["source_sha256"])
    assert known is not None
    engine = EngineClient(ModelSource(root / "model", "model"), EngineOptions(context=256))
    try:
        return fingerprint.judge(known.fingerprint, await engine.fingerprint(known.fingerprint))
    finally:
        await engine.aclose()


async def test_wrong_models_are_told(
    default_model: Path, tmp_path: Path, campaign: Callable[[str, str], Campaign]
) -> None:
    attack = campaign("D", "models with whole files and wrong weights or tokenizers")
    assert await said(default_model) < fingerprint.BOUND  # the model itself passes
    for number in sample(len(KINDS), 20 * len(KINDS)):
        root = copy_of(default_model, tmp_path / str(number))
        done = damage(root, KINDS[number % len(KINDS)], seed=number)
        assert verify_manifest(root) == []
        try:
            attack.note(number, f"{done}: passed with {await said(root):.4f}")
        except EdgechatError:
            attack.note(number, None)
        shutil.rmtree(root)
    attack.judge()
