"""A monotonic clock for a history that neither goes back nor leaps ahead when the system clock is changed.

A device without a clock chip starts in 1970 and is corrected later; another may have shown 2036 for a day. So "after 30
days" is computed from the steps between successive readings: going back counts nothing, and a leap ahead counts as a
few days at most, so that no wrong time can cause data to be purged. The steps are stored in the file, and every reading
is later than the one before, so readings also define an order.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

DAY = 24 * 3600.0

LONGEST_STEP = 10 * DAY
"""Maximum seconds a step into a new time counts: a device started once a month is only partly believed."""

LONGEST_REPEATED = 1 * DAY
"""The same for a step within a time seen before, as after a clock was ahead and then corrected."""

LEAST = 0.001
"""Minimum seconds a step counts."""


def lived(db: sqlite3.Connection) -> float:
    """Read the clock within the caller's write transaction.

    Returns:
        Seconds this history has lived through; greater than any earlier reading.
    """
    now = time.time()
    seen, last, before = db.execute("SELECT seen, last, lived FROM clock").fetchone()
    if seen is None:
        step = 0.0
    elif now > seen:
        step = min(now - seen, LONGEST_STEP)
    else:
        step = min(max(now - last, 0.0), LONGEST_REPEATED)
    after = float(before) + max(step, LEAST)
    db.execute("UPDATE clock SET seen = MAX(COALESCE(seen, ?), ?), last = ?, lived = ?", (now, now, now, after))
    return after
