"""Every setting's type, bounds, choices and default, in one place.

The file, flags, variables, the settings screen, slash commands, `chats set` and imports check values against this, and
what a setting may be is told from it. What a setting is for is in `settings.descriptions`.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from edgechat.chat.context_window import Policy
from edgechat.i18n.sentence import Sentence
from edgechat.runtime.logs import Level
from edgechat.settings.descriptions import WORDS

# The sampling defaults suit the small models edgechat is made for: low enough a temperature to stay on topic, with a
# light penalty against the loops that quantised models of a few hundred million parameters fall into.
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
TopP = Annotated[float, msgspec.Meta(gt=0, le=1)]
TopK = Annotated[int, msgspec.Meta(ge=1, le=1000)]
RepetitionPenalty = Annotated[float, msgspec.Meta(gt=0, le=3)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
MaxTokens = Annotated[int, msgspec.Meta(ge=1)]
ContextTokens = Annotated[int, msgspec.Meta(ge=64)]
Megabytes = Annotated[int, msgspec.Meta(ge=0)]
Language = Annotated[str, msgspec.Meta(pattern="^[A-Za-z]{2,3}([_-][A-Za-z]+)?$")]
Bidi = Literal["auto", "app", "terminal", "off"]
Threads = Annotated[int, msgspec.Meta(ge=1, le=1024)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The effective settings.

    Attributes:
        model_uri: Model to open: a path or the name of an installed model; None is the default model.
        system: System message for new chats; empty leaves it to the model's own template.
        persona: Name of a stored system message that replaces `system`; None for none.
        temperature: 0 is greedy.
        top_p: Nucleus sampling.
        top_k: Sample from this many of the likeliest tokens.
        repetition_penalty: 1 means none.
        seed: Makes sampling repeatable.
        max_tokens: Maximum length of a reply; None means up to the end of the context.
        context: Context window in tokens; None uses what the model and the free memory allow.
        context_policy: What happens when a chat no longer fits: "ask" stops and asks, "oldest" leaves out its oldest
            turns, "summarise" has the model summarise those. The stored chat is never changed.
        cache_memory: Megabytes for KV caches of recent chats other than the current one; None is a quarter of the free
            memory, at most 1,024.
        threads: Compute threads; None is one per physical core.
        spinning: Whether idle compute threads spin: faster on an idle machine, slower on a busy one.
        history: Whether chats are stored; False discards them when the program ends.
        plain: Whether to use the line-based chat; None does so if the terminal supports nothing else.
        theme: Name of the colour theme; None follows the terminal's background if known, else dark.
        language: Language code of the interface, such as "he"; None is the system's language.
        bidi: Who orders right-to-left text on the screen: "app" is edgechat, "terminal" leaves it to the terminal,
            "off" neither orders nor aligns it, "auto" depends on the terminal.
        reduced_motion: Whether the interface omits animations.
        log_level: Verbosity of the log, which contains no chat text at any level.
        keys: Key bindings by action id, as in "chat.new" = "ctrl+n,f7".
    """

    model_uri: str | None = None
    system: str = "You are a helpful AI assistant."
    persona: str | None = None
    temperature: Temperature = 0.3
    top_p: TopP = 0.9
    top_k: TopK = 50
    repetition_penalty: RepetitionPenalty = 1.05
    seed: Seed | None = None
    max_tokens: MaxTokens | None = None
    context: ContextTokens | None = None
    context_policy: Policy = "ask"
    cache_memory: Megabytes | None = None
    threads: Threads | None = None
    spinning: bool = True
    history: bool = True
    plain: bool | None = None
    theme: str | None = None
    language: Language | None = None
    bidi: Bidi = "auto"
    reduced_motion: bool = False
    log_level: Level = "info"
    keys: dict[str, str] = {}


def choices(key: str) -> tuple[str, ...]:
    """The values of a setting that is one of a few names; empty for any other."""
    kind, _meta = _type_of(key)
    return get_args(kind) if get_origin(kind) is Literal else ()


def permitted(key: str) -> str:
    """Say what a setting may be, completing "… is to be …"."""
    kind, meta = _type_of(key)
    if kind is bool:
        return "true or false"
    if names := choices(key):
        quoted = [f'"{name}"' for name in names]
        return Sentence("{names} or {last}", names=", ".join(quoted[:-1]), last=quoted[-1])
    if meta is None or kind not in (int, float):
        return WORDS[key].permitted
    most = meta.lt - 1 if meta.lt is not None else meta.le
    if kind is int and most is None:
        return Sentence("a whole number from {least} on", least=meta.ge)
    if kind is int:
        return Sentence("a whole number from {least} to {most}", least=meta.ge, most=most)
    if meta.gt is not None:
        return Sentence("a number above {least}, up to {most}", least=meta.gt, most=most)
    return Sentence("a number from {least} to {most}", least=meta.ge, most=most)


def _type_of(key: str) -> tuple[Any, msgspec.Meta | None]:
    """A setting's type without None, and its bounds."""
    kind: Any = get_type_hints(Config, include_extras=True)[key]
    if get_origin(kind) in (Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
        return kind, meta
    return kind, None
