"""Records what was sent to which server, so that nothing is sent twice and interrupted uploads can resume.

Only names and digests are stored, no chat content, and nothing here sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgechat.history.database import Database


@dataclass(frozen=True, slots=True)
class Destination:
    """Where things are sent.

    Attributes:
        server: Its URI, without credentials.
        experiment: The experiment's name.
        made: Distinguishes the experiment from another with the same name, as on a server that was set up anew.
    """

    server: str
    experiment: str
    made: str = ""


class SentLog:
    """The record of what was sent. Each method is one transaction that survives the death of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def digests(self, to: Destination) -> dict[str, str]:
        """Return the digests of what was sent, by name; an empty digest means that sending was started.

        Args:
            to: The destination; an empty `made` means the latest experiment with that name.

        Raises:
            StorageError: The history cannot be read.
        """
        with self._database.reading() as db:
            return dict(
                db.execute(
                    "SELECT thing, digest FROM sent WHERE server = ? AND experiment = ? AND ? IN ('', made)",
                    (to.server, to.experiment, to.made),
                ).fetchall()
            )

    def record(self, to: Destination, thing: str, digest: str = "") -> None:
        """Record that something was sent, or with an empty digest that it is about to be.

        Raises:
            StorageError: It cannot be stored.
        """
        with self._database.writing(durable=False) as db:
            db.execute(
                "INSERT OR REPLACE INTO sent (server, experiment, thing, made, digest) VALUES (?, ?, ?, ?, ?)",
                (to.server, to.experiment, thing, to.made, digest),
            )
