"""What is inside a bundle: a CycloneDX bill of materials, the licences, and the C library it needs.

Run by `bundle.py` with the Python of the clean environment. PyInstaller's own list says which file came from where;
each is traced to the distribution that installed it, to Python itself, or to the system's package. Prints JSON.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from packageurl import PackageURL

KINDS = {"PYMODULE", "EXTENSION", "BINARY", "DATA"}
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|copyright|third.?party|authors)", re.IGNORECASE)
TOOLS = {"pyinstaller", "pyinstaller-hooks-contrib"}
"""Their loader is in the binary; their licence lets it be there under any licence."""


def main() -> None:
    """Write sbom.cdx.json and licenses/ into the folder, and print what was learnt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toc", type=Path, required=True, help="PyInstaller's work folder")
    parser.add_argument("--folder", type=Path, required=True, help="the bundle")
    parser.add_argument("--version", required=True)
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args()
    sources = {path for path in _sources(asked.toc) if path.exists()}
    owners = _owners()
    names = {owners[path] for path in sources if path in owners} | TOOLS
    system = _system_packages({path for path in sources if path not in owners and _outside(path)})
    distributions = [importlib.metadata.distribution(name) for name in sorted(names - {"edgechat"})]
    for distribution in distributions:
        _copy_licences(distribution, asked.folder / "licenses" / str(distribution.name))
    _copy_python_licence(asked.folder / "licenses" / "python")
    for package in system:
        _copy_system_licence(package, asked.folder / "licenses" / package)
    bom = _bom(asked.version, distributions, system, asked.model)
    text = json.loads(JsonV1Dot6(bom).output_as_string())
    (asked.folder / "sbom.cdx.json").write_text(json.dumps(text, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    json.dump({"python": platform.python_version(), **_glibc(asked.folder)}, sys.stdout)


def _sources(toc: Path) -> set[Path]:
    """Every file PyInstaller collected, by the place it was taken from."""
    found: set[Path] = set()

    def walk(value: Any) -> None:
        if isinstance(value, tuple) and len(value) == 3 and value[2] in KINDS and isinstance(value[1], str):
            found.add(Path(value[1]).resolve())
        elif isinstance(value, tuple | list):
            for item in value:
                walk(item)

    for path in toc.glob("*.toc"):
        walk(ast.literal_eval(path.read_text(encoding="utf-8")))
    return found


def _owners() -> dict[Path, str]:
    """Installed file to the name of its distribution."""
    return {
        Path(str(distribution.locate_file(file))).resolve(): str(distribution.name)
        for distribution in importlib.metadata.distributions()
        for file in distribution.files or ()
    }


def _outside(path: Path) -> bool:
    """Whether a file is neither Python's nor the environment's: then it is a library of the system."""
    return not any(path.is_relative_to(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix))


def _system_packages(paths: set[Path]) -> dict[str, str]:
    """The system's packages those libraries belong to, with versions; where dpkg knows."""
    found: dict[str, str] = {}
    if shutil.which("dpkg-query") is None:
        return {path.name: "" for path in sorted(paths) if ".so" in path.name or path.suffix in (".dll", ".dylib")}
    for path in sorted(paths):
        # Debian registers what lies in /usr/lib under /lib too, or only there.
        for name in (str(path), str(path).removeprefix("/usr")):
            told = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True, check=False)
            if told.returncode == 0:
                package = told.stdout.split(":", 1)[0]
                version = subprocess.run(
                    ["dpkg-query", "-W", "-f", "${Version}\n", package], capture_output=True, text=True, check=False
                )
                found[package] = version.stdout.split("\n", 1)[0]
                break
    return found


def _copy_licences(distribution: importlib.metadata.Distribution, target: Path) -> None:
    for file in distribution.files or ():
        source = Path(str(distribution.locate_file(file)))
        if LICENCE_FILE.search(file.name) and source.is_file() and source.suffix not in (".py", ".pyc", ".so"):
            target.mkdir(exist_ok=True)
            goal = target / file.name
            number = 1
            while goal.exists():  # numpy has one for each library it carries
                number += 1
                goal = target / f"{file.name}.{number}"
            shutil.copyfile(source, goal)
    if not target.exists():  # it ships none: its own words have to do
        target.mkdir()
        told = distribution.metadata
        words = told.get("License-Expression") or told.get("License") or "; ".join(_classified(distribution))
        (target / "LICENSE.txt").write_text(f"{distribution.name} {distribution.version}: {words}\n", encoding="utf-8")


def _copy_python_licence(target: Path) -> None:
    target.mkdir()
    for folder in (Path(sysconfig.get_path("stdlib")), Path(sys.base_prefix), Path("/usr/share/doc/python3")):
        for name in ("LICENSE.txt", "LICENSE", "copyright"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, target / name)
                return
    (target / "LICENSE.txt").write_text("Python: PSF-2.0, https://docs.python.org/3/license.html\n", encoding="utf-8")


def _copy_system_licence(package: str, target: Path) -> None:
    source = Path("/usr/share/doc") / package / "copyright"
    if source.is_file():
        target.mkdir(exist_ok=True)
        shutil.copyfile(source, target / "copyright")


def _classified(distribution: importlib.metadata.Distribution) -> list[str]:
    classifiers = distribution.metadata.get_all("Classifier") or []
    return [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]


def _bom(
    version: str, distributions: list[importlib.metadata.Distribution], system: dict[str, str], model: Path | None
) -> Bom:
    licences = LicenseFactory()
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"edgechat {version} {platform.platform()}"))
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    bom.metadata.component = Component(
        name="edgechat",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="edgechat",
        licenses=[licences.make_from_string("Apache-2.0")],
    )
    for distribution in distributions:
        told = distribution.metadata
        words = told.get("License-Expression") or next(iter(_classified(distribution)), "") or told.get("License") or ""
        words = words.strip().partition("\n")[0][:200]
        name = str(distribution.name)
        purl = PackageURL("pypi", name=name.lower().replace("_", "-"), version=distribution.version)
        bom.components.add(
            Component(
                name=name,
                version=distribution.version,
                type=ComponentType.LIBRARY,
                bom_ref=str(purl),
                purl=purl,
                licenses=[licences.make_from_string(words)] if words else (),
            )
        )
    python = PackageURL("generic", name="python", version=platform.python_version())
    bom.components.add(
        Component(
            name="python",
            version=platform.python_version(),
            type=ComponentType.PLATFORM,
            bom_ref=str(python),
            purl=python,
            licenses=[licences.make_from_string("PSF-2.0")],
        )
    )
    for package, number in system.items():
        purl = PackageURL("deb", "debian", package, number or None)
        bom.components.add(
            Component(name=package, version=number or None, type=ComponentType.LIBRARY, bom_ref=str(purl), purl=purl)
        )
    if model is not None:
        bom.components.add(_model(model))
    return bom


def _model(folder: Path) -> Component:
    """The model: its weights' digests are in its own manifest."""
    import yaml

    card = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")) if (folder / "MLmodel").is_file() else {}
    metadata = card.get("metadata") or {}
    manifest = json.loads((folder / "edgechat-manifest.json").read_text(encoding="utf-8"))
    weights = {name: file for name, file in manifest["files"].items() if name.endswith((".onnx", ".onnx.data"))}
    licence = str(metadata.get("licence") or "")
    return Component(
        name=str(metadata.get("name") or folder.name),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        description=", ".join(str(metadata[key]) for key in ("source", "quantisation") if key in metadata) or None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file["sha256"]) for _, file in sorted(weights.items())],
        licenses=[LicenseFactory().make_from_string(licence)] if licence else (),
    )


def _glibc(folder: Path) -> dict[str, Any]:
    """The newest version of the C library any file asks for, the newest a file from a wheel does, and the loader."""
    floors: dict[str, tuple[int, ...]] = {}
    loader = ""
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            try:
                elf = ELFFile(file)
                floors[path.relative_to(folder).as_posix()] = _needed(elf)
                if path.parent == folder:
                    loader = next(part.get_interp_name() for part in elf.iter_segments("PT_INTERP"))
            except ELFError:
                continue
    if not floors:
        return {}
    wheels = [
        floor
        for name, floor in floors.items()
        if "/" in name.removeprefix("_internal/") and not name.startswith("_internal/python3")
    ]
    top = max(floors.values())
    return {
        "glibc": ".".join(map(str, top)),
        "loader": loader,
        "glibc_needed_by": sorted(name for name, floor in floors.items() if floor == top),
        "glibc_of_wheels": ".".join(map(str, max(wheels, default=top))),
    }


def _needed(elf: ELFFile) -> tuple[int, ...]:
    versions = [(0,)]
    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, needed in section.iter_versions():
                versions += [
                    tuple(map(int, match[1].split(".")))
                    for one in needed
                    if (match := re.fullmatch(r"GLIBC_([0-9.]+)", one.name))
                ]
    return max(versions)


if __name__ == "__main__":
    main()
