//! A way to a server that breaks off now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Proxy {
    port: u16,
    cuts: Arc<AtomicU64>,
}

impl Proxy {
    /// Leads to a port. Every connection is cut after some bytes, often in the middle of a frame.
    pub(crate) async fn to(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), cuts: Arc::default() };
        let cuts = Arc::clone(&proxy.cuts);
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            while let Ok((near, _)) = listener.accept().await {
                let (there, back) = (random.random_range(0..3_000), random.random_range(0..8_000));
                let cuts = Arc::clone(&cuts);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    near.set_nodelay(true).unwrap();
                    far.set_nodelay(true).unwrap();
                    let ((near_in, near_out), (far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    // What ends first ends both.
                    tokio::select! {
                        () = carry(near_in, far_out, there) => {}
                        () = carry(far_in, near_out, back) => {}
                    }
                    cuts.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How often it broke off.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut left: usize) {
    let mut bytes = [0; 4096];
    while left > 0 {
        let most = left.min(bytes.len());
        let Ok(read @ 1..) = from.read(&mut bytes[..most]).await else { return };
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        left -= read;
    }
}
