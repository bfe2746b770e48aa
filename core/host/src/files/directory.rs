//! What is in a directory.

use super::beneath::Root;
use super::failed;
use brolly_core::config::{Files, Symlinks};
use brolly_core::handler::files::listing::{Entry, Listing};
use brolly_core::handler::files::path::is_hidden;
use brolly_core::shard::IoError;
use rustix::fs::{AtFlags, Dir, FileType, fstat, statat};
use std::str;

/// Up to `limit` files and directories that could be asked for.
pub(super) fn list(files: &Files, path: &str, limit: usize) -> Result<Listing, IoError> {
    let root = Root::open(&files.root).map_err(failed)?;
    let directory = root.open_beneath(path, files.symlinks).map_err(failed)?;
    let mut listing = Listing::default();
    for found in Dir::read_from(&directory).map_err(failed)? {
        let found = found.map_err(failed)?;
        // A path of a request is UTF-8, without control characters and backslashes.
        let Ok(name) = str::from_utf8(found.file_name().to_bytes()) else { continue };
        let is_dots = matches!(name, "." | "..");
        if is_dots || (is_hidden(name) && !files.hidden) || name.contains(|c: char| c.is_control() || c == '\\') {
            continue;
        }
        let stat = match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() && files.symlinks != Symlinks::Never => {
                // Where it leads to, if that may be seen.
                root.open_beneath(&[path, name].concat(), files.symlinks).and_then(fstat)
            }
            stat => stat,
        };
        // What cannot be opened, or has gone meanwhile, is not there.
        let Ok(stat) = stat else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !kind.is_file() && !kind.is_dir() {
            continue;
        }
        if listing.entries.len() == limit {
            listing.is_cut = true;
            break;
        }
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        listing.entries.push(Entry { is_file: kind.is_file(), name: name.into(), len });
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_can_be_asked_for_is_listed() {
        let scratch = Scratch::new("listing");
        scratch.write("outside", b"outside");
        for name in ["root/a", "root/.hidden", "root/b\\c", "root/new\nline"] {
            scratch.write(name, b"12345");
        }
        fs::create_dir(scratch.path("root/dir")).unwrap();
        symlink("dir", scratch.path("root/in")).unwrap();
        symlink("../outside", scratch.path("root/out")).unwrap();
        symlink("gone", scratch.path("root/dangling")).unwrap();
        let names = |files: &Files, limit| {
            let Listing { mut entries, is_cut } = list(files, "", limit).unwrap();
            entries.sort();
            let names = entries.iter().map(|entry| format!("{}{}", entry.name, if entry.is_file { "" } else { "/" }));
            (names.collect::<Vec<_>>().join(" "), is_cut)
        };
        let inside = Files::new(&scratch.root());
        assert_eq!(names(&inside, 9), ("dir/ in/ sub/ a".into(), false));
        assert!(names(&inside, 3).1);
        let never = Files { symlinks: Symlinks::Never, ..inside.clone() };
        assert_eq!(names(&never, 9), ("dir/ sub/ a".into(), false));
        let all = Files { symlinks: Symlinks::Anywhere, hidden: true, ..inside.clone() };
        assert_eq!(names(&all, 9), ("dir/ in/ sub/ .hidden a out".into(), false));
        assert_eq!(list(&inside, "nowhere/", 9), Err(IoError::NotFound));
        assert_eq!(list(&inside, "a", 9), Err(IoError::NotFound));
    }
}
