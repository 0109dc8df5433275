"""Fetch the scripts of others that stand in this repository, unmodified, and hold each to its checksum.

python scripts/renew_vendored.py            # fetch with npm, compare, write
python scripts/renew_vendored.py --check    # compare what is here, without a network

A newer version: change the row, run it, read the checksum that it prints, look at the page, commit all of it.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, TESTS = ROOT / "mechpatch/views/report/static/vendor", ROOT / "tests/support/vendor"


@dataclass(frozen=True, slots=True)
class Vendored:
    """One file of a package, and the file that holds the package's licence.

    Attributes:
        folder, name: where it stands here.
        sha256: of the file.
        licence: the file of the licence; "" where the file itself is one.
    """

    package: str
    version: str
    path: str
    folder: Path
    name: str
    sha256: str
    licence: str = "LICENSE"


VENDORED = (
    Vendored(
        *("d3", "7.9.2", "dist/d3.min.js", PAGE, "d3.min.js"),
        sha256="912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
    ),
    Vendored(
        *("@observablehq/plot", "0.6.17", "dist/plot.umd.min.js", PAGE, "plot.min.js"),
        sha256="4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
    ),
    # With Preact 10 and its hooks inside; its licence is the next row.
    Vendored(
        *("htm", "3.1.1", "preact/standalone.umd.js", PAGE, "htm-preact.min.js"),
        sha256="62c4ffea400078c0eda7f435b22726b4961ebdf74c8506f188e92bec41d8ac51",
    ),
    Vendored(
        *("preact", "10.9.0", "LICENSE", PAGE, "preact.LICENSE.txt"),
        sha256="1fe6958409c8c257a70c587a18b6f7f412b179b456630790d30b2ec9a8e4b7d4",
        licence="",
    ),
    Vendored(
        *("axe-core", "4.14.1", "axe.min.js", TESTS, "axe.min.js"),
        sha256="29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
    ),
)


def main() -> int:
    """Fetch or check every file; 1 where one is not what its row says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare what is here, fetch nothing")
    asked = parser.parse_args()
    wrong = [each for each in VENDORED if not _agrees(each, asked.check)]
    return 1 if wrong else 0


def _agrees(each: Vendored, check: bool) -> bool:
    target = each.folder / each.name
    code, licence = (target.read_bytes(), b"") if check else _fetched(each)
    found = hashlib.sha256(code).hexdigest()
    if found != each.sha256:
        print(f"{target.name} of {each.package} {each.version}: sha256 {found}, expected {each.sha256}")  # noqa: T201
        return False
    if not check:
        each.folder.mkdir(parents=True, exist_ok=True)
        target.write_bytes(code)
        if each.licence:
            target.with_suffix(".LICENSE.txt").write_bytes(licence)
    print(f"{target.name}: {each.package} {each.version}, as expected")  # noqa: T201
    return True


def _fetched(each: Vendored) -> tuple[bytes, bytes]:
    """The file and its licence, from the package as npm delivers it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{each.package}@{each.version}", "--silent", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as packed:
            return _member(packed, each.path), _member(packed, each.licence) if each.licence else b""


def _member(packed: tarfile.TarFile, path: str) -> bytes:
    member = packed.extractfile(f"package/{path}")
    assert member is not None, f"{path} is no file"
    return member.read()


if __name__ == "__main__":
    sys.exit(main())
