//! Users, roles and permissions over the wire.

use std::sync::Arc;

use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::realm::{Edit, Realm, check_user_name};
use crate::etcd_api::etcdserverpb::auth_server::Auth;
use crate::etcd_api::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse,
    AuthRoleAddRequest, AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse,
    AuthRoleGetRequest, AuthRoleGetResponse, AuthRoleGrantPermissionRequest,
    AuthRoleGrantPermissionResponse, AuthRoleListRequest, AuthRoleListResponse,
    AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse, AuthStatusRequest,
    AuthStatusResponse, AuthUserAddRequest, AuthUserAddResponse, AuthUserChangePasswordRequest,
    AuthUserChangePasswordResponse, AuthUserDeleteRequest, AuthUserDeleteResponse,
    AuthUserGetRequest, AuthUserGetResponse, AuthUserGrantRoleRequest, AuthUserGrantRoleResponse,
    AuthUserListRequest, AuthUserListResponse, AuthUserRevokeRoleRequest,
    AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
};
use crate::etcd_server::api::{Answer, Api};
use crate::etcd_server::status::{Known, USER_NOT_FOUND};

#[derive(Debug, Clone)]
pub(in crate::etcd_server) struct AuthService(pub(in crate::etcd_server) Arc<Api>);

impl AuthService {
    async fn change(
        &self,
        caller: &Caller,
        edit: impl FnOnce(&Realm) -> Result<Option<Edit>, Known>,
    ) -> Result<(), Status> {
        self.0.auth.change(&*self.0.store, caller, edit).await
    }

    /// Passwords are not hashed for those who may not change any.
    async fn hash(&self, caller: &Caller, password: String) -> Result<String, Status> {
        self.0.auth.check_admin(caller)?;
        self.0.auth.passwords.hash(password).await
    }
}

/// An answer that is a header alone.
macro_rules! headed {
    ($service:ident, $response:ident) => {
        Ok(Response::new($response { header: $service.0.header_now().await? }))
    };
}

#[async_trait]
impl Auth for AuthService {
    async fn auth_enable(&self, request: Request<AuthEnableRequest>) -> Answer<AuthEnableResponse> {
        let caller = self.0.caller(&request)?;
        let enable = |realm: &Realm| (!realm.enabled).then(|| realm.enable()).transpose();
        self.change(&caller, enable).await?;
        headed!(self, AuthEnableResponse)
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Answer<AuthDisableResponse> {
        let caller = self.0.caller(&request)?;
        self.change(&caller, |realm| Ok(realm.enabled.then(|| realm.disable()))).await?;
        self.0.auth.forget_all();
        headed!(self, AuthDisableResponse)
    }

    async fn auth_status(&self, request: Request<AuthStatusRequest>) -> Answer<AuthStatusResponse> {
        self.0.caller(&request)?;
        let realm = self.0.auth.realm.load_full();
        let (enabled, auth_revision) = (realm.enabled, realm.revision);
        let header = self.0.header_now().await?;
        Ok(Response::new(AuthStatusResponse { header, enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Answer<AuthenticateResponse> {
        let request = request.into_inner();
        let token = self.0.auth.authenticate(request.name, request.password).await?;
        Ok(Response::new(AuthenticateResponse { header: self.0.header_now().await?, token }))
    }

    async fn user_add(&self, request: Request<AuthUserAddRequest>) -> Answer<AuthUserAddResponse> {
        let caller = self.0.caller(&request)?;
        let request = request.into_inner();
        check_user_name(&request.name)?;
        let no_password = request.options.is_some_and(|options| options.no_password);
        let hash =
            if no_password { None } else { Some(self.hash(&caller, request.password).await?) };
        self.change(&caller, |realm| realm.add_user(&request.name, hash).map(Some)).await?;
        headed!(self, AuthUserAddResponse)
    }

    /// Everybody may ask for themselves.
    async fn user_get(&self, request: Request<AuthUserGetRequest>) -> Answer<AuthUserGetResponse> {
        let caller = self.0.caller(&request)?;
        let name = request.into_inner().name;
        let realm = self.0.auth.realm.load_full();
        if !caller.is(&name) {
            caller.check_admin(&realm)?;
        }
        let account = realm.account(&name).ok_or(USER_NOT_FOUND)?;
        let header = self.0.header_now().await?;
        Ok(Response::new(AuthUserGetResponse { header, roles: account.user.roles.clone() }))
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Answer<AuthUserListResponse> {
        let caller = self.0.caller(&request)?;
        self.0.auth.check_admin(&caller)?;
        let users = self.0.auth.realm.load().user_names();
        Ok(Response::new(AuthUserListResponse { header: self.0.header_now().await?, users }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Answer<AuthUserDeleteResponse> {
        let caller = self.0.caller(&request)?;
        let name = request.into_inner().name;
        self.change(&caller, |realm| realm.delete_user(&name).map(Some)).await?;
        self.0.auth.forget(&name);
        headed!(self, AuthUserDeleteResponse)
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Answer<AuthUserChangePasswordResponse> {
        let caller = self.0.caller(&request)?;
        let AuthUserChangePasswordRequest { name, password, .. } = request.into_inner();
        let hash =
            if password.is_empty() { None } else { Some(self.hash(&caller, password).await?) };
        self.change(&caller, |realm| realm.change_password(&name, hash).map(Some)).await?;
        self.0.auth.forget(&name);
        headed!(self, AuthUserChangePasswordResponse)
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Answer<AuthUserGrantRoleResponse> {
        let caller = self.0.caller(&request)?;
        let AuthUserGrantRoleRequest { user, role } = request.into_inner();
        self.change(&caller, |realm| realm.grant_role(&user, &role)).await?;
        headed!(self, AuthUserGrantRoleResponse)
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Answer<AuthUserRevokeRoleResponse> {
        let caller = self.0.caller(&request)?;
        let AuthUserRevokeRoleRequest { name, role } = request.into_inner();
        self.change(&caller, |realm| realm.revoke_role(&name, &role).map(Some)).await?;
        headed!(self, AuthUserRevokeRoleResponse)
    }

    async fn role_add(&self, request: Request<AuthRoleAddRequest>) -> Answer<AuthRoleAddResponse> {
        let caller = self.0.caller(&request)?;
        let name = request.into_inner().name;
        self.change(&caller, |realm| realm.add_role(&name).map(Some)).await?;
        headed!(self, AuthRoleAddResponse)
    }

    /// Everybody may ask for the roles that they have.
    async fn role_get(&self, request: Request<AuthRoleGetRequest>) -> Answer<AuthRoleGetResponse> {
        let caller = self.0.caller(&request)?;
        let role = request.into_inner().role;
        let realm = self.0.auth.realm.load_full();
        if !caller.has_role(&realm, &role) {
            caller.check_admin(&realm)?;
        }
        let perm = realm.permissions(&role)?;
        Ok(Response::new(AuthRoleGetResponse { header: self.0.header_now().await?, perm }))
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Answer<AuthRoleListResponse> {
        let caller = self.0.caller(&request)?;
        self.0.auth.check_admin(&caller)?;
        let roles = self.0.auth.realm.load().role_names();
        Ok(Response::new(AuthRoleListResponse { header: self.0.header_now().await?, roles }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Answer<AuthRoleDeleteResponse> {
        let caller = self.0.caller(&request)?;
        let role = request.into_inner().role;
        self.change(&caller, |realm| realm.delete_role(&role).map(Some)).await?;
        headed!(self, AuthRoleDeleteResponse)
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Answer<AuthRoleGrantPermissionResponse> {
        let caller = self.0.caller(&request)?;
        let AuthRoleGrantPermissionRequest { name, perm } = request.into_inner();
        self.change(&caller, |realm| realm.grant_permission(&name, perm).map(Some)).await?;
        headed!(self, AuthRoleGrantPermissionResponse)
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Answer<AuthRoleRevokePermissionResponse> {
        let caller = self.0.caller(&request)?;
        let AuthRoleRevokePermissionRequest { role, key, range_end } = request.into_inner();
        let edit = |realm: &Realm| realm.revoke_permission(&role, &key, &range_end).map(Some);
        self.change(&caller, edit).await?;
        headed!(self, AuthRoleRevokePermissionResponse)
    }
}
