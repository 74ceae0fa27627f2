package dev.lossd.client;

/** How far a stream has come. Where a stream is made again, its bytes count from 0 again. */
public final class Progress {
  private final long sentBytes;
  private final long bytesToSend;
  private final long receivedBytes;
  private final long bytesToReceive;

  Progress(long sentBytes, long bytesToSend, long receivedBytes, long bytesToReceive) {
    this.sentBytes = sentBytes;
    this.bytesToSend = bytesToSend;
    this.receivedBytes = receivedBytes;
    this.bytesToReceive = bytesToReceive;
  }

  /**
   * Returns the bytes of tensors that gRPC has taken to send.
   *
   * @return bytes
   */
  public long getSentBytes() {
    return sentBytes;
  }

  /**
   * Returns the bytes of all tensors of the problem.
   *
   * @return bytes
   */
  public long getBytesToSend() {
    return bytesToSend;
  }

  /**
   * Returns the bytes of results that have arrived.
   *
   * @return bytes
   */
  public long getReceivedBytes() {
    return receivedBytes;
  }

  /**
   * Returns the bytes of all results that were asked for.
   *
   * @return bytes
   */
  public long getBytesToReceive() {
    return bytesToReceive;
  }

  @Override
  public String toString() {
    return "sent "
        + sentBytes
        + "/"
        + bytesToSend
        + ", received "
        + receivedBytes
        + "/"
        + bytesToReceive;
  }
}
