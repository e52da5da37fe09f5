"""Name and purpose of each setting, for the settings screen, the file and errors.

A single place, so that a setting is explained in the same words everywhere. Nothing here reads a setting.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgechat.i18n.catalog import N_


@dataclass(frozen=True, slots=True)
class SettingText:
    """The texts for one setting, in English; translate them where they are shown.

    Attributes:
        title: Its name on the screen.
        about: What it does, in one line.
        unset: What happens if it is not set; empty if it has a default value.
        group: The heading it is listed under.
        reload: Whether it takes effect when a model is loaded.
        example: A sample value for the file's explanation, if there is no default.
        permitted: What it may be, where its type does not say it; see `schema.permitted`.
    """

    title: str
    about: str
    unset: str = ""
    group: str = ""
    reload: bool = False
    example: str | int = ""
    permitted: str = ""


SAMPLING = N_("Sampling")
MODEL = N_("Model")
CHATS = N_("Chats")
LOOK = N_("Interface")

WORDS: dict[str, SettingText] = {
    "temperature": SettingText(
        N_("Temperature"),
        N_("0 always takes the likeliest word; more is livelier"),
        group=SAMPLING,
    ),
    "top_p": SettingText(
        N_("Top p"),
        N_("Choose among the likeliest words that make up this share"),
        group=SAMPLING,
    ),
    "top_k": SettingText(
        N_("Top k"),
        N_("Choose among this many of the likeliest words"),
        group=SAMPLING,
    ),
    "repetition_penalty": SettingText(
        N_("Repetition penalty"),
        N_("Above 1 avoids words that were there already"),
        group=SAMPLING,
    ),
    "seed": SettingText(
        N_("Seed"),
        N_("The same number gives the same reply"),
        unset=N_("another one each time"),
        group=SAMPLING,
        example=42,
    ),
    "max_tokens": SettingText(
        N_("Longest reply"),
        N_("Tokens after which a reply is cut"),
        unset=N_("up to the end of the context"),
        group=SAMPLING,
        example=512,
    ),
    "model_uri": SettingText(
        N_("Model"),
        N_("A folder, or the name of an installed model"),
        unset=N_("the default model"),
        group=MODEL,
        reload=True,
        example="./model",
        permitted=N_("a path, a name or a URI"),
    ),
    "threads": SettingText(
        N_("Threads"),
        N_("Threads that compute"),
        unset=N_("one per physical core"),
        group=MODEL,
        reload=True,
        example=4,
    ),
    "spinning": SettingText(
        N_("Spinning"),
        N_("Threads spin while they wait: faster on an idle machine, slower on a busy one"),
        group=MODEL,
        reload=True,
    ),
    "context": SettingText(
        N_("Context"),
        N_("Tokens that a chat may hold"),
        unset=N_("what the model and the free memory allow"),
        group=MODEL,
        reload=True,
        example=4096,
    ),
    "context_policy": SettingText(
        N_("Full context"),
        N_("Ask, leave out the oldest messages, or sum them up"),
        group=MODEL,
    ),
    "cache_memory": SettingText(
        N_("Cache memory"),
        N_("Megabytes in which recent chats stay computed"),
        unset=N_("a quarter of the free memory, 1,024 at the most"),
        group=MODEL,
        reload=True,
        example=512,
    ),
    "system": SettingText(
        N_("System message"),
        N_("What the model is told before a new chat"),
        group=CHATS,
        permitted=N_("a text"),
    ),
    "persona": SettingText(
        N_("Persona"),
        N_("A kept system message, by its name, in place of the system message"),
        unset=N_("none"),
        group=CHATS,
        example="plain",
        permitted=N_("the name of one; `edgechat personas` lists them"),
    ),
    "history": SettingText(
        N_("Keep chats"),
        N_("Off forgets them when the program ends; takes effect at the next start"),
        group=CHATS,
    ),
    "theme": SettingText(
        N_("Theme"),
        N_("The colours"),
        unset=N_("as the terminal: dark or light"),
        group=LOOK,
        example="edgechat-light",
        permitted=N_("the name of a theme"),
    ),
    "language": SettingText(
        N_("Language"),
        N_("Of the interface; takes effect at the next start"),
        unset=N_("as the system"),
        group=LOOK,
        example="he",
        permitted=N_("a language's code, such as en or he"),
    ),
    "bidi": SettingText(
        N_("Right to left"),
        N_("Who puts Hebrew and Arabic in order on the screen; takes effect at the next start"),
        group=LOOK,
    ),
    "plain": SettingText(
        N_("Plain chat"),
        N_("Line after line, for screen readers; takes effect at the next start"),
        unset=N_("where the terminal can do nothing else"),
        group=LOOK,
        example=True,
    ),
    "reduced_motion": SettingText(
        N_("Reduced motion"),
        N_("Nothing moves by itself"),
        group=LOOK,
    ),
    "log_level": SettingText(
        N_("Log"),
        N_("How much the log tells; nothing of a chat is in it at any level"),
        group=LOOK,
    ),
    "keys": SettingText(
        N_("Keys"),
        N_('By what they do, as in "chat.new" = "ctrl+n,f7"; `edgechat keys` lists them'),
        group=LOOK,
        permitted=N_('a table of ids and keys, as in "chat.new" = "ctrl+n,f7"'),
    ),
}
"""By key, in display order."""
