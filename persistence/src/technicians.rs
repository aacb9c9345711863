//! Who can repair what, and when.

use crate::{History, StoreError, texts};
use domain::TechnicianId;
use domain::asset::Technician;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "technicians")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: String,
        pub skills: String,
        pub experience_years: f64,
        pub shift: String,
        pub example: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl TryFrom<row::Model> for Technician {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: TechnicianId::from(row.id),
            name: row.name,
            skills: texts::parsed(&row.skills)?,
            experience_years: row.experience_years,
            shift: texts::parsed(&row.shift)?,
            example: row.example,
        })
    }
}

/// Technicians in the order of their ids.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, limit: usize) -> Result<Vec<Technician>, StoreError> {
    let rows = row::Entity::find().order_by_asc(row::Column::Id).limit(limit as u64).all(history.db()).await?;
    rows.into_iter().map(Technician::try_from).collect()
}

/// One technician.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: &TechnicianId) -> Result<Option<Technician>, StoreError> {
    row::Entity::find_by_id(id.as_str()).one(history.db()).await?.map(Technician::try_from).transpose()
}

/// Adds a technician, or replaces the one with that id.
pub(crate) async fn put(tx: &impl ConnectionTrait, technician: &Technician) -> Result<(), DbErr> {
    let row = row::Model {
        id: technician.id.as_str().to_owned(),
        name: technician.name.clone(),
        skills: texts::json(&technician.skills)?,
        experience_years: technician.experience_years,
        shift: texts::json(&technician.shift)?,
        example: technician.example,
    };
    row::Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::column(row::Column::Id)
                .update_columns([
                    row::Column::Name,
                    row::Column::Skills,
                    row::Column::ExperienceYears,
                    row::Column::Shift,
                    row::Column::Example,
                ])
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Removes those that stand for nobody.
pub(crate) async fn remove_examples(tx: &impl ConnectionTrait) -> Result<(), DbErr> {
    row::Entity::delete_many().filter(row::Column::Example.eq(true)).exec(tx).await?;
    Ok(())
}
