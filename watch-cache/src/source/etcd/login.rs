//! Who calls: the token that the cluster gave.

use parking_lot::RwLock;
use tokio::sync::Mutex;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};

/// What etcd's own client calls it.
const TOKEN: &str = "token";

/// What is shown with a call, and the how manyth it is.
#[derive(Clone, Default)]
pub(super) struct Shown {
    number: u64,
    /// `None` where nobody asks for one.
    token: Option<MetadataValue<Ascii>>,
}

impl Shown {
    pub(super) fn with<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert(TOKEN, token.clone());
        }
        request
    }
}

/// A user, and the token that it has.
pub(super) struct Login {
    user: Option<(String, String)>,
    /// Number 0 is none yet.
    shown: RwLock<Shown>,
    /// One logs in for all.
    turn: Mutex<()>,
}

impl Login {
    pub(super) fn new(user: Option<(String, String)>) -> Self {
        Self { user, shown: RwLock::default(), turn: Mutex::default() }
    }

    /// Whether another token could help.
    pub(super) fn can_log_in(&self) -> bool {
        self.user.is_some()
    }

    /// What to show; the first time it is asked for.
    pub(super) async fn shown<F>(
        &self,
        ask: impl FnOnce(String, String) -> F,
    ) -> Result<Shown, Status>
    where
        F: Future<Output = Result<Option<String>, Status>>,
    {
        let shown = self.shown.read().clone();
        if shown.number == 0 { self.renew(&shown, ask).await } else { Ok(shown) }
    }

    /// Asks for another token, unless somebody did so since `refused` was shown.
    pub(super) async fn renew<F>(
        &self,
        refused: &Shown,
        ask: impl FnOnce(String, String) -> F,
    ) -> Result<Shown, Status>
    where
        F: Future<Output = Result<Option<String>, Status>>,
    {
        let Some((user, password)) = &self.user else { return Ok(refused.clone()) };
        let _turn = self.turn.lock().await;
        let shown = self.shown.read().clone();
        if shown.number != refused.number {
            return Ok(shown);
        }
        let token = ask(user.clone(), password.clone()).await?;
        let token = token.map(|token| token.parse()).transpose();
        let token = token.map_err(|_| Status::data_loss("the server's token is no header"))?;
        let shown = Shown { number: refused.number + 1, token };
        *self.shown.write() = shown.clone();
        Ok(shown)
    }
}
