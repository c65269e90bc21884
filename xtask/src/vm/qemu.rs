//! Which QEMU to run, and its command line for one machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::cmd;

const BINARY: &str = "qemu-system-x86_64";

/// Older ones may translate code while another processor patches it, and go on with the half of it:
/// the kernel, which does that at each tracepoint and static key, then dies of a breakpoint that is
/// none of its own any more.
const OLDEST: (u32, u32) = (8, 1);

/// What a machine has of memory, for its two processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Little enough for a machine-wide OOM to be quick. Two nodes, a processor on each, since a
    /// cpuset or a memory policy can run out of memory only where there is more than one; the
    /// second is small, so that this is quick too.
    Small,
    /// Enough for an initramfs with a compiler in it, twice while that is unpacked.
    Large,
}

impl Memory {
    fn arguments(self) -> &'static str {
        match self {
            Self::Small => {
                "-m 320 -smp 2 \
                 -object memory-backend-ram,id=memory0,size=256M -numa node,memdev=memory0,cpus=0 \
                 -object memory-backend-ram,id=memory1,size=64M -numa node,memdev=memory1,cpus=1"
            }
            Self::Large => "-m 2048 -smp 2",
        }
    }
}

/// Interrupts of the serial ports. A PC's third port would share the first one's, which makes a
/// real-time kernel, whose handlers are threads, turn it off ("nobody cared") and the port hang.
const SERIAL_IRQS: [u8; 3] = [4, 3, 10];

/// A QEMU that can be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Qemu {
    /// A program with everything it needs in place.
    Installed(PathBuf),
    /// The root of unpacked packages, the C library and the loader among them.
    Unpacked(PathBuf),
}

/// What one machine is started with.
#[derive(Debug)]
pub(crate) struct Boot<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) initrd: &'a Path,
    pub(crate) cmdline: &'a str,
    pub(crate) memory: Memory,
    /// Files that the serial ports write to, first port first.
    pub(crate) serials: &'a [PathBuf; 3],
}

impl Qemu {
    /// The QEMU given by an option: a program, or a directory that has one.
    ///
    /// # Errors
    /// Neither.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Ok(Self::Installed(path.to_owned()));
        }
        if path.join("usr/bin").join(BINARY).is_file() {
            return Ok(Self::Unpacked(path.to_owned()));
        }
        if path.join(BINARY).is_file() {
            return Ok(Self::Installed(path.join(BINARY)));
        }
        bail!(
            "--qemu {}: neither a program nor a directory with {BINARY}",
            path.display()
        )
    }

    /// The one on `PATH`, if there is one that is new enough.
    pub(crate) fn on_path() -> Option<Self> {
        let program = cmd::which(BINARY)?;
        let version = version(&cmd::answer(&program, &["--version"])?)?;
        if version < OLDEST {
            let ((major, minor), (least, least_minor)) = (version, OLDEST);
            eprintln!(
                "vm-test: {} is {major}.{minor}, older than {least}.{least_minor}: not used",
                program.display()
            );
            return None;
        }
        Some(Self::Installed(program))
    }

    /// The command that boots a machine.
    pub(crate) fn command(&self, boot: &Boot<'_>) -> Command {
        let mut command = match self {
            Self::Installed(program) => Command::new(program),
            Self::Unpacked(root) => unpacked(root),
        };
        command.args(arguments(boot));
        command
    }
}

/// Out of `QEMU emulator version 10.0.2 (Debian …)`.
fn version(told: &str) -> Option<(u32, u32)> {
    let numbers = told.split_once(" version ")?.1;
    let mut numbers = numbers.split(['.', ' ']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Runs the unpacked program with its own loader and libraries: nothing of the host's is used, so
/// it works wherever an x86-64 Linux does.
fn unpacked(root: &Path) -> Command {
    let lib = root.join("lib/x86_64-linux-gnu");
    let usr_lib = root.join("usr/lib/x86_64-linux-gnu");
    let mut libraries = lib.clone().into_os_string();
    libraries.push(":");
    libraries.push(&usr_lib);
    // Debian 13 has `/lib` in `/usr`; the link to it belongs to a package that nothing depends on.
    let loader = [&lib, &usr_lib].map(|place| place.join("ld-linux-x86-64.so.2"));
    let [old, new] = loader;
    let mut command = Command::new(if old.exists() { old } else { new });
    command
        .arg("--library-path")
        .arg(libraries)
        .arg(root.join("usr/bin").join(BINARY));
    command.env("QEMU_MODULE_DIR", usr_lib.join("qemu"));
    for firmware in ["usr/share/qemu", "usr/share/seabios"] {
        command.arg("-L").arg(root.join(firmware));
    }
    command
}

/// Emulation goes through a repeated string instruction turn by turn. Without these a kernel clears
/// and copies by the word, not by the byte.
const CPU: &str = "-cpu max,-erms,-fsrm";

/// What goes before a machine's own words. All but the first three avoid what is dear under emulation,
/// and change nothing that is tested:
/// - a kernel that cannot know whether the processors' TSCs agree takes the HPET, a device that has to
///   be emulated for each reading of the time;
/// - retpolines make each indirect call several jumps that nobody can foresee;
/// - pressure stall information is kept at every switch of tasks;
/// - what was translated of a program is found again only at the address where it was;
/// - ciphers are tested at boot, which no test here needs.
const CMDLINE: &str =
    "console=ttyS0 panic=-1 quiet tsc=reliable spectre_v2=off psi=0 norandmaps cryptomgr.notests=1";

/// TCG always: a `/dev/kvm` under nested virtualisation was seen to hang. q35, since microvm hung
/// in a third of its boots.
fn arguments(boot: &Boot<'_>) -> Vec<OsString> {
    let fixed = "-M q35 -accel tcg,thread=multi -nodefaults -no-user-config \
                 -display none -no-reboot";
    let words = [fixed, CPU, boot.memory.arguments()]
        .into_iter()
        .flat_map(str::split_whitespace);
    let mut arguments: Vec<OsString> = words.map(OsString::from).collect();
    for (index, (path, irq)) in boot.serials.iter().zip(SERIAL_IRQS).enumerate() {
        // A comma ends a value in QEMU's own syntax; two stand for one.
        let path = path.display().to_string().replace(',', ",,");
        arguments.extend([
            "-chardev".into(),
            format!("file,id=port{index},path={path}").into(),
            "-device".into(),
            format!("isa-serial,chardev=port{index},index={index},irq={irq}").into(),
        ]);
    }
    arguments.extend([
        "-kernel".into(),
        boot.kernel.into(),
        "-initrd".into(),
        boot.initrd.into(),
    ]);
    let cmdline = format!("{CMDLINE} {}", boot.cmdline);
    arguments.extend(["-append".into(), cmdline.trim_end().into()]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kvm_is_never_asked_for_and_each_serial_port_has_its_file() {
        let serials = ["/t/console.log", "/t/a,b.log", "/t/data"].map(PathBuf::from);
        let boot = Boot {
            kernel: Path::new("/k"),
            initrd: Path::new("/i"),
            cmdline: "",
            memory: Memory::Small,
            serials: &serials,
        };
        let text: Vec<_> = arguments(&boot)
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        let text = text.join(" ");
        assert!(
            text.contains("-accel tcg,thread=multi") && !text.contains("kvm"),
            "{text}"
        );
        assert!(
            text.contains("path=/t/a,,b.log -device isa-serial,chardev=port1,index=1"),
            "{text}"
        );
        assert!(text.ends_with(&format!("-append {CMDLINE}")), "{text}");
    }

    #[test]
    fn the_version_is_read_as_qemu_tells_it() {
        let told = "QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7+deb12u16)\nCopyright";
        assert_eq!(version(told), Some((7, 2)));
        assert_eq!(version("QEMU emulator version 10.1.0"), Some((10, 1)));
        assert_eq!(version("no such program"), None);
    }

    #[test]
    fn a_path_without_qemu_is_refused_by_name() {
        let error = Qemu::at(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.starts_with("--qemu /nonexistent:"), "{error}");
    }
}
