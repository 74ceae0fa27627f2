"""The memory that the server takes, as a process, whatever calls come."""

import concurrent.futures
import random
import resource
import time

import grpc
import numpy as np
import pytest
from conftest import BIN, Server
from half_messages import HalfMessages

import lossd
from lossd import _errors
from lossd.v1 import criterion_pb2, service_pb2, service_pb2_grpc, tensor_pb2

MIB = 1 << 20
BUDGET = 64
# docs/limits.md: gRPC's share of a small budget, 1 MiB for each worker, and the program itself.
BESIDE = 96
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

no_sanitizer = pytest.mark.skipif("san" in str(BIN), reason="a sanitizer takes memory of its own")


def memory(server, which):
    """VmSize, VmRSS or VmHWM in MiB."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(which)) / 1024


def raw(server, method):
    """A method that takes and gives encoded messages, over a connection of its own."""
    channel = grpc.insecure_channel(server.tcp, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
    return channel.unary_unary(f"/lossd.v1.LossService/{method}", request_serializer=bytes,
                               response_deserializer=bytes)


def outcome(call, *arguments, **options):
    """"OK", or the reason of a refusal for want of memory. Anything else is an error."""
    try:
        call(*arguments, **options)
        return "OK"
    except grpc.RpcError as error:
        found = _errors.from_rpc_error(error)
        assert found.reason in ("MEMORY_BUSY", "MEMORY_LIMIT", "FIELD_UNKNOWN"), found
        return found.reason
    except lossd.ResourceExhausted as error:
        assert error.reason in ("MEMORY_BUSY", "MEMORY_LIMIT"), error
        return error.reason


def summaries(size):
    """An encoded CombineRequest of so many bytes, of summaries that hold nothing."""
    one = criterion_pb2.Summary(
        criterion=criterion_pb2.Criterion(cross_entropy=criterion_pb2.CrossEntropy()),
        dtype=tensor_pb2.DATA_TYPE_FLOAT64, classes=1,
        target_kind=criterion_pb2.TARGET_KIND_CLASS_INDEX)
    encoded = service_pb2.CombineRequest(summaries=[one]).SerializeToString()
    return encoded * (size // len(encoded))


def combine(server):
    """Many summaries at once; small calls pass them."""
    request = summaries(4 * MIB - 1024)
    calls = [raw(server, "Combine") for _ in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads, lossd.Client(server.tcp) as client:
        running = [threads.submit(outcome, call, request) for call in calls]
        longest = 0
        while not all(call.done() for call in running):
            begin = time.monotonic()
            client.cross_entropy(np.float32([[1, 2]]), [0])
            longest = max(longest, time.monotonic() - begin)
        assert "OK" in {call.result() for call in running}
        assert longest < 2


def great_rows(server):
    """Rows whose scratch is greater than themselves, one after the other and all at once."""
    logits = np.zeros((1, 1 << 21), np.float16)
    def call():
        with lossd.Client(server.tcp) as client:
            return client.cross_entropy(logits, [0], label_smoothing=0.1, grad=True,
                                        transport="stream")
    assert [outcome(call) for _ in range(4)] == ["OK"] * 4
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for ended in [threads.submit(outcome, call) for _ in range(16)]:
            ended.result()


def great_weights(server):
    """Streams that send a header with a great weight, and then nothing."""
    classes = 1_000_000
    header = service_pb2.EvaluateStreamHeader(
        input=tensor_pb2.TensorSpec(dtype=tensor_pb2.DATA_TYPE_BFLOAT16, shape=[1, classes]),
        target=tensor_pb2.TensorSpec(dtype=tensor_pb2.DATA_TYPE_UINT32, shape=[1]))
    header.criterion.cross_entropy.weight.CopyFrom(tensor_pb2.Tensor(
        dtype=tensor_pb2.DATA_TYPE_BFLOAT16, shape=[classes], raw=b"\x80\x3f" * classes))
    message = service_pb2.EvaluateStreamRequest(header=header)

    def requests():
        yield message
        time.sleep(2)

    channel = grpc.insecure_channel(server.tcp, OPTIONS)
    stub = service_pb2_grpc.LossServiceStub(channel)
    calls = [stub.EvaluateStream(requests(), timeout=20) for _ in range(14)]
    time.sleep(1.5)
    for call in calls:
        call.cancel()
    channel.close()


def groups(server):
    """Unknown fields, which Protobuf's classes would hold in 27 times their size."""
    request = b"\x33\x34" * (2 * MIB - 1024)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(outcome, raw(server, "Evaluate"), request) for _ in range(8)]
        assert {call.result() for call in calls} <= {"FIELD_UNKNOWN", "MEMORY_BUSY"}


def mixture(server, seconds=8):
    """Random problems over eight connections."""
    end = time.monotonic() + seconds

    def client(seed):
        chance = random.Random(seed)
        served = 0
        with lossd.Client(server.tcp) as connection:
            while time.monotonic() < end:
                classes = chance.choice([2, 10, 1000, 30_000, 300_000])
                rows = chance.randrange(1, 1 + 2_000_000 // classes)
                logits = np.zeros((rows, classes), np.float32)
                soft = chance.random() < 0.3
                target = logits if soft else np.zeros(rows, np.uint8)
                weight = np.ones(classes, np.float32) if chance.random() < 0.3 else None
                served += outcome(
                    connection.cross_entropy, logits, target, weight=weight,
                    grad=chance.random() < 0.7, grad_target=soft,
                    log_sum_exp=chance.random() < 0.5, grad_weight=weight is not None,
                    label_smoothing=chance.choice([0, 0.1])) == "OK"
        return served

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(client, range(8))) > 0


@no_sanitizer
def test_the_peak_is_within_the_budget_and_what_stands_beside_it():
    server = Server(f"--max-memory={BUDGET}MiB", threads=16)
    peaks = {}
    for load in (combine, great_rows, great_weights, groups, mixture):
        load(server)
        peaks[load.__name__] = round(memory(server, "VmHWM"))
    print(peaks)
    assert max(peaks.values()) <= BUDGET + BESIDE, peaks
    assert server.stop() == 0


# Room beyond what the server has when it is up, in MiB: the budget is greater than it.
@no_sanitizer
@pytest.mark.parametrize("room", [60, 100, 180])
def test_a_machine_with_less_memory_than_the_budget(room):
    server = Server()
    with lossd.Client(server.tcp) as client:
        client.cross_entropy(np.float32([[1, 2]]), [0])
        limit = int((memory(server, "VmSize") + room) * MIB)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (limit, limit))
        logits = np.zeros((1, 1 << 24), np.float16)
        for _ in range(3):
            assert outcome(lambda: client.cross_entropy(logits, [0], transport="stream")) in (
                "OK", "MEMORY_BUSY")
        assert outcome(raw(server, "Combine"), summaries(2 * MIB)) in ("OK", "MEMORY_BUSY")
        assert client.cross_entropy(np.float32([[1, 2]]), [0]).positions == 1
    assert server.stop() == 0


def slow_stream(server, rows, pause):
    """A stream of others that takes its time; the bytes of its gradient."""
    header = service_pb2.EvaluateStreamHeader(
        criterion=criterion_pb2.Criterion(cross_entropy=criterion_pb2.CrossEntropy(),
                                          reduction=criterion_pb2.REDUCTION_SUM),
        outputs=criterion_pb2.Outputs(grad_input=True),
        input=tensor_pb2.TensorSpec(dtype=tensor_pb2.DATA_TYPE_FLOAT32, shape=[rows, 1000]),
        target=tensor_pb2.TensorSpec(dtype=tensor_pb2.DATA_TYPE_UINT8, shape=[rows]))

    def messages():
        yield service_pb2.EvaluateStreamRequest(header=header, target=bytes(rows))
        for _ in range(rows // 250):
            time.sleep(pause)
            yield service_pb2.EvaluateStreamRequest(input=bytes(1_000_000))

    with grpc.insecure_channel(server.tcp, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = service_pb2_grpc.LossServiceStub(channel)
        return sum(len(answer.grad_input) for answer in stub.EvaluateStream(messages(), timeout=60))


@no_sanitizer
@pytest.mark.parametrize("method", ["Evaluate", "Combine"])
def test_half_messages_do_not_push_streams_of_others_out(method):
    """Together they would fill gRPC's quota of 256 MiB, which then resets any stream."""
    server = Server()
    try:
        with concurrent.futures.ThreadPoolExecutor(9) as threads:
            honest = [threads.submit(slow_stream, server, 5000, 0.25) for _ in range(3)]
            time.sleep(0.3)
            halves = [HalfMessages(server.tcp, method, 14, 4 * MIB) for _ in range(6)]
            for pump in [threads.submit(half.pump, 5) for half in halves]:
                pump.result()
            assert [stream.result() for stream in honest] == [20_000_000] * 3
        assert sum(len(half.ended) for half in halves) >= 40
        assert memory(server, "VmHWM") < 256
    finally:
        server.stop()
