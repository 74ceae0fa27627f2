"""Evaluates by an installed lossd, and uses its messages and stubs as their users do.

python_runtimes.sh runs it with packages of many ages:

    python_runtimes.py ADDRESS VERSION IMPLEMENTATION
"""

import pickle
import sys

import google.protobuf
import grpc
import numpy as np
from google.protobuf import json_format
from google.protobuf.internal import api_implementation

import lossd
from lossd.v1 import criterion_pb2, service_pb2, service_pb2_grpc, tensor_pb2

LOGITS = np.array([[0, 1, 2], [3, 4, 6]], np.float32)
LABELS = np.array([0, 2])


def evaluate(address: str) -> lossd.LossResult:
    """By message and by stream, against the formulas; with an error that has details."""
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    loss = -np.log(shares[[0, 1], LABELS]).mean()
    with lossd.Client(address, timeout=60) as client:
        for transport in ("unary", "stream"):
            result = client.cross_entropy(LOGITS, LABELS, grad=True, transport=transport)
            np.testing.assert_allclose(result.loss, loss, rtol=1e-6)
            np.testing.assert_allclose(result.grad, (shares - np.eye(3)[LABELS]) / 2, rtol=1e-5)
        try:
            client.cross_entropy(LOGITS, np.array([0, 3]))
        except lossd.InvalidArgument as error:
            assert (error.field, error.reason) == ("target[1]", "LABEL_OUT_OF_RANGE"), error
        else:
            raise AssertionError("a label out of range was taken")
        assert client.combine([result]).loss == result.loss
    return result


def use_messages(summary: criterion_pb2.Summary) -> None:
    """What generated classes can do beside travelling."""
    assert pickle.loads(pickle.dumps(summary)) == summary
    text = json_format.MessageToJson(summary)
    assert json_format.Parse(text, criterion_pb2.Summary()) == summary
    assert criterion_pb2.Summary.__module__ == "lossd.v1.criterion_pb2"
    assert tensor_pb2.DataType.Name(tensor_pb2.DATA_TYPE_FLOAT32) == "DATA_TYPE_FLOAT32"
    options = criterion_pb2.DESCRIPTOR.GetOptions()
    assert options.java_package == "dev.lossd.v1", options


def use_stubs(address: str, version: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.LossServiceStub(channel)
        info = stub.GetServerInfo(service_pb2.GetServerInfoRequest(), timeout=60)
        answers = stub.EvaluateMany(iter([service_pb2.EvaluateManyRequest(id=7)]), timeout=60)
        assert next(answers).id == 7
    # Both are built from one file.
    assert info.version == lossd.__version__ == version, (info.version, lossd.__version__, version)


def main(address: str, version: str, implementation: str) -> None:
    assert api_implementation.Type() == implementation
    use_messages(evaluate(address).summary)
    use_stubs(address, version)
    print(f"protobuf {google.protobuf.__version__} ({implementation}), grpcio {grpc.__version__}, "
          f"numpy {np.__version__}: loss and gradient are right")


main(*sys.argv[1:])
