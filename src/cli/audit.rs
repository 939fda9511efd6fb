//! What `check --host` and `package` share: the audit of a description.

use super::rehydrate::kernel_request;
use crate::appliance::kernel::{self, Kernel};
use crate::appliance::{self, Request};
use crate::audit::{self, Finding, Kind, Place, Severity, Subject};
use crate::description::{self, Description, Problem, Problems};
use crate::host::Host;
use crate::skeleton::{self, Prepared};
use crate::{Error, Result, files};
use serde_json::{Value, json};
use std::path::Path;

/// What an appliance of this description would miss on `host`.
pub(super) fn of_description(description: &Description, host: &Host) -> Result<Vec<Finding>> {
    let prepared = skeleton::prepare(&skeleton::Request {
        description,
        family: host.family(),
        host: Some(host),
        download: None,
    })?;
    let mut findings = Vec::new();
    let kernel = match kernel::choose(host.root(), &kernel_request()) {
        Ok(selection) => Some(selection.kernel),
        Err(error) => {
            findings.push(no_kernel(&error));
            None
        }
    };
    findings.extend(of_skeleton(description, &prepared, host, kernel.as_ref())?);
    Ok(findings)
}

/// The same for a skeleton that is made already.
pub(super) fn of_skeleton(
    description: &Description,
    prepared: &Prepared,
    host: &Host,
    kernel: Option<&Kernel>,
) -> Result<Vec<Finding>> {
    let scratch = tempfile::tempdir()
        .map_err(|e| Error::io("cannot create a directory in", std::env::temp_dir(), e))?;
    skeleton::write(prepared, scratch.path())?;
    let request = Request {
        kernel: kernel_request(),
        ..Request::new(vec![scratch.path().to_owned()])
    };
    let (plan, report) = appliance::plan_for(&request, host)?;
    audit::audit(&Subject {
        description,
        plan: &plan,
        report: &report,
        host,
        kernel,
    })
}

fn no_kernel(error: &Error) -> Finding {
    Finding {
        severity: Severity::Warning,
        kind: Kind::Module,
        place: Place::Boot("init"),
        title: format!("on this host it cannot be booted: {error}"),
        help: error
            .advice()
            .unwrap_or("see `freezedry doctor`")
            .to_owned(),
        missing: "kernel".into(),
        wanted_by: Vec::new(),
    }
}

/// Findings as problems of the description at `path`, each at its place.
pub(super) fn problems(path: &Path, findings: &[Finding]) -> Result<Problems> {
    let text = files::read_text(path)?;
    let list = findings.iter().map(|finding| {
        let (keys, item): (Vec<&str>, _) = match &finding.place {
            Place::Name => (vec!["name"], None),
            Place::Init => (vec!["boot", "init"], None),
            Place::Boot(key) => (vec!["boot", *key], Some(finding.missing.as_str())),
            Place::File(path) => (vec!["files"], path.to_str()),
            Place::HostFile(pattern) => (vec!["host_files"], Some(pattern.as_str())),
            Place::Package(name) => (vec!["packages"], Some(name.as_str())),
            Place::Packages => (vec!["packages"], None),
        };
        Problem {
            severity: finding.severity,
            span: description::locate(&text, &keys, item),
            title: finding.title.clone(),
            help: finding.help.clone(),
        }
    });
    Ok(Problems::of(
        &path.display().to_string(),
        &text,
        list.collect(),
    ))
}

/// What a finding has beyond a problem, for programs.
pub(super) fn details(finding: &Finding) -> Vec<(&'static str, Value)> {
    let wanted_by = finding
        .wanted_by
        .iter()
        .map(|wanted| json!({"path": wanted.path.to_string_lossy(), "owner": wanted.owner}));
    vec![
        ("kind", json!(finding.kind.name())),
        ("missing", json!(finding.missing)),
        ("wanted_by", wanted_by.collect()),
    ]
}
