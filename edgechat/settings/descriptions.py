"""Name, purpose and permitted values of each setting, for the settings screen, the file and errors.

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
        wanted: What it may be, completing "… is to be …".
        unset: What happens if it is not set; empty if it has a default value.
        group: The heading it is listed under.
        reload: Whether it takes effect when a model is loaded.
        example: A sample value for the file's explanation, if there is no default.
    """

    title: str
    about: str
    wanted: str
    unset: str = ""
    group: str = ""
    reload: bool = False
    example: str | int = ""


SAMPLING = N_("Sampling")
MODEL = N_("Model")
CHATS = N_("Chats")
LOOK = N_("Interface")

WORDS: dict[str, SettingText] = {
    "temperature": SettingText(
        N_("Temperature"),
        N_("0 always takes the likeliest word; more is livelier"),
        N_("a number from 0 to 2"),
        group=SAMPLING,
    ),
    "top_p": SettingText(
        N_("Top p"),
        N_("Choose among the likeliest words that make up this share"),
        N_("a number above 0, up to 1"),
        group=SAMPLING,
    ),
    "top_k": SettingText(
        N_("Top k"),
        N_("Choose among this many of the likeliest words"),
        N_("a whole number from 1 to 1000"),
        group=SAMPLING,
    ),
    "repetition_penalty": SettingText(
        N_("Repetition penalty"),
        N_("Above 1 avoids words that were there already"),
        N_("a number above 0, up to 3"),
        group=SAMPLING,
    ),
    "seed": SettingText(
        N_("Seed"),
        N_("The same number gives the same reply"),
        N_("a whole number from 0 to 2147483647"),
        N_("another one each time"),
        SAMPLING,
        example=42,
    ),
    "max_tokens": SettingText(
        N_("Longest reply"),
        N_("Tokens after which a reply is cut"),
        N_("a whole number from 1 on"),
        N_("up to the end of the context"),
        SAMPLING,
        example=512,
    ),
    "model_uri": SettingText(
        N_("Model"),
        N_("A folder, or the name of an installed model"),
        N_("a path, a name or a URI"),
        N_("the default model"),
        MODEL,
        reload=True,
        example="./model",
    ),
    "threads": SettingText(
        N_("Threads"),
        N_("Threads that compute"),
        N_("a whole number from 1 to 1024"),
        N_("one per physical core"),
        MODEL,
        reload=True,
        example=4,
    ),
    "spinning": SettingText(
        N_("Spinning"),
        N_("Threads spin while they wait: faster on an idle machine, slower on a busy one"),
        N_("true or false"),
        group=MODEL,
        reload=True,
    ),
    "context": SettingText(
        N_("Context"),
        N_("Tokens that a chat may hold"),
        N_("a whole number from 64 on"),
        N_("what the model and the free memory allow"),
        MODEL,
        reload=True,
        example=4096,
    ),
    "context_policy": SettingText(
        N_("Full context"),
        N_("Ask, leave out the oldest messages, or sum them up"),
        N_('"ask", "oldest" or "summarise"'),
        group=MODEL,
    ),
    "cache_memory": SettingText(
        N_("Cache memory"),
        N_("Megabytes in which recent chats stay computed"),
        N_("a whole number from 0 on"),
        N_("a quarter of the free memory, 1,024 at the most"),
        MODEL,
        reload=True,
        example=512,
    ),
    "system": SettingText(
        N_("System message"),
        N_("What the model is told before a new chat"),
        N_("a text"),
        group=CHATS,
    ),
    "persona": SettingText(
        N_("Persona"),
        N_("A kept system message, by its name, in place of the system message"),
        N_("the name of one; `edgechat personas` lists them"),
        N_("none"),
        CHATS,
        example="plain",
    ),
    "history": SettingText(
        N_("Keep chats"),
        N_("Off forgets them when the program ends; takes effect at the next start"),
        N_("true or false"),
        group=CHATS,
    ),
    "theme": SettingText(
        N_("Theme"),
        N_("The colours"),
        N_("the name of a theme"),
        N_("as the terminal: dark or light"),
        LOOK,
        example="edgechat-light",
    ),
    "language": SettingText(
        N_("Language"),
        N_("Of the interface; takes effect at the next start"),
        N_("a language's code, such as en or he"),
        N_("as the system"),
        LOOK,
        example="he",
    ),
    "bidi": SettingText(
        N_("Right to left"),
        N_("Who puts Hebrew and Arabic in order on the screen; takes effect at the next start"),
        N_("auto, app, terminal or off"),
        group=LOOK,
    ),
    "plain": SettingText(
        N_("Plain chat"),
        N_("Line after line, for screen readers; takes effect at the next start"),
        N_("true or false"),
        N_("where the terminal can do nothing else"),
        LOOK,
        example=True,
    ),
    "reduced_motion": SettingText(
        N_("Reduced motion"),
        N_("Nothing moves by itself"),
        N_("true or false"),
        group=LOOK,
    ),
    "log_level": SettingText(
        N_("Log"),
        N_("How much the log tells; nothing of a chat is in it at any level"),
        N_('"debug", "info", "warning" or "error"'),
        group=LOOK,
    ),
    "keys": SettingText(
        N_("Keys"),
        N_('By what they do, as in "chat.new" = "ctrl+n,f7"; `edgechat keys` lists them'),
        N_('a table of ids and keys, as in "chat.new" = "ctrl+n,f7"'),
        group=LOOK,
    ),
}
"""By key, in display order."""
