//! As much of JSON Schema as the document uses, strictly: a keyword that is not known here fails the test.

use serde_json::Value;

/// The schemas of a document.
pub struct Schemas<'a> {
    document: &'a Value,
}

impl<'a> Schemas<'a> {
    pub fn of(document: &'a Value) -> Self {
        Self { document }
    }

    /// Whether the component accepts `value`, and why not. Without `required`, absent fields are let pass.
    pub fn check(&self, component: &str, value: &Value, required: bool) -> Result<(), String> {
        let schema = &self.document["components"]["schemas"][component];
        assert!(schema.is_object(), "there is no component {component}");
        self.accepts(schema, value, required)
    }

    fn accepts(&self, schema: &Value, value: &Value, required: bool) -> Result<(), String> {
        for (keyword, argument) in schema.as_object().ok_or("no schema")? {
            let holds = match keyword.as_str() {
                "$ref" => {
                    let pointer = argument.as_str().unwrap().trim_start_matches('#');
                    self.accepts(self.document.pointer(pointer).unwrap(), value, required)?;
                    true
                }
                "type" => is_of(argument.as_str().unwrap(), value),
                "enum" => argument.as_array().unwrap().contains(value),
                "required" => {
                    let names = argument.as_array().unwrap();
                    !required || names.iter().all(|name| value.get(name.as_str().unwrap()).is_some())
                }
                "properties" => self.properties(argument, value, required)?,
                "additionalProperties" => self.additional(schema, argument, value, required)?,
                "items" => {
                    for item in value.as_array().ok_or("no list")? {
                        self.accepts(argument, item, required)?;
                    }
                    true
                }
                "anyOf" => {
                    argument.as_array().unwrap().iter().any(|one| self.accepts(one, value, required).is_ok())
                }
                "pattern" => value.as_str().is_some_and(|text| {
                    let digits = text.strip_prefix('-').unwrap_or(text);
                    (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
                }),
                "minimum" => value.as_i64() >= argument.as_i64(),
                "maximum" => value.as_i64() <= argument.as_i64(),
                "description" | "format" | "contentEncoding" | "deprecated" | "examples" => true,
                other => panic!("the keyword {other} is not known here"),
            };
            if !holds {
                return Err(format!("{value} breaks {keyword}: {argument}"));
            }
        }
        Ok(())
    }

    fn properties(&self, properties: &Value, value: &Value, required: bool) -> Result<bool, String> {
        let fields = value.as_object().ok_or("no object")?;
        for (name, field) in fields {
            if let Some(schema) = properties.get(name) {
                self.accepts(schema, field, required).map_err(|reason| format!("{name}: {reason}"))?;
            }
        }
        Ok(true)
    }

    fn additional(
        &self,
        schema: &Value,
        rest: &Value,
        value: &Value,
        required: bool,
    ) -> Result<bool, String> {
        let fields = value.as_object().ok_or("no object")?;
        let others = fields.iter().filter(|(name, _)| schema["properties"].get(name).is_none());
        for (name, field) in others {
            match rest {
                Value::Bool(true) => {}
                Value::Bool(false) => return Err(format!("{name} is not allowed")),
                rest => self.accepts(rest, field, required)?,
            }
        }
        Ok(true)
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the type {other} is not known here"),
    }
}
