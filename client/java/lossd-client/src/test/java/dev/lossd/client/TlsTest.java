package dev.lossd.client;

import static dev.lossd.client.Problems.failure;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.lossd.v1.CombineRequest;
import dev.lossd.v1.LossServiceGrpc;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.TlsServerCredentials;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** TLS, client certificates and tokens, against a server of grpc-java's own. */
class TlsTest {
  @TempDir static Path directory;
  private static Path certificate;
  private static Path key;

  /** Lets a call through where it bears the token. */
  private static final ServerInterceptor GUARD =
      new ServerInterceptor() {
        @Override
        public <Q, R> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
          String got =
              headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER));
          if (!"Bearer s3cret".equals(got)) {
            call.close(Status.UNAUTHENTICATED.withDescription("who are you?"), new Metadata());
            return new ServerCall.Listener<Q>() {};
          }
          return next.startCall(call, headers);
        }
      };

  @BeforeAll
  static void makeCertificate() throws Exception {
    certificate = directory.resolve("cert.pem");
    key = directory.resolve("key.pem");
    Process openssl =
        new ProcessBuilder(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                key.toString(),
                "-out",
                certificate.toString())
            .redirectErrorStream(true)
            .redirectOutput(directory.resolve("log").toFile())
            .start();
    assertEquals(0, openssl.waitFor(), Files.readString(directory.resolve("log")));
  }

  private static TlsServerCredentials.Builder credentials() throws Exception {
    return TlsServerCredentials.newBuilder().keyManager(certificate.toFile(), key.toFile());
  }

  private static LossdClientBuilder builder(FakeServer server) {
    return LossdClient.builder(server.address.replace("127.0.0.1", "localhost"))
        .timeout(Duration.ofMinutes(1));
  }

  private static LossResult evaluate(LossdClientBuilder builder, Transport transport) {
    try (LossdClient client = builder.build()) {
      return client.crossEntropy(Problems.small().transport(transport).build());
    }
  }

  @Test
  void theTokenGoesWithEveryCallOverTls() throws Exception {
    try (FakeServer server = FakeServer.start(new CannedService(), credentials().build(), GUARD)) {
      try (LossdClient client =
          builder(server).rootCertificates(certificate).token("s3cret").build()) {
        for (Transport transport : Transport.values()) {
          CrossEntropyRequest request = Problems.small().transport(transport).build();
          assertEquals(2, client.crossEntropy(request).getPositions());
        }
        CrossEntropyRequest request = Problems.small().build();
        assertEquals(2, client.evaluateMany(List.of(request)).get(0).getResult().getPositions());
        assertEquals(
            0,
            LossServiceGrpc.newBlockingStub(client.getChannel())
                .combine(CombineRequest.getDefaultInstance())
                .getSummary()
                .getPositions());
      }
      LossdClientBuilder wrong = builder(server).rootCertificates(certificate).token("other");
      LossdException error = failure("who are you?", () -> evaluate(wrong, Transport.STREAM));
      assertEquals(Status.Code.UNAUTHENTICATED, error.getCode());
    }
  }

  @Test
  void aServerThatIsNotTrustedIsRefused() throws Exception {
    try (FakeServer server = FakeServer.start(new CannedService(), credentials().build())) {
      LossdException error =
          failure("localhost", () -> evaluate(builder(server).tls(), Transport.UNARY));
      assertEquals(Status.Code.UNAVAILABLE, error.getCode());
      LossdClientBuilder other =
          builder(server).rootCertificates(certificate).authority("elsewhere.test");
      failure("UNAVAILABLE", () -> evaluate(other, Transport.UNARY));
    }
  }

  @Test
  void aClientCertificateIsShown() throws Exception {
    TlsServerCredentials mutual =
        (TlsServerCredentials)
            credentials()
                .trustManager(certificate.toFile())
                .clientAuth(TlsServerCredentials.ClientAuth.REQUIRE)
                .build();
    try (FakeServer server = FakeServer.start(new CannedService(), mutual)) {
      LossdClientBuilder known =
          builder(server).rootCertificates(certificate).clientCertificate(certificate, key);
      assertEquals(2, evaluate(known, Transport.UNARY).getPositions());
      LossdClientBuilder unknown = builder(server).rootCertificates(certificate);
      failure("UNAVAILABLE", () -> evaluate(unknown, Transport.UNARY));
    }
  }

  @Test
  void tokensAreSentInPrivateOnlyAndNeverShown() {
    LossdException plain =
        failure("TLS", () -> LossdClient.builder("127.0.0.1:1").token("s3cret").build());
    assertEquals("token", plain.getField());
    LossdClient.builder("unix:/nowhere").token("s3cret").build().close();
    LossdException odd = failure("token", () -> LossdClient.builder("a:1").token("s3 cret"));
    assertFalse(odd.getMessage().contains("s3"));
  }

  @Test
  void filesThatCannotBeReadAreNamed() {
    Path nowhere = directory.resolve("nowhere");
    LossdClientBuilder roots = LossdClient.builder("a:1").rootCertificates(nowhere);
    assertEquals("rootCertificates", failure("nowhere", roots::build).getField());
    LossdClientBuilder own = LossdClient.builder("a:1").clientCertificate(certificate, nowhere);
    assertEquals("clientCertificate", failure("nowhere", own::build).getField());
  }
}
