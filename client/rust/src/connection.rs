//! A connection to a server: the channel, who may use it, and calls that end in [`Error`].

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::Receiver;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::chunks::{ALWAYS_FITS, most_data};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::info::{Limits, ServerInfo};
use crate::proto::loss_service_client::LossServiceClient;
use crate::retry::Retry;
use crate::{proto, status};

/// The generated client of a [`Client`](crate::Client), with its token.
pub type Stub = LossServiceClient<InterceptedService<Channel, Bearer>>;

/// Adds the token to every call.
#[derive(Clone)]
pub struct Bearer(pub(crate) Option<MetadataValue<Ascii>>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(...)" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection, shared by the clones of a client.
#[derive(Clone)]
pub(crate) struct Connection {
    stub: Stub,
    pub(crate) address: Arc<str>,
    limits: Arc<Mutex<Option<Limits>>>,
}

impl Connection {
    pub(crate) fn new(channel: Channel, address: &str, token: Bearer) -> Self {
        // Answers may be greater than the 4 MiB of tonic's default.
        let stub = LossServiceClient::with_interceptor(channel, token)
            .max_decoding_message_size(usize::MAX);
        Self { stub, address: address.into(), limits: Arc::default() }
    }

    pub(crate) fn stub(&self) -> Stub {
        self.stub.clone()
    }

    pub(crate) fn error(&self, status: tonic::Status) -> Error {
        status::from_status(status, &self.address)
    }

    pub(crate) async fn evaluate(
        &self,
        request: proto::EvaluateRequest,
        deadline: Deadline,
    ) -> Result<proto::EvaluateResponse, Error> {
        let mut retry = Retry::new(deadline);
        loop {
            // A clone shares the bytes of the tensors.
            match self.stub().evaluate(deadline.request(request.clone())).await {
                Ok(reply) => return Ok(reply.into_inner()),
                Err(status) => retry.after(self.error(status)).await?,
            }
        }
    }

    pub(crate) async fn combine(
        &self,
        request: proto::CombineRequest,
        deadline: Deadline,
    ) -> Result<proto::CombineResponse, Error> {
        let mut retry = Retry::new(deadline);
        loop {
            match self.stub().combine(deadline.request(request.clone())).await {
                Ok(reply) => return Ok(reply.into_inner()),
                Err(status) => retry.after(self.error(status)).await?,
            }
        }
    }

    pub(crate) async fn info(&self, deadline: Deadline) -> Result<ServerInfo, Error> {
        let mut retry = Retry::new(deadline);
        loop {
            let request = deadline.request(proto::GetServerInfoRequest {});
            match self.stub().get_server_info(request).await {
                Ok(reply) => {
                    let info = ServerInfo::from(reply.into_inner());
                    self.set_limits(Some(info.limits));
                    return Ok(info);
                }
                Err(status) => retry.after(self.error(status)).await?,
            }
        }
    }

    pub(crate) async fn evaluate_stream(
        &self,
        messages: Receiver<proto::EvaluateStreamRequest>,
        deadline: Deadline,
    ) -> Result<tonic::Streaming<proto::EvaluateStreamResponse>, Error> {
        let request = deadline.request(ReceiverStream::new(messages));
        let reply = self.stub().evaluate_stream(request).await;
        reply.map(tonic::Response::into_inner).map_err(|status| self.error(status))
    }

    pub(crate) async fn evaluate_many(
        &self,
        messages: Receiver<proto::EvaluateManyRequest>,
        deadline: Deadline,
    ) -> Result<tonic::Streaming<proto::EvaluateManyResponse>, Error> {
        let request = deadline.request(ReceiverStream::new(messages));
        let reply = self.stub().evaluate_many(request).await;
        reply.map(tonic::Response::into_inner).map_err(|status| self.error(status))
    }

    /// How much data fits a message. The server is asked once.
    pub(crate) async fn most_data(&self, deadline: Deadline) -> Result<usize, Error> {
        let known = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = match known {
            Some(limits) => limits,
            None => match self.info(deadline).await {
                Ok(info) => info.limits,
                // A proxy that lets nothing but evaluations through.
                Err(Error::Unimplemented(_)) => return Ok(ALWAYS_FITS),
                Err(error) => return Err(error),
            },
        };
        Ok(most_data(limits.max_message_bytes))
    }

    /// Passes a result on. A server with other limits may have taken this one's place where a limit was
    /// passed.
    pub(crate) fn watched<R>(&self, result: Result<R, Error>) -> Result<R, Error> {
        if let Err(Error::Exhausted(_)) = result {
            self.set_limits(None);
        }
        result
    }

    fn set_limits(&self, limits: Option<Limits>) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}
