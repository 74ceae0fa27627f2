package dev.lossd.client;

import dev.lossd.v1.EvaluateManyRequest;
import dev.lossd.v1.EvaluateManyResponse;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;

/** One call of EvaluateMany, which tells its exchange what happens. */
final class ManyCall implements ClientResponseObserver<EvaluateManyRequest, EvaluateManyResponse> {
  private final ManyExchange exchange;
  private final Connection connection;
  private ClientCallStreamObserver<EvaluateManyRequest> requests;

  ManyCall(ManyExchange exchange, Connection connection) {
    this.exchange = exchange;
    this.connection = connection;
  }

  /** Where problems go. */
  ClientCallStreamObserver<EvaluateManyRequest> requests() {
    return requests;
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<EvaluateManyRequest> requests) {
    this.requests = requests;
    requests.setOnReadyHandler(exchange::send);
  }

  @Override
  public void onNext(EvaluateManyResponse answer) {
    exchange.answered(this, answer);
  }

  @Override
  public void onError(Throwable error) {
    exchange.ended(this, Errors.from(error, connection));
  }

  @Override
  public void onCompleted() {
    exchange.ended(this, LossdException.unexpected("the stream ended before its answers"));
  }
}
