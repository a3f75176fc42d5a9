//! The drivers and agents of the run.

use std::future::Future;

use tokio::task::JoinHandle;

use trestle_examples::fail::Fail;

/// Drivers by name, so that one that fails can be named, and all can be waited for at the end.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    drivers: Vec<(&'static str, JoinHandle<Result<(), String>>)>,
}

impl Tasks {
    /// Spawns a driver.
    pub(crate) fn spawn<E: std::error::Error + 'static>(
        &mut self,
        name: &'static str,
        driver: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let driver = async move { driver.await.map_err(|error| Fail::chain(&error)) };
        self.drivers.push((name, tokio::spawn(driver)));
    }

    /// Waits for every driver, once their handles are dropped; says which ones failed.
    pub(crate) async fn ended(self) -> Vec<String> {
        let mut failed = Vec::new();
        for (name, driver) in self.drivers {
            match driver.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed.push(format!("the {name}'s driver failed: {error}")),
                Err(error) => failed.push(format!("the {name}'s driver did not end: {error}")),
            }
        }
        failed
    }
}
