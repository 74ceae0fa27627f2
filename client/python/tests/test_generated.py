"""The modules of lossd.v1, which are not protoc's own."""

import runpy
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from lossd.v1 import service_pb2, service_pb2_grpc

PROTOC = shutil.which("protoc")


@pytest.mark.skipif(PROTOC is None, reason="there is no protoc")
def test_stubs_that_somebody_else_generated_have_room_beside_ours(tmp_path):
    """A process has one pool of descriptors, which refuses a second file of a name unless it is
    the same."""
    protos = ROOT / "proto"
    subprocess.run([PROTOC, f"-I{protos}", f"-I{ROOT / 'third_party' / 'googleapis'}",
                    f"--python_out={tmp_path}", *protos.glob("lossd/v1/*.proto")], check=True)
    for name in ("tensor", "criterion", "service"):
        code = ("import runpy, lossd.v1.service_pb2; "
                f"runpy.run_path({str(tmp_path / 'lossd' / 'v1' / f'{name}_pb2.py')!r})")
        subprocess.run([sys.executable, "-c", code], check=True)
    theirs = runpy.run_path(str(tmp_path / "lossd" / "v1" / "service_pb2.py"))
    assert theirs["DESCRIPTOR"] is service_pb2.DESCRIPTOR


def test_stubs_have_every_method():
    (service,) = service_pb2.DESCRIPTOR.services_by_name.values()

    class Channel:
        """Notes how each method is called."""

        def __getattr__(self, kind):
            return lambda path, **_: (kind, path)

    stub = service_pb2_grpc.LossServiceStub(Channel())
    assert vars(stub) == {
        method.name: ("stream_stream" if method.name in ("EvaluateMany", "EvaluateStream")
                      else "unary_unary", f"/lossd.v1.LossService/{method.name}")
        for method in service.methods}
