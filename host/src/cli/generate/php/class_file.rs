//! The files of one class: the class itself, its enumerations and its exceptions.

use std::collections::BTreeMap;

use jackfield_contract::MethodContract;

use super::super::generated_file::{GeneratedFile, MARK};
use super::method::{declared_codes, write_method};
use super::names::{NameSet, camel, pascal};
use super::text::{DocComment, integer, quote};
use super::type_reader::{ClassTypes, Enumeration, TypeAlias};

/// The methods of a class besides those of the contract.
const OWN_METHODS: [&str; 1] = ["with"];

/// A class that is to be written.
pub(super) struct ClassPlan<'a> {
    /// The first segment of the names of its methods.
    pub(super) prefix: &'a str,
    pub(super) name: String,
    pub(super) methods: Vec<&'a MethodContract>,
}

impl ClassPlan<'_> {
    /// Writes the files of the class into the list. `classes` are the names of all classes.
    pub(super) fn write(&self, namespace: &str, classes: &[String], files: &mut Vec<GeneratedFile>) {
        let mut types = ClassTypes::new(&self.name, classes.iter().map(String::as_str));
        let codes = self.codes();
        let exceptions: BTreeMap<i64, String> = codes
            .keys()
            .map(|code| (*code, format!("{}\\{}", self.name, types.class_name(&exception_name(*code)))))
            .collect();

        let mut names = NameSet::default();
        OWN_METHODS.iter().for_each(|name| names.reserve(name));
        let mut methods = Vec::new();
        for method in &self.methods {
            let name = names.method(&camel(method_part(&method.name), "call"));
            methods.push(write_method(method, &name, &exceptions, &mut types));
        }

        let path = format!("{}.php", self.name);
        let class = self.write_class(&methods, &types);
        files.push(GeneratedFile { path, text: format!("{}\n{class}", head(namespace)) });
        let inner = head(&format!("{namespace}\\{}", self.name));
        let mut add = |name: &str, text: String| {
            let path = format!("{}/{name}.php", self.name);
            files.push(GeneratedFile { path, text: format!("{inner}\n{text}") });
        };
        for enumeration in &types.enumerations {
            add(&enumeration.name, write_enumeration(enumeration));
        }
        for (code, class) in &exceptions {
            let name = class.rsplit('\\').next().unwrap_or_default();
            add(name, write_exception(name, *code, &codes[code]));
        }
    }

    /// Returns the declared errors of all methods by code, each with its messages.
    fn codes(&self) -> BTreeMap<i64, Vec<&str>> {
        let mut codes: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        for (code, message) in self.methods.iter().flat_map(|method| declared_codes(method)) {
            let messages = codes.entry(code).or_default();
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        codes
    }

    fn write_class(&self, methods: &[String], types: &ClassTypes) -> String {
        let mut doc = DocComment::new(0);
        doc.text(&format!("The methods `{}.*` of a Jackfield host.", self.prefix));
        if types.has_recursion {
            doc.text(
                "Types that contain themselves end with `array<mixed>` or `mixed`, because PHPStan has none.",
            );
        }
        doc.separate();
        for TypeAlias { name, doc: ty, .. } in &types.aliases {
            doc.tag(&format!("@phpstan-type {name} {}", ty.write()), "");
        }

        let body = methods.iter().map(|method| format!("\n{method}")).collect::<String>();
        format!("{}final class {}\n{{\n{CONSTRUCTOR}{body}}}\n", doc.finish(), self.name)
    }
}

/// Returns the segments of a name after its first one; the name itself if it has no others.
fn method_part(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, rest)| rest)
}

fn exception_name(code: i64) -> String {
    let sign = if code < 0 { "Minus" } else { "" };
    format!("Error{sign}{}Exception", code.unsigned_abs())
}

fn head(namespace: &str) -> String {
    format!("<?php\n\n/**\n * {MARK}\n */\n\ndeclare(strict_types=1);\n\nnamespace {namespace};\n")
}

fn write_enumeration(enumeration: &Enumeration) -> String {
    let mut doc = DocComment::new(0);
    doc.text(enumeration.description.as_deref().unwrap_or_default());

    let mut names = NameSet::default();
    let mut cases = String::new();
    for (value, description) in &enumeration.literals {
        let mut doc = DocComment::new(4);
        doc.text(description.as_deref().unwrap_or_default());
        let fallback = if value.is_empty() { "Empty" } else { "Value" };
        let name = names.variable(&pascal(value, fallback));
        cases += &format!("{}    case {name} = {};\n", doc.finish(), quote(value));
    }
    format!("{}enum {}: string\n{{\n{cases}}}\n", doc.finish(), enumeration.name)
}

fn write_exception(name: &str, code: i64, messages: &[&str]) -> String {
    let mut doc = DocComment::new(0);
    doc.text(&format!("Thrown for the error code {code}."));
    let messages: Vec<_> =
        messages.iter().map(|message| format!("- {}", message.replace('\n', " "))).collect();
    doc.text(&messages.join("\n"));
    format!(
        "{}final class {name} extends \\Jackfield\\Exception\\RemoteException\n{{\n    \
         public const CODE = {};\n\n{EXCEPTION_OF}}}\n",
        doc.finish(),
        integer(code)
    )
}

const EXCEPTION_OF: &str = "    \
    /** Returns this exception for the error of a reply. */
    public static function of(\\Jackfield\\Exception\\RemoteException $error): self
    {
        $message = $error->getMessage();
        $data = $error->data();

        return new self(self::CODE, $message, $data);
    }
";

const CONSTRUCTOR: &str = "    \
    /**
     * @param float|null $timeout seconds for each call; null: the option of the client
     * @param string|null $traceparent traceparent of the requests; null: the option; '': none
     * @param string|null $tracestate tracestate that belongs to it
     * @param array<string, string>|null $meta metadata for the plugin; null: the option
     */
    public function __construct(
        private readonly \\Jackfield\\Client $client,
        private readonly ?float $timeout = null,
        private readonly ?string $traceparent = null,
        private readonly ?string $tracestate = null,
        private readonly ?array $meta = null,
    ) {
    }

    /**
     * Returns a copy whose calls have these options. Those that are null stay as they are.
     *
     * @param array<string, string>|null $meta
     */
    public function with(
        ?float $timeout = null,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): self {
        $timeout ??= $this->timeout;
        $traceparent ??= $this->traceparent;
        $tracestate ??= $this->tracestate;
        $meta ??= $this->meta;

        return new self($this->client, $timeout, $traceparent, $tracestate, $meta);
    }
";
