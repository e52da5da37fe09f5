"""The catalogues of the interface's words: read from the source, brought up to date, compiled.

`python build/catalogues.py` brings every catalogue in `edgechat/i18n/locale` up to date and compiles it, and tells what
is still to be translated; `--add CODE` begins another language. Translations are written into the .po files by hand.

Beside what is marked with `_`, `N_` and `ngettext`, the words of errors and of key bindings are found where they
stand: errors are raised as sentences in English and translated where they are shown (`i18n.error_messages`). The
command line's help stays English, as click's own words in it do.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgechat"
LOCALE = PACKAGE / "i18n" / "locale"
DOMAIN = "edgechat"

ERRORS_OF = (
    "chat",
    "cli",
    "doctor",
    "engine",
    "history",
    "models",
    "runtime",
    "session",
    "settings",
    "*",
)
"""The rooms whose errors a user of the chat may meet ("*" are the modules beside the rooms)."""

NOT_OF = (
    "cli/bench",
    "cli/self_test",
    "engine/fingerprint",
    "history/transfer",
    "models/huggingface",
)
"""Modules in them that speak to those who measure, carry and convert; their words stay English."""

_NAMES = {"_": 1, "N_": 1, "ngettext": 2}
PLACE = re.compile(r"\{\w+\}")


@dataclass(slots=True)
class Found:
    """A text of the source.

    Attributes:
        plural: Its form for many, if it has one.
        formatted: Whether the program fills in its places; those of an error are only recognised.
        files: Where it stands.
    """

    plural: str = ""
    formatted: bool = False
    files: set[str] = field(default_factory=set)


def texts() -> dict[str, Found]:
    """All texts of the interface, in the order in which they stand in the source."""
    errors = _error_classes()
    found: dict[str, Found] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for text, plural, formatted in _Reader(name, errors).read(ast.parse(path.read_text(encoding="utf-8"))):
            entry = found.setdefault(text, Found())
            entry.formatted = entry.formatted or formatted
            entry.plural = entry.plural or plural
            entry.files.add(name)
    return found


def catalogue(code: str, known: Catalog | None = None) -> Catalog:
    """A language's catalogue as it has to be: the source's texts with the translations that are known."""
    found = texts()
    template = Catalog(project="edgechat", charset="utf-8", fuzzy=False)
    for text, entry in found.items():
        places = [(file, 0) for file in sorted(entry.files)]
        template.add((text, entry.plural) if entry.plural else text, locations=places)
    if known is None:
        known = Catalog(locale=code, project="edgechat", charset="utf-8", fuzzy=False)
    known.update(template, no_fuzzy_matching=True)
    known.obsolete.clear()
    for message in known:
        text = message.id if isinstance(message.id, str) else message.id[0]
        message.flags.discard("python-format")  # a per cent sign is one
        if text and not found[text].formatted:
            message.flags.discard("python-brace-format")  # a translation may leave a place of an error out
    known.creation_date = known.revision_date = datetime(2026, 1, 1, tzinfo=UTC)  # a date would differ in every commit
    known.last_translator = "edgechat"
    known.version = "1"
    known.msgid_bugs_address = "edgechat"
    known.language_team = code
    return known


def read(path: Path) -> Catalog:
    """The catalogue in a .po file."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name, domain=DOMAIN, abort_invalid=True)


def write(path: Path, words: Catalog) -> None:
    """Write the .po file, and the .mo file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, words, width=110, sort_by_file=True, include_lineno=False, ignore_obsolete=True)
    with path.with_suffix(".mo").open("wb") as file:
        write_mo(file, words)


def missing(words: Catalog) -> list[str]:
    """The texts that have no translation."""
    out = []
    for message in words:
        forms = message.string if isinstance(message.string, list | tuple) else (message.string,)
        if message.id and not all(forms):
            out.append(message.id if isinstance(message.id, str) else message.id[0])
    return out


def _error_classes() -> set[str]:
    """EdgechatError and all that comes of it."""
    parents: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                parents.setdefault(node.name, set()).update(
                    base.id for base in node.bases if isinstance(base, ast.Name)
                )
    errors = {"EdgechatError"}
    while more := {name for name, bases in parents.items() if bases & errors} - errors:
        errors |= more
    return errors


class _Reader:
    def __init__(self, name: str, errors: set[str]) -> None:
        inner = name.removeprefix("edgechat/")
        room = inner.partition("/")[0] if "/" in inner else "*"
        self._name = name
        self._errors = errors if room in ERRORS_OF and not inner.startswith(NOT_OF) else set()

    def read(self, tree: ast.Module) -> Iterator[tuple[str, str, bool]]:
        """Texts with their plurals, and whether they are formatted."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from self._call(node)
            elif isinstance(node, ast.ClassDef) and node.name in self._errors:
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                        yield from self._words(call)

    def _call(self, call: ast.Call) -> Iterator[tuple[str, str, bool]]:
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in _NAMES:
            given = call.args[: _NAMES[name]]
            constants = [arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if len(constants) == _NAMES[name]:
                yield constants[0], constants[1] if len(constants) > 1 else "", True
            elif any(isinstance(arg, ast.JoinedStr | ast.BinOp) for arg in given):
                raise SyntaxError(f"{self._name}:{call.lineno}: {name}() takes a plain text")
        elif name == "Binding":
            for arg in [*call.args[2:3], *_keywords(call, "description", "tooltip")]:
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str) and arg.value:
                    yield arg.value, "", False
        elif name == "Sentence" and self._errors:
            yield from ((text, "", False) for text in _sources(call) if any(map(str.isalpha, PLACE.sub("", text))))
        elif name in self._errors:
            yield from self._words(call)

    def _words(self, call: ast.Call) -> Iterator[tuple[str, str, bool]]:
        for arg in [*call.args[:3], *_keywords(call, "title", "message", "hint")]:
            for node in ast.walk(arg):
                if isinstance(node, ast.JoinedStr) and not isinstance(arg, ast.Call) and _has_letters(node):
                    raise SyntaxError(f"{self._name}:{node.lineno}: an error takes a plain text or a Sentence")
            for text in _sources(arg):
                if any(letter.isalpha() for letter in PLACE.sub("", text)):
                    yield text, "", False


def _keywords(call: ast.Call, *names: str) -> list[ast.expr]:
    return [keyword.value for keyword in call.keywords if keyword.arg in names]


def _sources(node: ast.expr) -> list[str]:
    """The source texts that an expression may become."""
    match node:
        case ast.Constant(value=str(text)):
            return [text] if text else []
        case ast.Call(func=ast.Name(id="Sentence"), args=[ast.Constant(value=str(text)), *_]):
            return [text]
        case ast.IfExp(body=body, orelse=other):
            return _sources(body) + _sources(other)
        case ast.BoolOp(op=ast.Or(), values=values):
            return [text for value in values for text in _sources(value)]
        case _:
            return []


def _has_letters(node: ast.JoinedStr) -> bool:
    return any(isinstance(part, ast.Constant) and any(map(str.isalpha, str(part.value))) for part in node.values)


def main() -> int:
    """Bring all catalogues up to date; the exit code says whether something is left to translate."""
    parser = argparse.ArgumentParser(description="Bring the catalogues of edgechat/i18n/locale up to date.")
    parser.add_argument("--add", metavar="CODE", help="begin another language, such as fr or pt_BR")
    arguments = parser.parse_args()
    paths = sorted(LOCALE.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))
    if arguments.add:
        paths.append(LOCALE / arguments.add / "LC_MESSAGES" / f"{DOMAIN}.po")
    left = 0
    for path in paths:
        code = path.parent.parent.name
        words = catalogue(code, read(path) if path.exists() else None)
        write(path, words)
        untranslated = missing(words)
        left += len(untranslated)
        print(f"{code}: {len(words)} texts, {len(untranslated)} to translate")
        for text in untranslated:
            print(f"  {text!r}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
