//! The generated files as a whole: their text, and that PHP loads what any contract leads to.

mod any_contract;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jackfield_contract::{Contract, DeclaredError, MethodContract, MethodFacts, Parameters, Schema};
use serde_json::{Value, json};

use super::generate;

/// Loads all files of a directory, and prints the public methods of its classes, the cases of its
/// enumerations and the parents of its exceptions.
const LOAD: &str = r#"
error_reporting(-1);
set_error_handler(static fn (int $level, string $text) => throw new ErrorException($text));
require $argv[1];
spl_autoload_register(static function (string $class) use ($argv): void {
    $file = $argv[2] . '/' . strtr(substr($class, strlen('App\Gen\\')), '\\', '/') . '.php';
    is_file($file) && require_once $file;
});
foreach ([...glob($argv[2] . '/*.php'), ...glob($argv[2] . '/*/*.php')] as $file) {
    require_once $file;
    $class = 'App\Gen\\' . strtr(substr($file, strlen($argv[2]) + 1, -4), '/', '\\');
    $reflection = new ReflectionClass($class);
    $members = $reflection->isEnum()
        ? array_map(static fn (UnitEnum $case): string => $case->name, $class::cases())
        : array_map(static fn (ReflectionMethod $method): string => "$method->name()",
            $reflection->getMethods(ReflectionMethod::IS_PUBLIC));
    echo json_encode([$class, $members]), "\n";
}
"#;

fn method(name: &str, params: Value, result: Value) -> MethodContract {
    MethodContract {
        params: Parameters::Schema(Schema::from_value(params).unwrap()),
        result: Some(Schema::from_value(result).unwrap()),
        ..MethodContract::unknown(name)
    }
}

/// Returns the text of one of the generated files.
fn text(contract: &Contract, path: &str) -> String {
    let files = generate(contract, "App\\Gen");
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let file = files.into_iter().find(|file| file.path == path);
    file.unwrap_or_else(|| panic!("{path} is not among {paths:?}")).text
}

/// Loads the generated files with PHP, and returns what they define.
fn load(contract: &Contract, name: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    let directory = std::env::temp_dir().join(format!("jackfield-php-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    for file in generate(contract, "App\\Gen") {
        let path = directory.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file.text).unwrap();
    }

    let autoload = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../clients/php/autoload.php");
    let mut php = Command::new("php");
    php.args(["-d", "display_errors=1", "-r", LOAD, "--"]).arg(autoload).arg(&directory);
    let output = php.output().expect("php is installed (apt-get install php-cli)");
    fs::remove_dir_all(&directory).unwrap();

    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().map(serde_json::from_str).collect::<Result<_, _>>();
    lines.map_err(|_| printed).and_then(|lines| {
        output.status.success().then_some(lines).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into())
    })
}

#[test]
fn writes_one_parameter_per_member_and_omits_optional_ones() {
    let params = json!({
        "type": "object",
        "properties": {
            "deviceId": { "type": "string", "description": "The id." },
            "status": { "$ref": "#/$defs/Status" },
            "limit": { "type": "integer", "format": "uint32", "minimum": 0, "default": 100 },
            "after": { "type": ["integer", "null"], "format": "uint64", "minimum": 0 },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
        },
        "required": ["deviceId", "status"],
        "$defs": { "Status": { "description": "How it is.", "oneOf": [
            { "const": "online", "description": "It answers." }, { "const": "off-line" },
        ] } },
    });
    let result = json!({ "title": "Updated", "type": "object", "required": ["sequence"], "properties": {
        "sequence": { "type": "integer", "format": "uint64", "minimum": 0, "description": "A number." },
        "status": { "enum": ["online", "off-line"] },
    } });
    let mut update = method("device.status.update", params, result);
    update.facts = MethodFacts {
        summary: Some("Stores the status.".to_owned()),
        idempotent: true,
        deprecated: Some("use device.set".to_owned()),
        errors: vec![
            DeclaredError { code: 404, message: "the device is unknown".to_owned() },
            DeclaredError { code: -32603, message: "only the host sends it".to_owned() },
        ],
        ..MethodFacts::default()
    };
    let contract = Contract::new(vec![update]);

    let class = text(&contract, "Device.php");
    let expected = "
    /**
     * Stores the status.
     *
     * Members of the result:
     * - `sequence`: A number.
     *
     * @param string $deviceId The id.
     * @param Device\\Status $status
     * @param int|string|null $after
     * @param array<array-key, string>|null $labels
     * @param int|null $limit Default: 100.
     *
     * @return Updated
     *
     * @throws Device\\Error404Exception the device is unknown
     * @throws \\Jackfield\\Exception\\JackfieldException if the call failed
     *
     * @deprecated use device.set
     */
    public function statusUpdate(
        string $deviceId,
        Device\\Status $status,
        int|string|null $after = null,
        ?array $labels = null,
        ?int $limit = null,
    ): array {
        try {
            /** @var Updated $result */
            $result = $this->client->call(
                'device.status.update',
                [
                    'deviceId' => $deviceId,
                    'status' => $status,
                ] + \\Jackfield\\Typed\\Encode::present([
                    'after' => \\Jackfield\\Typed\\Encode::integer($after),
                    'labels' => \\Jackfield\\Typed\\Encode::map($labels),
                    'limit' => $limit,
                ]),
                $this->timeout,
                true,
                $this->traceparent,
                $this->tracestate,
                $this->meta,
            );

            return $result;
        } catch (\\Jackfield\\Exception\\RemoteException $error) {
            throw match ($error->getCode()) {
                404 => Device\\Error404Exception::of($error),
                default => $error,
            };
        }
    }
}
";
    assert!(class.ends_with(expected), "{class}");
    assert!(
        class
            .contains(" * @phpstan-type Updated array{sequence: int|string, status?: 'online'|'off-line'}\n")
    );
    assert!(text(&contract, "Device/Status.php").ends_with(
        "/**\n * How it is.\n */\nenum Status: string\n{\n    /**\n     * It answers.\n     */\n    \
             case Online = 'online';\n    case OffLine = 'off-line';\n}\n"
    ));
    assert!(text(&contract, "Device/Error404Exception.php").contains("public const CODE = 404;"));
    let defined = load(&contract, "members").unwrap();
    assert_eq!(defined[0].1, ["__construct()", "with()", "statusUpdate()"]);
}

#[test]
fn writes_the_types_of_results() {
    let cases = [
        (json!({ "type": "null" }), "void", ""),
        (json!({ "type": "boolean" }), "bool", "bool"),
        (json!({ "type": ["string", "null"] }), "?string", "string|null"),
        (json!({ "type": "number", "format": "double" }), "float", "float"),
        (json!({ "type": "integer", "format": "uint64", "minimum": 0 }), "int|string", "int|string"),
        (
            json!({ "contentMediaType": "application/octet-stream" }),
            "\\Jackfield\\Bytes",
            "\\Jackfield\\Bytes",
        ),
        (json!(true), "mixed", "mixed"),
        (json!({ "type": "array", "items": { "type": "string" } }), "array", "list<string>"),
        (
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            "array",
            "array<array-key, int>",
        ),
        (
            json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }],
                    "minItems": 2, "maxItems": 2 }),
            "array",
            "RResult",
        ),
    ];

    for (schema, native, doc) in cases {
        let class = text(&Contract::new(vec![method("r", json!(true), schema.clone())]), "R.php");
        assert!(class.contains(&format!("r(mixed $params = null): {native}\n")), "{schema}: {class}");
        let has_doc = class.contains(&format!("     * @return {doc}\n"));
        assert_eq!(has_doc, native != "void", "{schema}: {class}");
    }
}

#[test]
fn writes_tagged_unions_and_ends_recursive_types() {
    let shape = json!({ "title": "Shape", "oneOf": [
        { "type": "object", "required": ["type", "radius"],
          "properties": { "type": { "const": "circle" }, "radius": { "type": "number" } } },
        { "type": "object", "required": ["type"],
          "properties": { "type": { "const": "many" }, "of": { "type": "array", "items": { "$ref": "#" } } } },
    ] });
    let contract = Contract::new(vec![method("shape.get", json!({ "type": "null" }), shape)]);

    let class = text(&contract, "Shape.php");

    assert!(
        class.contains(
            " * Types that contain themselves end with `array<mixed>` or `mixed`, because PHPStan has none.\n *\n \
             * @phpstan-type Shape2 array{type: 'circle', radius: float}|array{type: 'many', of?: list<mixed>}\n \
             */\nfinal class Shape\n"
        ),
        "no alias has the name of a class: {class}"
    );
    assert!(class.contains("public function get(): array\n"));
}

#[test]
fn keeps_names_apart_that_differ_only_in_separators_case_or_words_of_php() {
    let names =
        ["list.get", "List.get", "a.b_c", "a.b.c", "a.with", "a.class", "2fa.9x", "ping", "ping.ping"];
    let contract =
        Contract::of_names(names.into_iter().chain(["system.ping", "rpc.discover", "admin.stats"]));

    let defined = load(&contract, "names").unwrap();

    let methods = |class: &str| {
        let found = defined.iter().find(|(name, _)| name == &format!("App\\Gen\\{class}"));
        found.map(|(_, methods)| methods[2..].join(" ")).unwrap_or_default()
    };
    assert_eq!(defined.len(), 5, "{defined:?}");
    assert_eq!(methods("A"), "bC() bC2() class() with2()");
    assert_eq!(methods("_2fa"), "_9x()");
    assert_eq!(methods("Ping"), "ping() ping2()");
    assert_eq!((methods("List_"), methods("List_2")), ("get()".to_owned(), "get()".to_owned()));
}

#[test]
fn does_not_depend_on_the_order_of_the_methods() {
    let object = json!({ "type": "object", "properties": { "mode": { "enum": ["a", "b"] } } });
    let one = method("x.one", object.clone(), object.clone());
    let two = method("x.two", object.clone(), object);

    let forth = generate(&Contract::new(vec![one.clone(), two.clone()]), "App");
    let back = generate(&Contract::new(vec![two, one]), "App");

    assert_eq!(forth, back);
    let paths: Vec<_> = forth.iter().map(|file| &*file.path).collect();
    assert_eq!(paths, ["X.php", "X/Mode.php"], "equal enumerations are one");
    assert!(forth.iter().all(|file| Path::new(&file.path).is_relative()));
}
