//! `cargo xtask image`: an OCI archive of the daemon and one of the hog, each with one static
//! program in it, without a container engine and without a base image.
//!
//! The same commit gives the same bytes wherever it is built: [`crate::compile::portable`] keeps
//! the machine out of the programs, [`program`] makes sure of that, and the archive carries the
//! commit's time.

pub(crate) mod again;
mod arch;
mod archive;
pub(crate) mod check;
mod layer;
mod program;
mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REVISION,
    ANNOTATION_SOURCE, ANNOTATION_TITLE, ANNOTATION_VERSION,
};

use self::archive::Image;
use self::reference::Reference;
use crate::cmd;
use crate::compile::{self, Built};
use crate::source::Source;

pub(crate) use self::arch::Arch;

/// Where the manifests in `deploy/` take their images from.
const REPOSITORY: &str = "localhost";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to put into the images, and what to call them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Architectures, separated by commas [default: this machine's]
    #[arg(long, value_enum, value_delimiter = ',')]
    arch: Vec<Arch>,
    /// What the images' names begin with
    #[arg(long, value_name = "NAME", default_value = REPOSITORY)]
    repository: String,
    /// Tag of the images
    #[arg(long, default_value = VERSION)]
    tag: String,
    /// Build the commit once more in another directory, and fail unless the programs are the same
    #[arg(long, conflicts_with = "arch")]
    again: bool,
    /// Have skopeo read the archives, as docker's and as OCI's
    #[arg(long)]
    check: bool,
    /// Where the archives are written [default: target/image]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
}

/// An archive in a file.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    /// What containerd calls the image.
    pub(crate) name: String,
    pub(crate) digest: String,
}

/// The archives of one run.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub(crate) oom_probe: Written,
    pub(crate) hog: Written,
}

/// `cargo xtask image`.
///
/// # Errors
/// The programs cannot be built, are not fit for an image, or the archives cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut architectures = args.arch.clone();
    if architectures.is_empty() {
        architectures.push(Arch::of_this_machine().context("name an architecture by --arch")?);
    }
    architectures.sort();
    architectures.dedup();
    if args.again
        && let Some(reason) = again::left_out()
    {
        bail!("--again: {reason}");
    }
    let mut programs = Vec::new();
    for arch in architectures {
        let built = compile::build(&compile::Args::portable(arch.triple()))?;
        if args.again {
            again::compare(&built)?;
            println!("the same in another directory");
        }
        programs.push((arch, built));
    }
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| cmd::target_dir().join("image"));
    let images = write(&programs, &args.repository, &args.tag, &out)?;
    if args.check {
        check::run(&images)?;
        println!("skopeo reads them as docker's and as OCI's");
    }
    let Images { oom_probe, hog } = images;
    for Written { path, name, digest } in [oom_probe, hog] {
        let size = fs::metadata(&path)?.len();
        let path = path.strip_prefix(cmd::workspace()).unwrap_or(&path);
        println!("{}  {size} bytes  {name}@{digest}", path.display());
    }
    Ok(())
}

/// The images of programs for this machine that have been built already.
///
/// # Errors
/// As [`run`].
pub(crate) fn of_this_machine(built: &Built, out: &Path) -> Result<Images> {
    let arch = Arch::of_this_machine().context("no images are made for this architecture")?;
    write(&[(arch, built.clone())], REPOSITORY, VERSION, out)
}

/// Writes both archives into the directory `out`.
fn write(programs: &[(Arch, Built)], repository: &str, tag: &str, out: &Path) -> Result<Images> {
    let source = Source::of_workspace()?;
    if source.modified {
        eprintln!("xtask: files differ from the commit that the images will name");
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let written = |program: &Program, path: fn(&Built) -> &Path| {
        let image = Image {
            reference: Reference::new(format!("{repository}/{}", program.name), tag),
            program: program.name,
            arguments: program.arguments,
            user: program.user,
            labels: labels(program, &source),
            time: time(&source),
        };
        let fit = programs
            .iter()
            .map(|(arch, built)| Ok((*arch, fit(*arch, path(built))?)))
            .collect::<Result<Vec<_>>>()?;
        let archive = archive::write(&image, &fit)?;
        let path = out.join(format!("{}.tar", program.name));
        fs::write(&path, archive.bytes).with_context(|| format!("write {}", path.display()))?;
        Ok::<_, anyhow::Error>(Written {
            path,
            name: image.reference.full(),
            digest: archive.digest,
        })
    };
    Ok(Images {
        oom_probe: written(&OOM_PROBE, |built| &built.oom_probe)?,
        hog: written(&HOG, |built| &built.hog)?,
    })
}

/// What differs between the two images.
struct Program {
    name: &'static str,
    description: &'static str,
    arguments: &'static [&'static str],
    user: &'static str,
}

/// Root in the container, since only root may read tracefs and keep pins; what it may do there is
/// up to the capabilities it is given.
const OOM_PROBE: Program = Program {
    name: "oom-probe",
    description: "Sees every OOM kill on a Kubernetes node, the invisible ones too",
    arguments: &["run"],
    user: "0:0",
};

const HOG: Program = Program {
    name: "hog",
    description: "A workload that makes real OOM kills on purpose, in every shape",
    arguments: &[],
    user: "65532:65532",
};

/// The time of everything in an image: never that of its making.
fn time(source: &Source) -> Timestamp {
    source.time.unwrap_or(Timestamp::UNIX_EPOCH)
}

fn labels(program: &Program, source: &Source) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (ANNOTATION_TITLE, program.name.to_owned()),
        (ANNOTATION_DESCRIPTION, program.description.to_owned()),
        (ANNOTATION_VERSION, VERSION.to_owned()),
        (ANNOTATION_CREATED, time(source).to_string()),
        (ANNOTATION_SOURCE, env!("CARGO_PKG_REPOSITORY").to_owned()),
        (ANNOTATION_LICENSES, env!("CARGO_PKG_LICENSE").to_owned()),
    ]);
    if let Some(revision) = source.full_revision() {
        labels.insert(ANNOTATION_REVISION, revision);
    }
    labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Reads a program that may go into an image.
fn fit(arch: Arch, path: &Path) -> Result<Vec<u8>> {
    let content = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let local = compile::local_paths();
    program::check_static(&content, arch)
        .and_then(|()| program::check_anonymous(&content, local.iter().map(PathBuf::as_path)))
        .with_context(|| format!("{} may not go into an image", path.display()))?;
    Ok(content)
}
