/**
 * Losses and gradients from a lossd server. Start at {@link dev.lossd.client.LossdClient}.
 *
 * <p>The messages and gRPC stubs themselves are in {@code dev.lossd.v1}.
 */
package dev.lossd.client;
