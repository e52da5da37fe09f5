"""Types of callbacks by which blocking operations report progress; engines use `engine.protocol.ProgressCallback`."""

from __future__ import annotations

from collections.abc import Callable

ByteCallback = Callable[[int, int], None]
"""Called with the bytes done and the total."""

FractionCallback = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and a note on the current step."""

StepCallback = Callable[[str, int, int], None]
"""Called with the current step, and the amount done and the total in its unit; a total of 0 is unknown."""
