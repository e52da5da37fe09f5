"""Checks a model before loading it: its files, the memory it needs, the processor's abilities.

Results are findings in plain words with numbers, so that the picker, `edgechat models show` and `edgechat doctor`
agree. Nothing here loads a model or imports anything that could. It is layered above `models` and `engine` because it
uses both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from edgechat.engine import resources
from edgechat.errors import EdgechatError, ModelError
from edgechat.i18n.catalog import N_
from edgechat.i18n.error_messages import translate_error
from edgechat.i18n.sentence import Sentence
from edgechat.models.manifest import Check, size_check, verify_manifest
from edgechat.models.sanitize import shown, size_text
from edgechat.runtime.progress import ByteCallback

if TYPE_CHECKING:
    from edgechat.models.folder import ModelFolder

State = Literal["ok", "warn", "fail"]

_WEIGHTS = (".onnx", ".data", ".safetensors", ".bin", ".gguf")
"""Suffixes of files that are loaded into memory."""

_LARGE_GRAPH = 512 * 1024
"""Smaller files with these suffixes are ignored."""

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
"""Processor features that make a model faster, by their Linux names."""

_WANTED = ("avx2", "asimd")
"""The fast code paths need one of these."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        id: Stable name, used in JSON.
        title: What was checked, in English; translated where it is shown.
        state: "ok"; "warn": it works, but not as well as it could; "fail": it cannot work.
        detail: What was found, with numbers.
        hint: The next step; "" if there is none.
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
        each: Bytes per token of context; 0 if unknown.
        tokens: Requested context window in tokens.
        free: Bytes available.
    """

    weights: int
    each: int
    tokens: int
    free: int

    @property
    def cache(self) -> int:
        """Bytes for the whole context."""
        return self.each * self.tokens

    @property
    def least(self) -> int:
        """Minimum bytes to use it at all: the weights, the runtime and the smallest context."""
        return resources.worker_bytes(self.weights) + self.each * min(self.tokens, resources.MINIMUM_CONTEXT)


def preflight(
    model: ModelFolder,
    *,
    context: int | None = None,
    free: int | None = None,
    verify: bool = False,
    on_progress: ByteCallback | None = None,
) -> tuple[Finding, ...]:
    """Check a model before it is loaded.

    Args:
        model: The model.
        context: Context window from the settings, in tokens; None is the default.
        free: Available bytes of memory; None asks the system.
        verify: Read every byte and compare it with the manifest, which takes as long as its disk.
        on_progress: Called with the bytes read and the total during that.
    """
    return tuple(
        finding
        for finding in (
            _files(model, verify, on_progress),
            _memory(need(model, context, free)),
            processor(),
            _extra(model),
        )
        if finding is not None
    )


def refuse_too_large(model: ModelFolder, free: int | None = None) -> None:
    """Refuse a model that does not fit in memory, before loading it would get the process killed.

    Raises:
        ModelError: It is too large; the message has the numbers.
    """
    found = _memory(need(model, None, free))
    if found.state == "fail":
        raise ModelError("The model does not fit into memory", found.detail, found.hint)


def require_usable(model: ModelFolder, context: int | None = None) -> None:
    """Refuse a model that cannot replace the loaded one, as far as can be determined in advance.

    Raises:
        ModelError: It is damaged, too large, or needs libraries that are missing.
    """
    for finding in preflight(model, context=context, free=resources.available_memory() + _child_memory()):
        if finding.state == "fail":
            raise ModelError(
                "The model cannot be used",
                Sentence("{title}: {detail}", title=finding.title, detail=finding.detail),
                finding.hint,
            )


def _child_memory() -> int:
    """Return the bytes used by this process's children, which belong to the model that would be unloaded."""
    total = 0
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                total += child.memory_info().rss
    return total


def need(model: ModelFolder, context: int | None = None, free: int | None = None) -> Need:
    """Return the memory a model needs with a given context."""
    config: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        found = json.loads((model.genai / "genai_config.json").read_text("utf-8"))
        config = found if isinstance(found, dict) else {}
    each = 0
    with suppress(AttributeError, TypeError, ValueError):  # an opened model has been checked, others have not
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
    numbers = Sentence(
        "weights {weights}, {tokens} tokens of context {cache}; {free} are free",
        weights=size_text(need.weights),
        tokens=f"{need.tokens:,}",
        cache=size_text(need.cache),
        free=size_text(need.free),
    )
    finding = partial(Finding, "memory", N_("Memory"))
    if need.least > need.free:
        return finding(
            "fail",
            Sentence("It needs at least {least}: {numbers}.", least=size_text(need.least), numbers=numbers),
            N_("Close other programs, or use a smaller model."),
        )
    if resources.worker_bytes(need.weights) + need.cache + resources.RESERVE > need.free:
        return finding(
            "warn",
            Sentence("Tight: {numbers}. The context will be shorter.", numbers=numbers),
            N_("Close other programs, or set a smaller context."),
        )
    return finding("ok", Sentence("Enough: {numbers}.", numbers=numbers))


def _files(model: ModelFolder, verify: bool, on_progress: ByteCallback | None) -> Finding:
    finding = partial(Finding, "files", N_("Files"))
    hint = N_("Copy the model again from where it came: edgechat models add FOLDER --replace")
    try:
        if verify:
            problems = tuple(verify_manifest(model.root, on_progress))
            check = Check("damaged" if problems else "verified", problems)
        else:
            check = size_check(model.root)
    except EdgechatError as error:
        if verify and error.title == "Nothing to verify against":
            return finding("warn", f"{shown(error.message, 300)}", error.hint)
        return finding("fail", shown(f"{error.title}: {error.message}", 400), error.hint)
    if check.state == "unverified":
        return finding(
            "warn",
            N_("There is no manifest to compare with."),
            N_("Adding the model makes one: edgechat models add FOLDER"),
        )
    if check.problems:
        first = check.problems[0]
        detail = f"{shown(first.path)}: {first.kind}" + (f", {shown(first.detail)}" if first.detail else "")
        more = len(check.problems) - 1
        return finding("fail", Sentence("{first} and {n} more.", first=detail, n=more) if more else f"{detail}.", hint)
    words = N_("Every byte is as it was installed.") if verify else N_("All there, with their right sizes.")
    return finding("ok", words)


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...] | None:
    """Return which FEATURES the processor has; None if the system does not tell."""
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
    """Check the processor for features that make models fast."""
    finding = partial(Finding, "processor", N_("Processor"))
    found = cpu_features(cpuinfo)
    if found is None:
        return finding("ok", N_("What it can do is unknown on this system."))
    names = ", ".join(FEATURES[name] for name in found) or N_("none that is known")
    if not any(name in found for name in _WANTED):
        return finding(
            "warn",
            Sentence("It has neither AVX2 nor NEON ({names}); replies will be slow.", names=names),
            N_("Use a small model."),
        )
    return finding("ok", names)


def _extra(model: ModelFolder) -> Finding | None:
    if model.kind != "transformers":
        return None
    from edgechat.engine.worker.launch import require_transformers

    try:
        require_transformers(model.name)
    except ModelError as error:
        return Finding("extra", N_("Libraries"), "fail", error.message, error.hint)
    return Finding("extra", N_("Libraries"), "ok", N_("transformers and torch are installed."))


def lines(findings: tuple[Finding, ...]) -> Iterator[str]:
    """Format the findings for people, each with its hint."""
    for finding in findings:
        sign = {"ok": "ok", "warn": "!", "fail": "x"}[finding.state]
        yield f"{sign:<3}{translate_error(finding.title)}: {translate_error(finding.detail)}"
        if finding.hint and finding.state != "ok":
            yield f"   {translate_error(finding.hint)}"
