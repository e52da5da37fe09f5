"""Commands about generation: model, system message, sampling, and what happens when a chat is full."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from edgechat.chat.sanitize import storable
from edgechat.errors import ConfigError
from edgechat.i18n.catalog import _
from edgechat.i18n.sentence import Sentence
from edgechat.session.session import Session
from edgechat.settings.loader import check_value
from edgechat.slash.commands import POLICIES, SETTINGS, SlashError
from edgechat.slash.interface import Front

DEFAULT = "default"
"""The argument that resets a setting of the chat."""


async def model(front: Front, argument: str) -> None:
    """`/model [NAME]`."""
    info = front.session.info
    if argument:
        await front.switch(argument)
        return
    if info is None:
        await front.say(_("The model is not loaded yet."))
        return
    await front.tell(
        info.name,
        [
            _("architecture: {name}").format(name=info.architecture),
            _("context: {n:,} tokens, of {of:,} it was made for").format(n=info.context, of=info.model_context),
            _("prompt form: {name}").format(name=info.form),
            _("threads: {n}").format(n=info.threads),
        ],
    )


async def system(front: Front, argument: str) -> None:
    """`/system [TEXT]`."""
    chat = front.session.conversation
    if not argument:
        await front.tell(_("System message of this chat"), chat.system.split("\n") if chat.system else [_("(none)")])
        return
    system = "" if argument == "-" else storable(argument)[0]
    await front.session.chat.configure(system, chat.settings)
    await front.say(
        _("This chat has another system message from its next reply on.")
        if system
        else _("This chat has no system message from its next reply on.")
    )


async def persona(front: Front, argument: str) -> None:
    """`/persona [NAME]`."""
    from edgechat.settings.personas import all_personas, find

    if not argument:
        personas, faults = await asyncio.to_thread(all_personas)
        lines = [f"{persona.name}  {persona.title}" for persona in personas]
        await front.tell(_("Personas"), [*lines, *(str(fault) for fault in faults)])
        return
    persona = await asyncio.to_thread(find, argument)
    await front.session.chat.configure(persona.text, front.session.conversation.settings)
    await front.say(_("From the next reply on this chat has the persona {title}.").format(title=persona.title))


async def change(front: Front, argument: str) -> None:
    """`/set [KEY [VALUE]]`."""
    session = front.session
    settings = session.conversation.settings
    key, _space, value = argument.partition(" ")
    key, value = key.strip(), value.strip().removeprefix("=").strip()
    if not key:
        await front.tell(_("Settings of this chat"), list(settings_lines(session)))
        return
    if key not in SETTINGS:
        raise SlashError(
            Sentence("There is no setting {name} of a chat", name=key),
            "",
            Sentence("They are: {names}.", names=", ".join(SETTINGS)),
        )
    if not value:
        await front.tell(key, [line for line in settings_lines(session) if line.startswith(f"{key} ")])
        return
    try:
        changes: dict[str, Any] = {key: None if value == DEFAULT else check_value(key, value)}
    except ConfigError as error:
        raise SlashError("Setting not usable", error.message, "Nothing was changed.") from error
    await session.chat.configure(session.conversation.system, replace(settings, **changes))
    shown = next(line for line in settings_lines(session) if line.startswith(f"{key} "))
    await front.say(_("From the next reply on: {setting}").format(setting=shown))


def settings_lines(session: Session) -> Iterator[str]:
    """Yield the settings for the chat's next reply, marking those the chat overrides."""
    own, prompts = session.conversation.settings, session.prompts
    for key in SETTINGS:
        mine = getattr(own, key)
        value = getattr(prompts.sampling, key, getattr(prompts, key, None)) if mine is None else mine
        yield f"{key} = {'-' if value is None else value}" + (f"  {_('(this chat only)')}" if mine is not None else "")


async def context_policy(front: Front, argument: str) -> None:
    """`/context-policy [POLICY]`."""
    context = front.session.context
    if argument and argument not in POLICIES:
        raise SlashError("There is no such way", "", Sentence("They are: {names}.", names=", ".join(POLICIES)))
    if argument:
        front.session.choose_policy(argument)  # type: ignore[arg-type]  # one of POLICIES
    await front.say(_("When a chat is full: {way}.").format(way=context.policy))
