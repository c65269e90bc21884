//! Names held once however many pods have them: the sidecar of 250 pods has one name and one
//! image.

use std::{collections::HashSet, sync::Arc};

/// The names in use.
#[derive(Debug, Default)]
pub struct Names {
    known: HashSet<Arc<str>>,
    sweep_at: usize,
}

/// Fewer names than this are not worth looking for unused ones.
const SWEEP_FROM: usize = 256;

impl Names {
    /// The shared copy of a name.
    pub fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at.max(SWEEP_FROM) {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.sweep_at = self.known.len() * 2;
        }
        let name: Arc<str> = name.into();
        self.known.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one() {
        let mut names = Names::default();
        let first = names.intern("istio-proxy");
        assert!(Arc::ptr_eq(&first, &names.intern("istio-proxy")));
        assert!(!Arc::ptr_eq(&first, &names.intern("app")));
    }

    #[test]
    fn names_that_nobody_has_any_more_go() {
        let mut names = Names::default();
        let kept = names.intern("kept");
        for n in 0..100_000 {
            names.intern(&format!("pod-{n}"));
        }
        assert!(names.known.len() <= SWEEP_FROM);
        assert!(Arc::ptr_eq(&kept, &names.intern("kept")));
    }
}
