"""A prompt for people: its parts one to a line, with what was computed before told from what is new.

What a person typed is quoted, so that a typed `<|end|>` cannot be taken for the control token. Nothing here makes text
fit for a terminal; whoever shows it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from edgechat.engine.protocol import Prompt, PromptPart
from edgechat.i18n.catalog import ngettext


@dataclass(frozen=True, slots=True)
class PartLine:
    """One part of a prompt.

    Attributes:
        part: The part.
        cached: How many of its first ids were computed before.
    """

    part: PromptPart
    cached: int

    @property
    def sign(self) -> str:
        """What was computed of it before: "=" all, "~" some, "+" nothing."""
        if self.cached == len(self.part.ids):
            return "="
        return "~" if self.cached else "+"

    @property
    def text(self) -> str:
        """A control token as it is, everything else in quotes with its line breaks as escapes."""
        return self.part.text if self.part.kind == "control" else json.dumps(self.part.text, ensure_ascii=False)

    @property
    def ids(self) -> str:
        """Its ids, and where the new ones begin if some were computed before."""
        words = [str(token) for token in self.part.ids]
        if 0 < self.cached < len(words):
            words.insert(self.cached, "|")
        return " ".join(words)


def part_lines(prompt: Prompt) -> Iterator[PartLine]:
    """The parts of a prompt, each with how much of it was computed before."""
    before = prompt.cached
    for part in prompt.parts:
        cached = min(before, len(part.ids))
        before -= cached
        yield PartLine(part, cached)


def summary_words(prompt: Prompt) -> str:
    """How long it is and how much of it was computed before."""
    new = prompt.tokens - prompt.cached
    words = ngettext(
        "{n:,} token: {cached:,} computed before (=), {new:,} new (+)",
        "{n:,} tokens: {cached:,} computed before (=), {new:,} new (+)",
        prompt.tokens,
    )
    return words.format(n=prompt.tokens, cached=prompt.cached, new=new)
