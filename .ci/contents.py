"""Check that a wheel and a source distribution hold what they must, and nothing that was left over.

python .ci/contents.py WHEEL SDIST
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

LEFT_OVER = re.compile(r"__pycache__|\.(c|o|a|pyc|log|ninja)$|(^|/)(build|tests|bench|examples)/")


def sources(pattern: str) -> list[str]:
    """The files of the tree that `pattern` matches, as paths from its root."""
    return sorted(str(path) for path in Path().glob(pattern) if "__pycache__" not in path.parts)


def main(wheel: str, sdist: str) -> None:
    """Exit with a list of what is wrong, if anything is."""
    with zipfile.ZipFile(wheel) as archive:
        installed = archive.namelist()
    with tarfile.open(sdist) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}

    wanted = [*sources("kroton/**/*.py"), *sources("kroton/**/*.pxd"), "kroton/py.typed"]
    wanted += sources("kroton/picture/page.*")
    problems = [f"{path} is not in the wheel" for path in wanted if path not in installed]
    for path in sources("kroton/_kernels/*.pyx"):
        if not any(name.startswith(f"{path[:-4]}.") and name.endswith((".so", ".pyd", ".dylib"))
                   for name in installed):  # fmt: skip
            problems.append(f"{path} is not compiled into the wheel")
    problems += [
        f"{name} has no place in the wheel" for name in installed if LEFT_OVER.search(name)
    ]
    everything = ["pyproject.toml", "meson.build", "LICENSE", *sources("kroton/_kernels/*.pyx")]
    problems += [f"{path} is not in the sdist" for path in everything if path not in shipped]
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(installed)} files in the wheel, {len(shipped)} in the source distribution")


if __name__ == "__main__":
    main(*sys.argv[1:])
