"""Fingerprints of models known to edgechat, for checking that they compute correctly.

The numbers were computed from the weights in float32 with plain numpy (tests/unit/convert/reference.py), not by any
machine's kernels. They also cover models installed before fingerprints existed.
"""

from __future__ import annotations

import msgspec

from edgechat.engine.fingerprint import Fingerprint
from edgechat.runtime.paths import resource


class Reference(msgspec.Struct, frozen=True):
    """Attributes:
    source_sha256: Digest of the file the model was converted from, as recorded in its metadata.
    question: A user message to send without a system message at temperature 0.
    reply: The expected answer, in which the runner-up at each token is further behind than rounding can explain.
    fingerprint: The expected fingerprint.
    """  # noqa: D205

    source_sha256: str
    question: str
    reply: str
    fingerprint: Fingerprint


def reference_of(source_sha256: object) -> Reference | None:
    """Return the reference for the model converted from this file; None if it is unknown."""
    known = msgspec.json.decode(resource("engine/references.json").read_bytes(), type=tuple[Reference, ...])
    return next((each for each in known if each.source_sha256 == source_sha256), None)
