//! What is asked of the store by somebody: permitted, done, and told in etcd's words.

use tonic::Status;

use super::api::Api;
use super::auth::{Access, Caller};
use crate::core::{
    DeleteRequest, DeleteResponse, PutRequest, PutResponse, RangeRequest, RangeResponse, Txn,
    TxnResponse,
};
use crate::kv_store::Consistency;

impl Api {
    pub(super) async fn range(
        &self,
        caller: &Caller,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse, Status> {
        self.check_read()?;
        self.auth.check_read(caller, &request.range)?;
        self.metrics.ranges.add(1);
        let answer = self.store.range(request, consistency).await;
        let answer = answer.map_err(|error| self.refused(&error))?;
        self.auth.check_still(caller)?;
        Ok(answer)
    }

    pub(super) async fn put(
        &self,
        caller: &Caller,
        request: PutRequest,
    ) -> Result<PutResponse, Status> {
        self.check_space()?;
        let _steady = self.auth.steady().await;
        let leases = self.auth.check_put(caller, &request)?;
        self.check_leases(caller, &leases, Access::Write).await?;
        let answer = self.store.put(request).await.map_err(|error| self.refused(&error))?;
        self.metrics.puts.add(1);
        Ok(answer)
    }

    pub(super) async fn delete_range(
        &self,
        caller: &Caller,
        request: DeleteRequest,
    ) -> Result<DeleteResponse, Status> {
        let _steady = self.auth.steady().await;
        self.auth.check_delete(caller, &request)?;
        let answer = self.store.delete_range(request).await;
        let answer = answer.map_err(|error| self.refused(&error))?;
        self.metrics.deletes.add(1);
        Ok(answer)
    }

    pub(super) async fn txn(&self, caller: &Caller, txn: Txn) -> Result<TxnResponse, Status> {
        if txn.puts() {
            self.check_space()?;
        }
        let _steady = self.auth.steady().await;
        let leases = self.auth.check_txn(caller, &txn)?;
        self.check_leases(caller, &leases, Access::Write).await?;
        let answer = self.store.txn(txn).await.map_err(|error| self.refused(&error))?;
        self.metrics.txns.add(1);
        Ok(answer)
    }
}
