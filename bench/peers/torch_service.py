"""A loss service as one would write it with grpcio and PyTorch: whole tensors as raw bytes in one
message, no copy that can be avoided. ``torch_service.py THREADS`` prints ``ready ADDR`` and serves
until stdin ends.

Request: eight-byte little-endian N, C, gradient (0 or 1); N labels as int64; N x C logits as
float32. Reply: the mean loss as float32, then the gradient where asked for.
"""

import concurrent.futures
import sys

import grpc
import numpy as np
import torch
import torch.nn.functional as F


def evaluate(request, context):
    del context
    rows, classes, gradient = np.frombuffer(request, "<i8", 3)
    labels = torch.frombuffer(request, dtype=torch.int64, count=int(rows), offset=24)
    logits = torch.frombuffer(request, dtype=torch.float32, offset=24 + 8 * int(rows))
    logits = logits.view(int(rows), int(classes))
    if not gradient:
        with torch.no_grad():
            return F.cross_entropy(logits, labels).numpy().tobytes()
    logits.requires_grad_()
    loss = F.cross_entropy(logits, labels)
    (grad,) = torch.autograd.grad(loss, logits)
    return loss.detach().numpy().tobytes() + grad.numpy().data


def main():
    torch.set_num_threads(int(sys.argv[1]))
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=options)
    handler = grpc.unary_unary_rpc_method_handler(evaluate)
    service = grpc.method_handlers_generic_handler("bench", {"Evaluate": handler})
    server.add_generic_rpc_handlers([service])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
