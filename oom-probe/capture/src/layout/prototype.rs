//! What the hooks hand over, from their prototypes.

use crate::btf::{Btf, Kind, Malformed, Param, Type, TypeId};

/// The arguments of `oom:mark_victim` (`include/trace/events/oom.h`). The kernel's version says
/// nothing about it: the newer form came with 6.9 and to 5.4, 5.15, 6.1 and 6.6 in spring 2025.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkVictim {
    /// `struct task_struct *task, uid_t uid`.
    TaskPointer,
    /// `int pid`: the thread id. Taken for a pointer it would be silent garbage.
    PidOnly,
    /// Not to be found, or neither of these.
    Unknown(String),
}

/// The arguments of `signal:signal_generate` (`include/trace/events/signal.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalGenerate {
    /// `int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result`.
    TaskThird,
    /// Not to be found, or not this.
    Unknown(String),
}

/// `oom_kill_process` (`mm/oom_kill.c`) as a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OomKillProcess {
    /// Its first argument is a `struct oom_control *`.
    OomControlFirst,
    /// Not to be found (inlined, or cloned by the compiler), or not this.
    Unknown(String),
}

/// The types by which the kernel knows the hooks: what typed programs are attached to. Each is there
/// where the form of that hook is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookTypes {
    /// The typedef `btf_trace_mark_victim`.
    pub mark_victim: Option<TypeId>,
    /// The typedef `btf_trace_signal_generate`.
    pub signal_generate: Option<TypeId>,
    /// The function `oom_kill_process`.
    pub oom_kill_process: Option<TypeId>,
}

/// `oom:mark_victim`, its typedef and the struct that it points to.
pub(super) struct Mark<'a> {
    pub(super) form: MarkVictim,
    pub(super) hook: Option<TypeId>,
    pub(super) task: Option<Type<'a>>,
}

/// `signal:signal_generate`, its typedef and the struct that it points to.
pub(super) struct Signal<'a> {
    pub(super) form: SignalGenerate,
    pub(super) hook: Option<TypeId>,
    pub(super) task: Option<Type<'a>>,
}

/// `oom_kill_process`, the function and the struct that it points to.
pub(super) struct Process<'a> {
    pub(super) form: OomKillProcess,
    pub(super) hook: Option<TypeId>,
    pub(super) control: Option<Type<'a>>,
}

/// Why a prototype is unknown.
struct Reason(String);

impl From<&str> for Reason {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

impl From<Malformed> for Reason {
    fn from(cause: Malformed) -> Self {
        Self(cause.to_string())
    }
}

pub(super) fn mark_victim(btf: &Btf) -> Mark<'_> {
    let decide = || -> Result<_, Reason> {
        let (hook, params) = typedef_params(btf, "btf_trace_mark_victim")?;
        // The first parameter is the tracepoint's own `void *`.
        let victim = params
            .get(1)
            .ok_or("btf_trace_mark_victim has no parameter")?;
        if let Some(task) = pointed(btf, victim, "task_struct")? {
            return Ok((MarkVictim::TaskPointer, Some(hook), Some(task)));
        }
        if is_int(btf, victim)? {
            return Ok((MarkVictim::PidOnly, Some(hook), None));
        }
        Err("btf_trace_mark_victim has neither a task nor a pid".into())
    };
    let (form, hook, task) =
        decide().unwrap_or_else(|why| (MarkVictim::Unknown(why.0), None, None));
    Mark { form, hook, task }
}

pub(super) fn signal_generate(btf: &Btf) -> Signal<'_> {
    let decide = || -> Result<_, Reason> {
        let (hook, params) = typedef_params(btf, "btf_trace_signal_generate")?;
        let [_, sig, info, task, ..] = params.as_slice() else {
            return Err("btf_trace_signal_generate has too few parameters".into());
        };
        if !is_int(btf, sig)? || btf.pointee(info.type_id)?.is_none() {
            return Err("btf_trace_signal_generate does not begin with sig and info".into());
        }
        pointed(btf, task, "task_struct")?
            .map(|task| (hook, task))
            .ok_or("btf_trace_signal_generate has no task as third argument".into())
    };
    match decide() {
        Ok((hook, task)) => Signal {
            form: SignalGenerate::TaskThird,
            hook: Some(hook),
            task: Some(task),
        },
        Err(why) => Signal {
            form: SignalGenerate::Unknown(why.0),
            hook: None,
            task: None,
        },
    }
}

pub(super) fn oom_kill_process(btf: &Btf) -> Process<'_> {
    let decide = || -> Result<_, Reason> {
        let mut functions = btf.find(Kind::Func, "oom_kill_process");
        let function = functions
            .next()
            .ok_or("BTF has no function oom_kill_process")?;
        if functions.next().is_some() {
            return Err("BTF has more than one function oom_kill_process".into());
        }
        let params = btf.params(function.id)?.unwrap_or_default();
        let first = params.first().ok_or("oom_kill_process has no parameter")?;
        pointed(btf, first, "oom_control")?
            .map(|control| (function.id, control))
            .ok_or("oom_kill_process does not begin with an oom_control".into())
    };
    match decide() {
        Ok((hook, control)) => Process {
            form: OomKillProcess::OomControlFirst,
            hook: Some(hook),
            control: Some(control),
        },
        Err(why) => Process {
            form: OomKillProcess::Unknown(why.0),
            hook: None,
            control: None,
        },
    }
}

/// A tracepoint's typedef, and the parameters of the prototype that it points to.
fn typedef_params(btf: &Btf, typedef: &str) -> Result<(TypeId, Vec<Param>), Reason> {
    let found = btf.find(Kind::Typedef, typedef).next();
    let found = found.ok_or_else(|| Reason(format!("BTF has no typedef {typedef}")))?;
    let params = btf.params(found.id)?;
    let params = params.ok_or_else(|| Reason(format!("{typedef} is no function")))?;
    Ok((found.id, params))
}

/// The struct that a parameter points to, if it has that name.
fn pointed<'a>(btf: &'a Btf, param: &Param, name: &str) -> Result<Option<Type<'a>>, Reason> {
    let target = btf.pointee(param.type_id)?;
    Ok(target.filter(|t| t.kind == Kind::Struct && btf.is_named(t.name, name)))
}

/// Whether a parameter is an integer of 4 bytes.
fn is_int(btf: &Btf, param: &Param) -> Result<bool, Reason> {
    let found = btf.resolve(param.type_id)?;
    Ok(found.kind == Kind::Int && found.size() == Some(4))
}
