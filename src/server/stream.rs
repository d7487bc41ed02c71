//! A connection with a deadline for its reader: an answer that is not taken in time ends it.
//!
//! Only time in which the other end does not take what is ready counts, from the first byte that had to wait until all
//! of the answer is gone. So neither who reads nothing nor who reads a byte a minute keeps a place for long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

pub(super) struct Bounded<T> {
    stream: T,
    deadline: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<T> Bounded<T> {
    pub(super) fn new(stream: T, deadline: Duration) -> Bounded<T> {
        Bounded { stream, deadline, waiting: None }
    }

    /// Ready, or an error when it was too long ago that it was not.
    fn within<R>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if polled.is_ready() && self.waiting.is_none() {
            return polled;
        }
        let deadline = self.deadline;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(deadline)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => polled,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Bounded<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Bounded<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.within(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        ready!(self.within(context, polled))?;
        // All of it is gone.
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.within(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_and_who_reads_too_slowly_are_cut_off() {
        for pause in [None, Some(Duration::from_secs(1))] {
            let (ours, mut theirs) = duplex(16);
            let reader = tokio::spawn(async move {
                while let Some(pause) = pause {
                    sleep(pause).await;
                    if theirs.read_u8().await.is_err() {
                        return;
                    }
                }
                std::future::pending::<()>().await;
                drop(theirs);
            });
            let mut stream = Bounded::new(ours, Duration::from_secs(30));
            let begun = tokio::time::Instant::now();
            let error = stream.write_all(&[0; 1000]).await.expect_err("cut off");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begun.elapsed() < Duration::from_secs(40));
            reader.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_the_whole_deadline() {
        let (ours, mut theirs) = duplex(16);
        let reader = tokio::spawn(async move {
            let mut taken = [0; 20];
            for _ in 0..5 {
                sleep(Duration::from_secs(20)).await;
                theirs.read_exact(&mut taken).await.expect("more");
            }
            theirs
        });
        let mut stream = Bounded::new(ours, Duration::from_secs(30));
        for _ in 0..5 {
            stream.write_all(&[0; 20]).await.expect("taken");
            stream.flush().await.expect("flushed");
        }
        drop(reader.await.expect("it ends"));
    }
}
