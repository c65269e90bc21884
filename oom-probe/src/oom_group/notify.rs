//! inotify on cgroup directories: what is made, removed and written below them, at once.
//!
//! The kernel tells of what user space does: `mkdir`, `rmdir` and `write` on kernfs go through the
//! same hooks as on any file system (`include/linux/fsnotify.h`). Two things it does not tell: the
//! end of a watched cgroup to a watch on the cgroup itself (`kernfs_iop_rmdir` drops the inode later,
//! and the watch keeps it), so that removals come from the parent's watch; and files that appear
//! because a controller is enabled in the parent.

use std::{
    collections::HashMap,
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

/// Bytes read at once: a hundred events and more.
const BUFFER: usize = 8 << 10;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A directory is new.
    Made(PathBuf),
    /// A directory is gone.
    Removed(PathBuf),
    /// A watched file was written to.
    Written(PathBuf),
    /// More happened than the kernel's queue could hold: look at everything.
    Overflow,
}

/// Changes taken at once: others wait meanwhile.
const AT_ONCE: usize = 256;

/// What was taken of the kernel's queue.
#[derive(Debug, Default)]
pub struct Changes {
    /// In order.
    pub changes: Vec<Change>,
    /// The queue may hold more.
    pub more: bool,
}

/// Watches on directories and files.
#[derive(Debug)]
pub struct Notify {
    fd: OwnedFd,
    watched: HashMap<i32, PathBuf>,
    by_path: HashMap<PathBuf, i32>,
}

impl Notify {
    /// Without any watch.
    ///
    /// # Errors
    /// The user's `fs.inotify.max_user_instances` is used up.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            watched: HashMap::new(),
            by_path: HashMap::new(),
        })
    }

    /// Watches a directory for directories that are made in it or removed from it.
    ///
    /// # Errors
    /// It is gone, or `fs.inotify.max_user_watches` is used up (ENOSPC).
    pub fn watch_directory(&mut self, path: &Path) -> io::Result<()> {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        self.watch(path, flags)
    }

    /// Watches a file for writes.
    ///
    /// # Errors
    /// Those of [`Notify::watch_directory`].
    pub fn watch_file(&mut self, path: &Path) -> io::Result<()> {
        // Two equal events in a row become one (fs/notify/inotify/inotify_fsnotify.c,
        // `inotify_merge`): the close between two writes keeps them apart.
        self.watch(path, WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE)
    }

    fn watch(&mut self, path: &Path, flags: WatchFlags) -> io::Result<()> {
        let wd = inotify::add_watch(&self.fd, path, flags)?;
        if let Some(before) = self.by_path.insert(path.to_owned(), wd)
            && before != wd
        {
            // The cgroup was removed and made anew under the same name.
            self.watched.remove(&before);
            let _ = inotify::remove_watch(&self.fd, before);
        }
        self.watched.insert(wd, path.to_owned());
        Ok(())
    }

    /// Whether that path is watched.
    #[must_use]
    pub fn is_watched(&self, path: &Path) -> bool {
        self.by_path.contains_key(path)
    }

    /// Ends the watch on that path, if there is one.
    pub fn unwatch(&mut self, path: &Path) {
        if let Some(wd) = self.by_path.remove(path) {
            self.watched.remove(&wd);
            // It fails only where the kernel has ended the watch by itself.
            let _ = inotify::remove_watch(&self.fd, wd);
        }
    }

    /// What happened since the last call, as far as is taken at once.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub fn changes(&mut self) -> io::Result<Changes> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        let mut taken = 0;
        let mut changes = Vec::new();
        loop {
            // What was read into the buffer is out of the queue.
            if taken >= AT_ONCE && reader.is_buffer_empty() {
                return Ok(Changes {
                    changes,
                    more: true,
                });
            }
            taken += 1;
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => {
                    return Ok(Changes {
                        changes,
                        more: false,
                    });
                }
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.push(Change::Overflow);
                continue;
            }
            let Some(path) = self.watched.get(&event.wd()) else {
                continue;
            };
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()));
            changes.extend(change(event.events(), path, name));
        }
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn change(events: ReadFlags, path: &Path, name: Option<&OsStr>) -> Option<Change> {
    let directory = || {
        events
            .contains(ReadFlags::ISDIR)
            .then(|| Some(path.join(name?)))?
    };
    if events.contains(ReadFlags::CREATE) {
        directory().map(Change::Made)
    } else if events.contains(ReadFlags::DELETE) {
        directory().map(Change::Removed)
    } else if events.contains(ReadFlags::MODIFY) && name.is_none() {
        Some(Change::Written(path.to_owned()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn all(notify: &mut Notify) -> Vec<Change> {
        let Changes { changes, more } = notify.changes().unwrap();
        assert!(!more);
        changes
    }

    #[test]
    fn a_flood_is_taken_in_turns_and_nothing_of_it_is_lost() {
        const MADE: usize = 2000;
        let root = tempfile::tempdir().unwrap();
        let mut notify = Notify::new().unwrap();
        notify.watch_directory(root.path()).unwrap();
        for n in 0..MADE {
            fs::create_dir(root.path().join(n.to_string())).unwrap();
        }
        let (mut seen, mut turns) = (Vec::new(), 0);
        loop {
            let Changes { changes, more } = notify.changes().unwrap();
            // One buffer may have been begun.
            assert!(changes.len() < AT_ONCE + BUFFER / 16, "{}", changes.len());
            seen.extend(changes);
            turns += 1;
            if !more {
                break;
            }
        }
        assert!(turns > 2, "{turns}");
        let made: Vec<_> = (0..MADE)
            .map(|n| Change::Made(root.path().join(n.to_string())))
            .collect();
        assert_eq!(seen, made);
    }

    #[test]
    fn what_happens_below_a_watched_directory_is_told_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let mut notify = Notify::new().unwrap();
        notify.watch_directory(root.path()).unwrap();
        fs::create_dir(at("pod")).unwrap();
        fs::write(at("file"), "0").unwrap();
        fs::remove_file(at("file")).unwrap();
        fs::create_dir(at("pod/inside")).unwrap();
        fs::remove_dir(at("pod/inside")).unwrap();
        fs::remove_dir(at("pod")).unwrap();
        assert_eq!(
            all(&mut notify),
            [Change::Made(at("pod")), Change::Removed(at("pod"))]
        );
        assert_eq!(all(&mut notify), []);
    }

    #[test]
    fn each_write_to_a_watched_file_is_told_until_it_is_not_watched_any_more() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("memory.oom.group");
        fs::write(&file, "0").unwrap();
        let mut notify = Notify::new().unwrap();
        notify.watch_file(&file).unwrap();
        let write = || {
            use std::io::Write;
            let mut opened = fs::OpenOptions::new().write(true).open(&file).unwrap();
            opened.write_all(b"1").unwrap();
        };
        write();
        write();
        assert_eq!(all(&mut notify), vec![Change::Written(file.clone()); 2]);
        notify.unwatch(&file);
        write();
        assert_eq!(all(&mut notify), []);
        assert!(!notify.is_watched(&file));
    }

    #[test]
    fn a_directory_made_anew_under_the_same_name_is_watched_anew() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("pod");
        let mut notify = Notify::new().unwrap();
        for _ in 0..3 {
            fs::create_dir(&pod).unwrap();
            notify.watch_directory(&pod).unwrap();
            fs::create_dir(pod.join("app")).unwrap();
            let changes = all(&mut notify);
            assert!(
                changes.contains(&Change::Made(pod.join("app"))),
                "{changes:?}"
            );
            fs::remove_dir_all(&pod).unwrap();
        }
        assert_eq!(notify.by_path.len(), notify.watched.len());
        assert!(notify.watch_directory(&pod).is_err());
    }
}
