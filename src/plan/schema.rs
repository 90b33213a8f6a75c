//! The JSON Schema of job specs, put together from what the kinds say of their keys.

use schemars::{
    Schema, SchemaGenerator,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::{Map, Value, json};

use crate::{
    jobspec::{self, Section, common_schema},
    kind::Kind,
    sinks, sources, transforms,
};

/// The schema of a whole job spec.
pub fn schema() -> Schema {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut job = jobspec::schema(&mut generator);
    let sections = [
        (Section::Sources, stages(Section::Sources, sources::KINDS, &mut generator)),
        (Section::Transforms, stages(Section::Transforms, transforms::KINDS, &mut generator)),
        (Section::Sinks, stages(Section::Sinks, sinks::KINDS, &mut generator)),
    ];
    for (section, stages) in sections {
        let table = json!({ "type": "object", "additionalProperties": { "oneOf": stages } });
        object(&mut job, "properties").insert(section.key().to_owned(), table);
    }
    let definitions = sources::definitions_schema().to_value();
    object(&mut job, "properties").insert("definitions".to_owned(), definitions);
    let definitions = generator.take_definitions(true);
    object(&mut job, "$defs").extend(definitions);
    let mut one_for_a_list = RecursiveTransform(one_for_a_list);
    one_for_a_list.transform(&mut job);
    // Added last, said first: editors look for it there.
    let dialect = json!("https://json-schema.org/draft/2020-12/schema");
    job.ensure_object().shift_insert(0, "$schema".to_owned(), dialect);
    job
}

/// One schema per kind: the keys common to the section and its own, and no others.
fn stages<S: ?Sized>(section: Section, kinds: &[Kind<S>], generator: &mut SchemaGenerator) -> Vec<Value> {
    let stage = |kind: &Kind<S>| {
        let mut stage = resolved((kind.schema)(generator), generator);
        let mut common = resolved(common_schema(section, generator), generator);
        let mut properties = Map::from_iter([("type".to_owned(), json!({ "const": kind.name }))]);
        properties.append(object(&mut common, "properties"));
        properties.append(object(&mut stage, "properties"));
        *object(&mut stage, "properties") = properties;
        let mut required = vec![json!("type")];
        required.extend(array(&common, "required"));
        required.extend(array(&stage, "required"));
        stage.insert("required".to_owned(), Value::Array(required));
        stage.insert("title".to_owned(), json!(format!("{section} of type {}", kind.name)));
        stage.to_value()
    };
    kinds.iter().map(stage).collect()
}

/// One text may stand for a list of one, wherever a list of texts is asked for.
fn one_for_a_list(schema: &mut Schema) {
    let texts = schema.get("items").and_then(|items| items.get("type")) == Some(&json!("string"));
    if texts && schema.get("type") == Some(&json!("array")) {
        schema.insert("type".to_owned(), json!(["array", "string"]));
    }
}

/// The schema itself where it is only a reference to a definition.
fn resolved(schema: Schema, generator: &SchemaGenerator) -> Schema {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    let found = name.and_then(|name| generator.definitions().get(name)).cloned();
    found.and_then(|value| Schema::try_from(value).ok()).unwrap_or(schema)
}

fn object<'a>(schema: &'a mut Schema, key: &str) -> &'a mut Map<String, Value> {
    let value = schema.ensure_object().entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made an object above")
}

fn array(schema: &Schema, key: &str) -> Vec<Value> {
    schema.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}
