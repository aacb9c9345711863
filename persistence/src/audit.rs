//! The audit chain: a code over each event that matters for who may do what and who decided what, which covers the
//! one before it.
//!
//! An edit, a deletion, an insertion or an exchange breaks it for whoever has the key, which lies beside the database
//! and not in it. The newest code is also kept in a file of its own, so that a missing end is seen as well. Whoever
//! can write all three files can still take everything back to an earlier state.

use crate::{History, Settings, StoreError, database, sql};
use domain::{Event, Seq};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sea_orm::{ConnectionTrait, Value};
use sha2::Sha256;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Links looked at together.
const LINKS_MAX: i64 = 1_000;

type Code = [u8; 32];

/// The end of the chain, and the key with which it goes on.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Chain {
    key: Code,
    /// How many links there are.
    no: i64,
    code: Code,
}

/// What is not to be told apart from the key by accident.
impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("no", &self.no).finish_non_exhaustive()
    }
}

/// The columns of an event as they stand in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) seq: Seq,
    pub(crate) id: &'a str,
    pub(crate) cause: Option<&'a str>,
    pub(crate) correlation: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) source: &'a str,
    /// Microseconds since the epoch.
    pub(crate) at: i64,
    pub(crate) version: i32,
    pub(crate) data: &'a str,
}

impl Chain {
    /// The chain as it stands in `db`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub(crate) async fn open(db: &impl ConnectionTrait, key: Code) -> Result<Self, StoreError> {
        let row = sql::row(db, "SELECT no, mac FROM audit ORDER BY no DESC LIMIT 1", []).await?;
        let Some(row) = row else { return Ok(Self { key, ..Self::default() }) };
        Ok(Self { key, no: row.try_get("", "no")?, code: code(row.try_get("", "mac")?) })
    }

    /// How many links there are.
    pub(crate) fn n_links(&self) -> i64 {
        self.no
    }

    /// Adds the event with those fields; gives the link's row: number, place of the event, code.
    pub(crate) fn add(&mut self, fields: Fields<'_>) -> [Value; 3] {
        self.no += 1;
        self.code = self.next(fields);
        [self.no.into(), fields.seq.0.into(), self.code.to_vec().into()]
    }

    /// The code of the link called `no` over an event.
    fn next(&self, fields: Fields<'_>) -> Code {
        let Fields { seq, id, cause, correlation, kind, source, at, version, data } = fields;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(&self.code);
        for number in [self.no, seq.0, at, i64::from(version), i64::from(cause.is_some())] {
            mac.update(&number.to_be_bytes());
        }
        for text in [id, cause.unwrap_or_default(), correlation, kind, source, data] {
            // With its length, so that nothing can be moved from one text to the next.
            mac.update(&(text.len() as u64).to_be_bytes());
            mac.update(text.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// The line that the anchor file holds.
    fn line(&self) -> String {
        let code: String = self.code.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {code}\n", self.no)
    }

    /// Keeps the end of the chain apart from the database.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub(crate) fn anchor(&self, dir: &Path) -> std::io::Result<()> {
        let (fresh, place) = (dir.join("audit.anchor.new"), anchor_file(dir));
        let mut file = File::create(&fresh)?;
        file.write_all(self.line().as_bytes())?;
        // Before it takes the place of the old one: a file system may do both in any order.
        file.sync_all()?;
        std::fs::rename(fresh, place)
    }
}

/// What was found of the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Links that are as they should be, from the first one on.
    pub n_links: u64,
    /// What is wrong after them, if anything is.
    pub fault: Option<String>,
}

/// Looks whether the chain in the folder of `settings` holds. A node may run on it meanwhile.
///
/// # Errors
///
/// [`StoreError`] when there is no store, no key, or it cannot be read.
pub async fn verify(settings: &Settings) -> Result<Verdict, StoreError> {
    let dir = &settings.data_dir;
    let db = database::readers(settings).await?;
    let key =
        read_key(dir)?.ok_or_else(|| StoreError::Unavailable(format!("{} is missing", key_file(dir).display())))?;
    // Before the chain is read, which may grow meanwhile.
    let anchor = read_anchor(dir)?;
    let verdict = check(&db, key, anchor.as_deref()).await;
    database::close(db).await?;
    verdict
}

/// The same for a store that is open already.
///
/// # Errors
///
/// See [`verify`].
pub(crate) async fn verify_open(history: &History, dir: &Path, key: Code) -> Result<Verdict, StoreError> {
    let anchor = read_anchor(dir)?;
    check(history.db(), key, anchor.as_deref()).await
}

/// Whether the anchor in `dir` belongs to the chain in `db`.
///
/// # Errors
///
/// See [`StoreError`].
pub(crate) async fn is_anchored(db: &impl ConnectionTrait, dir: &Path) -> Result<bool, StoreError> {
    let Some(anchor) = read_anchor(dir)? else { return Ok(true) };
    let Some((no, _)) = anchor.split_once(' ').and_then(|(no, code)| Some((no.parse::<i64>().ok()?, code))) else {
        return Ok(false);
    };
    let row = sql::row(db, "SELECT mac FROM audit WHERE no = $1", [no.into()]).await?;
    let Some(row) = row else { return Ok(false) };
    let link = Chain { key: [0; 32], no, code: code(row.try_get("", "mac")?) };
    Ok(link.line().trim_end() == anchor)
}

async fn check(db: &impl ConnectionTrait, key: Code, anchor: Option<&str>) -> Result<Verdict, StoreError> {
    let end = Chain::open(db, key).await?;
    let mut chain = Chain { key, ..Chain::default() };
    let mut first_seq = None;
    let mut last_seq = 0;
    let mut anchored = anchor.is_none();
    let broken = |n_links: i64, fault: String| {
        Ok(Verdict { n_links: u64::try_from(n_links).unwrap_or_default(), fault: Some(fault) })
    };
    while chain.no < end.no {
        let select = "SELECT a.no, a.seq AS linked, a.mac, e.seq, e.id, e.cause, e.correlation, e.type, e.source, \
                      e.at, e.version, e.data FROM audit a LEFT JOIN events e ON e.seq = a.seq \
                      WHERE $1 < a.no AND a.no <= $2 ORDER BY a.no LIMIT $3";
        let rows = sql::rows(db, select, [chain.no.into(), end.no.into(), LINKS_MAX.into()]).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let (no, linked): (i64, i64) = (row.try_get("", "no")?, row.try_get("", "linked")?);
            if no != chain.no + 1 {
                return broken(chain.no, format!("link {} is missing", chain.no + 1));
            }
            if linked <= last_seq {
                return broken(chain.no, format!("link {no} is out of order"));
            }
            let Some(seq) = row.try_get::<Option<i64>>("", "seq")? else {
                return broken(chain.no, format!("event {linked} of link {no} is missing"));
            };
            let texts: Result<[String; 5], _> = ["id", "correlation", "type", "source", "data"]
                .map(|column| row.try_get::<String>("", column))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
                .map(|texts| texts.try_into().expect("there are five"));
            let (Ok([id, correlation, kind, source, data]), Ok(cause)) =
                (texts, row.try_get::<Option<String>>("", "cause"))
            else {
                return broken(chain.no, format!("event {seq} of link {no} cannot be read"));
            };
            let (Ok(at), Ok(version)) = (row.try_get("", "at"), row.try_get("", "version")) else {
                return broken(chain.no, format!("event {seq} of link {no} cannot be read"));
            };
            let fields = Fields {
                seq: Seq(seq),
                id: &id,
                cause: cause.as_deref(),
                correlation: &correlation,
                kind: &kind,
                source: &source,
                at,
                version,
                data: &data,
            };
            let mut next = chain;
            next.add(fields);
            if next.code != code(row.try_get("", "mac")?) {
                return broken(chain.no, format!("event {seq}, or link {no} to it, was changed"));
            }
            chain = next;
            first_seq.get_or_insert(seq);
            last_seq = seq;
            anchored |= anchor.is_some_and(|anchor| chain.line().trim_end() == anchor);
        }
    }
    if !anchored {
        return broken(
            chain.no,
            "the end of the chain is missing, or it was taken back to an earlier state".to_owned(),
        );
    }
    // Every event of these kinds has its link, from the first one that has.
    let kinds = Event::AUDITED.iter().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ");
    let select = format!("SELECT COUNT(*) AS n FROM events WHERE type IN ({kinds}) AND $1 <= seq AND seq <= $2");
    let row = sql::row(db, select, [first_seq.unwrap_or(i64::MAX).into(), last_seq.into()]).await?;
    let n_events: i64 = row.map_or(Ok(0), |row| row.try_get("", "n"))?;
    if n_events != chain.no {
        return broken(chain.no, format!("{n_events} events should have a link, and {} have", chain.no));
    }
    Ok(Verdict { n_links: u64::try_from(chain.no).unwrap_or_default(), fault: None })
}

/// A code as it was stored; one of another length equals none.
fn code(stored: Vec<u8>) -> Code {
    stored.try_into().unwrap_or([0; 32])
}

fn key_file(dir: &Path) -> PathBuf {
    dir.join("audit.key")
}

fn anchor_file(dir: &Path) -> PathBuf {
    dir.join("audit.anchor")
}

/// The key of the chain in `dir`; made if there is neither a key nor a chain.
///
/// # Errors
///
/// [`StoreError::Unsafe`] when there is a chain and no key to it.
pub(crate) async fn key(db: &impl ConnectionTrait, dir: &Path) -> Result<Code, StoreError> {
    if let Some(key) = read_key(dir)? {
        return Ok(key);
    }
    let place = key_file(dir);
    if Chain::open(db, Code::default()).await?.no != 0 {
        return Err(StoreError::Unsafe(format!("there is an audit chain, but {} is missing", place.display())));
    }
    let mut key = Code::default();
    key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    let unusable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", place.display()));
    let mut options = File::options();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&place).map_err(unusable)?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(unusable)?;
    Ok(key)
}

fn read_key(dir: &Path) -> Result<Option<Code>, StoreError> {
    let place = key_file(dir);
    let mut key = Code::default();
    match File::open(&place).and_then(|mut file| file.read_exact(&mut key)) {
        Ok(()) => Ok(Some(key)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::Unsafe(format!("{}: {error}", place.display()))),
    }
}

fn read_anchor(dir: &Path) -> Result<Option<String>, StoreError> {
    match std::fs::read_to_string(anchor_file(dir)) {
        Ok(line) => Ok(Some(line.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::Unavailable(format!("{}: {error}", anchor_file(dir).display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations;
    use sea_orm::{Database, DatabaseConnection, TransactionTrait};

    /// A small generator of numbers, so that a failing edit can be made again.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }
    }

    const KEY: Code = [7; 32];
    const N_EVENTS: i64 = 24;

    /// A log in which two of three events are linked.
    async fn chained() -> (DatabaseConnection, Chain) {
        let db = Database::connect("sqlite::memory:").await.expect("a database");
        migrations::apply(&db).await.expect("tables");
        let mut chain = Chain::open(&db, KEY).await.expect("an empty chain");
        for seq in 1..=N_EVENTS {
            let kind = ["maintenance_approved", "anomaly_detected", "key_created"][seq as usize % 3];
            let (id, data) = (format!("id-{seq}"), format!("{{\"type\":\"{kind}\",\"no\":{seq}}}"));
            let cause = (seq % 2 == 0).then(|| format!("id-{}", seq - 1));
            let insert = "INSERT INTO events (seq, id, cause, correlation, type, source, at, version, data) \
                          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            let values = [
                seq.into(),
                id.as_str().into(),
                cause.clone().into(),
                "c".into(),
                kind.into(),
                "test".into(),
                (seq * 1_000).into(),
                1.into(),
                data.as_str().into(),
            ];
            sql::execute(&db, insert, values).await.expect("stored");
            if Event::AUDITED.contains(&kind) {
                let fields = Fields {
                    seq: Seq(seq),
                    id: &id,
                    cause: cause.as_deref(),
                    correlation: "c",
                    kind,
                    source: "test",
                    at: seq * 1_000,
                    version: 1,
                    data: &data,
                };
                let row = chain.add(fields);
                sql::execute(&db, "INSERT INTO audit (no, seq, mac) VALUES ($1, $2, $3)", row).await.expect("stored");
            }
        }
        (db, chain)
    }

    /// An edit that changes something about the linked events or their links.
    fn edit(chance: &mut Chance, n_links: i64) -> String {
        let no = 1 + chance.below(n_links as u64) as i64;
        let other = 1 + (no + chance.below(n_links as u64 - 1) as i64) % n_links;
        let event = format!("(SELECT seq FROM audit WHERE no = {no})");
        let noise = chance.below(1 << 30);
        match chance.below(14) {
            0 => format!("UPDATE events SET data = data || '{noise}' WHERE seq = {event}"),
            1 => format!("UPDATE events SET source = 'x{noise}' WHERE seq = {event}"),
            2 => format!("UPDATE events SET correlation = 'x{noise}' WHERE seq = {event}"),
            3 => format!("UPDATE events SET at = at + {} WHERE seq = {event}", 1 + noise),
            4 => format!("UPDATE events SET cause = 'x{noise}' WHERE seq = {event}"),
            5 => format!("UPDATE events SET id = 'x{noise}' WHERE seq = {event}"),
            6 => format!("UPDATE events SET type = 'anomaly_detected' WHERE seq = {event}"),
            7 => format!("UPDATE events SET version = version + 1 WHERE seq = {event}"),
            8 => format!("DELETE FROM events WHERE seq = {event}"),
            9 => format!("DELETE FROM audit WHERE no = {no}"),
            10 => format!("DELETE FROM audit WHERE {no} <= no"),
            11 => format!("UPDATE audit SET mac = (SELECT mac FROM audit WHERE no = {other}) WHERE no = {no}"),
            // One byte of a text becomes another.
            12 => format!(
                "UPDATE events SET data = substr(data, 1, {0} - 1) || char(35 + unicode(substr(data, {0}, 1)) % 80) || \
                 substr(data, {0} + 1) WHERE seq = {event}",
                1 + noise % 20
            ),
            // An event of a linked kind that has no link, somewhere in between.
            _ => format!("UPDATE events SET type = 'key_revoked' WHERE seq = {}", 4 + 3 * (noise % 6)),
        }
    }

    #[tokio::test]
    async fn ten_thousand_random_edits_are_all_detected() {
        let (db, chain) = chained().await;
        let anchor = chain.line();
        let anchor = Some(anchor.trim_end());
        let whole = check(&db, KEY, anchor).await.expect("a verdict");
        assert_eq!(whole, Verdict { n_links: chain.n_links() as u64, fault: None });
        let mut chance = Chance(1);
        for no in 0..10_000 {
            let tx = db.begin().await.expect("a transaction");
            let edit = edit(&mut chance, chain.n_links());
            assert_ne!(
                sql::execute(&tx, edit.as_str(), []).await.expect(&edit),
                0,
                "edit {no} changes nothing: {edit}"
            );
            let verdict = check(&tx, KEY, anchor).await.expect("a verdict");
            assert!(verdict.fault.is_some(), "edit {no} was not detected: {edit}");
            tx.rollback().await.expect("rolled back");
        }
        assert_eq!(check(&db, KEY, anchor).await.expect("a verdict"), whole);
    }

    #[tokio::test]
    async fn a_chain_made_anew_without_the_key_is_detected() {
        let (db, chain) = chained().await;
        let verdict = check(&db, [8; 32], None).await.expect("a verdict");
        assert_eq!(verdict.n_links, 0);
        assert!(verdict.fault.is_some_and(|fault| fault.contains("was changed")));
        assert!(chain.n_links() > 10);
    }
}
