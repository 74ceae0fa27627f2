"""A user's code for mypy --strict.

test_types.py checks it against the sources, tests/client/python_runtimes.sh against the wheel.
Nothing runs it. An error that mypy is to find has a type: ignore, and where it finds none there,
that is an error: types that are lost on the way (all is Any) do not pass.
"""

from collections.abc import Iterator

import grpc
import numpy as np
import numpy.typing as npt

import lossd
from lossd.v1 import criterion_pb2, service_pb2, service_pb2_grpc, tensor_pb2


def train(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    with lossd.Client("127.0.0.1:50051", timeout=10) as client:
        result = client.cross_entropy(
            logits, labels, ignore_index=np.int64(-1), label_smoothing=np.float32(0.1), grad=True)
        if result.grad is not None:
            logits -= result.grad
        client.cross_entropy([[1.0, 2.0]], [0], top_k=1, transport="stream", timeout=None)
        merged = client.combine([result, result.summary])
        summary: criterion_pb2.Summary = merged.summary
        version: str = client.server_info().version
    print(version, summary.positions, merged.normalizer, lossd.__version__)
    return float(result.loss) + result.loss_sum


def delay(error: lossd.LossdError) -> float:
    if isinstance(error, lossd.InvalidArgument):
        raise ValueError(error.field) from error
    return error.retry_after or 0.0


def evaluate(channel: grpc.Channel) -> bytes:
    tensor = tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_FLOAT32, shape=[1, 2], raw=bytes(8))
    stub = service_pb2_grpc.LossServiceStub(channel)
    response = stub.Evaluate(service_pb2.EvaluateRequest(input=tensor), timeout=1)
    return response.loss.raw


class Canned(service_pb2_grpc.LossServiceServicer):
    def Evaluate(self, request: service_pb2.EvaluateRequest,
                 context: grpc.ServicerContext) -> service_pb2.EvaluateResponse:
        return service_pb2.EvaluateResponse(loss=request.input)

    def EvaluateMany(self, requests: Iterator[service_pb2.EvaluateManyRequest],
                     context: grpc.ServicerContext) -> Iterator[service_pb2.EvaluateManyResponse]:
        for request in requests:
            yield service_pb2.EvaluateManyResponse(id=request.id)


def mistakes(client: lossd.Client, result: lossd.LossResult) -> None:
    client.cross_entropy([1.0], 0, reduction=1)  # type: ignore[arg-type]
    client.cross_entropy([1.0], 0, smoothing=0.1)  # type: ignore[call-arg]
    client.combine([1, 2])  # type: ignore[list-item]
    print(result.gradient)  # type: ignore[attr-defined]
    result.grad.sum()  # type: ignore[union-attr]
    service_pb2.EvaluateRequest(inputs=None)  # type: ignore[call-arg]
    print(result.summary.position)  # type: ignore[attr-defined]
