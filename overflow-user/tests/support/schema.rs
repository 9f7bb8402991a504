//! As much of JSON Schema 2020-12 as `docs/events.schema.json` uses.

use serde_json::Value;

/// The shipped schema.
pub fn shipped() -> Value {
    let text = include_str!("../../../docs/events.schema.json");
    serde_json::from_str(text).expect("the schema is JSON")
}

/// Checks `value` against `schema`, a part of `root`. The error says where and what.
pub fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    for (key, rule) in schema.as_object().ok_or("a schema is not an object")? {
        match key.as_str() {
            "$ref" => {
                let pointer = rule.as_str().and_then(|r| r.strip_prefix('#')).ok_or("bad $ref")?;
                let target = root.pointer(pointer).ok_or_else(|| format!("no {rule}"))?;
                check(root, target, value)?;
            }
            "oneOf" | "anyOf" => {
                let results: Vec<_> =
                    rule.as_array().unwrap().iter().map(|s| check(root, s, value)).collect();
                let fits = results.iter().filter(|r| r.is_ok()).count();
                if fits == 0 || (key == "oneOf" && fits > 1) {
                    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
                    return Err(format!("{fits} of {key} fit {value}: {errors:#?}"));
                }
            }
            "type" => {
                let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !names.iter().any(|name| is(name.as_str().unwrap(), value)) {
                    return Err(format!("{value} is not {rule}"));
                }
            }
            "const" if value != rule => return Err(format!("{value} is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                return Err(format!("{value} is none of {rule}"));
            }
            "minimum" if value.is_number() && value.as_f64() < rule.as_f64() => {
                return Err(format!("{value} is below {rule}"));
            }
            "required" => {
                let missing =
                    rule.as_array().unwrap().iter().find(|name| {
                        value.is_object() && value.get(name.as_str().unwrap()).is_none()
                    });
                if let Some(name) = missing {
                    return Err(format!("{name} is missing"));
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(root, rule, item)?;
                }
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        check(root, rule, member).map_err(|e| format!("{name}: {e}"))?;
                    }
                }
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if schema.get("properties").is_some_and(|p| p.get(name).is_some()) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => return Err(format!("{name} is not in the schema")),
                        rule => check(root, rule, member)?,
                    }
                }
            }
            "const" | "enum" | "minimum" | "$schema" | "$id" | "title" | "$defs" => {}
            other => return Err(format!("this checker does not know {other}")),
        }
    }
    Ok(())
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}
