"""Write a local conda channel of stubs for every package that environment files name: make_channel.py CHANNEL FILE...

``python`` becomes a package of one kilobyte that turns a prefix into a virtual environment of the running interpreter,
with a .pth file to its site-packages, so that the workflow's code really runs; every other name becomes an empty one.
This proves the wiring (directives, hashes of environments, activation), not that the real channels hold these versions.
"""

import hashlib
import io
import json
import re
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import yaml

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FULL = f"{VERSION}.{sys.version_info.micro}"


def pack(folder: Path, name: str, version: str, files: dict[str, bytes], links: dict[str, str]) -> dict[str, Any]:
    """Write one package and return its entry in the channel's index."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": [], "subdir": "linux-64"}
    empty = hashlib.sha256(b"").hexdigest()
    paths = [
        {"_path": p, "path_type": "hardlink", "sha256": hashlib.sha256(b).hexdigest(), "size_in_bytes": len(b)}
        for p, b in files.items()
    ]
    paths += [{"_path": p, "path_type": "softlink", "sha256": empty, "size_in_bytes": 0} for p in links]
    about = {
        "info/index.json": json.dumps(index),
        "info/files": "".join(f"{path}\n" for path in [*files, *links]),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/about.json": "{}",
    }
    archive = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(archive, "w:bz2") as tar:
        for path, content in ({p: text.encode() for p, text in about.items()} | files).items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755 if path.startswith("bin/") else 0o644
            tar.addfile(info, io.BytesIO(content))
        for path, target in links.items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    raw = archive.read_bytes()
    digests = {"sha256": hashlib.sha256(raw).hexdigest(), "md5": hashlib.md5(raw).hexdigest()}
    return {archive.name: {**index, "size": len(raw), **digests}}


def interpreter(folder: Path) -> dict[str, Any]:
    """The package ``python``."""
    base, site = Path(sys.base_prefix, "bin", f"python{VERSION}"), f"lib/python{VERSION}/site-packages"
    settings = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {FULL}\n"
    files = {"pyvenv.cfg": settings.encode(), f"{site}/_host.pth": f"{sysconfig.get_paths()['purelib']}\n".encode()}
    links = {"bin/python": str(base), "bin/python3": "python", f"bin/python{VERSION}": "python"}
    return pack(folder, "python", FULL, files, links)


def main(channel: str, *environments: str) -> None:
    folder = Path(channel, "linux-64")
    folder.mkdir(parents=True, exist_ok=True)
    versions = {}
    for environment in environments:
        for line in yaml.safe_load(Path(environment).read_text(encoding="utf-8"))["dependencies"]:
            found = re.match(r"([\w.-]+)(?: *=+ *([\d.]+))?", line) if isinstance(line, str) else None
            if found and found[1] != "python":
                versions[found[1].lower()] = found[2] or "0.1"
    packages = interpreter(folder)
    for name, version in versions.items():
        packages |= pack(folder, name, version, {f"share/stub/{name}": b""}, {})
    for subdir, inside in (("linux-64", packages), ("noarch", {})):
        about = {"info": {"subdir": subdir}, "packages": inside, "packages.conda": {}, "repodata_version": 1}
        path = Path(channel, subdir, "repodata.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
