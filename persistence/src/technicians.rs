//! Who can repair what, and when.

use crate::page::{Cursor, Page, Start};
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
            shifts: texts::parsed(&row.shift)?,
            example: row.example,
        })
    }
}

/// Technicians in the order of their ids.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, start: &Start, limit: usize) -> Result<Page<Technician>, StoreError> {
    let rows = row::Entity::find().order_by_asc(row::Column::Id).limit(limit.saturating_add(1) as u64);
    let rows = match start {
        Start::Offset(offset) => rows.offset(*offset as u64),
        Start::After(last) => rows.filter(row::Column::Id.gt(last.id.as_str())),
    };
    let cursor = |row: &row::Model| Cursor { at: 0, id: row.id.clone() };
    Page::of(rows.all(history.db()).await?, limit, cursor, Technician::try_from)
}

/// One technician.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn get(history: &History, id: &TechnicianId) -> Result<Option<Technician>, StoreError> {
    row::Entity::find_by_id(id.as_str()).one(history.db()).await?.map(Technician::try_from).transpose()
}

/// A technician was described. The first one who stands for somebody replaces the examples.
pub(crate) async fn declared(tx: &impl ConnectionTrait, technician: &Technician) -> Result<(), DbErr> {
    if !technician.example {
        row::Entity::delete_many().filter(row::Column::Example.eq(true)).exec(tx).await?;
    }
    let row = row::Model {
        id: technician.id.as_str().to_owned(),
        name: technician.name.clone(),
        skills: texts::json(&technician.skills)?,
        experience_years: technician.experience_years,
        shift: texts::json(&technician.shifts)?,
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

/// A technician is not sent any more.
///
/// # Errors
///
/// [`DbErr::Custom`] when nobody is called so.
pub(crate) async fn removed(tx: &impl ConnectionTrait, id: &TechnicianId) -> Result<(), DbErr> {
    let done = row::Entity::delete_by_id(id.as_str()).exec(tx).await?;
    if done.rows_affected == 1 { Ok(()) } else { Err(DbErr::Custom(format!("there is no technician {id}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use domain::Event;
    use domain::asset::Shift;

    #[tokio::test]
    async fn the_first_technician_of_ones_own_replaces_the_examples() -> Result<(), Box<dyn std::error::Error>> {
        let mut story = Story::begin().await?;
        let technician = |id: &str, years, example| Technician {
            id: id.into(),
            name: "Ana".to_owned(),
            skills: vec!["electrical".to_owned()],
            experience_years: years,
            shifts: vec![Shift {
                weekdays: vec![1, 2, 3],
                from: "08:00".parse().expect("a time"),
                to: "17:00".parse().expect("a time"),
            }],
            example,
        };
        let declared = |technician| Event::TechnicianDeclared { technician, by: "console".to_owned() };
        for id in ["e-1", "e-2"] {
            story.tell(0, None, declared(technician(id, 1.0, true))).await?;
        }
        let first = list(&story.history, &Start::default(), 1).await?;
        let rest = list(&story.history, &Start::After(first.next.ok_or("there is one more")?), 1).await?;
        assert_eq!((&first.rows[0].id, &rest.rows[0].id), (&"e-1".into(), &"e-2".into()));
        assert_eq!(rest.next, None);
        for years in [2.0, 3.0] {
            story.tell(1, None, declared(technician("t-1", years, false))).await?;
        }
        assert_eq!(list(&story.history, &Start::default(), 10).await?.rows, [technician("t-1", 3.0, false)]);
        assert_eq!(get(&story.history, &"e-1".into()).await?, None);
        let removed = || Event::TechnicianRemoved { technician: "t-1".into(), by: "console".to_owned() };
        story.tell(2, None, removed()).await?;
        assert!(story.tell(3, None, removed()).await.is_err());
        Ok(())
    }
}
