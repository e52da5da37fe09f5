"""Models whose tokenizer or chat template never comes to an end, or asks for all the memory there is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEMPLATES = {
    "a loop": "{% for i in range(1000000000000) %}{{ i }}{% endfor %}",
    "a silent loop": "{% for i in range(1000000000000) %}{% endfor %}",
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}"
    "{% if i == j %}a{% endif %}{% endfor %}{% endfor %}{% endfor %}",
    "a macro that calls itself": "{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(1) }}",
    "macros that call themselves twice": "{% macro again(n) %}{% if n > 0 %}{{ again(n - 1) }}{{ again(n - 1) }}"
    "{% endif %}{% endmacro %}{{ again(60) }}",
    "a giant string": "{{ 'abcdefgh' * 1000000000000 }}",
    "a string that doubles": "{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}"
    "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "a giant list": "{{ range(1000000000000) | list | length }}",
    "deep brackets": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "deep blocks": "{% if true %}" * 50_000 + "a" + "{% endif %}" * 50_000,
    "a long chain": "{{ 'a'" + " ~ 'a'" * 200_000 + " }}",
}
"""Ways of a chat template to go on for ever."""


def with_template(source: Path, target: Path, template: str) -> Path:
    """Copy a model and give it another chat template, and control tokens that are not Phi-3's, so that it counts."""
    shutil.copytree(source, target)
    _edit(target / "tokenizer_config.json", lambda config: config.__setitem__("chat_template", template))
    return target


def _pad(tokenizer: dict[str, Any]) -> None:
    strategy = {"Fixed": 2**31}
    tokenizer["padding"] = {
        "strategy": strategy, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "<unk>",
    }  # fmt: skip


def _pad_to_multiple(tokenizer: dict[str, Any]) -> None:
    _pad(tokenizer)
    tokenizer["padding"] |= {"strategy": "BatchLongest", "pad_to_multiple_of": 2**31}


def _truncate(tokenizer: dict[str, Any]) -> None:
    tokenizer["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 1}


def _grow(tokenizer: dict[str, Any]) -> None:
    """Each step makes the text ten times as long."""
    ten = {"type": "Replace", "pattern": {"Regex": "."}, "content": "aaaaaaaaaa"}
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [ten] * 30}


def _search(tokenizer: dict[str, Any]) -> None:
    """An expression that goes back and forth for ever, in the text of a question."""
    pattern = {"Regex": "^(?:(?:[a-z]+)+)+!$"}
    tokenizer["pre_tokenizer"] = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def _search_twice(tokenizer: dict[str, Any]) -> None:
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"Regex": "(?=(a+)+b)(?:a|a?)+b"}, "content": "c"}


TOKENIZERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "padding to 2^31": _pad,
    "padding to a multiple of 2^31": _pad_to_multiple,
    "a cut after two": _truncate,
    "a text that grows": _grow,
    "an expression without an end": _search,
    "another expression": _search_twice,
}
"""Ways of a tokenizer to do so."""


def with_tokenizer(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copy a model and change its tokenizer."""
    shutil.copytree(source, target)
    _edit(target / "tokenizer.json", change)
    return target


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
