"""Tokens and root certificates reach the wire: against a TLS server of grpcio's own that looks at
them."""

from concurrent import futures

import grpc
import pytest
import trustme

import lossd
from lossd.v1 import service_pb2, service_pb2_grpc


class Guard(service_pb2_grpc.LossServiceServicer):
    """Answers those who bring the token."""

    def GetServerInfo(self, request, context):
        if ("authorization", "Bearer secret") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token, please")
        return service_pb2.GetServerInfoResponse(version="guarded")


@pytest.fixture
def guarded(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_LossServiceServicer_to_server(Guard(), server)
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())])
    port = server.add_secure_port("localhost:0", credentials)
    server.add_insecure_port(f"unix:{tmp_path}/guard.sock")
    server.start()
    yield f"localhost:{port}", f"unix:{tmp_path}/guard.sock", authority.cert_pem.bytes()
    server.stop(None)


def test_token_over_tls_and_unix_socket(guarded):
    tls, unix, roots = guarded
    with lossd.Client(tls, token="secret", root_certificates=roots, timeout=10) as client:
        assert client.server_info().version == "guarded"
    with lossd.Client(unix, token="secret", timeout=10) as client:
        assert client.server_info().version == "guarded"
    with (lossd.Client(tls, root_certificates=roots, timeout=10) as client,
          pytest.raises(lossd.Unauthenticated)):
        client.server_info()


def test_an_unknown_authority_is_refused(guarded):
    tls, _, _ = guarded
    stranger = trustme.CA().cert_pem.bytes()
    with (lossd.Client(tls, token="secret", root_certificates=stranger, timeout=2) as client,
          pytest.raises((lossd.Unavailable, lossd.DeadlineExceeded))):
        client.server_info()
