//! Assets: those that the plant declares, and those that are there because a sensor says so.

use crate::instants::{micros, timestamp};
use crate::page::{Cursor, Page, Start};
use crate::unit::NewEvent;
use crate::{History, StoreError, sql, texts};
use domain::asset::{self, MaintenanceBegan, MaintenanceEnded};
use domain::mode::Modes;
use domain::{AssetId, Timestamp, WorkOrderId};
use schemars::JsonSchema;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "assets")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: Option<String>,
        pub class: Option<String>,
        pub parent: Option<String>,
        pub declared_at: Option<i64>,
        pub maintenance: Option<String>,
        pub modes: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An asset.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Asset {
    /// The asset.
    pub id: AssetId,
    /// Name for people: the id if nobody declared one.
    pub name: String,
    /// What kind of machine it is.
    pub class: Option<String>,
    /// The asset that it is a part of.
    pub parent: Option<AssetId>,
    /// When it was declared; one that never was is there because a sensor said so.
    pub declared_at: Option<Timestamp>,
    /// Set while it is out of service.
    pub maintenance: Option<Maintenance>,
    /// How it is told what it is doing, if that was declared.
    pub modes: Option<Modes>,
}

/// An asset's time out of service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Maintenance {
    /// When it began (receive time).
    pub since: Timestamp,
    /// The name of the key with which it was said.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// When it ends by itself; never without this.
    pub until: Option<Timestamp>,
    /// The order that is carried out, if that is the reason.
    pub work_order: Option<WorkOrderId>,
}

impl Asset {
    /// One that nobody declared.
    fn undeclared(id: String) -> Self {
        let (name, id) = (id.clone(), AssetId::from(id));
        Self { id, name, class: None, parent: None, declared_at: None, maintenance: None, modes: None }
    }
}

impl TryFrom<row::Model> for Asset {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.name.unwrap_or_else(|| row.id.clone()),
            id: AssetId::from(row.id),
            class: row.class,
            parent: row.parent.map(AssetId::from),
            declared_at: row.declared_at.map(timestamp).transpose()?,
            maintenance: row.maintenance.as_deref().map(texts::parsed).transpose()?,
            modes: row.modes.as_deref().map(texts::parsed).transpose()?,
        })
    }
}

/// Assets in the order of their ids.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, start: &Start, limit: usize) -> Result<Page<Asset>, StoreError> {
    let select = "SELECT id FROM assets WHERE $1 < id UNION SELECT asset AS id FROM sensors WHERE $1 < asset \
                  ORDER BY id LIMIT $2 OFFSET $3";
    let (after, offset) = match start {
        Start::Offset(offset) => ("", *offset),
        Start::After(last) => (last.id.as_str(), 0),
    };
    let values = [after.into(), (limit.saturating_add(1) as i64).into(), (offset as i64).into()];
    let ids = sql::rows(history.db(), select, values).await?;
    let ids: Vec<String> = ids.iter().map(|row| row.try_get("", "id")).collect::<Result<_, _>>()?;
    let known = row::Entity::find().filter(row::Column::Id.is_in(&ids)).all(history.db()).await?;
    let known: HashMap<String, row::Model> = known.into_iter().map(|row| (row.id.clone(), row)).collect();
    let asset = |id: String| match known.get(&id) {
        Some(row) => Asset::try_from(row.clone()),
        None => Ok(Asset::undeclared(id)),
    };
    Page::of(ids, limit, |id| Cursor { at: 0, id: id.clone() }, asset)
}

/// One asset.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: &AssetId) -> Result<Option<Asset>, StoreError> {
    find(history.db(), id).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, id: &AssetId) -> Result<Option<Asset>, StoreError> {
    if let Some(row) = row::Entity::find_by_id(id.as_str()).one(db).await? {
        return Asset::try_from(row).map(Some);
    }
    let select = "SELECT 1 AS one FROM sensors WHERE asset = $1 LIMIT 1";
    let sensor = sql::row(db, select, [id.as_str().into()]).await?;
    Ok(sensor.map(|_| Asset::undeclared(id.as_str().to_owned())))
}

/// Assets out of service, in the order of their ids.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn out_of_service(history: &History, limit: usize) -> Result<Vec<Asset>, StoreError> {
    let rows = row::Entity::find().filter(row::Column::Maintenance.is_not_null());
    let rows = rows.order_by_asc(row::Column::Id).limit(limit as u64).all(history.db()).await?;
    rows.into_iter().map(Asset::try_from).collect()
}

/// An asset was described.
pub(crate) async fn declared(tx: &impl ConnectionTrait, event: &NewEvent, asset: &asset::Asset) -> Result<(), DbErr> {
    use row::Column;
    let row = row::Model {
        id: asset.id.as_str().to_owned(),
        name: Some(asset.name.clone()),
        class: asset.class.clone(),
        parent: asset.parent.as_ref().map(|parent| parent.as_str().to_owned()),
        declared_at: Some(micros(event.at)),
        maintenance: None,
        modes: asset.modes.as_ref().map(texts::json).transpose()?,
    };
    let described = OnConflict::column(Column::Id)
        .update_columns([Column::Name, Column::Class, Column::Parent, Column::DeclaredAt, Column::Modes])
        .to_owned();
    row::Entity::insert(row.into_active_model()).on_conflict(described).exec_without_returning(tx).await?;
    Ok(())
}

/// An asset was taken out of service; what was said of that before is replaced.
pub(crate) async fn maintenance_began(
    tx: &impl ConnectionTrait,
    event: &NewEvent,
    began: &MaintenanceBegan,
) -> Result<(), DbErr> {
    let MaintenanceBegan { asset, by, reason, until, work_order } = began.clone();
    let maintenance = Maintenance { since: event.at, by, reason, until, work_order };
    let row = row::Model {
        id: asset.as_str().to_owned(),
        name: None,
        class: None,
        parent: None,
        declared_at: None,
        maintenance: Some(texts::json(&maintenance)?),
        modes: None,
    };
    let replaced = OnConflict::column(row::Column::Id).update_column(row::Column::Maintenance).to_owned();
    row::Entity::insert(row.into_active_model()).on_conflict(replaced).exec_without_returning(tx).await?;
    Ok(())
}

/// An asset is back in service.
pub(crate) async fn maintenance_ended(tx: &impl ConnectionTrait, ended: &MaintenanceEnded) -> Result<(), DbErr> {
    row::Entity::update_many()
        .col_expr(row::Column::Maintenance, Expr::value(None::<String>))
        .filter(row::Column::Id.eq(ended.asset.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, second};
    use domain::Event;
    use domain::decision::By;
    use domain::mode::Condition;
    use domain::reading::SensorType;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    #[tokio::test]
    async fn a_sensor_makes_an_asset_until_somebody_declares_it() -> Outcome {
        let mut story = Story::begin().await?;
        story.sensor(1, "press", "press", SensorType::Temperature, 10).await?;
        story.sensor(2, "pump", "pump", SensorType::Pump, 10).await?;
        let listed = list(&story.history, &Start::default(), 1).await?;
        assert_eq!(listed.rows, [Asset::undeclared("press".to_owned())]);
        let rest = list(&story.history, &Start::After(listed.next.expect("there is one more")), 1).await?;
        assert_eq!((rest.rows, rest.next), (vec![Asset::undeclared("pump".to_owned())], None));
        let modes = Modes { off: Condition::parse("press < 5").ok(), ..Modes::default() };
        let asset = asset::Asset {
            id: "press".into(),
            name: "Press 1".to_owned(),
            class: Some("press".to_owned()),
            parent: None,
            modes: Some(modes.clone()),
        };
        story.tell(5, None, Event::AssetDeclared { asset, by: "console".to_owned() }).await?;
        let known = get(&story.history, &"press".into()).await?.expect("it was declared");
        assert_eq!((known.name.as_str(), known.declared_at), ("Press 1", Some(second(5))));
        assert_eq!(known.modes.as_ref(), Some(&modes));
        assert_eq!(list(&story.history, &Start::default(), 10).await?.rows[0], known);
        assert_eq!(get(&story.history, &"nowhere".into()).await?, None);
        Ok(())
    }

    #[tokio::test]
    async fn maintenance_is_kept_until_it_ends_and_survives_a_new_description() -> Outcome {
        let mut story = Story::begin().await?;
        let began = |reason: &str| {
            Event::AssetMaintenanceBegan(MaintenanceBegan {
                asset: "press".into(),
                by: "console".to_owned(),
                reason: reason.to_owned(),
                until: None,
                work_order: None,
            })
        };
        story.tell(1, None, began("overhaul")).await?;
        let asset =
            asset::Asset { id: "press".into(), name: "Press 1".to_owned(), class: None, parent: None, modes: None };
        story.tell(2, None, Event::AssetDeclared { asset, by: "console".to_owned() }).await?;
        let known = get(&story.history, &"press".into()).await?.expect("it is there");
        assert_eq!(known.maintenance.map(|maintenance| maintenance.reason), Some("overhaul".to_owned()));
        assert_eq!(out_of_service(&story.history, 10).await?.len(), 1);
        let ended = MaintenanceEnded { asset: "press".into(), by: By::Expiry, reason: "over".to_owned() };
        story.tell(3, None, Event::AssetMaintenanceEnded(ended)).await?;
        assert_eq!(get(&story.history, &"press".into()).await?.and_then(|known| known.maintenance), None);
        Ok(())
    }
}
