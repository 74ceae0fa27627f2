"""Makes lossd.v1 from the repository's .proto files: messages, gRPC stubs, and types of both.

What protoc writes itself demands its own runtime or a later one: code of protobuf 7 refuses the
protobuf 4, 5 or 6 that TensorFlow, Ray and others ask for, and grpcio's refuses an older grpcio.
So from protoc come the descriptors and the types alone. The modules around them are written here,
in the form that generated code has had since protobuf 3.20 and that every runtime since has to
load; tests/client/python_runtimes.sh tries them. The stubs use what grpcio 1.51 has.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from services import import_line, service_module, service_types

_MESSAGES = '''"""Messages of {file}. Made when the package is built: do not edit."""

from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf.internal import builder as _builder

{imports}DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile({descriptor!r})
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, "{module}", globals())
'''


def package(root: Path, includes: list[Path]) -> None:
    """Writes the package lossd.v1.

    Args:
        root: the folder to hold lossd/v1.
        includes: folders of .proto files, the first with our own.

    Raises:
        RuntimeError: protoc failed.
    """
    folder = root / "lossd" / "v1"
    folder.mkdir(exist_ok=True)
    for old in (*folder.glob("*_pb2*.py"), *folder.glob("*_pb2*.pyi")):
        old.unlink()
    (folder / "__init__.py").write_text('"""The messages and stubs of the protocol lossd.v1."""\n')
    files = _descriptors(root, includes).file
    modules = {f".{file.package}.{message.name}": _module(file.name)
               for file in files for message in file.message_type}
    for file in files:
        (root / _path(file.name, "_pb2.py")).write_text(_message_module(file))
        if file.service:
            (root / _path(file.name, "_pb2_grpc.py")).write_text(service_module(file, modules))
            (root / _path(file.name, "_pb2_grpc.pyi")).write_text(service_types(file, modules))


def _descriptors(root: Path, includes: list[Path]) -> descriptor_pb2.FileDescriptorSet:
    """Descriptors of our own files. Writes the types of their messages on the way."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    names = sorted(str(path) for path in (includes[0] / "lossd" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "set"
        arguments = ["protoc", *(f"-I{path}" for path in (*includes, well_known)),
                     f"--descriptor_set_out={out}", f"--pyi_out={root}", *names]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"protoc failed on {', '.join(names)}")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    for file in files.file:
        for message in file.message_type:
            _forget_json_names(message)
    return files


def _forget_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    """Leaves a descriptor as generated code has it: of two in one process, ours and that of stubs
    which somebody else generated, the pool takes the second only where it equals the first."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _forget_json_names(nested)


def _message_module(file: descriptor_pb2.FileDescriptorProto) -> str:
    imports = "".join(import_line(_module(name)) for name in file.dependency)
    return _MESSAGES.format(file=file.name, imports=imports + "\n" if imports else "",
                            descriptor=file.SerializeToString(), module=_module(file.name))


def _path(proto: str, ending: str) -> str:
    return proto.removesuffix(".proto") + ending


def _module(proto: str) -> str:
    return _path(proto, "_pb2").replace("/", ".")
