"""The client that goes with torch_service.py: ``torch_client.py ADDR ROWS CLASSES GRADIENT CALLS``
prints a JSON list of the seconds of each call, from numpy arrays to numpy arrays.
"""

import json
import sys
import time

import grpc
import numpy as np


def main():
    address, (rows, classes, gradient, calls) = sys.argv[1], map(int, sys.argv[2:])
    random = np.random.default_rng(1)
    logits = random.standard_normal((rows, classes), dtype=np.float32) * 2
    labels = random.integers(0, classes, rows)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    seconds = []
    with grpc.insecure_channel(address, options=options) as channel:
        evaluate = channel.unary_unary("/bench/Evaluate")
        for _ in range(calls):
            begin = time.perf_counter()
            header = np.array([rows, classes, gradient], "<i8")
            reply = evaluate(b"".join([header.data, labels.data, logits.data]))
            loss = np.frombuffer(reply, "<f4", 1)[0]
            if gradient:
                np.frombuffer(reply, "<f4", offset=4).reshape(rows, classes)
            seconds.append(time.perf_counter() - begin)
            if not np.isfinite(loss):
                sys.exit("the service's loss is not finite")
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
