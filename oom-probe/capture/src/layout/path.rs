//! Walks from a struct to a member along a path written as in C.

use super::missing::Missing;
use crate::{
    btf::{Btf, Kind, Type, TypeId},
    sys::escape::escape,
};

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked<'a> {
    /// The struct that the offset counts from: the last one reached by `->`, else the root.
    pub(super) owner: Type<'a>,
    /// Bytes from its start.
    pub(super) offset: u32,
    /// The type there.
    pub(super) type_id: TypeId,
    /// Size of an element of the last array that the path leads through or to, bytes.
    pub(super) stride: Option<u32>,
}

/// Constants that paths may use as indices, and the enums that they belong to.
const CONSTANTS: [(&str, &str); 2] = [
    ("PIDTYPE_TGID", "pid_type"),
    ("memory_cgrp_id", "cgroup_subsys_id"),
];

/// Walks paths through the types of one kernel.
pub(super) struct Walker<'a> {
    btf: &'a Btf,
    /// The values of [`CONSTANTS`], looked up once: an enum may lie at the end of the file.
    constants: [Option<u32>; CONSTANTS.len()],
}

impl<'a> Walker<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        let value = |(name, enumeration)| {
            btf.enumerator(enumeration, name)
                .and_then(|value| u32::try_from(value).ok())
        };
        Self {
            btf,
            constants: CONSTANTS.map(value),
        }
    }

    /// Follows a path such as `cgroups->subsys[memory_cgrp_id]->cgroup`.
    ///
    /// `->` begins anew at the struct pointed to, or, since arrays decay as in C, at an array's first
    /// element; `.` stays in the struct, and enters an array at its first element. An index is the name
    /// of an enumerator.
    pub(super) fn walk(&self, root: Type<'a>, path: &str) -> Result<Walked<'a>, Missing> {
        let mut place = Walked {
            owner: root,
            offset: 0,
            type_id: root.id,
            stride: None,
        };
        for (nth, hop) in path.split("->").enumerate() {
            if nth > 0 {
                place = self.deref(place)?;
            }
            for step in hop.split('.') {
                place = self.enter(place, step)?;
            }
        }
        Ok(place)
    }

    /// The struct that a pointer points to, or that an array begins with.
    fn deref(&self, place: Walked<'a>) -> Result<Walked<'a>, Missing> {
        let here = self.btf.resolve(place.type_id)?;
        let owner = match here.kind {
            Kind::Ptr => self.btf.resolve(here.target())?,
            Kind::Array => self.btf.resolve(here.array().element)?,
            _ => return Err(Missing::NoPointer(name_of(self.btf, here))),
        };
        Ok(Walked {
            owner,
            offset: 0,
            type_id: owner.id,
            stride: place.stride,
        })
    }

    /// A member of the struct at that place, or of the first element of the array there.
    fn enter(&self, place: Walked<'a>, step: &str) -> Result<Walked<'a>, Missing> {
        let (name, index) = match step.split_once('[') {
            Some((name, index)) => (name, Some(index.trim_end_matches(']'))),
            None => (step, None),
        };
        let mut composite = self.btf.resolve(place.type_id)?;
        if composite.kind == Kind::Array {
            composite = self.btf.resolve(composite.array().element)?;
        }
        if !composite.is_composite() {
            return Err(Missing::NoComposite(name_of(self.btf, composite)));
        }
        let member = self
            .btf
            .member(composite, name)?
            .ok_or_else(|| Missing::NoMember {
                owner: name_of(self.btf, composite),
                member: name.to_owned(),
            })?;
        let mut next = Walked {
            offset: place
                .offset
                .checked_add(member.offset)
                .ok_or(Missing::TooFar)?,
            type_id: member.type_id,
            ..place
        };
        let resolved = self.btf.resolve(member.type_id)?;
        if resolved.kind == Kind::Array {
            let element = resolved.array().element;
            next.stride = self.btf.size_of(element)?;
            if let Some(index) = index {
                let nth = self.constant(index)?;
                next.offset = next
                    .stride
                    .and_then(|size| size.checked_mul(nth)?.checked_add(next.offset))
                    .ok_or(Missing::TooFar)?;
                next.type_id = element;
            }
        } else if index.is_some() {
            return Err(Missing::NoArray(name.to_owned()));
        }
        Ok(next)
    }

    /// The value of an index.
    fn constant(&self, name: &str) -> Result<u32, Missing> {
        let known = CONSTANTS.iter().position(|(constant, _)| *constant == name);
        let (value, enumeration) =
            known.map_or((None, ""), |nth| (self.constants[nth], CONSTANTS[nth].1));
        value.ok_or_else(|| Missing::NoEnumerator(enumeration, name.to_owned()))
    }
}

/// A type's name for a message.
fn name_of(btf: &Btf, found: Type<'_>) -> String {
    match btf.name(found.name) {
        Ok(b"") | Err(_) => format!("an unnamed {:?}", found.kind),
        Ok(name) => escape(name),
    }
}
