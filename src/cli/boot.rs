//! stub
use super::Status;
use crate::Result;
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}
pub(super) fn run(_: &Arguments) -> Result<Status> {
    todo!()
}
