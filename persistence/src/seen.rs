//! What somebody saw of a thing before changing it, so that the change can rest on it.

use crate::StoreError;
use crate::assets::{self, Asset};
use crate::cases::{self, Case};
use crate::dead_letters::{self, DeadLetter};
use crate::work_orders::{self, WorkOrder};
use sea_orm::ConnectionTrait;

/// A thing as it stood when it was read.
#[derive(Clone, Debug)]
pub enum Seen {
    /// An asset.
    Asset(Box<Asset>),
    /// A case.
    Case(Box<Case>),
    /// An event that was given up.
    DeadLetter(Box<DeadLetter>),
    /// A work order.
    WorkOrder(Box<WorkOrder>),
}

impl Seen {
    /// How the thing stands: what people change of it, and what they go by. It is the same text as long as that is so.
    ///
    /// Of a case that is not its evidence, which may come with every reading and changes nothing that people decided.
    pub fn state(&self) -> String {
        let text = match self {
            Self::Asset(asset) => serde_json::to_string(asset),
            Self::Case(case) => {
                serde_json::to_string(&(case.priority, case.state, case.closed_at, &case.acknowledged, &case.shelved))
            }
            Self::DeadLetter(letter) => serde_json::to_string(letter),
            Self::WorkOrder(order) => serde_json::to_string(order),
        };
        text.expect("texts, numbers and instants can be written as JSON")
    }

    /// Whether the thing stands in `db` as it was seen.
    pub(crate) async fn holds(&self, db: &impl ConnectionTrait) -> Result<bool, StoreError> {
        let now = match self {
            Self::Asset(asset) => assets::find(db, &asset.id).await?.map(Self::from),
            Self::Case(case) => cases::find(db, case.id).await?.map(Self::from),
            Self::DeadLetter(letter) => dead_letters::find(db, letter.id).await?.map(Self::from),
            Self::WorkOrder(order) => work_orders::find(db, order.order.work_order).await?.map(Self::from),
        };
        Ok(now.is_some_and(|now| now.state() == self.state()))
    }
}

impl From<Asset> for Seen {
    fn from(asset: Asset) -> Self {
        Self::Asset(Box::new(asset))
    }
}

impl From<Case> for Seen {
    fn from(case: Case) -> Self {
        Self::Case(Box::new(case))
    }
}

impl From<DeadLetter> for Seen {
    fn from(letter: DeadLetter) -> Self {
        Self::DeadLetter(Box::new(letter))
    }
}

impl From<WorkOrder> for Seen {
    fn from(order: WorkOrder) -> Self {
        Self::WorkOrder(Box::new(order))
    }
}
