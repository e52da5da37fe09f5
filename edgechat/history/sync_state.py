"""What was sent to which server: so that nothing is sent twice, and what was broken off goes on.

Only names and digests are kept here, none of what was said, and nothing here sends anything.
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
        made: Tells that experiment from another one of its name, such as on a server that was set up anew.
    """

    server: str
    experiment: str
    made: str = ""


class SentLog:
    """The record of what was sent. Each method is one transaction that outlives the death of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def digests(self, to: Destination) -> dict[str, str]:
        """What was sent there: the digest of each thing by its name; an empty one where sending was begun.

        Args:
            to: Where; with an empty `made`, whichever experiment of that name was the last.

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

    def note(self, to: Destination, thing: str, digest: str = "") -> None:
        """Keep that a thing was sent, or with an empty digest that it is about to be.

        Raises:
            StorageError: It cannot be kept.
        """
        with self._database.writing(durable=False) as db:
            db.execute(
                "INSERT OR REPLACE INTO sent (server, experiment, thing, made, digest) VALUES (?, ?, ?, ?, ?)",
                (to.server, to.experiment, thing, to.made, digest),
            )
