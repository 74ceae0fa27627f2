"""Generates lossd/v1/*_pb2.py and their stubs from the repository's proto/ before the package is built."""

import pathlib

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


class BuildWithProtos(build_py):
    """build_py after protoc; editable installs run it too."""

    def run(self):
        generate()
        super().run()


def generate():
    """Runs protoc, unless the package was unpacked without the repository around it."""
    if not PROTO.is_dir():
        return
    import google.rpc.status_pb2  # Its directory holds the .proto files beside the modules.
    from grpc_tools import protoc

    import grpc_tools

    common = pathlib.Path(google.rpc.status_pb2.__file__).resolve().parent.parent.parent
    well_known = pathlib.Path(grpc_tools.__file__).resolve().parent / "_proto"
    names = sorted(str(p) for p in (PROTO / "lossd" / "v1").glob("*.proto"))
    arguments = ["protoc", f"-I{PROTO}", f"-I{common}", f"-I{well_known}",
                 f"--python_out={HERE}", f"--pyi_out={HERE}", f"--grpc_python_out={HERE}", *names]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed")
    (HERE / "lossd" / "v1" / "__init__.py").touch()


(HERE / "lossd" / "v1").mkdir(exist_ok=True)
generate()
setup(cmdclass={"build_py": BuildWithProtos})
