//! A way to a server that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: watch::Sender<bool>,
}

impl Proxy {
    /// Leads to a port of loopback.
    #[expect(clippy::disallowed_methods, reason = "a test spawns what a machine would run")]
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy =
            Self { port: listener.local_addr().unwrap().port(), open: watch::Sender::new(true) };
        let open = proxy.open.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, port, open.clone()));
            }
        });
        proxy
    }

    /// Ends every connection, and each that comes.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn carry(mut near: TcpStream, port: u16, mut open: watch::Receiver<bool>) {
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ended = copy_bidirectional(&mut near, &mut far) => {}
        _cut = open.changed() => {}
    }
}
