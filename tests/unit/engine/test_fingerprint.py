"""Numbers that processors of several kinds gave, against the bound; and what edgechat knows of its own model."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import onnxruntime_genai as og
import pytest

from edgechat.chat.conversation import Message
from edgechat.engine import fingerprint
from edgechat.engine.fingerprint import BOUND, Fingerprint
from edgechat.engine.genai import GenaiModel
from edgechat.engine.protocol import Request, Sampling, TextDelta
from edgechat.engine.reference_fingerprints import Reference, reference_of
from edgechat.errors import EngineError

RECORDED = Path(__file__).parent / "fingerprints"
"""The default model's, as `GenaiModel.fingerprint` took them: on x86, and on Arm processors as build/arm64_check.sh
emulates them."""

RIGHT = ("x86_avx512_vnni", "cortex_a76", "arm_max")
WRONG = "cortex_a76_kleidiai"

SOURCE = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def recorded(name: str) -> Fingerprint:
    return fingerprint.parse((RECORDED / f"{name}.json").read_bytes())


@pytest.fixture
def known() -> Reference:
    found = reference_of(SOURCE)
    assert found is not None
    return found


@pytest.mark.parametrize("name", RIGHT)
def test_kernels_that_are_right_are_within_the_bound_with_room_to_spare(known: Reference, name: str) -> None:
    assert 0 < fingerprint.check(known.fingerprint, recorded(name)) < BOUND / 2


@pytest.mark.parametrize(("packaged", "run"), list(permutations(RIGHT, 2)))
def test_a_model_packaged_on_one_machine_is_right_on_another(packaged: str, run: str) -> None:
    assert fingerprint.check(recorded(packaged), recorded(run)) < BOUND / 2


@pytest.mark.parametrize("packaged", RIGHT)
def test_kernels_that_are_wrong_are_out_of_the_bound(known: Reference, packaged: str) -> None:
    for right in (known.fingerprint, recorded(packaged)):
        assert fingerprint.distance(right, recorded(WRONG)) > 1.5 * BOUND
        with pytest.raises(EngineError, match="computes wrong"):
            fingerprint.check(right, recorded(WRONG))


@pytest.mark.model
def test_the_expected_reply_is_far_from_any_other(known: Reference, default_genai: Path) -> None:
    """The model says it; and at each of its tokens the next likely one is too far behind for rounding to pick it."""
    model = GenaiModel(default_genai, context=256)
    asked = (Message("user", known.question),)
    events = model.generate(Request(asked, Sampling(temperature=0, repetition_penalty=1), 32))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).strip() == known.reply

    prompt = model.encode(asked)
    whole = model.encode((*asked, Message("assistant", known.reply)))
    assert whole[: len(prompt)] == prompt
    assert len(whole) > len(prompt)
    params = og.GeneratorParams(model._model)
    params.set_search_options(max_length=len(whole) + 1, do_sample=False)
    generator = og.Generator(model._model, params)
    generator.append_tokens(prompt)
    for token in whole[len(prompt) :]:
        logits = np.asarray(generator.get_logits(), np.float64).ravel()
        second, first = np.sort(logits)[-2:]
        assert logits.argmax() == token
        assert first - second > 1, f"token {token}"
        generator.append_tokens([token])
