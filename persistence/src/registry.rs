//! Every sensor that was declared or ever sent a reading, in memory: number and description by name and by number.
//!
//! It holds committed sensors only. What the plant declares of a sensor wins, and then its first reading. What a sensor
//! sent before it was described anew keeps the description of its time.

use crate::{StoreError, sql};
use domain::reading::{Sensor, SensorType};
use domain::{AssetId, ReadingNo, SensorId};
use sea_orm::{ConnectionTrait, QueryResult};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// A sensor with the number that stands for it in the table of readings.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) no: i32,
    pub(crate) sensor: Arc<Sensor>,
    /// Whether the plant declares it.
    pub(crate) is_declared: bool,
}

/// How a sensor was described before.
#[derive(Clone, Debug)]
pub(crate) struct Earlier {
    /// Its number.
    pub(crate) no: i32,
    /// The description holds up to this reading.
    pub(crate) until: ReadingNo,
    pub(crate) sensor: Arc<Sensor>,
}

/// The registered sensors.
#[derive(Default)]
pub(crate) struct Registry {
    // A leaf: nothing is awaited and nothing else is locked while it is held.
    known: RwLock<Known>,
}

/// The registered sensors at one moment.
#[derive(Default)]
pub(crate) struct Known {
    by_id: HashMap<SensorId, Registered>,
    by_no: HashMap<i32, Arc<Sensor>>,
    /// The oldest first.
    earlier: HashMap<i32, Vec<Earlier>>,
    last_no: i32,
}

impl Known {
    /// The sensor of that name.
    pub(crate) fn by_id(&self, id: &SensorId) -> Option<&Registered> {
        self.by_id.get(id)
    }

    /// The sensor of that number as it was described when it sent `reading`.
    pub(crate) fn of_reading(&self, no: i32, reading: ReadingNo) -> Option<&Arc<Sensor>> {
        let mut earlier = self.earlier.get(&no).into_iter().flatten();
        earlier.find(|earlier| reading <= earlier.until).map(|earlier| &earlier.sensor).or_else(|| self.by_no.get(&no))
    }

    /// The highest number given so far, 0 before the first.
    pub(crate) fn last_no(&self) -> i32 {
        self.last_no
    }

    fn add(&mut self, registered: Registered) {
        self.last_no = self.last_no.max(registered.no);
        self.by_no.insert(registered.no, Arc::clone(&registered.sensor));
        self.by_id.insert(registered.sensor.id.clone(), registered);
    }
}

impl Registry {
    /// The sensors as they are now. Not to be held across an await.
    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds sensors that were committed, in place of what was known of them, and how some were described `earlier`.
    pub(crate) fn add(
        &self,
        sensors: impl IntoIterator<Item = Registered>,
        earlier: impl IntoIterator<Item = Earlier>,
    ) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for earlier in earlier {
            known.earlier.entry(earlier.no).or_default().push(earlier);
        }
        for registered in sensors {
            known.add(registered);
        }
    }

    /// Takes the sensors from the table, whatever was known before.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub(crate) async fn load(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        // Not limited: there are as many rows as sensors, and all of them are needed.
        let select = "SELECT no, id, asset, sensor_type, unit, limit_high, limit_low, declared_at FROM sensors";
        let rows = sql::rows(db, select, []).await?;
        let mut fresh = Known::default();
        for row in &rows {
            fresh.add(registered(row)?);
        }
        let select = "SELECT d.no, s.id, d.asset, d.sensor_type, d.unit, d.limit_high, d.limit_low, d.until_reading \
                      FROM sensor_descriptions d JOIN sensors s ON s.no = d.no ORDER BY d.no, d.until_reading";
        for row in &sql::rows(db, select, []).await? {
            let (no, until) = (row.try_get("", "no")?, ReadingNo(row.try_get("", "until_reading")?));
            let earlier = Earlier { no, until, sensor: Arc::new(described(row)?) };
            fresh.earlier.entry(no).or_default().push(earlier);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

fn registered(row: &QueryResult) -> Result<Registered, StoreError> {
    let is_declared = row.try_get::<Option<i64>>("", "declared_at")?.is_some();
    Ok(Registered { no: row.try_get("", "no")?, sensor: Arc::new(described(row)?), is_declared })
}

fn described(row: &QueryResult) -> Result<Sensor, StoreError> {
    let sensor_type: String = row.try_get("", "sensor_type")?;
    Ok(Sensor {
        id: SensorId::from(row.try_get::<String>("", "id")?),
        asset: AssetId::from(row.try_get::<String>("", "asset")?),
        sensor_type: SensorType::parse(&sensor_type)
            .ok_or_else(|| StoreError::Corrupt(format!("unknown sensor type {sensor_type}")))?,
        unit: row.try_get("", "unit")?,
        limit_high: row.try_get("", "limit_high")?,
        limit_low: row.try_get("", "limit_low")?,
    })
}
