"""The gRPC stubs of a file's services, and their types."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodDescriptorProto

_HEAD = '"""gRPC stubs of {file}. Made when the package is built: do not edit."""\n\n'

_STUB = '''

class {service}Stub:
    """Calls of {full} over a channel."""

    def __init__(self, channel):
{calls}
'''

_CALL = '''        self.{method} = channel.{kind}(
            "/{full}/{method}",
            request_serializer={request}.SerializeToString,
            response_deserializer={response}.FromString,
        )
'''

_SERVICER = '''
class {service}Servicer:
    """Base class of a server of {full}. Each method not overridden answers UNIMPLEMENTED."""
{methods}
'''

_METHOD = '''
    def {method}(self, request, context):
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")
'''

_ADDER = '''
def add_{service}Servicer_to_server(servicer, server):
    handlers = {{
{handlers}    }}
    handler = grpc.method_handlers_generic_handler("{full}", handlers)
    server.add_generic_rpc_handlers((handler,))
'''

_HANDLER = '''        "{method}": grpc.{kind}_rpc_method_handler(
            servicer.{method},
            request_deserializer={request}.FromString,
            response_serializer={response}.SerializeToString,
        ),
'''

_TYPES = '''
class {service}Stub:
    def __init__(self, channel: grpc.Channel) -> None: ...
{calls}
class {service}Servicer:
{methods}
def add_{service}Servicer_to_server(
    servicer: {service}Servicer, server: grpc.Server
) -> None: ...
'''

_CALL_TYPE = "    {method}: grpc.{class_}MultiCallable[{request}, {response}]\n"

# Names of parameters are nobody's to use: derived classes choose their own.
_METHOD_TYPE = '''    def {method}(
        self, request: {taken}, context: grpc.ServicerContext, /
    ) -> {given}: ...
'''


def service_module(file: FileDescriptorProto, modules: dict[str, str]) -> str:
    """The code of *_pb2_grpc.py: stubs, servicers to derive from, and what adds one to a server.

    Args:
        file: the file with the services.
        modules: the module of each message, by its full name (".lossd.v1.Tensor").
    """
    code = _HEAD.format(file=file.name) + "import grpc\n\n" + _imports(file, modules)
    for service, full, methods in _services(file, modules):
        code += _STUB.format(service=service, full=full,
                             calls="".join(_CALL.format(full=full, **m) for m in methods).rstrip())
        code += _SERVICER.format(service=service, full=full,
                                 methods="".join(_METHOD.format(**m) for m in methods).rstrip("\n"))
        code += _ADDER.format(service=service, full=full,
                              handlers="".join(_HANDLER.format(**m) for m in methods))
    return code


def service_types(file: FileDescriptorProto, modules: dict[str, str]) -> str:
    """The types of the same, *_pb2_grpc.pyi, which protoc does not make; arguments as there."""
    code = (_HEAD.format(file=file.name) + "from collections.abc import Iterator\n\nimport grpc\n\n"
            + _imports(file, modules))
    for service, _, methods in _services(file, modules):
        code += _TYPES.format(service=service,
                              calls="".join(_CALL_TYPE.format(**m) for m in methods),
                              methods="".join(_METHOD_TYPE.format(**m) for m in methods))
    return code


def _services(file: FileDescriptorProto,
              modules: dict[str, str]) -> list[tuple[str, str, list[dict[str, str]]]]:
    """Of each service its name, its full name and what the templates say of its methods."""
    return [(service.name, f"{file.package}.{service.name}",
             [_words(method, modules) for method in service.method]) for service in file.service]


def _words(method: MethodDescriptorProto, modules: dict[str, str]) -> dict[str, str]:
    request, response = (f"_{modules[name].rpartition('.')[2]}.{name.rpartition('.')[2]}"
                         for name in (method.input_type, method.output_type))
    kinds = ["stream" if stream else "unary"
             for stream in (method.client_streaming, method.server_streaming)]
    return {
        "method": method.name, "kind": "_".join(kinds), "class_": "".join(map(str.title, kinds)),
        "request": request, "response": response,
        "taken": f"Iterator[{request}]" if method.client_streaming else request,
        "given": f"Iterator[{response}]" if method.server_streaming else response,
    }


def _imports(file: FileDescriptorProto, modules: dict[str, str]) -> str:
    names = {modules[name] for service in file.service for method in service.method
             for name in (method.input_type, method.output_type)}
    return "".join(import_line(name) for name in sorted(names))


def import_line(module: str) -> str:
    """Imports a module under the name that code here has for it: "a.b_pb2" as "_b_pb2"."""
    package, _, name = module.rpartition(".")
    return f"from {package} import {name} as _{name}\n"
