package dev.lossd.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.Optional;

/**
 * A call that failed or could not be made. Where gRPC reported it, the cause is the {@code
 * StatusRuntimeException} with the status, the trailers and all details.
 */
public final class LossdException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final Status.Code code;
  private final String field;
  private final String reason;
  private final Duration retryAfter;

  LossdException(
      Status.Code code,
      String field,
      String reason,
      Duration retryAfter,
      String message,
      Throwable cause) {
    super(message, cause);
    this.code = code;
    this.field = field;
    this.reason = reason;
    this.retryAfter = retryAfter;
  }

  /** An argument that cannot be sent; the words say what was expected and what was given. */
  static LossdException invalid(String field, String reason, String words) {
    String message = "INVALID_ARGUMENT: " + field + ": " + words;
    if (!reason.isEmpty()) {
      message += " [" + reason + "]";
    }
    return new LossdException(Status.Code.INVALID_ARGUMENT, field, reason, null, message, null);
  }

  /** A problem that is larger than it may be. */
  static LossdException exhausted(String field, String words) {
    return new LossdException(
        Status.Code.RESOURCE_EXHAUSTED,
        field,
        "LIMIT_EXCEEDED",
        null,
        "RESOURCE_EXHAUSTED: " + field + ": " + words + " [LIMIT_EXCEEDED]",
        null);
  }

  /** An answer with status OK that does not fit the question. */
  static LossdException unexpected(String words) {
    String message = "INTERNAL: the server's answer is not one to this call: " + words;
    return new LossdException(Status.Code.INTERNAL, "", "", null, message, null);
  }

  /** A call that was stopped on this side. */
  static LossdException cancelled(String words, Throwable cause) {
    return new LossdException(Status.Code.CANCELLED, "", "", null, "CANCELLED: " + words, cause);
  }

  /** A call for which no time was left. */
  static LossdException late(String words) {
    return new LossdException(
        Status.Code.DEADLINE_EXCEEDED, "", "", null, "DEADLINE_EXCEEDED: " + words, null);
  }

  /** A call through something that was closed. */
  static LossdException closed(String words) {
    return new LossdException(
        Status.Code.FAILED_PRECONDITION, "", "", null, "FAILED_PRECONDITION: " + words, null);
  }

  /** The same failure, with the stack of the thread that calls. */
  LossdException again() {
    return new LossdException(code, field, reason, retryAfter, getMessage(), getCause());
  }

  /**
   * Returns the kind of failure.
   *
   * @return gRPC's code
   */
  public Status.Code getCode() {
    return code;
  }

  /**
   * Returns the path of the field at fault, in the names of the .proto files, such as {@code
   * input.shape}, {@code target[17]} or {@code criterion.cross_entropy.label_smoothing}. It does
   * not depend on how the problem travelled.
   *
   * @return the path; empty where no field is at fault
   */
  public String getField() {
    return field;
  }

  /**
   * Returns a stable word for the fault, such as {@code LABEL_OUT_OF_RANGE}.
   *
   * @return one of the reasons of docs/errors.md; empty where there is none
   */
  public String getReason() {
    return reason;
  }

  /**
   * Returns the time after which the same call may succeed.
   *
   * @return the time; empty where waiting does not help or is not known to
   */
  public Optional<Duration> getRetryAfter() {
    return Optional.ofNullable(retryAfter);
  }
}
