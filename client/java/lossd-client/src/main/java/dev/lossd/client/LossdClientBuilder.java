package dev.lossd.client;

import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/** Builds a {@link LossdClient}. Nothing is connected before the first call. */
public final class LossdClientBuilder {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final String address;
  private final ManagedChannel given;
  private Duration timeout;
  private String token;
  private boolean tls;
  private Path rootCertificates;
  private Path certificateChain;
  private Path privateKey;
  private String authority;

  LossdClientBuilder(String address) {
    this.address = Objects.requireNonNull(address, "address");
    given = null;
    if (address.isBlank() || address.indexOf('\0') >= 0) {
      throw LossdException.invalid(
          "address", "", "expected \"HOST:PORT\" or \"unix:PATH\", got \"" + address + "\"");
    }
  }

  LossdClientBuilder(ManagedChannel channel) {
    given = Objects.requireNonNull(channel, "channel");
    address = channel.authority();
  }

  /**
   * Limits the time of every call, with all its attempts. Default: no limit.
   *
   * @param timeout above 0
   * @return this
   */
  public LossdClientBuilder timeout(Duration timeout) {
    this.timeout = Timeouts.checked(timeout);
    return this;
  }

  /**
   * Uses TLS, with the root certificates of the system.
   *
   * @return this
   */
  public LossdClientBuilder tls() {
    tls = true;
    return this;
  }

  /**
   * Uses TLS, with root certificates of one's own.
   *
   * @param pem a file of PEM certificates
   * @return this
   */
  public LossdClientBuilder rootCertificates(Path pem) {
    rootCertificates = Objects.requireNonNull(pem, "rootCertificates");
    return tls();
  }

  /**
   * Uses TLS, and shows the server a certificate.
   *
   * @param chain a file of PEM certificates, the client's first
   * @param key a file with its private key, PKCS#8 in PEM
   * @return this
   */
  public LossdClientBuilder clientCertificate(Path chain, Path key) {
    certificateChain = Objects.requireNonNull(chain, "chain");
    privateKey = Objects.requireNonNull(key, "key");
    return tls();
  }

  /**
   * Names the host that the server's certificate has to be for, where it is not the address.
   *
   * @param authority a host, or host:port
   * @return this
   */
  public LossdClientBuilder authority(String authority) {
    this.authority = Objects.requireNonNull(authority, "authority");
    return this;
  }

  /**
   * Sends {@code authorization: Bearer TOKEN} with every call. It needs TLS or a Unix socket.
   *
   * @param token printable ASCII characters without spaces
   * @return this
   */
  public LossdClientBuilder token(String token) {
    if (token.isEmpty() || !token.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
      // Without the token itself: messages end up in logs.
      throw LossdException.invalid(
          "token", "", "expected printable ASCII characters without spaces");
    }
    this.token = token;
    return this;
  }

  /**
   * Makes the client.
   *
   * @return the client
   * @throws LossdException options do not go together, or a file of certificates cannot be read
   */
  public LossdClient build() {
    check();
    ManagedChannel channel = given == null ? makeChannel() : given;
    Channel withToken = channel;
    if (token != null) {
      Metadata headers = new Metadata();
      headers.put(AUTHORIZATION, "Bearer " + token);
      withToken =
          ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    Connection connection = new Connection(channel, withToken, given == null, address);
    return new LossdClient(new Evaluator(connection, timeout));
  }

  private void check() {
    if (given != null && (tls || authority != null || token != null)) {
      throw LossdException.invalid(
          "channel", "", "expected TLS, authority and token to be the channel's own");
    }
    if (token != null && !tls && !address.startsWith("unix:")) {
      throw LossdException.invalid(
          "token", "", "a token is sent over TLS or a Unix socket only: give rootCertificates");
    }
  }

  private ManagedChannel makeChannel() {
    ManagedChannelBuilder<?> builder;
    try {
      builder = Grpc.newChannelBuilder(address, credentials());
    } catch (IllegalArgumentException error) {
      throw LossdException.invalid(
          "address", "", "expected \"HOST:PORT\" or \"unix:PATH\": " + error.getMessage());
    }
    if (authority != null) {
      builder.overrideAuthority(authority);
    }
    // A server that is gone without a word ends its calls. Calls are made again by Retrying, which
    // knows the delays that the server asks for; the window is 1 MiB by itself.
    return builder
        .userAgent("lossd-java/" + LossdClient.version())
        .maxInboundMessageSize(Integer.MAX_VALUE)
        .keepAliveTime(60, TimeUnit.SECONDS)
        .keepAliveTimeout(20, TimeUnit.SECONDS)
        .disableRetry()
        .build();
  }

  private ChannelCredentials credentials() {
    if (!tls) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
    String field = "rootCertificates";
    try {
      if (rootCertificates != null) {
        credentials.trustManager(rootCertificates.toFile());
      }
      field = "clientCertificate";
      if (certificateChain != null) {
        credentials.keyManager(certificateChain.toFile(), privateKey.toFile());
      }
    } catch (IOException error) {
      throw LossdException.invalid(field, "", "expected files that can be read: " + error);
    }
    return credentials.build();
  }
}
