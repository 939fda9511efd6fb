//! `supermin --prepare`.

use super::Voice;
use super::arguments::Arguments;
use crate::Result;
use crate::host::Host;

pub(super) fn run(_arguments: &Arguments, _host: &Host, _voice: Voice) -> Result<()> {
    Ok(())
}
