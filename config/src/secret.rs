//! Secrets: from the environment, or from a file that only its owner can read. Never from the settings.

use crate::ConfigError;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Longest secret file that is read. A key list of thousands fits; a wrong file does not fill the memory.
const FILE_BYTES_MAX: u64 = 65_536;

/// The secret called `name` (`API_KEY`, `REDIS_URL`, …).
///
/// It is the value of the environment variable `name`, or the content, without surrounding blanks, of
/// the file that the variable `name` + `_FILE` names. An empty variable counts as absent.
///
/// # Errors
///
/// Both variables are set; the file cannot be read, is empty or too long; or its group or others may
/// read or write it.
pub fn secret(name: &str) -> Result<Option<String>, ConfigError> {
    secret_in(name, |variable| std::env::var_os(variable).map(|value| value.into_string().map_err(|_| ())))
}

fn secret_in(name: &str, variable: impl Fn(&str) -> Option<Result<String, ()>>) -> Result<Option<String>, ConfigError> {
    let file_variable = format!("{name}_FILE");
    let value_of = |called: &str| match variable(called) {
        Some(Err(())) => Err(refused(called, "the value is not Unicode", "the environment")),
        Some(Ok(value)) => Ok(Some(value).filter(|value| !value.is_empty())),
        None => Ok(None),
    };
    match (value_of(name)?, value_of(&file_variable)?) {
        (Some(_), Some(_)) => {
            Err(refused(name, &format!("both {name} and {file_variable} are set"), "the environment"))
        }
        (Some(value), None) => Ok(Some(value)),
        (None, Some(path)) => from_file(name, Path::new(&path)).map(Some),
        (None, None) => Ok(None),
    }
}

fn from_file(name: &str, path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: PathBuf::from(path), source };
    let refused = |reason: &str| refused(name, reason, &path.display().to_string());
    // The permissions are those of the opened file, so that it cannot be exchanged in between.
    let mut file = File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(refused(&format!("the file has mode {mode:04o}, but only its owner may read it: chmod 600")));
        }
    }
    let mut text = String::new();
    file.by_ref().take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if FILE_BYTES_MAX < text.len() as u64 {
        return Err(refused(&format!("the file is longer than {FILE_BYTES_MAX} bytes")));
    }
    match text.trim() {
        "" => Err(refused("the file is empty")),
        secret => Ok(secret.to_owned()),
    }
}

fn refused(name: &str, reason: &str, origin: &str) -> ConfigError {
    ConfigError::Refused { key: name.to_owned(), reason: reason.to_owned(), origin: origin.to_owned() }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// The secret `API_KEY` where the environment holds `variables`.
    fn api_key(variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let lookup =
            |called: &str| variables.iter().find(|(name, _)| *name == called).map(|(_, value)| Ok((*value).to_owned()));
        secret_in("API_KEY", lookup).map_err(|error| error.to_string())
    }

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("the file can be written");
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("our own file");
        file
    }

    fn api_key_file(file: &tempfile::NamedTempFile) -> Result<Option<String>, String> {
        api_key(&[("API_KEY_FILE", file.path().to_str().expect("a Unicode path"))])
    }

    #[test]
    fn a_secret_comes_from_the_environment() {
        assert_eq!(api_key(&[("API_KEY", "s3cret")]), Ok(Some("s3cret".to_owned())));
        assert_eq!(api_key(&[]), Ok(None));
        assert_eq!(api_key(&[("API_KEY", "")]), Ok(None));
    }

    #[test]
    fn a_secret_comes_from_a_file_that_only_its_owner_reads() {
        for mode in [0o600, 0o400] {
            assert_eq!(api_key_file(&file("s3cret\n", mode)), Ok(Some("s3cret".to_owned())));
        }
    }

    #[test]
    fn a_file_that_others_can_read_or_write_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let message = api_key_file(&file("s3cret", mode)).expect_err("exposed");
            assert!(message.starts_with(&format!("API_KEY: the file has mode {mode:04o}")), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn a_file_without_a_secret_is_refused() {
        assert!(api_key_file(&file(" \n", 0o600)).expect_err("empty").contains("is empty"));
        let long = "x".repeat(FILE_BYTES_MAX as usize + 1);
        assert!(api_key_file(&file(&long, 0o600)).expect_err("too long").contains("longer than"));
        let message = api_key(&[("API_KEY_FILE", "/nowhere/key")]).expect_err("absent");
        assert!(message.starts_with("cannot read /nowhere/key"), "{message}");
    }

    #[test]
    fn a_secret_named_twice_is_refused() {
        let message = api_key(&[("API_KEY", "s3cret"), ("API_KEY_FILE", "/nowhere/key")]).expect_err("ambiguous");
        assert!(message.contains("both API_KEY and API_KEY_FILE are set"), "{message}");
    }
}
