"""Folders above the one that the single file unpacks to: what another user could put elsewhere is never started from.

The single file is the real one around a program that tells where it was started. Another user then tries to move each
folder above it: where one of them can be moved, so could have been a folder with other programs in its place.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.conftest import Campaign, sample

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="needs root, to be other users"
)

USER, OTHER = 61_001, 61_002
PROGRAM = '#!/bin/sh\nprintf "%s\\n" "$0"\n'


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The single file, where every user can read it."""
    source = Path(__file__).resolve().parents[2] / "build" / "bundle.py"
    spec = importlib.util.spec_from_file_location("edgechat_bundle", source)
    assert spec is not None
    assert spec.loader is not None
    bundle: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bundle)
    folder = tmp_path_factory.mktemp("bundle") / "edgechat"
    folder.mkdir()
    for name in ("edgechat", bundle.PROGRAM):  # what is started, and what the single file looks at
        (folder / name).write_text(PROGRAM)
        (folder / name).chmod(0o755)
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield bundle.single_file(folder, place / "edgechat", {})
    shutil.rmtree(place)


@pytest.fixture
def ground() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)
    for temporary in ("/tmp", "/var/tmp"):
        shutil.rmtree(f"{temporary}/edgechat-{USER}", ignore_errors=True)


def lay(ground: Path, draw: random.Random) -> Path:
    """A chain of folders of several owners and rights, some of them behind links; the last one is the user's."""
    at = ground
    for depth in range(draw.randrange(1, 5)):
        name = at / f"step{depth}"
        name.mkdir()
        owner = draw.choice((0, USER, USER, OTHER))
        name.chmod(draw.choice((0o755, 0o755, 0o711, 0o775, 0o777, 0o1777)))
        os.chown(name, owner, draw.choice((0, owner)))
        if draw.random() < 0.3:
            link = at / f"link{depth}"
            link.symlink_to(draw.choice((name, Path(name.name))))
            os.chown(link, draw.choice((0, USER, OTHER)), 0, follow_symlinks=False)
            name = link
        at = name
    last = at / "own"
    last.mkdir()
    os.chown(last, USER, USER)
    return last


def movable(path: Path) -> Path | None:
    """The first step on the way to a folder that another user can put something else in the place of."""
    trying = (
        'for name; do mv -T -- "$name" "$name.moved" && mv -T -- "$name.moved" "$name" && echo "$name" && break; done'
    )
    steps: list[Path] = []
    lexical = [*reversed(path.parents), path]
    for step in lexical:
        steps.append(step)
        if step.is_symlink():
            steps += [*reversed(step.resolve().parents), step.resolve()]
    ran = subprocess.run(
        ["/bin/sh", "-c", trying, "sh", *map(str, dict.fromkeys(steps))],
        user=OTHER,
        group=OTHER,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    # Who owns a folder can let himself write to it at any time.
    owned = next((step for step in steps if step.lstat().st_uid == OTHER), None)
    return Path(ran.stdout.strip()) if ran.stdout.strip() else owned


def start(single: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [single],
        user=USER,
        group=USER,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_started_from_where_another_user_can_put_something(
    single: Path, ground: Path, campaign: Callable[[str, str], Campaign]
) -> None:
    attack = campaign("D", "folders above the one that the single file unpacks to")
    started = 0
    for number in sample(18, 200):
        draw = random.Random(number)
        place = ground / str(number)
        place.mkdir()
        last = lay(place, draw)
        variable = draw.choice(("EDGECHAT_UNPACK", "EDGECHAT_HOME", "XDG_CACHE_HOME", "HOME", "TMPDIR"))
        ended = start(single, {variable: str(last)})
        where = Path(ended.stdout.strip()) if ended.returncode == 0 else None
        chosen = where is not None and where.is_relative_to(last)
        bad = movable(last)
        if where is not None and (moved := movable(where)) is not None:
            attack.note(number, f"{variable}: {where} was started from, and {moved} can be moved")
        elif bad is None and not chosen:
            attack.note(number, f"{variable}: {last} is safe and was refused: {ended.stderr}")
        elif where is None and (ended.returncode != 5 or "no place to unpack" not in ended.stderr):
            attack.note(number, f"{variable}: ended with {ended.returncode}: {ended.stderr}")
        else:
            attack.note(number, None)
            started += chosen
        if where is not None:
            shutil.rmtree(where.parent)
    attack.judge()
    assert started


def test_a_folder_of_ones_own_is_taken(single: Path, ground: Path) -> None:
    """As on most systems: a home below folders of root's, a private group that may write, a place for everyone."""
    home, everyone = ground / "home", ground / "tmp"
    home.mkdir()
    home.chmod(0o775)
    os.chown(home, USER, 0)
    everyone.mkdir()
    everyone.chmod(0o1777)
    for variable, place in (("HOME", home), ("EDGECHAT_UNPACK", everyone), ("TMPDIR", everyone)):
        ended = start(single, {variable: str(place)})
        assert ended.returncode == 0, ended.stderr
        assert Path(ended.stdout.strip()).is_relative_to(place)
