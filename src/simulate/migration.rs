//! Jobs that change data, in a simulated cluster.

use std::collections::BTreeMap;

use super::time::second;
use super::world::World;
use crate::model::{Migration, MigrationState, Unknown, UnknownKind};

/// Those of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Migrations {
    /// By namespace; the one that something happened to last at the end.
    all: BTreeMap<String, Vec<Migration>>,
    /// Whether we may not list them.
    pub(super) hidden: bool,
}

impl Migrations {
    /// Those of a namespace, as they are read.
    pub(super) fn of(&self, namespace: &str) -> Result<Vec<Migration>, Unknown> {
        if self.hidden {
            return Err(Unknown::new(UnknownKind::Forbidden, "forbidden: cannot list resource \"jobs\""));
        }
        Ok(self.all.get(namespace).cloned().unwrap_or_default())
    }
}

impl World {
    /// A Job that changes data begins, or ends.
    pub fn migrate(&mut self, namespace: &str, name: &str, image: &str, state: MigrationState) {
        let at = second(self.now());
        let migration = Migration { name: name.to_owned(), images: vec![image.to_owned()], state, at };
        let known = self.cluster.migrations.all.entry(namespace.to_owned()).or_default();
        known.retain(|other| other.name != name);
        known.push(migration);
        self.cluster.forget();
        self.log(format!("migration {namespace}/{name} of {image} {}", state.as_str()));
    }

    /// Somebody deletes such a Job, or it is deleted once it is over.
    pub fn delete_migration(&mut self, namespace: &str, name: &str) {
        if let Some(known) = self.cluster.migrations.all.get_mut(namespace) {
            known.retain(|other| other.name != name);
        }
        self.cluster.forget();
        self.log(format!("migration {namespace}/{name} deleted"));
    }
}
