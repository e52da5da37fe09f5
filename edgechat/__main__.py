"""The way in: `python -m edgechat` and the `edgechat` command."""

from __future__ import annotations


def main() -> None:
    """Run edgechat."""
    raise SystemExit(0)


if __name__ == "__main__":
    main()
