"""The package's build backend (PEP 517, 660): setuptools, once what it packs has been made.

The version, the licence and the modules of lossd.v1 have their sources outside this folder, in the
repository. Here they are brought into it before setuptools looks. A source distribution has them
inside, and its wheel is built by setuptools alone: no protoc, no repository.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from setuptools import build_meta

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent

# Every distribution has these. Without this list, users would find out which one lacks some.
_MADE = ("LICENSE", "lossd/_version.py", "lossd/v1/__init__.py", "lossd/v1/service_pb2.py",
         "lossd/v1/service_pb2.pyi", "lossd/v1/service_pb2_grpc.py",
         "lossd/v1/service_pb2_grpc.pyi")

# Any protoc will do: the generated modules are not its own (generate.py).
_GENERATOR = "grpcio-tools>=1.60"

Settings = dict[str, Any] | None


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return _requirements()


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return _requirements()


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return _requirements()


def prepare_metadata_for_build_wheel(directory: str, config_settings: Settings = None) -> str:
    _prepare()
    return str(build_meta.prepare_metadata_for_build_wheel(directory, config_settings))


def prepare_metadata_for_build_editable(directory: str, config_settings: Settings = None) -> str:
    _prepare()
    return str(build_meta.prepare_metadata_for_build_editable(directory, config_settings))


def build_sdist(directory: str, config_settings: Settings = None) -> str:
    _prepare()
    return str(build_meta.build_sdist(directory, config_settings))


def build_wheel(directory: str, config_settings: Settings = None,
                metadata_directory: str | None = None) -> str:
    _prepare()
    return str(build_meta.build_wheel(directory, config_settings, metadata_directory))


def build_editable(directory: str, config_settings: Settings = None,
                   metadata_directory: str | None = None) -> str:
    _prepare()
    return str(build_meta.build_editable(directory, config_settings, metadata_directory))


def _in_repository() -> bool:
    """False in an unpacked source distribution, whatever lies around it."""
    return not (HERE / "PKG-INFO").exists() and (REPOSITORY / "proto/lossd/v1").is_dir()


def _requirements() -> list[str]:
    return [_GENERATOR] if _in_repository() else []


def _prepare() -> None:
    """Makes the files of _MADE, or checks that the source distribution has them.

    Raises:
        RuntimeError: something is missing.
    """
    if _in_repository():
        import generate  # Needs protoc, which is not there where a source distribution is built.

        shutil.copyfile(REPOSITORY / "LICENSE", HERE / "LICENSE")
        _write_version(HERE / "lossd" / "_version.py")
        generate.package(HERE, [REPOSITORY / "proto", REPOSITORY / "third_party/googleapis"])
    missing = [name for name in _MADE if not (HERE / name).is_file()]
    if missing:
        raise RuntimeError(
            f"{HERE} lacks {', '.join(missing)}, and there is no repository around it to make "
            "them from: build in a checkout of lossd, or from its source distribution")


def _write_version(path: Path) -> None:
    version = (REPOSITORY / "version.txt").read_text().strip()
    path.write_text(f'"""Made from the repository\'s version.txt when the package is built."""\n\n'
                    f'__version__ = "{version}"\n')
