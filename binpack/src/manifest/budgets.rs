//! Budgets of pods that may be disrupted.

use serde::Deserialize;

use super::object::Object;
use super::selectors::LabelSelector;
use crate::error::Result;
use crate::model::{Input, PodDisruptionBudget};

#[derive(Default, Deserialize)]
#[serde(default)]
struct BudgetBody {
    spec: BudgetSpec,
    status: BudgetStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BudgetSpec {
    selector: Option<LabelSelector>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BudgetStatus {
    disruptions_allowed: Option<i64>,
}

/// What a `PodDisruptionBudget` allows now, which its controller has counted; nothing where it has
/// not. `None` without a selector, which means no pods (policy/v1).
pub(super) fn budget(object: &Object) -> Result<Option<PodDisruptionBudget>> {
    let BudgetBody { spec, status } = object.body()?;
    let Some(selector) = spec.selector else {
        return Ok(None);
    };
    let allowed = status.disruptions_allowed.unwrap_or(0).max(0);
    let allowed = u32::try_from(allowed).unwrap_or(u32::MAX);
    let budget = PodDisruptionBudget::new(object.name(), selector.selector(), allowed)
        .in_namespace(object.namespace());
    let checked = Input { disruption_budgets: vec![budget.clone()], ..Input::default() };
    object.origin.check(&checked)?;
    Ok(Some(budget))
}
