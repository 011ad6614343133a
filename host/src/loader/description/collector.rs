//! Makes a contract of the parts that a child process reports. They are untrusted input.

use std::sync::Arc;

use jackfield_contract::{Contract, ContractReader, MethodContract, Parameters};
use jackfield_plugin_api::Manifest;

use super::missing_part::{self, MissingPart, UnfitExample};
use super::{DESCRIPTION_MAX, NOT_ASKED, PartAnswer, PluginDescription, part_at};
use crate::log::{Counted, printable};

/// The report of a child process is invalid: it has more parts than the plugin, or documents of
/// more than 512 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidDescription;

/// Collects the parts of a description in the order in which they are asked for.
#[derive(Debug)]
pub(crate) struct DescriptionCollector {
    methods: Vec<String>,
    reader: ContractReader,

    /// The number of parts that were reported.
    reported: usize,

    /// The size of the documents that were reported.
    bytes: usize,

    missing: Vec<MissingPart>,
}

impl DescriptionCollector {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let methods: Vec<_> = manifest.methods.iter().map(|method| method.name.clone()).collect();
        let reader = ContractReader::new(methods.iter().map(String::as_str));
        Self { methods, reader, reported: 0, bytes: 0, missing: Vec::new() }
    }

    /// Adds the next part.
    ///
    /// # Errors
    ///
    /// All parts were reported already, or the documents are larger than [`DESCRIPTION_MAX`].
    pub(crate) fn add(&mut self, answer: PartAnswer<'_>) -> Result<(), InvalidDescription> {
        let (method, part) = part_at(self.reported, self.methods.len()).ok_or(InvalidDescription)?;
        self.bytes += answer.map_or(0, str::len);
        if self.bytes > DESCRIPTION_MAX {
            return Err(InvalidDescription);
        }

        self.reported += 1;
        let read = match answer {
            Ok(document) => self.reader.add(method, part, document.as_bytes()),
            Err(why) => {
                self.missing.push(MissingPart::new(&self.methods[method], part, why));
                return Ok(());
            }
        };
        if let Err(fault) = read {
            self.missing.push(MissingPart::new(&self.methods[method], part, &fault.to_string()));
        }
        Ok(())
    }

    /// Returns the contract and the parts that are missing in it. `end` is the reason why the
    /// report ended; the first part that was not reported gets it.
    pub(crate) fn finish(mut self, end: &str) -> PluginDescription {
        let mut why = end;
        while let Some((method, part)) = part_at(self.reported, self.methods.len()) {
            self.missing.push(MissingPart::new(&self.methods[method], part, why));
            self.reported += 1;
            why = NOT_ASKED;
        }
        let contract = self.reader.finish();
        let unfit = unfit_examples(&contract);
        PluginDescription { contract, missing: self.missing, unfit }
    }
}

fn unfit_examples(contract: &Contract) -> Vec<UnfitExample> {
    let mut unfit = Vec::new();
    for method in contract.methods() {
        let faults = method.examples.iter().filter_map(|example| method.fault_of(example));
        unfit.extend(faults.map(|fault| UnfitExample {
            method: method.name.clone(),
            fault: printable(&fault.to_string()).into_owned(),
        }));
    }
    unfit
}

impl PluginDescription {
    /// Writes to the log what is missing and how much is known, and returns the contract.
    pub(crate) fn log(self, plugin: &str) -> Arc<Contract> {
        missing_part::log(plugin, &self.missing);
        missing_part::log_unfit(plugin, &self.unfit);

        let methods = self.contract.methods();
        let count = |is_known: fn(&&MethodContract) -> bool| methods.iter().filter(is_known).count();
        let params = count(|method| method.params != Parameters::Unknown);
        let results = count(|method| method.result.is_some());
        let shown = Counted(methods.len(), "method");
        tracing::debug!(
            plugin,
            params,
            results,
            "plugin {plugin}: described {shown}: the params of {params} and the result of {results} are known"
        );
        Arc::new(self.contract)
    }
}

#[cfg(test)]
mod tests {
    use jackfield_contract::DescriptionPart;

    use super::*;

    fn collector() -> DescriptionCollector {
        let manifest = r#"{"manifest":1,"api":"0.1.0","package":"p","version":"1.0.0","panic":"unwind",
            "methods":[{"name":"b.b","run":"blocking"},{"name":"a.a","run":"blocking"}]}"#;
        DescriptionCollector::new(&Manifest::parse(manifest.as_bytes()).unwrap())
    }

    #[test]
    fn assigns_documents_to_methods_by_their_order() {
        let mut collector = collector();
        let parts =
            ["", r#"{"summary":"S"}"#, "", "[]", r#"{"type":"string"}"#, "", "", r#"{"type":"null"}"#];
        parts.iter().for_each(|part| collector.add(Ok(part)).unwrap());

        let PluginDescription { contract, missing, .. } = collector.finish("the process ended");
        assert_eq!(missing, []);
        let [a, b] = contract.methods() else { panic!("{contract:?}") };
        assert_eq!((a.facts.summary.as_deref(), a.result.is_some()), (Some("S"), true));
        assert_eq!(b.facts.summary, None);
        assert!(matches!(b.params, Parameters::Schema(_)) && a.params == Parameters::Unknown);
    }

    #[test]
    fn loses_only_parts_that_are_faulty() {
        let mut collector = collector();
        let parts = [
            Ok("no JSON"),
            Err("it panicked: no luck"),
            Ok(r#"{"a":1}"#),
            Ok(r#"[{"params":1}]"#),
            Ok(r#"{"$ref":"http://localhost/"}"#),
            Ok("true"),
            Ok("{\"type\":\"string\"}"),
            Ok("[]"),
        ];
        parts.iter().for_each(|part| collector.add(*part).unwrap());

        let PluginDescription { contract, missing, .. } = collector.finish("the process ended");
        let missing: Vec<_> = missing.iter().map(|part| (&*part.method, part.part)).collect();
        assert_eq!(
            missing,
            [
                ("b.b", DescriptionPart::Facts),
                ("a.a", DescriptionPart::Facts),
                ("b.b", DescriptionPart::Examples),
                ("b.b", DescriptionPart::Params),
                ("a.a", DescriptionPart::Result),
            ]
        );
        assert_eq!(contract.method("a.a").unwrap().examples.len(), 1);
        assert!(contract.method("b.b").unwrap().result.is_some());
    }

    #[test]
    fn names_examples_that_do_not_fit() {
        let mut collector = collector();
        let (fits, unfit) = (r#"[{"params":1}]"#, r#"[{"params":1},{"params":"a\u001b"}]"#);
        let integer = r#"{"type":"integer"}"#;
        for part in ["", "", fits, unfit, integer, integer, "", ""] {
            collector.add(Ok(part)).unwrap();
        }

        let unfit = collector.finish("the process ended").unfit;
        let texts: Vec<_> = unfit.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["an example of a.a does not fit: params: must be an integer"]);
    }

    #[test]
    fn explains_the_first_part_that_was_not_reported() {
        let mut collector = collector();
        collector.add(Ok("")).unwrap();
        let missing = collector.finish("the process ended").missing;
        assert_eq!(missing.len(), 7);
        assert_eq!(missing[0].to_string(), "the description of a.a is unknown: the process ended");
        assert!(missing[1].why.contains("was not asked for"), "{}", missing[1]);
    }

    #[test]
    fn rejects_parts_and_bytes_beyond_the_limits() {
        let mut many = collector();
        (0..8).for_each(|_| many.add(Ok("")).unwrap());
        assert_eq!(many.add(Err("")), Err(InvalidDescription));

        let mut large = collector();
        let half = " ".repeat(DESCRIPTION_MAX / 2);
        assert_eq!((large.add(Ok(&half)), large.add(Ok(&half))), (Ok(()), Ok(())));
        assert_eq!(large.add(Ok("x")), Err(InvalidDescription));
    }
}
