//! Reports in the forms in which they are given. Each is pure: a report in, text out.
//!
//! Values come from a runtime and are not trusted: what a form gives a meaning to, a terminal's escapes and HTML's tags among it, is
//! escaped.

mod explain;
mod html;
mod junit;
mod markdown;
mod pace;
mod repeat;
#[cfg(test)]
mod sample;
mod table;
mod text;

use crate::Report;

pub use explain::explain;
pub use repeat::repeat;
pub use table::render_limitations;

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a terminal, or plain text.
    Table,
    /// For scripts; `docs/report.md` describes it.
    Json,
    /// For what shows tests: one suite per service, one case per method.
    Junit,
    /// For a pull request.
    Markdown,
    /// One file for a browser, which loads nothing.
    Html,
}

/// Whether a terminal is to show colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// It is.
    Shown,
    /// Plain text.
    #[default]
    Plain,
}

impl Form {
    /// The form that a file's suffix tells, as `html`.
    pub fn of_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "txt" => Self::Table,
            "json" => Self::Json,
            "xml" => Self::Junit,
            "md" => Self::Markdown,
            "html" => Self::Html,
            _ => return None,
        })
    }

    /// A report in this form.
    ///
    /// # Errors
    /// None that a report can bring about; the libraries that write JSON and XML have one.
    pub fn render(self, report: &Report, color: Color) -> Result<String, FormError> {
        Ok(match self {
            Self::Table => table::render(report, color),
            Self::Json => serde_json::to_string_pretty(report)? + "\n",
            Self::Junit => junit::render(report)?,
            Self::Markdown => markdown::render(report),
            Self::Html => html::render(report),
        })
    }
}

/// Why a report could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    /// As JSON.
    #[error("writing the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As XML.
    #[error("writing the report as XML: {0}")]
    Junit(#[from] quick_junit::SerializeError),
}
