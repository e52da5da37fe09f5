"""Models that compute wrong though every file is as its manifest says: the self-test's numbers tell each of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from edgechat.engine import fingerprint
from edgechat.engine.fingerprint import Fingerprint
from edgechat.engine.reference_fingerprints import reference_of
from edgechat.engine.worker.client import EngineClient, EngineOptions, ModelSource
from edgechat.errors import EdgechatError
from edgechat.models.manifest import verify_manifest
from edgechat.models.mlmodel_file import read_mlmodel
from tests.hostile.conftest import Campaign, sample
from tests.support.wrong_models import KINDS, copy_of, damage

pytestmark = pytest.mark.model

ROUNDING = 0.006
"""How far apart two processors lie that are both right: what changes less than that is no other model to anybody."""


def known(root: Path) -> Fingerprint:
    """The reference of the model."""
    reference = reference_of(read_mlmodel(root)[0].metadata["source_sha256"])
    assert reference is not None
    return reference.fingerprint


async def taken(root: Path) -> Fingerprint:
    """The numbers as the self-test takes them."""
    engine = EngineClient(ModelSource(root / "model", "model"), EngineOptions(context=256))
    try:
        return await engine.fingerprint(known(root))
    finally:
        await engine.aclose()


async def test_wrong_models_are_told(
    default_model: Path, tmp_path: Path, campaign: Callable[[str, str], Campaign]
) -> None:
    attack = campaign("D", "models with whole files and wrong weights or tokenizers")
    whole = await taken(default_model)
    assert fingerprint.check(known(default_model), whole) < fingerprint.BOUND  # the model itself passes
    harmless = 0
    for number in sample(len(KINDS), 20 * len(KINDS)):
        root = copy_of(default_model, tmp_path / str(number))
        done = damage(root, KINDS[number % len(KINDS)], seed=number)
        assert verify_manifest(root) == []
        failure = None
        with suppress(EdgechatError):
            found = await taken(root)
            passed = fingerprint.check(known(root), found)
            effect = fingerprint.distance(whole, found)
            failure = f"{done}: passed with {passed:.4f}, {effect:.4f} from the whole model"
            if effect < ROUNDING:
                harmless, failure = harmless + 1, None
        attack.note(number, failure)
        shutil.rmtree(root)
    attack.judge()
    assert harmless * 10 <= attack.tried
