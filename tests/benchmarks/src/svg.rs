//! A cost curve as SVG: events a second and CPU an event over something that grows, side by side. Points lie at even
//! distances, whatever grows, because it grows by factors.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// One curve.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Curve {
    pub title: String,
    /// What grows.
    pub along: String,
    /// What is counted, in the plural.
    pub events: String,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    pub at: String,
    pub events_per_second: f64,
    pub cpu_us: f64,
    /// Of the whole process. None in what was printed before it was measured.
    #[serde(default)]
    pub peak_memory_mib: Option<u64>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const PANEL: f64 = 350.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 240.0;

impl Curve {
    pub fn svg(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\" role=\"img\"><title>{title}</title><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\
             <text x=\"20\" y=\"24\" font-size=\"15\" fill=\"#222\">{title}</text>\n",
            title = escaped(&self.title)
        );
        let rates: Vec<f64> = self.points.iter().map(|point| point.events_per_second).collect();
        let cpu: Vec<f64> = self.points.iter().map(|point| point.cpu_us).collect();
        self.panel(&mut out, 60.0, (&format!("{} a second", self.events), "#1f6f8b", &rates));
        self.panel(&mut out, 490.0, (&format!("CPU µs, one of the {}", self.events), "#b3541e", &cpu));
        out.push_str("</svg>\n");
        out
    }

    fn panel(&self, out: &mut String, left: f64, (title, colour, values): (&str, &str, &[f64])) {
        let most = values.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let right = left + PANEL;
        let x = |index: usize| left + 24.0 + (PANEL - 48.0) * index as f64 / (values.len().max(2) - 1) as f64;
        let y = |value: f64| BOTTOM - (BOTTOM - TOP - 16.0) * value / most;
        // Writing to a text cannot fail.
        let _ = writeln!(
            out,
            "<text x=\"{left}\" y=\"48\" fill=\"{colour}\">{}</text>\
             <path d=\"M{left} {TOP}V{BOTTOM}H{right}\" fill=\"none\" stroke=\"#999\"/>\
             <text x=\"{right}\" y=\"284\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            escaped(title),
            escaped(&self.along)
        );
        let line: Vec<String> =
            values.iter().enumerate().map(|(index, value)| format!("{:.1},{:.1}", x(index), y(*value))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for (index, (point, value)) in self.points.iter().zip(values).enumerate() {
            let (x, y) = (x(index), y(*value));
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222\">{}</text>\
                 <text x=\"{x:.1}\" y=\"260\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                y - 8.0,
                short(*value),
                escaped(&point.at)
            );
        }
    }
}

/// As a table.
impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n\n| {} | {} a second | CPU µs | most memory, MiB |\n|---|---|---|---|",
            self.title, self.along, self.events
        )?;
        for point in &self.points {
            let Point { at, events_per_second, cpu_us, peak_memory_mib } = point;
            let memory = peak_memory_mib.map_or_else(|| "–".to_owned(), |mib| mib.to_string());
            writeln!(f, "| {at} | {events_per_second:.0} | {cpu_us:.1} | {memory} |")?;
        }
        Ok(())
    }
}

fn short(value: f64) -> String {
    match value {
        10_000.0.. => format!("{:.0}k", value / 1_000.0),
        1_000.0.. => format!("{:.1}k", value / 1_000.0),
        100.0.. => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_stands_at_the_top_and_every_point_is_named() {
        let point = |at: &str, events_per_second, cpu_us| Point {
            at: at.to_owned(),
            events_per_second,
            cpu_us,
            peak_memory_mib: None,
        };
        let curve = Curve {
            title: "a < b".to_owned(),
            along: "views".to_owned(),
            events: "events".to_owned(),
            points: vec![point("1", 120_000.0, 4.0), point("20", 30_000.0, 44.0)],
        };
        let svg = curve.svg();
        assert!(svg.contains("<title>a &lt; b</title>") && svg.contains(">120k<") && svg.contains(">44.0<"), "{svg}");
        let highest = format!("cy=\"{:.1}\"", TOP + 16.0);
        assert_eq!(svg.matches(&highest).count(), 2, "one of each panel: {svg}");
        assert_eq!(svg.matches("<circle").count(), 4);
    }
}
