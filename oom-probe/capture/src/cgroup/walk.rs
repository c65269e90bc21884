//! The cgroups below one: directories alone, for a symbolic link leads elsewhere.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

use super::files::{FileError, is_gone};

/// The cgroups right below one.
///
/// # Errors
/// Where its directory cannot be read.
pub(super) fn children(cgroup: &Path) -> io::Result<impl Iterator<Item = PathBuf> + use<>> {
    let entries = fs::read_dir(cgroup)?.flatten();
    let cgroups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(cgroups.map(|entry| entry.path()))
}

/// The cgroups below one, those above before what is below them. One that goes away meanwhile has
/// nothing below it.
pub(super) struct Walk {
    top: PathBuf,
    most: usize,
    found: usize,
    /// Whose children are yet to be found.
    waiting: VecDeque<PathBuf>,
    children: std::vec::IntoIter<PathBuf>,
}

impl Walk {
    /// At most so many of them: the next one is an error, and the last.
    pub(super) fn below(top: &Path, most: usize) -> Self {
        Self {
            top: top.to_owned(),
            most,
            found: 0,
            waiting: [top.to_owned()].into(),
            children: Vec::new().into_iter(),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(child) = self.children.next() {
                if self.found == self.most {
                    self.waiting.clear();
                    self.children = Vec::new().into_iter();
                    return Some(Err(FileError::TooMany {
                        below: self.top.clone(),
                        most: self.most,
                    }));
                }
                self.found += 1;
                self.waiting.push_back(child.clone());
                return Some(Ok(child));
            }
            let path = self.waiting.pop_front()?;
            match children(&path) {
                // One more than there is room for tells that there are too many.
                Ok(found) => {
                    let found: Vec<_> = found.take(self.most - self.found + 1).collect();
                    self.children = found.into_iter();
                }
                Err(error) if is_gone(&error) => {}
                Err(source) => return Some(Err(FileError::Io { path, source })),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_above_comes_first_and_links_are_not_followed() {
        let tree = tempfile::tempdir().unwrap();
        let top = tree.path();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("cgroup.procs"), "").unwrap();
        symlink(top, top.join("a/loop")).unwrap();
        let all = || Walk::below(top, 2).collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(all(), [top.join("a"), top.join("a/b")]);
        let mut one = Walk::below(top, 1);
        one.next().unwrap().unwrap();
        let too_many = one.next().unwrap();
        assert!(matches!(too_many, Err(FileError::TooMany { most: 1, .. })));
        assert!(one.next().is_none());
    }
}
