//! The maintenance log.

use crate::instants::{micros, timestamp};
use crate::page::{self, Cursor, Page, Start, Way};
use crate::unit::NewEvent;
use crate::{History, StoreError, texts};
use domain::work_order::LogEntry;
use domain::{AssetId, EventId, Timestamp};
use schemars::JsonSchema;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryTrait};
use serde::Serialize;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "maintenance_log")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: String,
        pub asset: String,
        pub case_id: Option<String>,
        pub work_order: Option<String>,
        pub kind: String,
        pub at: i64,
        pub text: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Line {
    /// The event that wrote it.
    pub event: EventId,
    /// What it says.
    #[serde(flatten)]
    pub entry: LogEntry,
}

impl TryFrom<row::Model> for Line {
    type Error = StoreError;

    fn try_from(row: row::Model) -> Result<Self, StoreError> {
        Ok(Self {
            event: texts::id(&row.event_id)?,
            entry: LogEntry {
                asset: AssetId::from(row.asset),
                case: texts::id_or_none(row.case_id.as_deref())?,
                work_order: texts::id_or_none(row.work_order.as_deref())?,
                kind: texts::named(&row.kind)?,
                at: timestamp(row.at)?,
                text: row.text,
            },
        })
    }
}

/// Which lines to list; `None` means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Those of one asset.
    pub asset: Option<AssetId>,
    /// What was then or later.
    pub from: Option<Timestamp>,
    /// What was before then.
    pub to: Option<Timestamp>,
}

/// Lines, newest first.
///
/// # Errors
///
/// [`StoreError`] when the store cannot be read.
pub async fn list(history: &History, filter: &Filter, start: &Start, limit: usize) -> Result<Page<Line>, StoreError> {
    let chosen = row::Entity::find()
        .apply_if(filter.asset.as_ref(), |rows, asset| rows.filter(row::Column::Asset.eq(asset.as_str())))
        .apply_if(filter.from, |rows, from| rows.filter(row::Column::At.gte(micros(from))))
        .apply_if(filter.to, |rows, to| rows.filter(row::Column::At.lt(micros(to))));
    let keys = (row::Column::At, row::Column::EventId);
    let rows = page::page(chosen, keys, Way::Down, page::text, start, limit).all(history.db()).await?;
    let cursor = |row: &row::Model| Cursor { at: row.at, id: row.event_id.clone() };
    Page::of(rows, limit, cursor, Line::try_from)
}

/// The log has a new line.
pub(crate) async fn written(tx: &impl ConnectionTrait, event: &NewEvent, entry: &LogEntry) -> Result<(), DbErr> {
    let row = row::Model {
        event_id: event.id.to_string(),
        asset: entry.asset.as_str().to_owned(),
        case_id: entry.case.map(|case| case.to_string()),
        work_order: entry.work_order.map(|order| order.to_string()),
        kind: entry.kind.as_str().to_owned(),
        at: micros(entry.at),
        text: entry.text.clone(),
    };
    row::Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, case, order, second};
    use domain::Event;
    use domain::work_order::LogKind;

    #[tokio::test]
    async fn lines_are_read_newest_first() -> Result<(), Box<dyn std::error::Error>> {
        let mut story = Story::begin().await?;
        let entry = |asset: &str, at| LogEntry {
            asset: asset.into(),
            case: Some(case(1)),
            work_order: Some(order(1)),
            kind: LogKind::Scheduled,
            at: second(at),
            text: "booked".to_owned(),
        };
        for (asset, at) in [("pump-1", 10), ("pump-2", 20), ("pump-1", 30)] {
            story.tell(at, None, Event::LogEntryWritten(entry(asset, at))).await?;
        }
        let lines = list(&story.history, &Filter::default(), &Start::Offset(0), 2).await?.rows;
        let lines: Vec<_> = lines.into_iter().map(|line| line.entry).collect();
        assert_eq!(lines, [entry("pump-1", 30), entry("pump-2", 20)]);
        let of_pump = Filter { asset: Some("pump-1".into()), ..Filter::default() };
        let lines = list(&story.history, &of_pump, &Start::Offset(1), 10).await?.rows;
        assert_eq!(lines.into_iter().map(|line| line.entry).collect::<Vec<_>>(), [entry("pump-1", 10)]);
        // The end is not included.
        let within = Filter { from: Some(second(10)), to: Some(second(30)), ..Filter::default() };
        let lines = list(&story.history, &within, &Start::Offset(0), 10).await?.rows;
        let lines: Vec<_> = lines.into_iter().map(|line| line.entry).collect();
        assert_eq!(lines, [entry("pump-2", 20), entry("pump-1", 10)]);
        Ok(())
    }
}
