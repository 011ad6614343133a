//! All formats of one contract, and of one whose texts try to act.

use jackfield_contract::{DeclaredError, Example, MethodContract, MethodFacts, Parameters, Schema};
use serde_json::{Value, json};

use super::*;

fn schema(document: Value) -> Schema {
    Schema::from_value(document).unwrap()
}

fn device_set() -> MethodContract {
    let params = json!({ "type": "object", "title": "Update", "description": "A new status.", "properties": {
        "deviceId": { "type": "string", "minLength": 1, "maxLength": 64, "description": "The id of\nthe device." },
        "status": { "$ref": "#/$defs/Status" },
        "at": { "type": ["integer", "null"], "minimum": 0, "default": 7, "deprecated": true },
    }, "required": ["deviceId", "status"], "$defs": { "Status": { "description": "Whether it answers.", "oneOf": [
        { "const": "online", "description": "It answers." }, { "const": "offline" },
    ] } } });
    MethodContract {
        name: "device.set".to_owned(),
        facts: MethodFacts {
            summary: Some("Stores the status of a device.".to_owned()),
            description: Some("The `status` is kept.\n\n- until the end\n- or longer".to_owned()),
            idempotent: true,
            deprecated: Some("use `device.put`".to_owned()),
            errors: vec![DeclaredError { code: 404, message: "the device is unknown".to_owned() }],
        },
        params: Parameters::Schema(schema(params)),
        result: Some(schema(json!({ "type": "array", "items": { "type": "integer" } }))),
        examples: vec![Example {
            params: Some(json!({ "deviceId": "d", "status": "online" })),
            result: Some(json!([1])),
        }],
    }
}

fn described(methods: Vec<MethodContract>) -> DescribedContract {
    let contract = Contract::new(methods);
    DescribedContract { title: "jackfield".to_owned(), version: "0.1.0".to_owned(), contract }
}

/// Returns the text, the Markdown and the HTML.
fn rendered(described: &DescribedContract) -> [String; 3] {
    let sheets: Vec<_> = described.contract.methods().iter().map(Sheet::of).collect();
    [text::render(&sheets), markdown::render(described, &sheets), html::render(described, &sheets)]
}

#[test]
fn prints_all_that_is_known_as_text() {
    let [text, ..] = rendered(&described(vec![device_set(), MethodContract::unknown("a.b")]));

    assert_eq!(
        text,
        r#"a.b(...)

device.set(deviceId: string, status: "online" | "offline", at?: integer | null) -> integer[]
    Stores the status of a device.
    The status is kept.
    - until the end
    - or longer
    deprecated: use device.put
    idempotent: running the same request twice is harmless
    params: object
        A new status.
        deviceId: string (1..64 characters)
            The id of the device.
        status: "online" | "offline"
            Whether it answers.
        status = "online"
            It answers.
        at?: integer (0 or more) | null = 7, deprecated
    result: array of integer
    errors
        404: the device is unknown
    example
        jackfield call device.set '{"deviceId":"d","status":"online"}'
        [1]
"#
    );
}

#[test]
fn prints_all_that_is_known_as_markdown() {
    let [_, markdown, _] = rendered(&described(vec![device_set()]));

    assert_eq!(
        markdown,
        r#"# jackfield 0.1.0

- [device.set](#method-1): Stores the status of a device.

<a id="method-1"></a>

## device.set

```text
device.set(deviceId: string, status: "online" | "offline", at?: integer | null) -> integer[]
```

Stores the status of a device.

The `status` is kept.

- until the end
- or longer

**deprecated**: use `device.put`

**idempotent**: running the same request twice is harmless

### Params

`object`

A new status.

| Name | Type | Required | Description |
|---|---|---|---|
| `deviceId` | `string (1..64 characters)` | yes | The id of the device. |
| `status` | `"online" \| "offline"` | yes | Whether it answers. |
| `status = "online"` |  |  | It answers. |
| `at` | `integer (0 or more) \| null` | no | **deprecated** Default: `7` |

### Result

`array of integer`

### Errors

| Code | Meaning |
|---|---|
| 404 | the device is unknown |

### Example

```sh
jackfield call device.set '{"deviceId":"d","status":"online"}'
```

```json
[1]
```
"#
    );
}

#[test]
fn prints_a_page_that_needs_nothing_from_elsewhere() {
    let [_, _, html] = rendered(&described(vec![device_set()]));

    for part in [
        "<li><a href=\"#method-device.set\" class=\"deprecated\"><code>device.set</code></a> Stores the status",
        "<section id=\"method-device.set\">",
        "<p>The <code>status</code> is kept.</p>\n<ul>\n<li>until the end</li>",
        "<tr><td><code>deviceId</code></td><td><code>string (1..64 characters)</code></td><td>yes</td><td>The id",
        "<tr><td>404</td><td>the device is unknown</td></tr>",
        "<pre>jackfield call device.set &#39;{&quot;deviceId&quot;:&quot;d&quot;,&quot;status&quot;:&quot;online&quot;}&#39;\n[1]</pre>",
        "color-scheme: light dark",
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    for resource in ["<script", "src=", "<link", "@import", "url(", "http:", "https:"] {
        assert!(!html.contains(resource), "{resource} is in {html}");
    }
}

/// Every text of a plugin, with what would act in a terminal, in Markdown and in HTML.
const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=y>\u{1b}[2J\u{202e}|`a\n# b\n```\n</style>![i](http://x)&lt;";

fn hostile() -> DescribedContract {
    let text = || HOSTILE.to_owned();
    let document = json!({ "type": "object", "title": HOSTILE, "description": HOSTILE, "properties": {
        HOSTILE: { "enum": [HOSTILE, { HOSTILE: HOSTILE }], "default": HOSTILE, "description": HOSTILE },
        "pattern": { "type": "string", "pattern": HOSTILE, "format": HOSTILE },
        "alternatives": { "oneOf": [{ "type": "object", "title": HOSTILE }, { "$ref": "#/$defs/x" }] },
        "x": { "$ref": "#/$defs/x" },
    }, "$defs": { "x": { "type": "string", "description": HOSTILE } } });
    let method = MethodContract {
        name: text(),
        facts: MethodFacts {
            summary: Some(text()),
            description: Some(text()),
            idempotent: true,
            deprecated: Some(text()),
            errors: vec![DeclaredError { code: 1, message: text() }],
        },
        params: Parameters::Schema(schema(document.clone())),
        result: Some(schema(document)),
        examples: vec![Example { params: Some(json!(HOSTILE)), result: Some(json!(HOSTILE)) }],
    };
    DescribedContract { title: text(), version: text(), contract: Contract::new(vec![method]) }
}

#[test]
fn no_text_of_a_plugin_acts_in_a_terminal() {
    for text in rendered(&hostile()) {
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\t', '\r']), "{text:?}");
    }
}

#[test]
fn no_text_of_a_plugin_becomes_html() {
    let [_, markdown, html] = rendered(&hostile());

    // Only the tags of the page itself.
    let own = [
        "!DOCTYPE", "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "small", "nav", "ul",
        "li", "a", "code", "pre", "main", "section", "p", "strong", "div", "table", "tr", "th", "td",
    ];
    for tag in html.split('<').skip(1) {
        let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric() && c != '!').next();
        assert!(own.contains(&name.unwrap()), "<{tag}");
    }
    assert!(!html.contains("onerror=y>"), "the end of a tag is escaped");
    let styles = html.matches("</style>").count();
    assert_eq!(styles, 1);

    let outside = outside_of_code(&markdown);
    assert_eq!(outside.matches('<').count(), 2, "only the anchor has tags: {outside}");
    assert!(!outside.replace("\\]", "").contains("](http"), "{outside}");
    assert!(!outside.lines().any(|line| line == "# b"), "{outside}");
}

/// Returns Markdown without fenced blocks and code spans.
fn outside_of_code(markdown: &str) -> String {
    let mut outside = String::new();
    let mut fence = None;

    for line in markdown.lines() {
        let run = "`".repeat(line.len() - line.trim_start_matches('`').len());
        match &fence {
            None if run.len() >= 3 => fence = Some(run),
            None => {
                let escaped = line.replace("\\`", "");
                let mut rest = &*escaped;
                while let Some(start) = rest.find('`') {
                    outside += &rest[..start];
                    let inside = rest[start..].trim_start_matches('`');
                    let run = &rest[start..rest.len() - inside.len()];
                    let end = inside.find(run).expect("a code span ends in its line");
                    rest = &inside[end + run.len()..];
                }
                outside += &format!("{rest}\n");
            }
            Some(open) if line.len() >= open.len() && line == run => fence = None,
            Some(_) => {}
        }
    }

    assert_eq!(fence, None, "a fenced block does not end");
    outside
}

#[test]
fn selects_methods_by_name_and_by_common_beginning() {
    let contract = Contract::of_names(["a", "a.b", "a.b.c", "ab", "d"]);
    let names = |wanted: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
        let selected = select(&contract, &wanted).unwrap();
        selected.methods().iter().map(|method| method.name.clone()).collect::<Vec<_>>()
    };

    assert_eq!(names(&["a"]), ["a", "a.b", "a.b.c"]);
    assert_eq!(names(&["a.b.", "d"]), ["a.b", "a.b.c", "d"]);
    assert_eq!(names(&[]).len(), 5);
    assert!(select(&contract, &["x".to_owned()]).is_err());
}

#[test]
fn tells_files_from_methods() {
    for file in ["a/b", "./x", "device.so", "contract.json"] {
        assert!(is_file(&file.into()), "{file}");
    }
    for method in ["device", "device.so.x", "json"] {
        assert!(!is_file(&method.into()), "{method}");
    }
}
