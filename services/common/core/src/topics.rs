//! Topic names, in one place. Partition numbers are kept from hop to hop, so order per key needs no argument.

/// The catalogue, compacted: one record an entity, key `<kind>/<id>`.
pub const CATALOG: &str = "freshet.catalog";
/// The trail: one receipt a delivery batch.
pub const AUDIT: &str = "freshet.audit";
/// How far each view is filled, compacted: key `<view>/<partition>`.
pub const VIEW_POSITIONS: &str = "freshet.view-positions";
/// Rejections whose source no department owns.
pub const REJECT_UNASSIGNED: &str = "reject.unassigned";

/// What the topics of each family begin with.
pub const PUBLISH: &str = "publish.";
pub const DATASET: &str = "dataset.";
pub const REJECT: &str = "reject.";
pub const VIEW: &str = "view.";
/// The bus's own: all that departments have nothing to do with.
pub const OWN: &str = "freshet.";

pub fn publish(dataset: &str) -> String {
    format!("{PUBLISH}{dataset}")
}

pub fn dataset(dataset: &str) -> String {
    format!("{DATASET}{dataset}")
}

pub fn reject(department: &str) -> String {
    format!("{REJECT}{department}")
}

pub fn view(view: &str) -> String {
    format!("{VIEW}{view}")
}
