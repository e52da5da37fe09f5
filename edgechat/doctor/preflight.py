"""What can be known before a model is loaded: its files, the memory it needs, what the processor can do.

Everything is told as a finding in plain words with its numbers, so that the picker, `edgechat models show` and
`edgechat doctor` say the same. Nothing here loads a model or imports what could. It lies above `models` and `engine`,
since it asks both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from edgechat.engine import resources
from edgechat.errors import EdgechatError, ModelError
from edgechat.i18n.catalog import N_, _
from edgechat.models.manifest import Check, size_check, verify_manifest
from edgechat.models.sanitize import shown, size_text

if TYPE_CHECKING:
    from edgechat.models.folder import ModelFolder

State = Literal["ok", "warn", "fail"]

_WEIGHTS = (".onnx", ".data", ".safetensors", ".bin", ".gguf")
"""How files end that are read into memory."""

_LARGE_GRAPH = 512 * 1024
"""Smaller files that end so are no weights worth counting."""

FEATURES = {
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "asimd": "NEON",
    "asimddp": "dot product",
    "i8mm": "int8 matrix product",
    "sve": "SVE",
}
"""Abilities of a processor that make a model faster, by what Linux calls them."""

_WANTED = ("avx2", "asimd")
"""One of these is what the fast code paths need."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        id: What it is called in JSON; stable.
        title: What was looked at, in English; translated where it is shown.
        state: "ok", "warn": it works, but not as well as it could, or "fail": it cannot work.
        detail: What was found, with its numbers.
        hint: The next step; "" where there is none to take.
    """

    id: str
    title: str
    state: State
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """The memory a model needs.

    Attributes:
        weights: Bytes of its weights.
        each: Bytes a token of the context takes; 0 where that is not known.
        tokens: Tokens of the context that is wanted.
        free: Bytes that may be taken now.
    """

    weights: int
    each: int
    tokens: int
    free: int

    @property
    def cache(self) -> int:
        """Bytes of the whole context."""
        return self.each * self.tokens

    @property
    def least(self) -> int:
        """Bytes without which it cannot be used at all: the weights, what computes with them, the smallest context."""
        return resources.worker_bytes(self.weights) + self.each * min(self.tokens, resources.MINIMUM_CONTEXT)


def preflight(
    model: ModelFolder,
    *,
    context: int | None = None,
    free: int | None = None,
    whole: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Finding, ...]:
    """Look at a model before it is loaded.

    Args:
        model: The model.
        context: Tokens the settings ask for; None is the default.
        free: Bytes of memory that may be taken; None asks the system.
        whole: Read every byte of it and compare with the manifest, which takes as long as its disk.
        progress: Told the bytes read then.
    """
    return tuple(
        finding
        for finding in (_files(model, whole, progress), _memory(need(model, context, free)), processor(), _extra(model))
        if finding is not None
    )


def refuse_too_large(model: ModelFolder, free: int | None = None) -> None:
    """Refuse a model that cannot be held in memory, before it is loaded and the system ends the process.

    Raises:
        ModelError: With the numbers.
    """
    found = _memory(need(model, None, free))
    if found.state == "fail":
        raise ModelError(_("The model does not fit into memory"), found.detail, found.hint)


def require_usable(model: ModelFolder, context: int | None = None) -> None:
    """Refuse a model that cannot be loaded in the place of the one that is, as far as can be known before.

    Raises:
        ModelError: It is damaged, too large, or needs libraries that are not there.
    """
    for finding in preflight(model, context=context, free=resources.available_memory() + _held()):
        if finding.state == "fail":
            raise ModelError(_("The model cannot be used"), f"{_(finding.title)}: {finding.detail}", finding.hint)


def _held() -> int:
    """Bytes that the processes of this one hold now: those of the model that would be ended."""
    held = 0
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                held += child.memory_info().rss
    return held


def need(model: ModelFolder, context: int | None = None, free: int | None = None) -> Need:
    """The memory a model needs with a context."""
    config: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        found = json.loads((model.genai / "genai_config.json").read_text("utf-8"))
        config = found if isinstance(found, dict) else {}
    each = 0
    with suppress(AttributeError, TypeError, ValueError):  # a model that is opened has been judged, a stranger not
        each = resources.kv_bytes_per_token(config)
    limit = model.context_length or resources.DEFAULT_CONTEXT
    tokens = min(limit, context or resources.DEFAULT_CONTEXT)
    if context is None:
        with suppress(AttributeError, TypeError, ValueError):
            tokens = resources.settle_context(config, None, 1 << 60).tokens
    weights = 0
    for file in model.genai.iterdir():
        with suppress(OSError):
            size = file.stat().st_size
            weights += size if file.name.endswith(_WEIGHTS) and size > _LARGE_GRAPH else 0
    return Need(weights, each, tokens, resources.available_memory() if free is None else free)


def _memory(need: Need) -> Finding:
    numbers = _("weights {weights}, {tokens:,} tokens of context {cache}; {free} are free").format(
        weights=size_text(need.weights), tokens=need.tokens, cache=size_text(need.cache), free=size_text(need.free)
    )
    finding = partial(Finding, "memory", N_("Memory"))
    if need.least > need.free:
        return finding(
            "fail",
            _("It needs at least {least}: {numbers}.").format(least=size_text(need.least), numbers=numbers),
            _("Close other programs, or use a smaller model."),
        )
    if resources.worker_bytes(need.weights) + need.cache + resources.RESERVE > need.free:
        return finding(
            "warn",
            _("Tight: {numbers}. The context will be shorter.").format(numbers=numbers),
            _("Close other programs, or set a smaller context."),
        )
    return finding("ok", _("Enough: {numbers}.").format(numbers=numbers))


def _files(model: ModelFolder, whole: bool, progress: Callable[[int, int], None] | None) -> Finding:
    finding = partial(Finding, "files", N_("Files"))
    hint = _("Copy the model again from where it came: edgechat models add FOLDER --replace")
    try:
        if whole:
            problems = tuple(verify_manifest(model.root, progress))
            check = Check("damaged" if problems else "verified", problems)
        else:
            check = size_check(model.root)
    except EdgechatError as error:
        if whole and error.title == "Nothing to verify against":
            return finding("warn", f"{shown(error.message, 300)}", error.hint)
        return finding("fail", shown(f"{error.title}: {error.message}", 400), error.hint)
    if check.state == "unverified":
        return finding(
            "warn",
            _("There is no manifest to compare with."),
            _("Adding the model makes one: edgechat models add FOLDER"),
        )
    if check.problems:
        first = check.problems[0]
        detail = f"{shown(first.path)}: {first.kind}" + (f", {shown(first.detail)}" if first.detail else "")
        more = len(check.problems) - 1
        return finding("fail", detail + (_(" and {n} more").format(n=more) if more else "") + ".", hint)
    words = _("Every byte is as it was installed.") if whole else _("All there, with their right sizes.")
    return finding("ok", words)


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...] | None:
    """The keys of FEATURES that the processor has; None where the system does not tell."""
    try:
        text = cpuinfo.read_text("utf-8", "replace")
    except OSError:
        return None
    flags: set[str] = set()
    for line in text.splitlines():
        label, _colon, value = line.partition(":")
        if label.strip() in ("flags", "Features"):
            flags = set(value.split())
            break
    return tuple(name for name in FEATURES if name in flags) if flags else None


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    """Whether the processor has what makes models fast."""
    finding = partial(Finding, "processor", N_("Processor"))
    found = cpu_features(cpuinfo)
    if found is None:
        return finding("ok", _("What it can do is unknown on this system."))
    names = ", ".join(FEATURES[name] for name in found) or _("none that is known")
    if not any(name in found for name in _WANTED):
        return finding(
            "warn",
            _("It has neither AVX2 nor NEON ({names}); replies will be slow.").format(names=names),
            _("Use a small model."),
        )
    return finding("ok", names)


def _extra(model: ModelFolder) -> Finding | None:
    if model.kind != "transformers":
        return None
    from edgechat.engine.worker.client import require_transformers

    try:
        require_transformers(model.name)
    except ModelError as error:
        return Finding("extra", N_("Libraries"), "fail", error.message, error.hint)
    return Finding("extra", N_("Libraries"), "ok", _("transformers and torch are installed."))


def lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    """The findings for people, those with something to do together with it."""
    for finding in findings:
        sign = {"ok": "ok", "warn": "!", "fail": "x"}[finding.state]
        yield f"{sign:<3}{_(finding.title)}: {finding.detail}"
        if finding.hint and finding.state != "ok":
            yield f"   {finding.hint}"
