//! Views: what comes out, read by `apache-avro` with the view's schema, is the granted part of what it reads going in.
//! Parts: schema, picks (a byte each: which field; from 0x80 on it is masked), datum.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use apache_avro::types::Value;
use fastrand::Rng;
use freshet_avro::projection::{MaskKind, Projection};
use freshet_avro::{FieldType, Plan, Walk};

use super::record::random_datum;
use super::schemas::{Compiled, Pool, Schemas};
use crate::ask::{Answer, ask};
use crate::guard::Guard;
use crate::mutate::{join, parts};
use crate::naive;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "projection",
    what: "a view of a record: fields and masks",
    share: 80,
    parts: 3,
    dictionary: &["\u{0}", "\u{1}", "王", "\"null\"", "\"string\""],
    make: || Box::new(Views::default()),
};

const KEPT: usize = 1024;

#[derive(Debug, Default)]
struct Views {
    schemas: Schemas,
    pool: Pool,
    views: HashMap<Vec<u8>, Option<Rc<View>>>,
    walk: Walk,
}

#[derive(Debug)]
struct View {
    fields: Vec<String>,
    masks: BTreeMap<String, MaskKind>,
    projection: Projection,
    shown: Compiled,
}

impl Target for Views {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let avsc = self.pool.draw(rng)?;
        let datum = random_datum(avsc, rng)?;
        let picks: Vec<u8> =
            (0..1 + rng.usize(..5)).map(|_| rng.u8(..)).filter(|byte| *byte != crate::mutate::SEPARATOR).collect();
        Some(join(&[avsc.as_bytes(), &picks, &datum]))
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let [avsc, picks, datum] = parts(input);
        let Some(compiled) = self.schemas.get(avsc, guard)? else { return Ok(Seen::of("no schema")) };
        let Some(view) = self.view(&compiled, avsc, picks, guard)? else { return Ok(Seen::of("no view")) };
        let (plan, walk) = (&compiled.plan, &mut self.walk);
        if !plan.check(datum, walk) {
            return Ok(Seen::of("no record"));
        }
        let Answer::Taken { value, left: 0 } = ask(&compiled.schema, datum) else {
            // Items without bytes, of which the oracle takes fewer (`differences`).
            return Ok(Seen::of("not read by the oracle"));
        };
        let mut out = Vec::new();
        let most = 4096 + 16 * datum.len() + 64 * plan.fields().count() + view.projection.avsc().len();
        guard.ours("a projection", most, || view.projection.project(plan, walk, datum, &mut out))?;
        let Answer::Taken { value: shown, left: 0 } = ask(&view.shown.schema, &out) else {
            return Err(format!("apache-avro does not read the view's record {out:?}"));
        };
        if !view.shown.plan.check(&out, walk) {
            return Err(format!("the view's record is refused: {:?}", walk.violations()));
        }
        view.judge(&value, &shown)?;
        Ok(Seen::of((size_class(out.len()), size_class(datum.len()), view.masks.len(), view.fields.len())))
    }
}

impl Views {
    fn view(
        &mut self,
        compiled: &Compiled,
        avsc: &[u8],
        picks: &[u8],
        guard: &Guard,
    ) -> Result<Option<Rc<View>>, String> {
        let name = join(&[avsc, picks]);
        if let Some(known) = self.views.get(&name) {
            return Ok(known.clone());
        }
        let view = compile(&compiled.plan, &picks[..picks.len().min(64)], guard)?.map(Rc::new);
        if self.views.len() == KEPT {
            self.views.clear();
        }
        self.views.insert(name, view.clone());
        Ok(view)
    }
}

fn compile(plan: &Plan, picks: &[u8], guard: &Guard) -> Result<Option<View>, String> {
    let known: Vec<(&str, &FieldType)> = plan.fields().map(|(path, _, ty)| (path, ty)).collect();
    let (mut fields, mut masks) = (Vec::new(), BTreeMap::new());
    if known.is_empty() || picks.is_empty() {
        return Ok(None);
    }
    for pick in picks {
        let (path, ty) = known[usize::from(pick & 0x7f) % known.len()];
        fields.push(path.to_owned());
        if *pick >= 0x80
            && let Some(mask) = mask_for(ty, *pick)
        {
            masks.insert(path.to_owned(), mask);
        }
    }
    let most = super::schemas::schema_bytes(plan.avsc().len());
    let projection = guard.ours("a view", most, || Projection::compile(plan, &fields, &masks))?;
    let projection = projection.map_err(|error| format!("no view of {fields:?} with {masks:?}: {error}"))?;
    let plan = Plan::compile(projection.avsc()).map_err(|error| format!("the view's own schema: {error}"))?;
    let schema = apache_avro::Schema::parse_str(projection.avsc()).map_err(|error| error.to_string())?;
    let view = View { fields, masks, projection, shown: Compiled { plan, schema } };
    for (path, ..) in view.shown.plan.fields() {
        if !naive::is_granted(path, &view.fields) {
            return Err(format!("{path} is shown, granted are {:?}", view.fields));
        }
    }
    match view.fields.iter().find(|field| view.shown.plan.slot(field).is_none()) {
        Some(field) => Err(format!("{field} is granted, but not shown")),
        None => Ok(Some(view)),
    }
}

fn mask_for(ty: &FieldType, pick: u8) -> Option<MaskKind> {
    const OF_TEXTS: [MaskKind; 3] = [MaskKind::FirstCharacter, MaskKind::LastFour, MaskKind::Redact];
    match ty.without_null() {
        FieldType::String | FieldType::Uuid => Some(OF_TEXTS[usize::from(pick) % 3]),
        _ if ty.takes_null() => Some(MaskKind::Null),
        _ => None,
    }
}

impl View {
    /// Field by field: masked as it should be, or what it was.
    fn judge(&self, value: &Value, shown: &Value) -> Result<(), String> {
        if self.masks.is_empty() {
            let due = naive::subset(value, shown);
            return match is_same(shown, &due) {
                true => Ok(()),
                false => Err(format!("shown is {shown:?}, due {due:?}")),
            };
        }
        for (path, _, ty) in self.shown.plan.fields() {
            let (before, after) = (naive::at(value, path), naive::at(shown, path));
            let hidden = path.match_indices('.').any(|(end, _)| self.masks.get(&path[..end]) == Some(&MaskKind::Null));
            let is_right = match (self.masks.get(path), before, after) {
                _ if hidden => after.is_none(),
                (Some(MaskKind::Null), _, after) => after.is_none_or(|after| *after == Value::Null),
                (Some(mask), Some(Value::String(text)), Some(Value::String(after))) => {
                    *after == naive::masked(*mask, text)
                }
                // apache-avro writes a UUID in lower case, whatever it was.
                (Some(mask), Some(Value::Uuid(uuid)), Some(Value::String(after))) => {
                    after.eq_ignore_ascii_case(&naive::masked(*mask, &uuid.to_string()))
                }
                (Some(_), before, after) => before == after,
                _ if matches!(ty.without_null(), FieldType::Record(_)) => before.is_some() == after.is_some(),
                (None, Some(before), Some(after)) => is_same(before, after),
                (None, before, after) => before == after,
            };
            if !is_right {
                return Err(format!("{path} was {before:?} and is shown as {after:?} under {:?}", self.masks));
            }
        }
        Ok(())
    }
}

/// Equal, but that NaN is so to itself; the members of a map have no order.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::Double(a), Value::Double(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::Union(a_branch, a), Value::Union(b_branch, b)) => a_branch == b_branch && is_same(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (Value::Record(a), Value::Record(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((a_name, a), (b_name, b))| a_name == b_name && is_same(a, b))
        }
        _ => a == b,
    }
}
