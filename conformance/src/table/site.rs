//! What the servers of the table serve.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The configuration file for brolly, without `listen`. Deadlines are short, but for idle connections: a connection that
/// is closed in the middle of a row must have been closed on purpose.
pub const CONFIG: &str = include_str!("../../cases/site.toml");
/// The files below `table-files/`.
const FILES: [(&str, &str); 5] = [
    ("a/index.htm", "the site a\n"),
    ("hashed/de/adbeef-page.txt", "version deadbeef\n"),
    ("page.txt", "0123456789abcdefghijklmnopqrstuvwxyz"),
    ("style.css", "p { color: #123; }\n"),
    ("style.css.gz", "gz!"),
];
/// When they were last modified: Sun, 06 Nov 1994 08:49:37 GMT.
const DATE: u64 = 784_111_777;

/// Writes the files of the site beside a configuration file that is to lie in `folder`.
///
/// # Errors
/// They cannot be written.
pub fn write_files(folder: &Path) -> io::Result<()> {
    let root = folder.join("table-files");
    fs::create_dir_all(&root)?;
    for (name, content) in FILES {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&root))?;
        fs::write(&path, content)?;
        File::options().write(true).open(path)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(DATE))?;
    }
    Ok(())
}
