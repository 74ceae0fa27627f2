package dev.lossd.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.CompletionException;
import java.util.regex.Pattern;

/** From the status of a failed call to the exception that the caller sees. */
final class Errors {
  // What a path begins with because of how the problem travelled.
  private static final Pattern WAY = Pattern.compile("^(header|request)\\.");

  // Their texts are those of gRPC and say little without the address.
  private static final Set<Status.Code> OF_TRANSPORT =
      EnumSet.of(
          Status.Code.UNAVAILABLE,
          Status.Code.DEADLINE_EXCEEDED,
          Status.Code.UNIMPLEMENTED,
          Status.Code.INTERNAL,
          Status.Code.UNKNOWN,
          Status.Code.UNAUTHENTICATED,
          Status.Code.PERMISSION_DENIED);

  private String field = "";
  private String reason = "";
  private Duration retryAfter;

  private Errors() {}

  /** The exception for whatever a call ended with. */
  static LossdException from(Throwable error, Connection connection) {
    if (error instanceof CompletionException && error.getCause() != null) {
      return from(error.getCause(), connection);
    }
    if (error instanceof LossdException) {
      return (LossdException) error;
    }
    if (connection.endedCalls()) {
      return LossdException.cancelled("the client was closed", error);
    }
    boolean known = error instanceof StatusRuntimeException || error instanceof StatusException;
    Status status = known ? Status.fromThrowable(error) : Status.UNKNOWN.withCause(error);
    return new Errors().read(error).exception(status, connection, error);
  }

  /** The exception for the error of one problem of a stream. */
  static LossdException from(com.google.rpc.Status error, Connection connection) {
    Status.Code code = Status.fromCodeValue(error.getCode()).getCode();
    if (code == Status.Code.OK || code.value() != error.getCode()) {
      return LossdException.unexpected("an error of code " + error.getCode());
    }
    return from(StatusProto.toStatusRuntimeException(error), connection);
  }

  /** Whether the same call may succeed when it is made again. */
  static boolean mayRetry(LossdException error) {
    return error.getCode() == Status.Code.UNAVAILABLE || error.getRetryAfter().isPresent();
  }

  /**
   * Whether problems without an answer may be sent again over another stream. A server ends streams
   * that are idle, and the next problem may come at that very moment.
   */
  static boolean mayReplay(LossdException error) {
    return mayRetry(error)
        || error.getReason().equals("IDLE_STREAM")
        || error.getReason().equals("HEADER_WAIT");
  }

  private LossdException exception(Status status, Connection connection, Throwable cause) {
    Status.Code code = status.getCode();
    String words = words(status);
    if (reason.isEmpty() && OF_TRANSPORT.contains(code)) {
      words = connection.address() + ": " + words;
    }
    if (code == Status.Code.UNIMPLEMENTED || words.contains("http2 exception")) {
      words += "; is it a lossd server that answers at this address?";
    }
    if (code == Status.Code.RESOURCE_EXHAUSTED && words.contains("larger than max")) {
      words += "; Transport.STREAM sends a problem in pieces";
    }
    String message = code + ": " + words + (reason.isEmpty() ? "" : " [" + reason + "]");
    return new LossdException(code, field, reason, retryAfter, message, cause);
  }

  /** The first line of a status and of its cause. Netty's texts go on with its pipeline. */
  private static String words(Status status) {
    String words = status.getDescription() == null ? "" : firstLine(status.getDescription());
    Throwable cause = status.getCause();
    String more = cause == null || cause.getMessage() == null ? "" : firstLine(cause.getMessage());
    if (words.isEmpty() || more.isEmpty() || words.contains(more)) {
      words += more;
    } else {
      words += ": " + more;
    }
    return words.isEmpty() ? "no message" : words;
  }

  private static String firstLine(String text) {
    int end = text.indexOf('\n');
    return end < 0 ? text : text.substring(0, end);
  }

  /** Reads the details of a status, as far as they can be read: proxies put anything there. */
  private Errors read(Throwable error) {
    try {
      com.google.rpc.Status status = StatusProto.fromThrowable(error);
      if (status != null) {
        for (Any detail : status.getDetailsList()) {
          read(detail);
        }
      }
    } catch (RuntimeException | InvalidProtocolBufferException malformed) {
      error.addSuppressed(malformed);
    }
    return this;
  }

  private void read(Any detail) throws InvalidProtocolBufferException {
    if (detail.is(BadRequest.class)) {
      BadRequest bad = detail.unpack(BadRequest.class);
      if (bad.getFieldViolationsCount() > 0) {
        field = WAY.matcher(bad.getFieldViolations(0).getField()).replaceFirst("");
      }
    } else if (detail.is(ErrorInfo.class)) {
      reason = detail.unpack(ErrorInfo.class).getReason();
    } else if (detail.is(RetryInfo.class)) {
      com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
      retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
    }
  }
}
