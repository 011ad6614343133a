//! Contracts: any documents are refused with a reason, or are read; a contract never breaks the
//! callers of itself, and a schema reads the same when it is written again.

use jackfield_contract::{Contract, ContractReader, DescriptionPart, Parameters, Schema, Verdict, compare};

/// Reads the next documents, one for each part.
fn read<'a>(documents: &mut impl Iterator<Item = &'a [u8]>) -> Contract {
    let mut reader = ContractReader::new(["a.b"]);
    for (part, document) in DescriptionPart::ALL.into_iter().zip(documents) {
        if let Err(why) = reader.add(0, part, document) {
            assert!(!why.to_string().is_empty());
        }
    }
    reader.finish()
}

fn check_again(schema: &Schema) {
    let written = serde_json::to_vec(&schema.document).expect("a document is JSON");
    assert_eq!(Schema::parse(&written).expect("it was read once"), *schema);
}

/// Checks any bytes as the descriptions of one method before and after a reload: facts, params,
/// result and examples, separated by zero bytes.
pub fn contract(input: &[u8]) {
    let mut documents = input.split(|byte| *byte == 0);
    let old = read(&mut documents);
    let new = read(&mut documents);

    for contract in [&old, &new] {
        assert_ne!(compare(contract, contract).verdict(), Verdict::Incompatible);
        for method in contract.methods() {
            if let Parameters::Schema(schema) = &method.params {
                check_again(schema);
            }
            method.result.iter().for_each(check_again);
        }
    }
    let findings = compare(&old, &new);
    assert!(findings.breaking.len() <= 101 && findings.unknown.len() <= 101);
}
