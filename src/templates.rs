//! Rendering of `templates/`: everything that lands in a package or a guest as text.

use crate::{Error, Result, error::Kind};
use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderErrorReason,
};
use serde::Serialize;
use serde_json::Value;

/// Fills `template` in with `data`.  `name` is the template's file name, for messages.
///
/// Nothing is escaped, and a variable that `data` does not have is an error:
/// the output is a shell script, a spec file or a man page, never HTML.  Use
/// the helper `{{sh value}}` for a word of a POSIX shell script.
pub fn render(name: &str, template: &str, data: &impl Serialize) -> Result<String> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(handlebars::no_escape);
    engine.register_helper("sh", Box::new(sh));
    engine.render_template(template, data).map_err(|e| {
        Error::new(Kind::System, format!("cannot render the template `{name}`")).caused_by(e)
    })
}

/// `text` as one word of a POSIX shell script.
pub fn shell_quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The helper `sh`.
fn sh(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let value = helper.param(0).map(handlebars::PathAndJson::value);
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(RenderErrorReason::InvalidParamType("string or number").into()),
    };
    Ok(out.write(&shell_quote(&text))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        for word in ["", "plain", "two words", "it's", "$HOME `id` \\ \"", "a\nb"] {
            let script = format!("printf %s {}", shell_quote(word));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }

    #[test]
    fn a_misspelt_variable_is_an_error_that_names_the_template() {
        let error = render("x.sh", "{{nmae}}", &serde_json::json!({"name": "n"})).unwrap_err();
        assert!(error.to_string().contains("`x.sh`"), "{error}");
    }
}
