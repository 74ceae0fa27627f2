"""Many small problems over one open EvaluateMany call."""

import queue
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any

import grpc

from . import _errors, _many_problem, _replies, _retry
from ._criteria import Kind
from ._exceptions import LossdError, unexpected
from ._problem import Problem
from ._result import LossResult
from .v1 import service_pb2

Request = service_pb2.EvaluateManyRequest
# Opens a call: its requests, and the seconds that it may take.
Open = Callable[[Iterator[Request], float | None], AbstractContextManager[Any]]

# Problems that are sent and not yet answered. A server reads up to 256, and would then read no more
# of the call; this many keep its threads busy.
_MOST_OUTSTANDING = 128

# Their data, which the server holds until it is answered. One problem may be larger.
_MOST_BYTES = 8 << 20


class Pipeline:
    """One evaluation of many problems. Sends and reads from the thread of its caller, so that the
    caller's iterable runs there too.

    Args:
        open_call: opens an EvaluateMany call; ends it when its context is left.
        alone: evaluates a problem that is too large for a message, or returns None for one that is
            not.
        time_left: the seconds that are left, None for no limit; raises DeadlineExceeded.
        keep_errors: whether errors are kept in the places of their problems.
    """

    def __init__(self, open_call: Open, alone: Callable[[Problem], LossResult | None],
                 time_left: Callable[[], float | None], keep_errors: bool) -> None:
        self._open_call = open_call
        self._alone = alone
        self._time_left = time_left
        self._keep_errors = keep_errors
        self._outcomes: list[LossResult | LossdError | None] = []
        # In the order of their numbers; a call that breaks is made again with these.
        self._pending: dict[int, tuple[Problem, Request]] = {}
        self._pending_bytes = 0
        self._first_error: int | None = None
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._call: Any = None
        self._stack = ExitStack()
        self._may_go_on_after_idling = True

    def run(self, kind: Kind, problems: Iterable[Mapping[str, Any]],
            ) -> list[LossResult | LossdError]:
        """The outcomes, in the order of the problems.

        Raises:
            LossdError: unless errors are kept, that of the first problem that has one, or of the
                call.
        """
        numbered = enumerate(problems)
        with self._stack:
            try:
                for number, arguments in numbered:
                    self._outcomes.append(None)
                    self._take(number, kind, arguments)
                    if self._is_over():
                        break
                while self._pending and not self._is_over():
                    self._read()
                self._finish()
            except LossdError as error:
                if not self._keep_errors:
                    raise
                self._outcomes.extend(error for _ in numbered)
                return [error if outcome is None else outcome for outcome in self._outcomes]
            finally:
                self._drop()
        return self._complete()

    def _is_over(self) -> bool:
        """True where an error is to be raised and no earlier problem can have one."""
        if self._keep_errors or self._first_error is None:
            return False
        while any(number < self._first_error for number in self._pending):
            self._read()
        return True

    def _complete(self) -> list[LossResult | LossdError]:
        outcomes: list[LossResult | LossdError] = []
        for outcome in self._outcomes:
            if isinstance(outcome, LossdError) and not self._keep_errors:
                raise outcome
            assert outcome is not None
            outcomes.append(outcome)
        return outcomes

    def _take(self, number: int, kind: Kind, arguments: Mapping[str, Any]) -> None:
        """Sends a problem, once there is room for it."""
        place = f"problems[{number}]"
        try:
            problem = _many_problem.read(kind, arguments)
            result = self._alone(problem)
        except LossdError as error:
            self._settle(number, _many_problem.placed(error, place))
            return
        if result is not None:
            self._settle(number, result)
            return
        while self._pending and (len(self._pending) >= _MOST_OUTSTANDING
                                 or self._pending_bytes + problem.nbytes > _MOST_BYTES):
            self._read()
        request = Request(id=number, request=problem.request())
        self._pending[number] = problem, request
        self._pending_bytes += problem.nbytes
        if self._call is not None:
            self._requests.put(request)
        elif len(self._pending) == 1:
            self._open(self._time_left())

    def _settle(self, number: int, outcome: LossResult | LossdError) -> None:
        self._outcomes[number] = outcome
        if isinstance(outcome, LossdError):
            first = self._first_error
            self._first_error = number if first is None else min(first, number)

    def _read(self) -> None:
        """Takes one answer. A call that breaks is made again with all that is not yet answered."""
        with _errors.translated():
            reply = _retry.call(self._next, self._time_left())
        if reply is not None:
            self._may_go_on_after_idling = True
            self._answered(reply)

    def _next(self, timeout: float | None) -> service_pb2.EvaluateManyResponse | None:
        """The next answer; None where the server has ended a call on which nothing moved, which
        happens where the caller's iterable takes its time."""
        if self._call is None:
            self._open(timeout)
        try:
            reply: service_pb2.EvaluateManyResponse = next(self._call)
        except grpc.RpcError as error:
            self._drop()
            if self._may_go_on_after_idling and _errors.from_rpc_error(error).reason == (
                    "IDLE_STREAM"):
                self._may_go_on_after_idling = False
                return None
            raise
        except StopIteration:
            raise unexpected("the call has ended before every problem was answered") from None
        return reply

    def _answered(self, reply: service_pb2.EvaluateManyResponse) -> None:
        if reply.id not in self._pending:
            raise unexpected(f"it has the id {reply.id}, which is none of those that are open")
        problem, _ = self._pending.pop(reply.id)
        self._pending_bytes -= problem.nbytes
        place = f"problems[{reply.id}]"
        if reply.HasField("error"):
            self._settle(reply.id, _errors.from_status(reply.error, place))
            return
        try:
            self._settle(reply.id, _replies.from_response(reply.response, problem))
        except LossdError as error:
            self._settle(reply.id, _many_problem.placed(error, place))

    def _open(self, timeout: float | None) -> None:
        # A queue of its own: the thread that reads the last call's may not have ended yet.
        self._requests = queue.SimpleQueue()
        requests = iter(self._requests.get, None)
        self._call = self._stack.enter_context(self._open_call(requests, timeout))
        for _, request in self._pending.values():
            self._requests.put(request)

    def _drop(self) -> None:
        """Ends the call, if there is one."""
        self._requests.put(None)
        self._call = None
        self._stack.close()

    def _finish(self) -> None:
        """Lets the server end the call by itself where nothing is open any more."""
        if self._call is None or self._pending:
            return
        self._requests.put(None)
        # All answers are here: it no longer matters how the call ends.
        with suppress(grpc.RpcError):
            for reply in self._call:
                raise unexpected(f"it has the id {reply.id}, which has its answer")

