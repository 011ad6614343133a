//! Unit tests of the reader of schemas.

use serde_json::json;

use super::*;

fn shape(document: Value) -> Shape {
    Schema::from_value(document).unwrap().root.shape
}

#[test]
fn puts_required_properties_first_in_their_order() {
    let schema = json!({
        "type": "object",
        "properties": { "a": {}, "b": { "type": "string" }, "c": {} },
        "required": ["c", "b"],
    });
    let Shape::Object(object) = shape(schema) else { panic!() };
    let names: Vec<_> = object.properties.iter().map(|property| &*property.name).collect();
    assert_eq!(names, ["c", "b", "a"]);
}

#[test]
fn merges_the_variants_of_an_enumeration() {
    let schema = json!({ "oneOf": [
        { "const": "a", "description": "First." }, { "enum": ["b"], "type": "string" },
    ]});
    let Shape::Literals(literals) = shape(schema) else { panic!() };
    assert_eq!(literals.len(), 2);
    assert_eq!(literals[0].description.as_deref(), Some("First."));
}

#[test]
fn models_nothing_that_it_does_not_understand() {
    assert_eq!(shape(json!({ "type": "string", "not": { "const": "a" } })), Shape::Opaque);
    assert_eq!(shape(json!({ "type": "integer", "multipleOf": 2 })), Shape::Opaque);
    assert_eq!(shape(json!({ "minimum": 1 })), Shape::Opaque);
    assert_eq!(shape(json!({ "format": "x", "x-own": 1 })), Shape::Any);
}

#[test]
fn rejects_references_out_of_the_document() {
    for reference in ["http://localhost/", "#/$defs/missing", "#/properties/a"] {
        let fault = Schema::from_value(json!({ "$ref": reference })).unwrap_err();
        assert!(matches!(fault, SchemaFault::Reference { .. }), "{fault}");
    }
    assert!(Schema::from_value(json!({ "$ref": "#" })).is_ok());
}

#[test]
fn rejects_schemas_that_are_too_deep_or_too_large() {
    let mut deep = json!(true);
    for _ in 0..=DEPTH_MAX * 2 {
        deep = json!({ "type": "array", "items": deep });
    }
    assert!(matches!(Schema::from_value(deep), Err(SchemaFault::TooLarge)));

    let wide = json!({ "anyOf": vec![true; NODES_MAX] });
    assert!(matches!(Schema::from_value(wide), Err(SchemaFault::TooLarge)));
}

#[test]
fn joins_all_demands_on_an_object() {
    let tagged = json!({
        "oneOf": [
            { "type": "object", "properties": { "kind": { "const": "a" } }, "required": ["kind"], "$ref": "#/$defs/A" },
            { "type": "object", "properties": { "kind": { "const": "b" } }, "required": ["kind"] },
        ],
        "type": "object",
        "properties": { "id": { "type": "string" } },
        "required": ["id"],
        "unevaluatedProperties": false,
        "$defs": { "A": { "type": "object", "properties": { "x": { "type": "null" } }, "required": ["x"] } },
    });

    let Shape::Union(members) = shape(tagged) else { panic!() };

    let names = |node: &Node| match &node.shape {
        Shape::Object(object) if object.additional.shape == Shape::Never => {
            object.properties.iter().map(|property| property.name.clone()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(members.iter().map(names).collect::<Vec<_>>(), [vec!["id", "kind", "x"], vec!["id", "kind"]]);
}

#[test]
fn joins_no_demands_that_lead_in_a_circle() {
    let circle = json!({
        "type": "object", "$ref": "#/$defs/A",
        "$defs": { "A": { "type": "object", "$ref": "#/$defs/B" }, "B": { "allOf": [{ "$ref": "#/$defs/A" }, { "type": "object" }] } },
    });
    assert_eq!(shape(circle), Shape::Opaque);
    assert_eq!(shape(json!({ "type": "object", "$ref": "#" })), Shape::Opaque);
    for (a, b) in [
        (json!({ "$ref": "#/$defs/B" }), json!({ "$ref": "#/$defs/A" })),
        (json!({ "anyOf": [{ "$ref": "#/$defs/A" }, { "$ref": "#/$defs/B" }] }), json!({ "type": "object" })),
    ] {
        let definitions = json!({ "A": a, "B": b });
        for keyword in ["type", "unevaluatedProperties"] {
            let value = if keyword == "type" { json!("object") } else { json!(false) };
            let circle = json!({ keyword: value, "$ref": "#/$defs/A", "$defs": definitions });
            assert_eq!(shape(circle), Shape::Opaque, "{definitions} {keyword}");
        }
    }
}

#[test]
fn keeps_what_is_not_modelled_without_its_remarks() {
    let schema = json!({
        "title": "T", "type": "object", "properties": { "title": { "description": "d" } }, "not": { "title": "x" },
    });
    let root = Schema::from_value(schema).unwrap().root;
    assert_eq!(root.title.as_deref(), Some("T"));
    let plain = json!({ "type": "object", "properties": { "title": {} }, "not": {} });
    assert_eq!(root.unmodelled, Some(plain));
}

#[test]
fn keeps_the_literals_of_the_type_only() {
    let Shape::Literals(literals) = shape(json!({ "type": ["string", "null"], "enum": ["a", 1, null] }))
    else {
        panic!()
    };
    assert_eq!(
        literals.iter().map(|literal| &literal.value).collect::<Vec<_>>(),
        [&json!("a"), &json!(null)]
    );
}

#[test]
fn reads_a_map_with_a_pattern_of_names() {
    let map = json!({
        "type": "object", "additionalProperties": false, "patternProperties": { "^\\d+$": { "type": "string" } },
    });
    let Shape::Object(object) = shape(map) else { panic!() };
    assert_eq!(object.names.as_deref(), Some("^\\d+$"));
    assert!(matches!(object.additional.shape, Shape::Text(_)));
}

#[test]
fn rounds_the_bounds_of_integers_inwards() {
    let Shape::Integer(integer) = shape(json!({ "type": "integer", "minimum": 0.5, "maximum": -0.5 })) else {
        panic!()
    };
    assert_eq!((integer.minimum, integer.maximum), (Some(1), Some(-1)));
    let huge = shape(json!({ "type": "integer", "maximum": 1e300 }));
    assert!(matches!(huge, Shape::Integer(integer) if integer.maximum == Some(i128::MAX)));
}

#[test]
fn rejects_keywords_with_values_of_a_wrong_type() {
    for schema in [
        json!({ "type": "integer", "minimum": "0" }),
        json!({ "type": "string", "minLength": -1 }),
        json!({ "type": "array", "maxItems": 0.5 }),
        json!({ "type": "object", "required": [1] }),
        json!({ "type": "unknown" }),
        json!({ "anyOf": {} }),
        json!([]),
    ] {
        let fault = Schema::from_value(schema.clone()).unwrap_err();
        assert!(matches!(fault, SchemaFault::NotASchema { .. }), "{schema}: {fault}");
    }
}

#[test]
fn models_no_demands_on_definitions_that_lead_to_each_other() {
    let to = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let or_null = |name: &str| json!({ "anyOf": [to(name), { "type": "null" }] });
    for (a, b) in [(to("b"), to("a")), (or_null("b"), or_null("a")), (to("b"), json!({ "$ref": "#" }))] {
        let schema = json!({ "allOf": [to("a"), { "type": "string" }], "$defs": { "a": a, "b": b } });
        assert_eq!(shape(schema), Shape::Opaque, "{a} {b}");
    }
}

#[test]
fn rejects_demands_on_a_long_chain_of_definitions() {
    let link = |number: u32| {
        let next = json!({ "$ref": format!("#/$defs/{}", number + 1) });
        (number.to_string(), json!({ "anyOf": [next, { "type": "null" }] }))
    };
    let mut definitions: Map<_, _> = (0..1_000).map(link).collect();
    definitions.insert("1000".to_owned(), json!({ "type": "string" }));
    let schema = json!({ "allOf": [{ "$ref": "#/$defs/0" }, { "type": "string" }], "$defs": definitions });
    assert!(matches!(Schema::from_value(schema), Err(SchemaFault::TooLarge)));
}
