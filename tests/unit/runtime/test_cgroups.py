"""What control groups leave of memory and processors, in every form that machines and containers have them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgechat.engine import resources
from edgechat.runtime import cgroups
from tests.support.bundles import needs_root


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def own(tmp_path: Path, text: str) -> Path:
    (tmp_path / "self").write_text(text)
    return tmp_path / "self"


def test_version_2_with_a_limit_above_and_one_that_slows(top: Path, tmp_path: Path) -> None:
    group = top / "user.slice" / "app.scope"
    write(group, memory__max="max", memory__high="max", memory__current="5000", cpu__max="max 100000")
    write(group.parent, memory__max="300000", memory__current="100000", cpu__max="50000 100000")
    entry = own(tmp_path, "0::/user.slice/app.scope\n")
    assert cgroups.memory_left(top, entry) == 200_000
    assert cgroups.processors(top, entry) == 0.5
    write(group, memory__high="45000")
    assert cgroups.memory_left(top, entry) == 40_000


def test_what_is_read_of_files_and_idle_is_given_back(top: Path, tmp_path: Path) -> None:
    write(top / "a", memory__max="300000", memory__current="100000", memory__stat="anon 1\ninactive_file 50000")
    assert cgroups.memory_left(top, own(tmp_path, "0::/a\n")) == 250_000


@pytest.mark.parametrize("place", ["cpu,cpuacct", "cpu"])
def test_version_1(top: Path, tmp_path: Path, place: str) -> None:
    write(top / "memory" / "docker" / "abc", **{"memory__limit_in_bytes": "300000", "memory__usage_in_bytes": "100000"})
    write(top / "memory" / "docker", **{"memory__limit_in_bytes": "200000", "memory__usage_in_bytes": "150000"})
    write(top / place / "docker", cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    write(top / place / "docker" / "abc", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    entry = own(tmp_path, "9:name=systemd:/\n4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n")
    assert cgroups.memory_left(top, entry) == 50_000
    assert cgroups.processors(top, entry) == 1.5


def test_a_container_sees_its_own_group_at_the_top(top: Path, tmp_path: Path) -> None:
    """Whatever path the kernel tells: of version 1 it is one outside, of a namespace one with dots."""
    write(top, memory__max="300000", memory__current="100000", cpu__max="20000 100000")
    write(top / "memory", memory__limit_in_bytes="250000", memory__usage_in_bytes="100000")
    entry = own(tmp_path, "4:memory:/docker/abc\n0::/../outside\n")
    assert cgroups.memory_left(top, entry) == 150_000
    assert cgroups.processors(top, entry) == 0.2


@pytest.mark.parametrize("text", ["", "nonsense\n", "0::/a\n", "4:memory:/b:c\n"])
def test_without_limits_nothing_is_bounded(top: Path, tmp_path: Path, text: str) -> None:
    write(top / "a", memory__max="max", cpu__max="nonsense")
    assert cgroups.memory_left(top, own(tmp_path, text)) is None
    assert cgroups.processors(top, own(tmp_path, text)) is None
    assert cgroups.memory_left(top, tmp_path / "nothing") is None


@pytest.mark.parametrize(("quota", "threads"), [(0.5, 1), (1.0, 1), (0.05, 1), (None, None), (64.0, None)])
def test_no_more_threads_than_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, threads: int | None
) -> None:
    monkeypatch.setattr(cgroups, "processors", lambda: None)
    free = resources.threads()
    monkeypatch.setattr(cgroups, "processors", lambda: quota)
    assert resources.threads() == (free if threads is None else threads)


@needs_root
def test_half_a_processor_of_a_real_group() -> None:
    top = next(one for one in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")) if one.is_dir())
    group = top / f"edgechat-test-{os.getpid()}"
    group.mkdir()
    try:
        first = group / "cpu.cfs_quota_us"
        (first if first.exists() else group / "cpu.max").write_text("50000")
        code = "from edgechat.engine import resources; print(resources.threads())"
        enter = f'echo $$ > "{group}/cgroup.procs"; exec "$@"'
        command = ["sh", "-c", enter, "sh", sys.executable, "-c", code]
        assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "1\n"
    finally:
        group.rmdir()
