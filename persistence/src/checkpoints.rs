//! Snapshots of agents' states, one per agent.

use crate::{StoreError, sql};
use domain::Seq;
use sea_orm::{ConnectionTrait, DbErr};

/// Keeps `state` as the agent's snapshot, in place of the one before.
pub(crate) async fn save(
    tx: &impl ConnectionTrait,
    agent: &str,
    cursor: Seq,
    version: u16,
    state: &[u8],
) -> Result<(), DbErr> {
    let upsert = "INSERT INTO checkpoints (agent, cursor, version, state) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT (agent) DO UPDATE \
                  SET cursor = excluded.cursor, version = excluded.version, state = excluded.state";
    let values = [agent.into(), cursor.0.into(), i32::from(version).into(), state.to_vec().into()];
    sql::execute(tx, upsert, values).await?;
    Ok(())
}

/// The agent's snapshot, if there is one of that version.
pub(crate) async fn find(
    db: &impl ConnectionTrait,
    agent: &str,
    version: u16,
) -> Result<Option<(Seq, Vec<u8>)>, StoreError> {
    let select = "SELECT cursor, state FROM checkpoints WHERE agent = $1 AND version = $2";
    let values = [agent.into(), i32::from(version).into()];
    let row = sql::row(db, select, values).await?;
    row.map(|row| Ok((Seq(row.try_get("", "cursor")?), row.try_get("", "state")?))).transpose()
}
