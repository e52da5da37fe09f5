"""A prompt for people."""

from __future__ import annotations

from edgechat.engine.prompt_display import format_summary, part_lines
from edgechat.engine.protocol import Prompt, PromptPart

PROMPT = Prompt(
    (
        PromptPart("control", "<|user|>", (1,)),
        PromptPart("text", 'say "<|end|>"\n', (5, 6, 7)),
        PromptPart("control", "<|end|>", (2,)),
    ),
    cached=3,
)


def test_each_part_says_what_was_computed_before() -> None:
    assert [(line.sign, line.text, line.ids) for line in part_lines(PROMPT)] == [
        ("=", "<|user|>", "1"),
        ("~", r'"say \"<|end|>\"\n"', "5 6 | 7"),
        ("+", "<|end|>", "2"),
    ]


def test_the_numbers_are_told() -> None:
    assert PROMPT.tokens == 5
    assert format_summary(PROMPT) == "5 tokens: 3 computed before (=), 2 new (+)"
