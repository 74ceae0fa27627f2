"""The client: one call for a loss, over one message or a stream."""

import dataclasses
import functools
import json

import grpc
import numpy as np

from . import _errors, _retry, _stream, _tensors
from .v1 import criterion_pb2, service_pb2, service_pb2_grpc, tensor_pb2

_REDUCTIONS = {
    "none": criterion_pb2.REDUCTION_NONE,
    "sum": criterion_pb2.REDUCTION_SUM,
    "mean": criterion_pb2.REDUCTION_MEAN,
}

# Messages stay below what every server accepts; more goes by stream.
_UNARY_BYTES = 1 << 20

# Calls of one message are made again by gRPC where the server could not be reached, as often as
# streams by _retry.
_SERVICE_CONFIG = json.dumps({"methodConfig": [{
    "name": [{"service": "lossd.v1.LossService", "method": method}
             for method in ("Evaluate", "Combine", "GetServerInfo")],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s",
                    "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]},
}]})


@dataclasses.dataclass(frozen=True)
class CrossEntropyResult:
    """What a call gives.

    Attributes:
        loss: numpy array, a scalar of shape () or one loss for each position with reduction "none";
            float64 for float64 input, else float32.
        grad: gradient of the input, of its shape and type; None unless grad=True.
        grad_target: gradient of a probability target; None unless asked for.
        grad_weight: gradient of the class weights; None unless asked for.
        log_sum_exp: log(sum(exp(logits))) of each position; None unless asked for.
        positions, ignored, correct, correct_top_k: counts.
        summary: the exact sums (lossd.v1.Summary), for Client.combine.
    """

    loss: np.ndarray
    grad: np.ndarray | None
    grad_target: np.ndarray | None
    grad_weight: np.ndarray | None
    log_sum_exp: np.ndarray | None
    positions: int
    ignored: int
    correct: int
    correct_top_k: int
    summary: criterion_pb2.Summary


class _Problem:
    """A call's arrays and options, on their way to the wire."""

    def __init__(self, input, target, weight, grad_output, criterion, outputs):
        self.input = _tensors.prepare(input, "input")
        self.target = _tensors.prepare(target, "target")
        self.weight = None if weight is None else _tensors.prepare(weight, "weight")
        self.grad_output = (None if grad_output is None
                            else _tensors.prepare(grad_output, "grad_output"))
        self.criterion = criterion
        self.outputs = outputs
        if self.weight is not None:
            criterion.cross_entropy.weight.CopyFrom(_tensors.to_tensor(self.weight))

    def bytes(self):
        arrays = (self.input, self.target, self.weight, self.grad_output)
        return sum(array.nbytes for array in arrays if array is not None)

    def request(self):
        grad = None if self.grad_output is None else _tensors.to_tensor(self.grad_output)
        return service_pb2.EvaluateRequest(
            criterion=self.criterion, outputs=self.outputs, grad_output=grad,
            input=_tensors.to_tensor(self.input), target=_tensors.to_tensor(self.target))

    def header(self):
        grad = None if self.grad_output is None else _tensors.to_spec(self.grad_output)
        return service_pb2.EvaluateStreamHeader(
            criterion=self.criterion, outputs=self.outputs, grad_output=grad,
            input=_tensors.to_spec(self.input), target=_tensors.to_spec(self.target))

    def result_arrays(self):
        """Empty arrays for the wanted outputs. The server checks the shapes; where they are wrong it
        refuses the header and nothing is ever filled in."""
        x = self.input
        axis = self.criterion.cross_entropy.class_axis if \
            self.criterion.cross_entropy.HasField("class_axis") else min(1, x.ndim - 1)
        positions = x.shape[:axis % x.ndim] + x.shape[axis % x.ndim + 1:] if x.ndim else ()
        dtype = np.float64 if x.dtype == np.float64 else np.float32
        none = self.criterion.reduction == criterion_pb2.REDUCTION_NONE
        arrays = {"loss": np.empty(positions if none else (), dtype)}
        if self.outputs.log_sum_exp:
            arrays["log_sum_exp"] = np.empty(positions, dtype)
        if self.outputs.grad_input:
            arrays["grad_input"] = np.empty(x.shape, x.dtype)
        if self.outputs.grad_target:
            arrays["grad_target"] = np.empty(self.target.shape, self.target.dtype)
        if self.outputs.grad_weight:
            arrays["grad_weight"] = np.empty(self.weight.shape, self.weight.dtype)
        return arrays


class Client:
    """A connection to a lossd server. Thread-safe; also a context manager.

    Args:
        address: "HOST:PORT" or "unix:PATH".
        token: sent as "authorization: Bearer TOKEN"; needs TLS or a Unix socket.
        root_certificates: PEM bytes, or True for the system's; given, the connection uses TLS.
        timeout: seconds that a call may take; None for no limit.
    """

    def __init__(self, address, *, token=None, root_certificates=None, timeout=None):
        if token is not None and root_certificates is None and not address.startswith("unix:"):
            raise ValueError("a token is sent over TLS or a Unix socket only: "
                             "give root_certificates")
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
                   ("grpc.service_config", _SERVICE_CONFIG),
                   # What may be sent again is kept up to this size: a message that does not go by
                   # stream fits.
                   ("grpc.per_rpc_retry_buffer_size", 2 << 20),
                   # A server that comes back is found between the attempts.
                   ("grpc.initial_reconnect_backoff_ms", 100),
                   # A server that is gone without a word ends its calls.
                   ("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 20_000)]
        if root_certificates is None:
            self._channel = grpc.insecure_channel(address, options)
        else:
            roots = None if root_certificates is True else root_certificates
            self._channel = grpc.secure_channel(
                address, grpc.ssl_channel_credentials(roots), options)
        self._stub = service_pb2_grpc.LossServiceStub(self._channel)
        self._timeout = timeout
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def cross_entropy(self, input, target, *, weight=None, ignore_index=-100, reduction="mean",
                      label_smoothing=0.0, class_axis=1, grad=False, grad_output=None,
                      grad_target=False, grad_weight=False, log_sum_exp=False, top_k=0,
                      empty_mean="nan", normalizer=None, transport="auto", timeout=None,
                      chunk_bytes=_stream.CHUNK_BYTES):
        """Evaluates torch.nn.functional.cross_entropy(input, target, ...).

        Args:
            input: logits (C), (N, C) or (N, C, d1, ..., dK); float32, float64, float16 or bfloat16.
            target: class indices of any integer type, of the input's shape without its class axis;
                or probabilities of the input's shape.
            weight: (C), a weight for each class.
            ignore_index: label whose positions neither count nor get a gradient.
            reduction: "none", "sum" or "mean".
            label_smoothing: in [0, 1].
            class_axis: axis of the classes, negative from the end; an input of one dimension holds
                nothing else.
            grad: also give the gradient of the input.
            grad_output: incoming gradient, of the loss's shape; needs a gradient asked for.
            grad_target, grad_weight, log_sum_exp, top_k: further outputs.
            empty_mean: "nan" or "zero", the mean where no position counts.
            normalizer: divides in place of the sum of weights under "mean".
            transport: "auto" (by size), "unary" or "stream".
            timeout: seconds, in place of the client's.
            chunk_bytes: input bytes of one message of a stream.

        Returns:
            A CrossEntropyResult.

        Raises:
            InvalidArgument: the problem is not valid; .field names what is wrong.
            ResourceExhausted, Unavailable, DeadlineExceeded, ...: see LossdError.
            TypeError, ValueError: an argument of a kind that has no place on the wire.
        """
        if reduction not in _REDUCTIONS:
            raise ValueError(f'reduction: expected "none", "sum" or "mean", got {reduction!r}')
        if empty_mean not in ("nan", "zero"):
            raise ValueError(f'empty_mean: expected "nan" or "zero", got {empty_mean!r}')
        if transport not in ("auto", "unary", "stream"):
            raise ValueError(f'transport: expected "auto", "unary" or "stream", got {transport!r}')
        if class_axis == 1:
            class_axis = None  # The protocol's default, which knows inputs of one dimension.
        criterion = criterion_pb2.Criterion(
            reduction=_REDUCTIONS[reduction], normalizer=normalizer,
            empty_mean=criterion_pb2.EMPTY_MEAN_ZERO if empty_mean == "zero"
            else criterion_pb2.EMPTY_MEAN_NAN,
            cross_entropy=criterion_pb2.CrossEntropy(
                ignore_index=ignore_index, label_smoothing=label_smoothing,
                class_axis=class_axis))
        outputs = criterion_pb2.Outputs(grad_input=grad, grad_target=grad_target,
                                        grad_weight=grad_weight, log_sum_exp=log_sum_exp,
                                        top_k=top_k)
        problem = _Problem(input, target, weight, grad_output, criterion, outputs)
        stream = transport == "stream" or (transport == "auto" and problem.bytes() > _UNARY_BYTES)
        timeout = self._timeout if timeout is None else timeout
        try:
            if stream:
                return _retry.call(functools.partial(self._by_stream, problem, chunk_bytes), timeout)
            return self._by_message(problem, timeout)
        except grpc.RpcError as error:
            raise _errors.from_rpc_error(error) from None

    def _by_message(self, problem, timeout):
        response = self._stub.Evaluate(problem.request(), timeout=timeout, metadata=self._metadata)
        arrays = {name: _tensors.from_tensor(getattr(response, name))
                  for name in ("loss", "log_sum_exp", "grad_weight", "grad_target", "grad_input")
                  if response.HasField(name)}
        return _result(arrays, response.summary)

    def _by_stream(self, problem, chunk_bytes, timeout):
        requests = _stream.messages(problem.header(), problem.input, problem.target,
                                    problem.grad_output, max(1, chunk_bytes))
        outputs = None
        for reply in self._stub.EvaluateStream(requests, timeout=timeout, metadata=self._metadata):
            if outputs is None:
                outputs = _stream.Outputs(problem.result_arrays())
            outputs.take(reply)
        if outputs is None:
            outputs = _stream.Outputs(problem.result_arrays())
        outputs.check()
        return _result(outputs.arrays, outputs.summary)

    def combine(self, summaries):
        """Merges the summaries of shards exactly.

        Returns:
            (summary, loss): the merged lossd.v1.Summary and the reduced loss as a numpy scalar
            array, or None with reduction "none".
        """
        try:
            response = self._stub.Combine(service_pb2.CombineRequest(summaries=summaries),
                                          timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _errors.from_rpc_error(error) from None
        if not response.HasField("loss"):
            return response.summary, None
        tensor = response.loss
        if tensor.dtype == tensor_pb2.DATA_TYPE_FLOAT64:
            return response.summary, np.array(tensor.double_values.values[0], np.float64)
        return response.summary, np.array(tensor.float_values.values[0], np.float32)

    def server_info(self):
        """Version, instruction set and limits of the server (lossd.v1.GetServerInfoResponse)."""
        try:
            return self._stub.GetServerInfo(service_pb2.GetServerInfoRequest(),
                                            timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _errors.from_rpc_error(error) from None

    def close(self):
        """Ends the connection."""
        self._channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _result(arrays, summary):
    return CrossEntropyResult(
        loss=arrays["loss"], grad=arrays.get("grad_input"), grad_target=arrays.get("grad_target"),
        grad_weight=arrays.get("grad_weight"), log_sum_exp=arrays.get("log_sum_exp"),
        positions=summary.positions, ignored=summary.ignored, correct=summary.correct,
        correct_top_k=summary.correct_top_k, summary=summary)
