"""Models that edgechat knows beforehand: what they say when they are computed right.

The numbers come from the weights themselves, in float32 and by plain numpy (tests/unit/convert/reference.py), not from
a kernel of any machine. They hold for models installed before there were fingerprints too.
"""

from __future__ import annotations

import msgspec

from edgechat.engine.fingerprint import Fingerprint
from edgechat.runtime.paths import resource


class Reference(msgspec.Struct, frozen=True):
    """Attributes:
    source_sha256: Of the file the model was converted from; its metadata carry it.
    question: What it is asked, without a system message, at temperature 0.
    reply: What it answers: at each token the next likely one is far behind, farther than rounding reaches.
    fingerprint: Its numbers.
    """  # noqa: D205

    source_sha256: str
    question: str
    reply: str
    fingerprint: Fingerprint


def reference_of(source_sha256: object) -> Reference | None:
    """The reference of the model that was made of this file; None where edgechat does not know it."""
    known = msgspec.json.decode(resource("engine/references.json").read_bytes(), type=tuple[Reference, ...])
    return next((each for each in known if each.source_sha256 == source_sha256), None)
