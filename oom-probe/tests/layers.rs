//! The modules are layers: `lib.rs` lists them, and each uses only those listed below it.
//!
//! Read from the sources, since a compiler takes any order. What tests use does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, Meta, UseTree, Visibility, visit::Visit};

/// A module by its path from the crate's root.
type Module = Vec<String>;

/// The modules of a crate, and which of them each uses.
struct Modules {
    /// Those that `lib.rs` lists, the highest first.
    layers: Vec<String>,
    uses: BTreeMap<Module, BTreeSet<Module>>,
}

impl Modules {
    fn of(sources: &Path) -> Self {
        let mut files = BTreeMap::new();
        find(sources, &mut Vec::new(), &mut files);
        let known: BTreeSet<Module> = files.keys().cloned().collect();
        let mut layers = Vec::new();
        let mut uses = BTreeMap::new();
        for (module, path) in &files {
            let text = fs::read_to_string(path).unwrap();
            let file = syn::parse_file(&text).unwrap();
            let mut reader = Reader {
                module: module.clone(),
                known: &known,
                used: BTreeSet::new(),
            };
            for item in &file.items {
                match item {
                    Item::Mod(item) if module.is_empty() && !is_test(&item.attrs) => {
                        layers.push(item.ident.to_string());
                    }
                    item => reader.visit_item(item),
                }
            }
            // What is compiled for tests alone has no place among the layers.
            let is_test = |module: &Module| module.iter().any(|name| is_test_module(name));
            if !is_test(module) {
                reader.used.retain(|used| used != module && !is_test(used));
                uses.insert(module.clone(), reader.used);
            }
        }
        Self { layers, uses }
    }

    /// The layer of a module, counted from above.
    fn layer(&self, module: &Module) -> Option<usize> {
        let first = module.first()?;
        self.layers.iter().position(|layer| layer == first)
    }

    /// One line for each use of a module that is not listed below.
    fn upward(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (module, used) in &self.uses {
            for other in used {
                if let (Some(own), Some(its)) = (self.layer(module), self.layer(other))
                    && its < own
                {
                    lines.push(format!("{} uses {}", module.join("::"), other.join("::")));
                }
            }
        }
        lines
    }

    /// One line for each two files that use each other, directly or through others.
    fn circles(&self) -> Vec<String> {
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = self
            .uses
            .keys()
            .map(|module| (module, self.reachable(module)))
            .collect();
        let mut lines = Vec::new();
        for (module, used) in &self.uses {
            for other in used {
                let back = reach.get(other).is_some_and(|reach| reach.contains(module));
                if back {
                    lines.push(format!(
                        "{} uses {}, which uses it, directly or through others",
                        module.join("::"),
                        other.join("::")
                    ));
                }
            }
        }
        lines
    }

    fn reachable<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            for used in self.uses.get(module).into_iter().flatten() {
                if reached.insert(used) {
                    next.push(used);
                }
            }
        }
        reached
    }
}

/// Gathers the files below a directory by the module that each is.
fn find(directory: &Path, module: &mut Module, files: &mut BTreeMap<Module, PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            module.push(stem);
            find(&path, module, files);
            module.pop();
            continue;
        }
        let mut own = module.clone();
        match stem.as_str() {
            "main" if module.is_empty() => continue,
            "lib" if module.is_empty() => {}
            "mod" => {}
            _ => own.push(stem),
        }
        files.insert(own, path);
    }
}

/// Names that modules of tests have here.
fn is_test_module(name: &str) -> bool {
    matches!(name, "tests" | "fixture" | "fuzz" | "served")
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string().contains("test"),
        Meta::Path(_) | Meta::NameValue(_) => false,
    })
}

/// Gathers the modules that a file uses.
struct Reader<'a> {
    module: Module,
    known: &'a BTreeSet<Module>,
    used: BTreeSet<Module>,
}

impl Reader<'_> {
    /// Takes a path that a file names.
    fn path(&mut self, names: &[String]) {
        // A name alone is the file's own; so is `super` in a macro's `pub(super)`.
        let [first, _, ..] = names else { return };
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), &names[1..]),
            "self" => (self.module.clone(), &names[1..]),
            "super" => (self.module.clone(), names),
            _ => (self.module.clone(), names),
        };
        while rest.first().is_some_and(|name| name == "super") {
            at.pop();
            rest = &rest[1..];
        }
        let mut found = matches!(first.as_str(), "crate" | "super");
        for name in rest {
            at.push(name.clone());
            if !self.known.contains(&at) {
                at.pop();
                break;
            }
            found = true;
        }
        if found {
            self.used.insert(at);
        }
    }

    fn tree(&mut self, tree: &UseTree, names: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                names.push(path.ident.to_string());
                self.tree(&path.tree, names);
                names.pop();
            }
            UseTree::Name(name) => {
                names.push(name.ident.to_string());
                self.path(names);
                names.pop();
            }
            UseTree::Rename(name) => {
                names.push(name.ident.to_string());
                self.path(names);
                names.pop();
            }
            UseTree::Glob(_) => self.path(names),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, names);
                }
            }
        }
    }

    /// The paths in the arguments of a macro, which are no syntax yet.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut names: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) if names.is_empty() || colons == 2 => {
                    names.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.path(&std::mem::take(&mut names));
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Ident(name) => names.push(name.to_string()),
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
        }
        self.path(&names);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        // A module within the file is part of it.
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.path(&names);
        syn::visit::visit_path(self, path);
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_macro(&mut self, invoked: &'ast Macro) {
        self.tokens(invoked.tokens.clone());
    }
}

#[test]
fn no_module_uses_one_that_is_not_below_it() {
    for sources in ["src", "capture/src"] {
        let modules = Modules::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join(sources));
        assert!(modules.layers.len() > 3, "{:?}", modules.layers);
        let upward = modules.upward();
        assert!(upward.is_empty(), "{sources}:\n{}", upward.join("\n"));
        let circles = modules.circles();
        assert!(circles.is_empty(), "{sources}:\n{}", circles.join("\n"));
    }
}
