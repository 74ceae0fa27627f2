package dev.lossd.client;

import java.util.Locale;

/** Element type of a tensor. */
public enum DataType {
  /** IEEE 754 binary32; {@code float} in Java. */
  FLOAT32(4, true),
  /** IEEE 754 binary64; {@code double} in Java. */
  FLOAT64(8, true),
  /** IEEE 754 binary16; its bits as {@code short} in Java. */
  FLOAT16(2, true),
  /** The upper half of a binary32; its bits as {@code short} in Java. */
  BFLOAT16(2, true),
  /** Signed, 8 bits. */
  INT8(1, false),
  /** Signed, 16 bits. */
  INT16(2, false),
  /** Signed, 32 bits. */
  INT32(4, false),
  /** Signed, 64 bits. */
  INT64(8, false),
  /** Unsigned, 8 bits; its bits as {@code byte} in Java. */
  UINT8(1, false),
  /** Unsigned, 16 bits; its bits as {@code short} in Java. */
  UINT16(2, false),
  /** Unsigned, 32 bits; its bits as {@code int} in Java. */
  UINT32(4, false),
  /** Unsigned, 64 bits; its bits as {@code long} in Java. */
  UINT64(8, false);

  private final int byteSize;
  private final boolean floating;

  DataType(int byteSize, boolean floating) {
    this.byteSize = byteSize;
    this.floating = floating;
  }

  /**
   * Returns the size of an element.
   *
   * @return bytes
   */
  public int byteSize() {
    return byteSize;
  }

  /**
   * Tells floating types from integers.
   *
   * @return whether elements are floating-point numbers
   */
  public boolean isFloating() {
    return floating;
  }

  /** The type of losses and log-sum-exps of logits of this type. */
  DataType ofLoss() {
    return this == FLOAT64 ? FLOAT64 : FLOAT32;
  }

  dev.lossd.v1.DataType toProto() {
    return dev.lossd.v1.DataType.valueOf("DATA_TYPE_" + name());
  }

  /** The type of a message; null where it has none that is known. */
  static DataType fromProto(dev.lossd.v1.DataType type) {
    for (DataType known : values()) {
      if (known.toProto() == type) {
        return known;
      }
    }
    return null;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
