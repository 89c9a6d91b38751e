//! What is mounted below a folder: removing the folder's files would remove those of another file system.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A place below this folder, or the folder itself, where something is mounted. A container may do that where its mounts reach the host.
pub(crate) fn mounted_below(folder: &Path) -> io::Result<Option<PathBuf>> {
    Ok(first_below(&fs::read("/proc/self/mountinfo")?, &folder.canonicalize()?))
}

/// The same in a table of mounts as the kernel prints it: the fifth word of each line is the place, with octal escapes.
fn first_below(table: &[u8], folder: &Path) -> Option<PathBuf> {
    let places =
        table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    places.map(unescaped).find(|place| place.starts_with(folder))
}

fn unescaped(mut text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let escaped = rest.get(..3).filter(|_| *first == b'\\');
        let value = escaped.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        bytes.push(value.unwrap_or(*first));
        text = if value.is_some() { &rest[3..] } else { rest };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_below_a_folder_is_found() {
        let table = b"22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
            30 22 0:5 / /tmp/a\\040b/in\\134side rw shared:1 - tmpfs tmpfs rw\n";
        let below = |folder: &str| first_below(table, Path::new(folder));
        assert_eq!(below("/tmp/a b"), Some(PathBuf::from("/tmp/a b/in\\side")));
        assert_eq!(below("/tmp/a b/in\\side"), Some(PathBuf::from("/tmp/a b/in\\side")));
        assert_eq!(below("/tmp/a"), None);
        assert_eq!(mounted_below(Path::new("/proc")).unwrap(), Some(PathBuf::from("/proc")));
        assert_eq!(mounted_below(tempfile::tempdir().unwrap().path()).unwrap(), None);
    }

    /// Runs this program again, for one test, in a namespace of mounts in which something is mounted at `place`.
    fn with_a_mount(place: &Path, test: &str, folder: &Path) -> Option<()> {
        let program = std::env::current_exe().unwrap();
        let script = "mount -t tmpfs none \"$1\" || exit 99; exec \"$2\" --exact \"$3\" --ignored";
        let ended = std::process::Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", script, "sh"])
            .args([place, &program, Path::new(test)])
            .env(FOLDER, folder)
            .output()
            .ok()?;
        // 1 is unshare's own, where it is not allowed.
        match ended.status.code() {
            Some(0) => {
                let told = String::from_utf8_lossy(&ended.stdout);
                assert!(told.contains("1 passed"), "{told}");
                Some(())
            }
            Some(101) => panic!("{}", String::from_utf8_lossy(&ended.stdout)),
            _ => None,
        }
    }

    const FOLDER: &str = "CRITAPE_TEST_FOLDER";

    #[test]
    fn a_folder_with_a_mount_in_it_is_kept_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("0/data");
        fs::create_dir_all(&place).unwrap();
        let inner = "footprint::mounts::tests::inside_a_namespace_with_a_mount";
        if with_a_mount(&place, inner, folder.path()).is_none() {
            eprintln!("SKIPPED: no namespace of mounts can be made here");
        }
    }

    #[test]
    #[ignore = "runs within a_folder_with_a_mount_in_it_is_kept_and_told"]
    fn inside_a_namespace_with_a_mount() {
        let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
        let place = folder.canonicalize().unwrap().join("0/data");
        assert_eq!(mounted_below(&folder).unwrap(), Some(place.clone()));
        let told = super::super::in_the_way(&folder).unwrap();
        assert_eq!(told, format!("{}: something is mounted at {}", folder.display(), place.display()));
    }
}
