//! A server of tonic's own, which answers as a test says.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lossd_client::Client;
use lossd_client::proto::*;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

#[allow(clippy::all, unreachable_pub)]
mod generated {
    include!("generated/lossd.v1.rs");
}
use generated::loss_service_server::{LossService, LossServiceServer};

type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<Q, A> = Box<dyn Fn(Q, usize) -> Result<A, Status> + Send + Sync>;

/// Answers by functions of the request and of the number of calls before it. A stream that begins well
/// goes on with `pending`, or ends.
pub(crate) struct Fake {
    pub(crate) evaluate: Answer<Request<EvaluateRequest>, EvaluateResponse>,
    pub(crate) stream: Answer<(), Vec<Result<EvaluateStreamResponse, Status>>>,
    pub(crate) many: Answer<(), Vec<Result<EvaluateManyResponse, Status>>>,
    pub(crate) info: Answer<(), GetServerInfoResponse>,
    pub(crate) combine: Answer<(), CombineResponse>,
    /// Whether streams stay open after their replies.
    pub(crate) pending: bool,
    /// Calls that were made, and requests of streams that came.
    pub(crate) calls: Arc<AtomicUsize>,
    /// Streams whose client has gone.
    pub(crate) gone: Arc<AtomicUsize>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            evaluate: Box::new(|_, _| Err(Status::unimplemented("evaluate"))),
            stream: Box::new(|_, _| Err(Status::unimplemented("stream"))),
            many: Box::new(|_, _| Err(Status::unimplemented("many"))),
            info: Box::new(|_, _| Ok(info())),
            combine: Box::new(|_, _| Err(Status::unimplemented("combine"))),
            pending: false,
            calls: Arc::default(),
            gone: Arc::default(),
        }
    }
}

fn info() -> GetServerInfoResponse {
    let limits = Limits { max_message_bytes: 4 << 20, ..Default::default() };
    GetServerInfoResponse { version: "0.0.0".into(), limits: Some(limits), ..Default::default() }
}

impl Fake {
    /// Serves until the runtime of the test ends.
    pub(crate) fn serve(self) -> Client {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap().to_string();
        let service = LossServiceServer::new(self);
        tokio::spawn(Server::builder().serve_with_incoming(service, incoming));
        Client::builder(address).connect_lazy().unwrap()
    }

    pub(crate) fn service(self) -> LossServiceServer<Self> {
        LossServiceServer::new(self)
    }

    fn number(&self) -> usize {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    /// Replies once the client has half-closed, or at once where the stream stays open.
    fn replies<Q: Send + 'static, A: Send + 'static>(
        &self,
        mut requests: Streaming<Q>,
        replies: Vec<Result<A, Status>>,
    ) -> Replies<A> {
        let (sender, receiver) = tokio::sync::mpsc::channel(100);
        let (pending, gone) = (self.pending, self.gone.clone());
        tokio::spawn(async move {
            if !pending {
                while requests.message().await.is_ok_and(|request| request.is_some()) {}
            }
            for reply in replies {
                let _ = sender.send(reply).await;
            }
            if pending {
                sender.closed().await;
                gone.fetch_add(1, Ordering::SeqCst);
            }
        });
        Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver))
    }
}

#[tonic::async_trait]
impl LossService for Fake {
    type EvaluateManyStream = Replies<EvaluateManyResponse>;
    type EvaluateStreamStream = Replies<EvaluateStreamResponse>;

    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let number = self.number();
        if self.pending {
            std::future::pending::<()>().await;
        }
        (self.evaluate)(request, number).map(Response::new)
    }

    async fn evaluate_many(
        &self,
        request: Request<Streaming<EvaluateManyRequest>>,
    ) -> Result<Response<Self::EvaluateManyStream>, Status> {
        let replies = (self.many)((), self.number())?;
        Ok(Response::new(self.replies(request.into_inner(), replies)))
    }

    async fn evaluate_stream(
        &self,
        request: Request<Streaming<EvaluateStreamRequest>>,
    ) -> Result<Response<Self::EvaluateStreamStream>, Status> {
        let replies = (self.stream)((), self.number())?;
        Ok(Response::new(self.replies(request.into_inner(), replies)))
    }

    async fn combine(
        &self,
        _: Request<CombineRequest>,
    ) -> Result<Response<CombineResponse>, Status> {
        (self.combine)((), self.number()).map(Response::new)
    }

    async fn get_server_info(
        &self,
        _: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        (self.info)((), self.number()).map(Response::new)
    }
}
