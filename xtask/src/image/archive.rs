//! The archive that an image is shipped in: an OCI image layout, and beside it the list that
//! `docker load` looks for, over the same files.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use oci_spec::image::{
    ANNOTATION_REF_NAME, Config, ConfigBuilder, Descriptor, Digest, HistoryBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType,
    OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder, Sha256Digest,
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::arch::Arch;
use super::layer;
use super::reference::Reference;

/// The annotation that containerd takes an image's name from.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Version 2 of manifest and index is the only one that there is.
const SCHEMA: u32 = 2;

/// What an image says about itself and does when it is run.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) reference: Reference,
    /// The program's name in the image, and what `exec` finds it by.
    pub(super) program: &'static str,
    pub(super) arguments: &'static [&'static str],
    /// `UID:GID`.
    pub(super) user: &'static str,
    pub(super) labels: BTreeMap<String, String>,
    /// The time of everything in it.
    pub(super) time: jiff::Timestamp,
}

/// An archive and the digest that the image in it has in a registry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Archive {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: String,
}

/// Writes the archive of an image, a program for each architecture.
///
/// # Errors
/// There is no program, or something does not fit into its format.
pub(super) fn write(image: &Image, programs: &[(Arch, Vec<u8>)]) -> Result<Archive> {
    let mut files = Files::default();
    let mut manifests = Vec::new();
    let mut docker = None;
    for (arch, program) in programs {
        let (manifest, listed) = manifest(image, *arch, program, &mut files)?;
        manifests.push(manifest);
        // Only the newest versions of docker look at the index; to the others one image is shown.
        if docker.is_none() || Arch::of_this_machine() == Some(*arch) {
            docker = Some(listed);
        }
    }
    let mut root = match &manifests[..] {
        [one] => one.clone(),
        several => files.blob(MediaType::ImageIndex, &index(several.to_vec())?)?,
    };
    let digest = root.digest().to_string();
    root.set_annotations(Some(HashMap::from([
        (CONTAINERD_NAME.to_owned(), image.reference.full()),
        (
            ANNOTATION_REF_NAME.to_owned(),
            image.reference.tag().to_owned(),
        ),
    ])));
    let layout = OciLayoutBuilder::default()
        .image_layout_version("1.0.0")
        .build()?;
    files.put("oci-layout", &layout)?;
    files.put("index.json", &index(vec![root])?)?;
    files.put(
        "manifest.json",
        &[docker.context("an image without a program")?],
    )?;
    let time = u64::try_from(image.time.as_second()).unwrap_or(0);
    Ok(Archive {
        bytes: files.tar(time)?,
        digest,
    })
}

/// The manifest of one architecture, and its entry in docker's list.
fn manifest(
    image: &Image,
    arch: Arch,
    program: &[u8],
    files: &mut Files,
) -> Result<(Descriptor, serde_json::Value)> {
    let time = u64::try_from(image.time.as_second()).unwrap_or(0);
    let tar = layer::tar(image.program, program, time)?;
    let created = image.time.to_string();
    let configuration = ImageConfigurationBuilder::default()
        .created(created.clone())
        .architecture(arch.oci())
        .os(Os::Linux)
        .config(config(image)?)
        .rootfs(
            RootFsBuilder::default()
                .typ("layers")
                .diff_ids(vec![Digest::from(digest(&tar)).to_string()])
                .build()?,
        )
        .history(vec![
            HistoryBuilder::default()
                .created(created)
                .created_by("cargo xtask image")
                .build()?,
        ])
        .build()?;
    let configuration = files.blob(MediaType::ImageConfig, &configuration)?;
    let layer = files.add(MediaType::ImageLayerGzip, layer::compress(&tar)?);
    let listed = json!({
        "Config": path(&configuration),
        "RepoTags": [image.reference.familiar()],
        "Layers": [path(&layer)],
    });
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA)
        .media_type(MediaType::ImageManifest)
        .config(configuration)
        .layers(vec![layer])
        .build()?;
    let mut manifest = files.blob(MediaType::ImageManifest, &manifest)?;
    let platform = PlatformBuilder::default()
        .architecture(arch.oci())
        .os(Os::Linux);
    manifest.set_platform(Some(platform.build()?));
    Ok((manifest, listed))
}

fn config(image: &Image) -> Result<Config> {
    let arguments: Vec<String> = image.arguments.iter().map(ToString::to_string).collect();
    let config = ConfigBuilder::default()
        .user(image.user)
        .env(vec!["PATH=/".to_owned()])
        .entrypoint(vec![format!("/{}", image.program)])
        .cmd(arguments)
        .working_dir("/")
        .labels(image.labels.clone().into_iter().collect::<HashMap<_, _>>());
    Ok(config.build()?)
}

fn index(manifests: Vec<Descriptor>) -> Result<oci_spec::image::ImageIndex> {
    Ok(ImageIndexBuilder::default()
        .schema_version(SCHEMA)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()?)
}

/// The files of an archive by their paths.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Stores content under its digest.
    fn add(&mut self, kind: MediaType, content: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::new(kind, content.len() as u64, digest(&content));
        self.0.insert(path(&descriptor), content);
        descriptor
    }

    /// Stores a document under its digest.
    fn blob(&mut self, kind: MediaType, document: &impl Serialize) -> Result<Descriptor> {
        Ok(self.add(kind, canonical(document)?))
    }

    /// Stores a document under a name.
    fn put(&mut self, name: &str, document: &impl Serialize) -> Result<()> {
        self.0.insert(name.to_owned(), canonical(document)?);
        Ok(())
    }

    /// All of them in the order of their paths.
    fn tar(self, time: u64) -> Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            header.set_mtime(time);
            archive.append_data(&mut header, path, &content[..])?;
        }
        Ok(archive.into_inner()?)
    }
}

/// JSON with sorted keys: the types hold annotations in maps that have no order.
fn canonical(document: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(document)?)?)
}

fn digest(content: &[u8]) -> Sha256Digest {
    let hex: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.parse().expect("64 hexadecimal digits are a digest")
}

/// Where the image layout keeps content.
fn path(descriptor: &Descriptor) -> String {
    format!("blobs/sha256/{}", descriptor.digest().digest())
}

#[cfg(test)]
mod tests;
