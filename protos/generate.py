"""Generate universe2/wire/v1/*_pb2.py and .pyi from the .proto files beside this script.

    python protos/generate.py           write them
    python protos/generate.py --check   exit 1 and name those that are out of date

The output is committed, so that nobody needs a compiler to install or run universe2.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent


def generate(target: Path) -> list[Path]:
    """Compile every .proto into ``target``; the paths written, relative to it."""
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob("*.proto"))
    included = Path(grpc_tools.__file__).parent / "_proto"
    places = [f"-I{PROTOS}", f"-I{included}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main(["protoc", *places, *sources]) != 0:
        raise SystemExit("protoc failed; its message is above")
    stems = [Path(source).with_suffix("") for source in sources]
    return [stem.with_name(stem.name + ending) for stem in stems for ending in ("_pb2.py", "_pb2.pyi")]


def stale() -> list[Path]:
    """Generated files that differ from what the .proto files give now."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        names = generate(fresh)
        return [n for n in names if not _same(fresh / n, ROOT / n)]


def _same(fresh: Path, committed: Path) -> bool:
    return committed.exists() and fresh.read_bytes() == committed.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    if not parser.parse_args().check:
        for name in generate(ROOT):
            print(f"wrote {name}")
        return 0
    for name in (old := stale()):
        print(f"{name} is out of date; run python protos/generate.py", file=sys.stderr)
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
