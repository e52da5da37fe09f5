"""What each setting is called, what it does, and what it may be: for the settings screen, the file and the errors.

One place, so that a setting is explained in the same words wherever it is met. Nothing here reads a setting.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgechat.i18n.catalog import N_


@dataclass(frozen=True, slots=True)
class Words:
    """The words for one setting, in English; translate them where they are shown.

    Attributes:
        title: Its name on the screen.
        about: What it does, in a line.
        wanted: What it may be, as in "… is to be …".
        unset: What happens where it is not set; empty where it has a value of its own.
        group: Under which heading it stands.
        reload: Whether it takes effect when a model is loaded.
        example: A value for the file's explanation, where nothing is set by default.
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

WORDS: dict[str, Words] = {
    "temperature": Words(
        N_("Temperature"),
        N_("0 always takes the likeliest word; more is livelier"),
        N_("a number from 0 to 2"),
        group=SAMPLING,
    ),
    "top_p": Words(
        N_("Top p"),
        N_("Choose among the likeliest words that make up this share"),
        N_("a number above 0, up to 1"),
        group=SAMPLING,
    ),
    "top_k": Words(
        N_("Top k"),
        N_("Choose among this many of the likeliest words"),
        N_("a whole number from 1 to 1000"),
        group=SAMPLING,
    ),
    "repetition_penalty": Words(
        N_("Repetition penalty"),
        N_("Above 1 avoids words that were there already"),
        N_("a number above 0, up to 3"),
        group=SAMPLING,
    ),
    "seed": Words(
        N_("Seed"),
        N_("The same number gives the same reply"),
        N_("a whole number from 0 to 2147483647"),
        N_("another one each time"),
        SAMPLING,
        example=42,
    ),
    "max_tokens": Words(
        N_("Longest reply"),
        N_("Tokens after which a reply is cut"),
        N_("a whole number from 1 on"),
        N_("up to the end of the context"),
        SAMPLING,
        example=512,
    ),
    "model_uri": Words(
        N_("Model"),
        N_("A folder, or the name of an installed model"),
        N_("a path, a name or a URI"),
        N_("the default model"),
        MODEL,
        reload=True,
        example="./model",
    ),
    "threads": Words(
        N_("Threads"),
        N_("Threads that compute"),
        N_("a whole number from 1 to 1024"),
        N_("one per physical core"),
        MODEL,
        reload=True,
        example=4,
    ),
    "spinning": Words(
        N_("Spinning"),
        N_("Threads spin while they wait: faster on an idle machine, slower on a busy one"),
        N_("true or false"),
        group=MODEL,
        reload=True,
    ),
    "context": Words(
        N_("Context"),
        N_("Tokens that a chat may hold"),
        N_("a whole number from 64 on"),
        N_("what the model and the free memory allow"),
        MODEL,
        reload=True,
        example=4096,
    ),
    "context_policy": Words(
        N_("Full context"),
        N_("Ask, leave out the oldest messages, or sum them up"),
        N_('"ask", "oldest" or "summarise"'),
        group=MODEL,
    ),
    "cache_memory": Words(
        N_("Cache memory"),
        N_("Megabytes in which recent chats stay computed"),
        N_("a whole number from 0 on"),
        N_("a quarter of the free memory, 1,024 at the most"),
        MODEL,
        reload=True,
        example=512,
    ),
    "system": Words(
        N_("System message"),
        N_("What the model is told before a new chat"),
        N_("a text"),
        group=CHATS,
    ),
    "persona": Words(
        N_("Persona"),
        N_("A kept system message, by its name, in place of the system message"),
        N_("the name of one; `edgechat personas` lists them"),
        N_("none"),
        CHATS,
        example="plain",
    ),
    "history": Words(
        N_("Keep chats"),
        N_("Off forgets them when the program ends; takes effect at the next start"),
        N_("true or false"),
        group=CHATS,
    ),
    "theme": Words(
        N_("Theme"),
        N_("The colours"),
        N_("the name of a theme"),
        N_("as the terminal: dark or light"),
        LOOK,
        example="edgechat-light",
    ),
    "language": Words(
        N_("Language"),
        N_("Of the interface; takes effect at the next start"),
        N_("a language's code, such as en or he"),
        N_("as the system"),
        LOOK,
        example="he",
    ),
    "bidi": Words(
        N_("Right to left"),
        N_("Who puts Hebrew and Arabic in order on the screen; takes effect at the next start"),
        N_("auto, app, terminal or off"),
        group=LOOK,
    ),
    "plain": Words(
        N_("Plain chat"),
        N_("Line after line, for screen readers; takes effect at the next start"),
        N_("true or false"),
        N_("where the terminal can do nothing else"),
        LOOK,
        example=True,
    ),
    "reduced_motion": Words(
        N_("Reduced motion"),
        N_("Nothing moves by itself"),
        N_("true or false"),
        group=LOOK,
    ),
    "log_level": Words(
        N_("Log"),
        N_("How much the log tells; nothing of a chat is in it at any level"),
        N_('"debug", "info", "warning" or "error"'),
        group=LOOK,
    ),
    "keys": Words(
        N_("Keys"),
        N_('By what they do, as in "chat.new" = "ctrl+n,f7"; `edgechat keys` lists them'),
        N_('a table of ids and keys, as in "chat.new" = "ctrl+n,f7"'),
        group=LOOK,
    ),
}
"""By key, in the order in which they are shown and written."""
