//! Where the running kernel keeps what a kill record needs: offsets resolved from its BTF.
//!
//! Types are reached from the prototypes of the hooks themselves (`btf_trace_mark_victim`,
//! `btf_trace_signal_generate`, `oom_kill_process`) and from there by member types, since names
//! alone are ambiguous. What one kernel does not have is absent with a reason; the rest stays.

mod features;
pub mod format;
mod missing;
mod path;
mod prototype;
mod table;

use oom_probe_common::offsets::{ABSENT, Offsets};

use super::btf::{Btf, Type};
pub use features::MemlockAccounting;
use missing::Missing;
use path::{Walked, Walker};
pub use prototype::{HookTypes, MarkVictim, OomKillProcess, SignalGenerate};
use table::{Measure, ROWS, Root, Row};

/// What BTF says about the running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Offsets of members; [`ABSENT`] for those in `missing`.
    pub offsets: Offsets,
    /// The fields of [`Offsets`] that this kernel does not have, and why.
    pub missing: Vec<(&'static str, String)>,
    /// What `oom:mark_victim` hands over.
    pub mark_victim: MarkVictim,
    /// What `signal:signal_generate` hands over.
    pub signal_generate: SignalGenerate,
    /// Whether `oom_kill_process` can be hooked as a function.
    pub oom_kill_process: OomKillProcess,
    /// The types of these three.
    pub hook_types: HookTypes,
    /// What maps and programs count against.
    pub memlock_accounting: MemlockAccounting,
    /// Whether programs can get the current task as a typed pointer
    /// (`bpf_get_current_task_btf`, since Linux 5.11); `None` where BTF does not tell.
    pub typed_current_task: Option<bool>,
}

impl Layout {
    /// Whether every one of these fields of [`Offsets`] is there.
    #[must_use]
    pub fn has(&self, fields: &[&str]) -> bool {
        fields
            .iter()
            .all(|field| !self.missing.iter().any(|(name, _)| name == field))
    }
}

/// Resolves every offset that the kernel programs use.
#[must_use]
pub fn resolve(btf: &Btf) -> Layout {
    let mark_victim = prototype::mark_victim(btf);
    let signal_generate = prototype::signal_generate(btf);
    let oom_kill_process = prototype::oom_kill_process(btf);
    let task = mark_victim
        .task
        .or(signal_generate.task)
        .map_or_else(|| only(btf, "task_struct"), Ok);
    let oom_control = oom_kill_process
        .control
        .map_or_else(|| only(btf, "oom_control"), Ok);
    let walker = Walker::new(btf);
    let memcg = match &oom_control {
        Ok(control) => walker
            .walk(*control, "memcg->css")
            .map(|walked| walked.owner)
            .or_else(|_| only(btf, "mem_cgroup")),
        Err(_) => only(btf, "mem_cgroup"),
    };

    let mut layout = Layout {
        offsets: Offsets::ABSENT,
        missing: Vec::new(),
        mark_victim: mark_victim.form,
        signal_generate: signal_generate.form,
        oom_kill_process: oom_kill_process.form,
        hook_types: HookTypes {
            mark_victim: mark_victim.hook,
            signal_generate: signal_generate.hook,
            oom_kill_process: oom_kill_process.hook,
        },
        memlock_accounting: features::memlock_accounting(btf),
        typed_current_task: features::has_helper(btf, "BPF_FUNC_get_current_task_btf"),
    };
    for row in ROWS {
        let root = match row.root {
            Root::Task => &task,
            Root::MemCgroup => &memcg,
            Root::OomControl => &oom_control,
        };
        let value = match root {
            Ok(root) => row
                .measure(btf, &walker, *root)
                .map_err(|reason| reason.to_string()),
            Err(reason) => Err(reason.to_string()),
        };
        match value {
            // The table is tested to name each field, so that this never misses.
            Ok(value) => layout
                .offsets
                .field_mut(row.field)
                .into_iter()
                .for_each(|f| *f = value),
            Err(reason) => layout.missing.push((row.field, reason)),
        }
    }
    layout.forget_unreachable();
    layout
}

impl Layout {
    /// The programs come to a `mem_cgroup` from the state that is embedded in it: where that is
    /// not to be found, the other members would be read from a wrong address.
    fn forget_unreachable(&mut self) {
        if self.offsets.memcg_css != ABSENT {
            return;
        }
        for (name, value) in self.offsets.fields() {
            if name.starts_with("memcg_") && value != ABSENT {
                self.offsets
                    .field_mut(name)
                    .into_iter()
                    .for_each(|field| *field = ABSENT);
                self.missing
                    .push((name, "struct mem_cgroup has no css to come from".to_owned()));
            }
        }
    }
}

impl Row {
    /// The first of the row's paths that this kernel has; else why the first is not there.
    fn measure<'a>(&self, btf: &Btf, walker: &Walker<'a>, root: Type<'a>) -> Result<u32, Missing> {
        let mut first = None;
        for &path in self.paths {
            match self.measure_path(btf, walker, root, path) {
                Ok(value) => return Ok(value),
                Err(reason) => first = first.or(Some(reason)),
            }
        }
        Err(first.unwrap_or(Missing::TooFar))
    }

    fn measure_path<'a>(
        &self,
        btf: &Btf,
        walker: &Walker<'a>,
        root: Type<'a>,
        path: &'static str,
    ) -> Result<u32, Missing> {
        let walked: Walked<'_> = walker.walk(root, path)?;
        let found = btf.resolve(walked.type_id)?;
        let size = btf.size_of(walked.type_id)?;
        if !self.shape.fits(btf, found, size)? {
            let size = size.map_or(String::new(), |size| format!(" of {size} bytes"));
            return Err(Missing::Unexpected {
                path,
                found: format!("{:?}{size}", found.kind),
                expected: self.shape.describe(),
            });
        }
        let value = match self.measure {
            Measure::Offset => walked.offset,
            Measure::Stride => walked
                .stride
                .ok_or_else(|| Missing::NoArray(path.to_owned()))?,
        };
        // The kernel programs add offsets to addresses as signed 32-bit constants.
        if value < ABSENT / 2 {
            Ok(value)
        } else {
            Err(Missing::TooFar)
        }
    }
}

/// The struct of that name, if there is exactly one.
fn only<'a>(btf: &'a Btf, name: &'static str) -> Result<Type<'a>, Missing> {
    let mut found = btf.find(super::btf::Kind::Struct, name);
    let first = found.next().ok_or(Missing::NoStruct(name))?;
    match found.count() {
        0 => Ok(first),
        more => Err(Missing::Ambiguous(name, more + 1)),
    }
}
