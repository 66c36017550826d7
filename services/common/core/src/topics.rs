//! Topic names, in one place. Partition numbers are kept from hop to hop, so order per key needs no argument.

/// The catalogue, compacted: one record an entity, key `<kind>/<id>`.
pub const CATALOG: &str = "freshet.catalog";
/// The trail: one receipt a delivery batch.
pub const AUDIT: &str = "freshet.audit";
/// How far each view is filled, compacted: key `<view>/<partition>`.
pub const VIEW_POSITIONS: &str = "freshet.view-positions";
/// Rejections whose source no department owns.
pub const REJECT_UNASSIGNED: &str = "reject.unassigned";

pub fn publish(dataset: &str) -> String {
    format!("publish.{dataset}")
}

pub fn dataset(dataset: &str) -> String {
    format!("dataset.{dataset}")
}

pub fn reject(department: &str) -> String {
    format!("reject.{department}")
}

pub fn view(view: &str) -> String {
    format!("view.{view}")
}
