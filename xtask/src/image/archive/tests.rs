use std::io::Read as _;

use serde_json::Value;

use super::*;

fn image() -> Image {
    let labels = ["a", "b", "c", "d", "e"].map(|name| (name.to_owned(), name.to_owned()));
    Image {
        reference: Reference::new("oom-probe", "0.1.0"),
        program: "oom-probe",
        arguments: &["run"],
        user: "0:0",
        labels: labels.into(),
        time: jiff::Timestamp::from_second(1_795_268_719).unwrap(),
    }
}

fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        })
        .collect()
}

fn document(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
    serde_json::from_slice(&files[path]).unwrap()
}

/// The document that a descriptor points to; its size and digest have to be right.
fn follow(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap();
    let content = &files[&format!("blobs/{}", digest.replace(':', "/"))];
    assert_eq!(descriptor["size"], content.len());
    assert_eq!(digest, written(content));
    serde_json::from_slice(content).unwrap()
}

/// As descriptors and configurations write it.
fn written(content: &[u8]) -> String {
    format!("sha256:{}", digest(content).digest())
}

#[test]
fn the_same_programs_make_the_same_archive() {
    let programs = [
        (Arch::Amd64, b"one".to_vec()),
        (Arch::Arm64, b"two".to_vec()),
    ];
    let first = write(&image(), &programs).unwrap();
    for _ in 0..8 {
        assert_eq!(write(&image(), &programs).unwrap(), first);
    }
}

#[test]
fn an_image_for_one_architecture_is_found_by_containerd_and_by_docker() {
    let archive = write(&image(), &[(Arch::Arm64, b"program".to_vec())]).unwrap();
    let files = files(&archive.bytes);
    assert_eq!(
        document(&files, "oci-layout"),
        json!({"imageLayoutVersion": "1.0.0"})
    );
    let index = document(&files, "index.json");
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["digest"], archive.digest);
    assert_eq!(
        descriptor["annotations"],
        json!({
            "io.containerd.image.name": "docker.io/library/oom-probe:0.1.0",
            "org.opencontainers.image.ref.name": "0.1.0",
        })
    );
    assert_eq!(
        descriptor["platform"],
        json!({"architecture": "arm64", "os": "linux"})
    );
    let manifest = follow(&files, descriptor);
    let configuration = follow(&files, &manifest["config"]);
    assert_eq!(configuration["architecture"], "arm64");
    assert_eq!(
        configuration["config"],
        json!({
            "User": "0:0",
            "Env": ["PATH=/"],
            "Entrypoint": ["/oom-probe"],
            "Cmd": ["run"],
            "WorkingDir": "/",
            "Labels": {"a": "a", "b": "b", "c": "c", "d": "d", "e": "e"},
        })
    );

    let docker = &document(&files, "manifest.json")[0];
    assert_eq!(docker["RepoTags"], json!(["oom-probe:0.1.0"]));
    assert_eq!(
        document(&files, docker["Config"].as_str().unwrap()),
        configuration
    );
    let layer = &files[docker["Layers"][0].as_str().unwrap()];
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&layer[..])
        .read_to_end(&mut tar)
        .unwrap();
    let diff = written(&tar);
    assert_eq!(configuration["rootfs"]["diff_ids"], json!([diff]));
}

#[test]
fn an_image_for_several_architectures_is_one_index() {
    let programs = [
        (Arch::Amd64, b"one".to_vec()),
        (Arch::Arm64, b"two".to_vec()),
    ];
    let archive = write(&image(), &programs).unwrap();
    let files = files(&archive.bytes);
    let index = document(&files, "index.json");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let images = follow(&files, &index["manifests"][0]);
    let architectures: Vec<_> = images["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|manifest| {
            let configuration = follow(&files, &follow(&files, manifest)["config"]);
            assert_eq!(
                configuration["architecture"],
                manifest["platform"]["architecture"]
            );
            configuration["architecture"].clone()
        })
        .collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    assert_eq!(
        document(&files, "manifest.json").as_array().unwrap().len(),
        1
    );
}
