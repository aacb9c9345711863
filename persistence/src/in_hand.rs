//! Which event an agent has in hand, told by a small file that outlives the process.
//!
//! It is not synced: what it tells is whom the end of a process may be blamed on, and the end of the machine is no
//! event's fault.

use crate::StoreError;
use domain::Seq;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// An event in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The incarnation that has it.
    pub epoch: i64,
    /// Its place in the log.
    pub seq: Seq,
}

/// What one agent has in hand.
#[derive(Debug)]
pub struct InHand {
    file: File,
}

impl InHand {
    /// Of `agent`, in the folder of the store.
    pub(crate) fn open(data_dir: &Path, agent: &str) -> Result<Self, StoreError> {
        let folder = data_dir.join("in_hand");
        let open = || {
            std::fs::create_dir_all(&folder)?;
            File::options().create(true).truncate(false).read(true).write(true).open(folder.join(agent))
        };
        open().map(|file| Self { file }).map_err(unavailable)
    }

    /// The agent is about to handle an event.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when that cannot be written down.
    pub fn take(&self, held: Held) -> Result<(), StoreError> {
        self.write(held).map_err(unavailable)
    }

    /// The agent is done with it, one way or the other.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when that cannot be written down.
    pub fn put_down(&self) -> Result<(), StoreError> {
        self.write(Held { epoch: 0, seq: Seq(0) }).map_err(unavailable)
    }

    /// The event that the agent had in hand when it ended, if there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the file cannot be read.
    pub fn held(&self) -> Result<Option<Held>, StoreError> {
        self.read().map_err(unavailable)
    }

    fn write(&self, Held { epoch, seq: Seq(seq) }: Held) -> io::Result<()> {
        (&self.file).seek(SeekFrom::Start(0))?;
        // In one go, so that the end of the process finds both or neither.
        (&self.file).write_all(&[epoch.to_le_bytes(), seq.to_le_bytes()].concat())
    }

    fn read(&self) -> io::Result<Option<Held>> {
        let mut bytes = Vec::new();
        (&self.file).seek(SeekFrom::Start(0))?;
        (&self.file).read_to_end(&mut bytes)?;
        // A file that nobody has written to yet is empty.
        let Some((epoch, seq)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
        let seq = seq.try_into().map_or(Seq(0), |seq| Seq(i64::from_le_bytes(seq)));
        Ok((Seq(0) < seq).then_some(Held { epoch: i64::from_le_bytes(*epoch), seq }))
    }
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(format!("what an agent has in hand: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn what_was_in_hand_is_known_to_whoever_comes_next() -> Result<(), StoreError> {
        let folder = TempDir::new().expect("a folder can be made");
        let first = InHand::open(folder.path(), "drift")?;
        assert_eq!(first.held()?, None);
        let held = Held { epoch: 3, seq: Seq(812) };
        first.take(held)?;
        let second = InHand::open(folder.path(), "drift")?;
        assert_eq!(second.held()?, Some(held));
        second.put_down()?;
        assert_eq!(InHand::open(folder.path(), "drift")?.held()?, None);
        assert_eq!(InHand::open(folder.path(), "learning")?.held()?, None);
        Ok(())
    }
}
