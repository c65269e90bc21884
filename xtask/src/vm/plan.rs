//! Which machines to run: the catalogue, with own kernels beside or instead of its own.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::catalogue::{Image, LONGEST, MACHINES, Machine};

/// Where a machine's kernel comes from.
#[derive(Debug)]
pub(crate) enum Kernel {
    /// Out of a package.
    Package(&'static Image),
    /// A file given by an option.
    File(PathBuf),
}

/// One machine that will run.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) kernel: Kernel,
    /// The catalogue's entry; own kernels of other names have none, and nothing is expected of them.
    pub(crate) machine: Option<&'static Machine>,
}

impl Planned {
    /// What is added to the kernel's command line.
    pub(crate) fn cmdline(&self, facts: Facts) -> String {
        let mut words = vec![format!("oomprobe.name={}", self.name)];
        words.extend(
            self.machine
                .map(|m| m.cmdline.to_owned())
                .filter(|c| !c.is_empty()),
        );
        if facts == Facts::Send {
            words.push("oomprobe.facts=1".to_owned());
        }
        words.join(" ")
    }

    /// When it is started: a machine that takes long shall not be the last to begin.
    pub(crate) fn rank(&self) -> usize {
        let place = LONGEST.iter().position(|name| *name == self.name);
        place.unwrap_or(LONGEST.len())
    }

    /// What differs between the machine and the catalogue's entry for it.
    pub(crate) fn differences(&self, release: &str, facts: &[(String, String)]) -> Vec<String> {
        self.machine
            .map(|machine| machine.differences(release, facts))
            .unwrap_or_default()
    }
}

/// Whether PID 1 sends the files that fixtures are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Facts {
    Send,
    Keep,
}

/// The machines to run: `files` under `names` replace the catalogue's entries of the same name or
/// come after them; `wanted` picks some out of these, all if it is empty.
///
/// # Errors
/// Not as many names as files, a name that cannot be a directory's, or one that nothing has.
pub(crate) fn machines(
    wanted: &[String],
    files: &[PathBuf],
    names: &[String],
) -> Result<Vec<Planned>> {
    if files.len() != names.len() {
        bail!(
            "{} --vmlinuz but {} --name: give one for each",
            files.len(),
            names.len()
        );
    }
    let mut all: Vec<Planned> = MACHINES
        .iter()
        .map(|machine| Planned {
            name: machine.name.to_owned(),
            kernel: Kernel::Package(machine.image),
            machine: Some(machine),
        })
        .collect();
    for (name, file) in names.iter().zip(files) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(plain) {
            bail!("--name {name:?}: use letters, digits, dots and dashes");
        }
        let kernel = Kernel::File(file.clone());
        match all.iter_mut().find(|planned| planned.name == *name) {
            Some(planned) => planned.kernel = kernel,
            None => all.push(Planned {
                name: name.clone(),
                kernel,
                machine: None,
            }),
        }
    }
    if let Some(unknown) = wanted
        .iter()
        .find(|name| all.iter().all(|p| p.name != **name))
    {
        let known: Vec<_> = all.iter().map(|planned| planned.name.as_str()).collect();
        bail!("no kernel named {unknown}; there are {}", known.join(", "));
    }
    all.retain(|planned| wanted.is_empty() || wanted.contains(&planned.name));
    Ok(all)
}

/// Reads `NAME=PATH`.
///
/// # Errors
/// It has another form.
pub(crate) fn program(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !name.contains('/') && !path.is_empty() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("expected NAME=PATH".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn planned(wanted: &[&str], own: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let files: Vec<_> = own.iter().map(|(file, _)| PathBuf::from(file)).collect();
        let names: Vec<_> = own.iter().map(|(_, name)| (*name).to_owned()).collect();
        machines(&strings(wanted), &files, &names)
            .map(|planned| planned.into_iter().map(|p| p.name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn all_of_the_catalogue_unless_some_are_named() {
        assert_eq!(planned(&[], &[]).unwrap().len(), MACHINES.len());
        assert_eq!(
            planned(&["6.1-v1", "5.10"], &[]),
            Ok(strings(&["5.10", "6.1-v1"]))
        );
        let error = planned(&["6.2"], &[]).unwrap_err();
        assert!(
            error.starts_with("no kernel named 6.2; there are 5.10, 6.1"),
            "{error}"
        );
    }

    #[test]
    fn an_own_kernel_replaces_the_entry_of_its_name_or_is_added() {
        let own = machines(&strings(&["6.1"]), &["/k".into()], &strings(&["6.1"])).unwrap();
        assert!(matches!(&own[0].kernel, Kernel::File(file) if file == &PathBuf::from("/k")));
        assert!(own[0].machine.is_some());
        assert_eq!(
            planned(&["mine"], &[("/k", "mine")]),
            Ok(strings(&["mine"]))
        );
        assert_eq!(
            planned(&[], &[("/k", "mine")]).unwrap().len(),
            MACHINES.len() + 1
        );
    }

    #[test]
    fn names_that_cannot_be_used_are_refused() {
        assert!(planned(&[], &[("/k", "../x")]).is_err());
        assert!(planned(&[], &[("/k", "a b")]).is_err());
        assert!(machines(&[], &["/a".into(), "/b".into()], &strings(&["a"])).is_err());
    }

    #[test]
    fn the_guest_is_told_its_name_and_what_is_special_about_it() {
        let cmdlines: Vec<_> = machines(&strings(&["6.1", "6.1-v1"]), &[], &[])
            .unwrap()
            .iter()
            .map(|planned| planned.cmdline(Facts::Keep))
            .collect();
        assert_eq!(
            cmdlines,
            [
                "oomprobe.name=6.1",
                "oomprobe.name=6.1-v1 oomprobe.cgroup=v1"
            ]
        );
        let sending = machines(&strings(&["6.1"]), &[], &[]).unwrap()[0].cmdline(Facts::Send);
        assert_eq!(sending, "oomprobe.name=6.1 oomprobe.facts=1");
    }

    #[test]
    fn a_program_is_a_name_and_a_path() {
        assert_eq!(
            program("hog=/t/a=b"),
            Ok(("hog".to_owned(), PathBuf::from("/t/a=b")))
        );
        for bad in ["hog", "=/t", "hog=", "a/b=/t"] {
            assert!(program(bad).is_err(), "{bad}");
        }
    }
}
