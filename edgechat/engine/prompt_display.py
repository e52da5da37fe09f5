"""Formats a prompt for people: one part per line, showing which tokens are cached and which are new.

What a person typed is quoted, so that a typed `<|end|>` cannot be mistaken for the control token. Nothing here makes
text safe for a terminal; the caller does.
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
        part: The part itself.
        cached: How many of its leading ids are cached.
    """

    part: PromptPart
    cached: int

    @property
    def sign(self) -> str:
        """How much of it is cached: "=" all, "~" some, "+" nothing."""
        if self.cached == len(self.part.ids):
            return "="
        return "~" if self.cached else "+"

    @property
    def text(self) -> str:
        """A control token as is, anything else quoted with escaped line breaks."""
        return self.part.text if self.part.kind == "control" else json.dumps(self.part.text, ensure_ascii=False)

    @property
    def ids(self) -> str:
        """Its ids, with "|" where the new ones start if only some are cached."""
        words = [str(token) for token in self.part.ids]
        if 0 < self.cached < len(words):
            words.insert(self.cached, "|")
        return " ".join(words)


def part_lines(prompt: Prompt) -> Iterator[PartLine]:
    """Yield the parts of a prompt, each with its cached token count."""
    before = prompt.cached
    for part in prompt.parts:
        cached = min(before, len(part.ids))
        before -= cached
        yield PartLine(part, cached)


def format_summary(prompt: Prompt) -> str:
    """Say how long the prompt is and how much of it is cached."""
    new = prompt.tokens - prompt.cached
    words = ngettext(
        "{n:,} token: {cached:,} computed before (=), {new:,} new (+)",
        "{n:,} tokens: {cached:,} computed before (=), {new:,} new (+)",
        prompt.tokens,
    )
    return words.format(n=prompt.tokens, cached=prompt.cached, new=new)
