//! Following dependencies.

use super::catalogue::Catalogue;
use super::record::Capability;
use super::rich::{self, Rich};
use crate::host::packages::{PackageId, Resolution};
use std::collections::HashMap;

/// The package that supermin takes for each requirement.
///
/// A requirement is a string: no version, no rich dependency.  Of the names
/// that provide it the shortest counts, and of the packages of that name the
/// one that is found by it.
#[derive(Debug)]
pub(super) struct Compatible<'a> {
    catalogue: &'a Catalogue,
    answers: HashMap<&'a str, Option<PackageId>>,
}

impl<'a> Compatible<'a> {
    pub(super) fn new(catalogue: &'a Catalogue) -> Self {
        Self {
            catalogue,
            answers: HashMap::new(),
        }
    }

    /// What a package requires.
    pub(super) fn required(&mut self, id: PackageId) -> Vec<PackageId> {
        let catalogue = self.catalogue;
        let wanted = catalogue.records[id].requires.iter();
        wanted
            .filter_map(|wanted| {
                let answer = self.answers.entry(&wanted.name);
                *answer.or_insert_with(|| {
                    let ids = catalogue.what_provides(&wanted.name);
                    let names = ids.iter().map(|&id| catalogue.records[id].name.as_str());
                    let name = names.min_by_key(|name| (name.len(), *name))?;
                    catalogue.find(name, Resolution::Compatible)
                })
            })
            .collect()
    }
}

/// Everything that `roots` need, as rpm checks it.
///
/// What has one answer only comes first, then choices, one at a time, since each
/// may settle others; conditions are asked last, when most is known.  So what is
/// chosen already is preferred wherever it will do (RHBZ 1266918).
pub(super) fn correct(catalogue: &Catalogue, roots: &[PackageId]) -> Vec<PackageId> {
    let mut solver = Solver {
        catalogue,
        chosen: vec![false; catalogue.records.len()],
        order: Vec::new(),
    };
    solver.choose(roots);
    let mut at = 0;
    let mut choices: Vec<(PackageId, Rich)> = Vec::new();
    let mut conditions: Vec<(PackageId, Rich)> = Vec::new();
    loop {
        while let Some(&id) = solver.order.get(at) {
            at += 1;
            for need in needs(catalogue, id) {
                if need.is_conditional() {
                    conditions.push((id, need));
                    continue;
                }
                match &solver.ways(&need, id)[..] {
                    // Nobody has it: it was ignored when it was installed, too.
                    [] => {}
                    [only] => solver.choose(only),
                    _ => choices.push((id, need)),
                }
            }
        }
        let open = |solver: &Solver, list: &[(PackageId, Rich)]| {
            let mut ways = list.iter().map(|(id, need)| solver.ways(need, *id));
            ways.find_map(|ways| ways.into_iter().next().filter(|best| !best.is_empty()))
        };
        choices.retain(|(id, need)| solver.ways(need, *id).iter().all(|way| !way.is_empty()));
        match open(&solver, &choices).or_else(|| open(&solver, &conditions)) {
            Some(way) => solver.choose(&way),
            None => return solver.order,
        }
    }
}

/// What a package requires; what asks for all of several things is taken apart.
fn needs(catalogue: &Catalogue, id: PackageId) -> Vec<Rich> {
    fn push(need: Rich, needs: &mut Vec<Rich>) {
        match need {
            Rich::All(operands) => operands.into_iter().for_each(|need| push(need, needs)),
            need => needs.push(need),
        }
    }
    let mut needs = Vec::new();
    for wanted in &catalogue.records[id].requires {
        if wanted.name.starts_with("rpmlib(") {
            continue; // a feature of rpm itself
        }
        let rich = wanted.name.starts_with('(');
        let rich = rich.then(|| rich::parse(&wanted.name)).flatten();
        push(
            rich.unwrap_or_else(|| Rich::Plain(wanted.clone())),
            &mut needs,
        );
    }
    needs
}

struct Solver<'a> {
    catalogue: &'a Catalogue,
    chosen: Vec<bool>,
    order: Vec<PackageId>,
}

impl Solver<'_> {
    fn choose(&mut self, ids: &[PackageId]) {
        for &id in ids {
            if !std::mem::replace(&mut self.chosen[id], true) {
                self.order.push(id);
            }
        }
    }

    /// The ways to satisfy `need` of `dependent`, the best first: the packages
    /// to add for each.  The only way is to add nothing where it is satisfied;
    /// there is no way where it cannot be.
    fn ways(&self, need: &Rich, dependent: PackageId) -> Vec<Vec<PackageId>> {
        let ways: Vec<Vec<PackageId>> = match need {
            Rich::Any(operands) => operands
                .iter()
                .flat_map(|operand| self.ways(operand, dependent))
                .collect(),
            Rich::All(operands) => {
                let best = operands
                    .iter()
                    .map(|operand| self.ways(operand, dependent).into_iter().next());
                let all: Option<Vec<_>> = best.collect();
                all.map(|all| all.concat()).into_iter().collect()
            }
            Rich::When {
                what,
                condition,
                present,
                otherwise,
            } => {
                let satisfied: &[Vec<PackageId>] = &[Vec::new()];
                if (self.ways(condition, dependent) == satisfied) == *present {
                    self.ways(what, dependent)
                } else {
                    match otherwise {
                        Some(otherwise) => self.ways(otherwise, dependent),
                        None => satisfied.to_vec(),
                    }
                }
            }
            Rich::Plain(Capability { name, .. }) => self.one_of(need, dependent, name),
            Rich::With(_) | Rich::Without(_) => self.one_of(need, dependent, ""),
        };
        if ways.iter().any(Vec::is_empty) {
            return vec![Vec::new()];
        }
        ways
    }

    /// The ways for what one package satisfies: one of the dependent's
    /// architecture first, then one that is called as what is asked for, then
    /// the shortest name, and of one name the newest.
    fn one_of(&self, need: &Rich, dependent: PackageId, name: &str) -> Vec<Vec<PackageId>> {
        let mut ids = self.packages(need);
        if ids.iter().any(|&id| self.chosen[id]) {
            return vec![Vec::new()];
        }
        ids.sort_by_key(|&id| {
            let record = &self.catalogue.records[id];
            (
                self.is_foreign(id, dependent),
                record.name != name,
                record.name.len(),
                id,
            )
        });
        ids.into_iter().map(|id| vec![id]).collect()
    }

    fn is_foreign(&self, id: PackageId, dependent: PackageId) -> bool {
        let of = |id: PackageId| self.catalogue.records[id].architecture.as_str();
        match [of(id), of(dependent)] {
            ["noarch", _] => false,
            [own, "noarch"] => !self.catalogue.is_native(own),
            [own, wanted] => own != wanted,
        }
    }

    /// The packages each of which satisfies `need`.
    fn packages(&self, need: &Rich) -> Vec<PackageId> {
        match need {
            Rich::Plain(capability) => self.catalogue.satisfying(capability),
            Rich::Any(operands) => operands.iter().flat_map(|o| self.packages(o)).collect(),
            Rich::With(operands) | Rich::All(operands) => self.filtered(operands, true),
            Rich::Without(operands) => self.filtered(operands, false),
            Rich::When { what, .. } => self.packages(what),
        }
    }

    /// Those of the first operand that are among all others, or among none.
    fn filtered(&self, operands: &[Rich], among: bool) -> Vec<PackageId> {
        let mut sets = operands.iter().map(|operand| self.packages(operand));
        let mut ids = sets.next().unwrap_or_default();
        for set in sets {
            ids.retain(|id| set.contains(id) == among);
        }
        ids
    }
}
