//! Who calls: the token that the cluster gave.

use parking_lot::RwLock;
use tokio::sync::Mutex;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};

use crate::etcd_api::Channel;
use crate::etcd_api::etcdserverpb::AuthenticateRequest;
use crate::etcd_api::etcdserverpb::auth_client::AuthClient;
use crate::etcd_api::known::AUTH_NOT_ENABLED;

/// What etcd's own client calls it.
const TOKEN: &str = "token";

/// What is shown with a call, and the how manyth it is.
#[derive(Debug, Clone, Default)]
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
#[derive(Debug)]
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

    pub(super) fn can_log_in(&self) -> bool {
        self.user.is_some()
    }

    /// What to show; logs in if that was not yet done.
    pub(super) async fn shown(&self, channel: &Channel) -> Result<Shown, Status> {
        let shown = self.shown.read().clone();
        if shown.number == 0 && self.can_log_in() {
            self.renew(&shown, channel).await
        } else {
            Ok(shown)
        }
    }

    /// Logs in again, unless somebody did so since `refused` was shown.
    pub(super) async fn renew(&self, refused: &Shown, channel: &Channel) -> Result<Shown, Status> {
        let Some((user, password)) = &self.user else { return Ok(refused.clone()) };
        let _turn = self.turn.lock().await;
        let shown = self.shown.read().clone();
        if shown.number != refused.number {
            return Ok(shown);
        }
        let (name, password) = (user.clone(), password.clone());
        let request = AuthenticateRequest { name, password };
        let token = match AuthClient::new(channel.clone()).authenticate(request).await {
            Ok(answer) => Some(answer.into_inner().token),
            Err(status) if status.message() == AUTH_NOT_ENABLED.message() => None,
            Err(status) => return Err(status),
        };
        let token = token.map(|token| token.parse()).transpose();
        let token = token.map_err(|_| Status::data_loss("the server's token is no header"))?;
        let shown = Shown { number: refused.number + 1, token };
        *self.shown.write() = shown.clone();
        Ok(shown)
    }
}
