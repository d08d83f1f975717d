//! Where encoding, merging and compressing run, so that they do not hold up the tasks that wait for IO.

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Runs `job` on the pool of CPU workers (one per core) and waits for its result without blocking the runtime.
///
/// # Errors
/// What `job` returns; `Internal` when it panics.
pub async fn run_on_cpu<T, F>(job: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    rayon::spawn(move || {
        // A panic must not take the pool's worker down with it; the caller gets an error instead.
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_or_else(|_| {
                Err(Error::internal(
                    "a CPU job panicked; see the log for its message",
                ))
            });
        // The receiver is gone when the caller was cancelled: nobody wants the result then.
        drop(sender.send(result));
    });
    receiver
        .await
        .map_err(|_| Error::internal("the CPU pool dropped a job"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_back_results_and_panics() {
        assert_eq!(run_on_cpu(|| Ok(1 + 1)).await.unwrap(), 2);
        let panicked: Result<()> = run_on_cpu(|| panic!("on purpose")).await;
        assert!(panicked.is_err());
    }
}
