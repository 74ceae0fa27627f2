//! Calls that did not reach their server, or that found it busy, are made again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::Error;

const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const GROWTH: u32 = 3;

/// The attempts of one call: four at most, with pauses of 50 ms, 150 ms and 450 ms between them, a
/// fifth more or less, or as long as the server asked for.
pub(crate) struct Retry {
    deadline: Deadline,
    left: u32,
    pause: Duration,
}

impl Retry {
    pub(crate) fn new(deadline: Deadline) -> Self {
        Self { deadline, left: ATTEMPTS - 1, pause: FIRST_PAUSE }
    }

    /// Sleeps before the next attempt.
    ///
    /// # Errors
    /// The error itself where there is none: it is not transient, there were enough, or the deadline
    /// comes first.
    pub(crate) async fn after(&mut self, error: Error) -> Result<(), Error> {
        if self.left == 0 || !error.is_transient() {
            return Err(error);
        }
        // Clients that lost one server do not all come back at once.
        let pause = self.pause.mul_f64(0.8 + 0.4 * random());
        let wait = error.retry_after().map_or(pause, |asked| asked.saturating_add(pause));
        if self.deadline.left().is_some_and(|left| left <= wait) {
            return Err(error);
        }
        self.left -= 1;
        self.pause *= GROWTH;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Anything in [0, 1).
fn random() -> f64 {
    (RandomState::new().build_hasher().finish() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Code;
    use crate::failure::Failure;

    fn transient() -> Error {
        Failure::new(Code::Unavailable, String::new()).into()
    }

    #[tokio::test]
    async fn three_pauses_and_no_more() {
        let mut retry = Retry::new(Deadline::after(None));
        let begin = std::time::Instant::now();
        for _ in 0..3 {
            retry.after(transient()).await.unwrap();
        }
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(500), "50, 150 and 450 ms, less a fifth: {took:?}");
        assert!(retry.after(transient()).await.is_err());
    }

    #[tokio::test]
    async fn a_pause_beyond_the_deadline_is_not_slept() {
        let mut retry = Retry::new(Deadline::after(Some(Duration::from_millis(20))));
        assert!(retry.after(transient()).await.is_err());
    }

    #[tokio::test]
    async fn errors_that_stay_are_not_repeated() {
        let mut retry = Retry::new(Deadline::after(None));
        assert!(retry.after(Error::invalid("input", "", "wrong")).await.is_err());
    }
}
