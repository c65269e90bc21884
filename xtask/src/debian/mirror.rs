//! Which Debian mirror to fetch from: the one that this machine's own apt uses, or one given.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::output;

/// Names a Debian release goes by in a sources list. Other distributions have names of their own.
const RELEASES: [&str; 11] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
];

/// The two halves of the Debian archive, as addresses for a sources list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) main: String,
    pub(crate) security: String,
}

impl Mirror {
    /// `given` if it is there, else what the machine's apt is set up with.
    ///
    /// # Errors
    /// There is no apt here, or it knows no Debian archive; says which options to use then.
    pub(crate) fn of_machine(given: Option<&str>) -> Result<Self> {
        if !Path::new("/usr/bin/apt-get").exists() || !Path::new("/usr/bin/dpkg-deb").exists() {
            bail!("it comes from a Debian package and this system has no apt");
        }
        if let Some(uri) = given {
            return Ok(Self::from_main(uri));
        }
        let targets = output(Command::new("apt-get").args([
            "indextargets",
            "--no-release-info",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        ]))?;
        Self::among(&targets).context(
            "this machine's apt knows no Debian archive: name one by OOM_PROBE_DEBIAN_MIRROR",
        )
    }

    fn from_main(uri: &str) -> Self {
        let main = uri.trim_end_matches('/').to_owned();
        Self {
            security: format!("{main}-security"),
            main,
        }
    }

    /// Picks the archive out of lines of the form `URI RELEASE COMPONENT`. Vendors' repositories
    /// use Debian's release names too, but only the archive itself also has updates for them.
    fn among(targets: &str) -> Option<Self> {
        let targets: Vec<(&str, &str)> = targets
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let target = (words.next()?, words.next()?);
                (words.next()? == "main").then_some(target)
            })
            .collect();
        let candidates: Vec<_> = targets
            .iter()
            .filter(|(_, release)| RELEASES.contains(release))
            .collect();
        let has_updates = |(uri, release): &&&(&str, &str)| {
            targets.contains(&(*uri, format!("{release}-updates").as_str()))
        };
        let looks_right = |(uri, _): &&&(&str, &str)| uri.trim_end_matches('/').ends_with("debian");
        let (main, release) = candidates
            .iter()
            .find(has_updates)
            .or_else(|| candidates.iter().find(looks_right))?;
        let security = format!("{release}-security");
        let mut mirror = Self::from_main(main);
        if let Some((uri, _)) = targets.iter().find(|(_, name)| *name == security) {
            mirror.security = uri.trim_end_matches('/').to_owned();
        }
        Some(mirror)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(main: &str, security: &str) -> Option<Mirror> {
        Some(Mirror {
            main: main.into(),
            security: security.into(),
        })
    }

    #[test]
    fn the_archive_is_told_from_vendors_repositories() {
        let targets = "https://vendor.test/ bookworm main\n\
                       https://other.test/linux/debian bookworm stable\n\
                       http://m.test/debian/ bookworm main\n\
                       http://m.test/debian/ bookworm-updates main\n\
                       http://s.test/debian-security/ bookworm-security main\n";
        assert_eq!(
            Mirror::among(targets),
            mirror("http://m.test/debian", "http://s.test/debian-security")
        );
    }

    #[test]
    fn without_updates_or_security_the_name_decides() {
        let targets = "https://vendor.test/ trixie main\nhttp://m.test/debian/ trixie main\n";
        assert_eq!(
            Mirror::among(targets),
            mirror("http://m.test/debian", "http://m.test/debian-security")
        );
    }

    #[test]
    fn other_distributions_have_no_debian_archive() {
        let targets =
            "http://m.test/ubuntu/ noble main\nhttp://m.test/ubuntu/ noble-updates main\n";
        assert_eq!(Mirror::among(targets), None);
        assert_eq!(Mirror::among(""), None);
    }
}
