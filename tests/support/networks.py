"""A world without any network, for tests of what needs none."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def no_network() -> list[str]:
    """A prefix that runs a command in a network namespace in which not even loopback is up."""
    for prefix in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
        ):
            return prefix
    pytest.skip("this system gives no network namespaces")
