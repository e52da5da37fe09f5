"""Long texts behind one label each: nothing is lost, whatever is pressed."""

from __future__ import annotations

from edgechat.tui.widgets.collapsed_text import LONGEST, Folds

LINES = "\n".join(f"line {n}" for n in range(3120))


def test_short_texts_stay() -> None:
    folds = Folds()
    assert folds.fold_long("a\nb") == "a\nb"
    assert folds.unfold("[pasted 3 lines]") == "[pasted 3 lines]"


def test_long_texts_come_back_whole() -> None:
    folds = Folds()
    label, other = folds.fold_long(LINES), folds.fold_long("x" * (LONGEST + 1))
    assert label == "[pasted 3,120 lines]"
    assert other == "[pasted 4,001 characters]"
    assert folds.unfold(f"a {label} b {other}") == f"a {LINES} b {'x' * (LONGEST + 1)}"
    again = Folds(folds.pieces(label))
    assert again.unfold(f"{label} {other}") == f"{LINES} {other}"


def test_the_same_words_twice() -> None:
    folds = Folds()
    label, other = folds.fold_long(LINES), folds.fold_long(LINES.replace("line", "LINE"))
    assert folds.fold_long(LINES) == label
    assert other == "[pasted 3,120 lines, 2]"
    assert folds.unfold(other) == LINES.replace("line", "LINE")


def test_a_label_in_the_text_behind_a_label_stays_as_it_is() -> None:
    folds = Folds()
    label = folds.fold_long(LINES)
    outer = folds.fold("outer", f"says {label}")
    assert folds.unfold(outer) == f"says {label}"


def test_a_name_cannot_look_like_the_end_of_a_label() -> None:
    assert Folds().fold("a]b[c\n.txt", "x") == "[a)b(c .txt]"


def test_a_text_edited_elsewhere_is_folded_as_before() -> None:
    folds = Folds()
    label = folds.fold_long(LINES)
    assert folds.fold_again(f"changed {LINES}!") == f"changed {label}!"
    assert folds.fold_again("gone") == "gone"


def test_a_fenced_block_has_its_own_lines() -> None:
    folds = Folds()
    label = folds.fold("a.txt", "a.txt\n```\nx\n```")
    assert folds.unfold(f"see {label} please") == "see \na.txt\n```\nx\n```\n please"
    assert folds.unfold(f"{label}\nsee") == "a.txt\n```\nx\n```\nsee"
