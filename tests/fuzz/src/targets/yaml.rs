//! A catalogue of four files, one of which is the input. Parts: which file, its text.

use std::fs;
use std::path::Path;

use freshet_catalog::Error;
use freshet_catalog_model::{Catalog, plan};

use crate::guard::Guard;
use crate::mutate::parts;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "yaml",
    what: "the files of a catalogue",
    share: 5,
    parts: 2,
    dictionary: &[
        "title:",
        "en: ",
        "zh: ",
        "authorities:",
        "key:",
        "version:",
        "sequence",
        "division:",
        "catalogue:",
        "mapping:",
        "rules:",
        "fields:",
        "masks:",
        "rows:",
        "delivery:",
        "webhook",
        "postgres",
        "retention:",
        "partitions:",
        "transitions:",
        "identifiers:",
        "&a ",
        "*a",
        "!!str ",
        "? ",
        "- ",
        "---\n",
        "...\n",
        "|\n",
        ">-\n",
        "{",
        "}",
        "[",
        "]",
        "'",
        "\"",
        "# ",
        "%YAML 1.2\n",
        "\t",
        "\u{feff}",
        "\u{85}",
        "\u{2028}",
        "<<: ",
        "~",
        "null",
        "0x1f",
        "1e3",
        "\\x00",
        "\\u",
        "王",
    ],
    make: || Box::new(Yaml::new()),
};

const FILES: [(&str, &str); 4] = [
    (
        "departments.yaml",
        "planning:\n  title: {en: Planning}\n  sources: [urn:p]\ntax:\n  title: {en: Tax}\n  sources: [urn:t]\n",
    ),
    (
        "permit/dataset.yaml",
        "title: {en: Permits}\nauthorities: [planning]\nkey: number\nversion: sequence\n\
         catalogue: {summary: {en: P}, update_frequency: daily, share_type: unconditional, share_method: other, classification: general}\n",
    ),
    (
        "permit/permit.avsc",
        r#"{"type":"record","name":"Permit","fields":[{"name":"number","type":"string"},{"name":"fee","type":["null","long"],"default":null},
            {"name":"status","type":{"type":"enum","name":"Status","symbols":["OPEN","CLOSED"]}}]}"#,
    ),
    (
        "grants/tax-permits.yaml",
        "subscriber: tax\ndataset: permit\nfields: [number, fee]\nrows: fee > 10\npurpose: p\nlegal_basis: l\n\
         valid_from: 2026-01-01\nvalid_until: 2026-12-31\ndelivery: kafka\n",
    ),
];

struct Yaml {
    folder: tempfile::TempDir,
}

impl Yaml {
    fn new() -> Self {
        // In memory where the system has such a folder: a million small files are written.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
        for name in ["permit", "grants"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        for (file, text) in FILES {
            fs::write(folder.path().join(file), text).expect("a file");
        }
        Self { folder }
    }
}

impl Target for Yaml {
    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let [which, text] = parts(input);
        let (file, good) = FILES.iter().find(|(file, _)| file.as_bytes() == which).unwrap_or(&FILES[1]);
        let path = self.folder.path().join(file);
        fs::write(&path, text).map_err(|error| error.to_string())?;
        let most = (24 << 20) + 512 * text.len();
        let read = guard.ours("a catalogue", most, || freshet_catalog::validate(self.folder.path()));
        fs::write(&path, good).map_err(|error| error.to_string())?;
        match read? {
            Ok(source) => {
                let after = plan::diff(&source, &Catalog::default())
                    .map_err(|found| format!("refused by the plan: {found:?}"))?
                    .into_after();
                let again =
                    plan::diff(&source, &after).map_err(|found| format!("refused the second time: {found:?}"))?;
                if !again.is_empty() {
                    return Err(format!("what was applied is to be changed again: {again}"));
                }
                Ok(Seen::of(("taken", file, size_class(text.len()))))
            }
            Err(Error::Refused(found)) => {
                let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count();
                for one in &found {
                    let of_input = one.place.file == *file;
                    if one.message.is_empty()
                        || one.place.line == 0
                        || one.place.column == 0
                        || of_input && one.place.line > lines
                    {
                        return Err(format!("of {lines} lines it says {one}"));
                    }
                }
                let said: Vec<_> = found.iter().take(2).map(|one| Seen::kind_of(&one.message)).collect();
                if found.is_empty() {
                    Err("refused without a word".to_owned())
                } else {
                    Ok(Seen::of((file, said, size_class(found.len()))))
                }
            }
            Err(other) => Err(format!("neither taken nor refused: {other}")),
        }
    }
}
