"""Prints requirements of pyproject.toml, one per line: of the build system, or of the extras named as arguments
("package": of the package itself).

`pip install --no-build-isolation` needs the former beforehand; the latter are for tools that come after the package.
"""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib  # pip is in every virtual environment, tomllib not before 3.11

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())


def extra(name: str) -> list[str]:
    if name == "package":
        return list(PROJECT["project"]["dependencies"])
    own_name = PROJECT["project"]["name"]
    return [one for one in PROJECT["project"]["optional-dependencies"][name] if not one.startswith(f"{own_name}[")]


if __name__ == "__main__":
    requirements = [one for name in sys.argv[1:] for one in extra(name)] or PROJECT["build-system"]["requires"]
    print(*requirements, sep="\n")
