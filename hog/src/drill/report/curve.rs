//! The memory curve as a picture.

use std::fmt::Write;

use hog::units::format_size;

use crate::drill::criteria::seconds;
use crate::drill::evidence::{Evidence, Point, What};

const WIDTH: f64 = 840.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
/// Below title and legend.
const TOP: f64 = 84.0;
const BOTTOM: f64 = 40.0;
const FOOT: f64 = HEIGHT - BOTTOM;
/// Of the replicas, the victim's first. They read on white and in print, and to the colour-blind.
const COLOURS: [&str; 4] = ["#c0392b", "#2c6fbb", "#7a7a7a", "#b8860b"];
const INK: &str = "#222";
const FAINT: &str = "#666";
/// Points per line; more would not be seen.
const MOST_POINTS: usize = 800;

pub(super) fn render(evidence: &Evidence) -> String {
    let scale = Scale::of(evidence);
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut svg, evidence, &scale);
    svg
}

/// From milliseconds and bytes to the picture.
struct Scale {
    last_ms: u64,
    most: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a picture is no more precise")]
impl Scale {
    fn of(evidence: &Evidence) -> Self {
        let points = evidence.memory.values().flatten();
        let last_point = points.clone().map(|point| point.at_ms).max();
        let last_moment = evidence.timeline.last().map(|moment| moment.at_ms);
        let highest = points.map(|point| point.bytes).max();
        let most = highest.max(evidence.target.limit_bytes).unwrap_or(0);
        Self {
            last_ms: last_point.max(last_moment).unwrap_or(0).max(1),
            // Room above the limit.
            most: (most + most / 8).max(1),
        }
    }

    fn x(&self, at_ms: u64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * at_ms as f64 / self.last_ms as f64
    }

    fn y(&self, bytes: u64) -> f64 {
        FOOT - (FOOT - TOP) * bytes as f64 / self.most as f64
    }
}

fn draw(svg: &mut String, evidence: &Evidence, scale: &Scale) -> std::fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"{INK}\">"
    )?;
    // Wikis show pictures on dark pages too.
    writeln!(
        svg,
        "<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>"
    )?;
    writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}</text>",
        escaped(&title(evidence))
    )?;
    downtime(svg, evidence, scale)?;
    axes(svg, scale)?;
    if let Some(limit) = evidence.target.limit_bytes {
        let y = scale.y(limit);
        line(svg, [LEFT, y, WIDTH - RIGHT, y], INK, "6 4")?;
        let label = format!("limit {}", format_size(limit));
        text(svg, [LEFT + 6.0, y - 6.0], "start", INK, &label)?;
    }
    curves(svg, evidence, scale)?;
    marks(svg, evidence, scale)?;
    writeln!(svg, "</svg>")
}

/// What the picture shows, in a line.
fn title(evidence: &Evidence) -> String {
    let victim = &evidence.target.victim;
    match (evidence.killed_at(), evidence.downtime_ms()) {
        (Some(_), Some(ms)) => {
            format!(
                "{victim} is OOM-killed and ready again {} later",
                seconds(ms)
            )
        }
        (Some(_), None) => format!("{victim} is OOM-killed"),
        (None, _) => format!("{victim} is not killed"),
    }
}

/// From the kill until the victim was ready again.
fn downtime(svg: &mut String, evidence: &Evidence, scale: &Scale) -> std::fmt::Result {
    let (Some(killed), Some(ms)) = (evidence.killed_at(), evidence.downtime_ms()) else {
        return Ok(());
    };
    let (from, to) = (scale.x(killed), scale.x(killed + ms));
    writeln!(
        svg,
        "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\" fill=\"{}\" \
         fill-opacity=\"0.12\"/>",
        to - from,
        FOOT - TOP,
        COLOURS[0]
    )
}

fn axes(svg: &mut String, scale: &Scale) -> std::fmt::Result {
    for bytes in ticks(scale.most) {
        let y = scale.y(bytes);
        line(svg, [LEFT, y, WIDTH - RIGHT, y], "#e4e4e4", "none")?;
        let label = format_size(bytes);
        text(svg, [LEFT - 8.0, y + 4.0], "end", FAINT, &label)?;
    }
    for at_ms in ticks_of_time(scale.last_ms) {
        let x = scale.x(at_ms);
        line(svg, [x, FOOT, x, FOOT + 5.0], FAINT, "none")?;
        let label = format!("{} s", at_ms / 1000);
        text(svg, [x, FOOT + 20.0], "middle", FAINT, &label)?;
    }
    line(svg, [LEFT, FOOT, WIDTH - RIGHT, FOOT], FAINT, "none")
}

/// When the victim was asked, killed and ready again.
fn marks(svg: &mut String, evidence: &Evidence, scale: &Scale) -> std::fmt::Result {
    let marks = [
        (
            "asked",
            evidence.when(|what| matches!(what, What::Asked { .. })),
        ),
        ("killed", evidence.killed_at()),
        ("ready", evidence.when(|what| *what == What::Ready)),
    ];
    for (name, at_ms) in marks {
        if let Some(at_ms) = at_ms {
            let x = scale.x(at_ms);
            line(svg, [x, TOP - 6.0, x, FOOT], FAINT, "2 3")?;
            // Killed and ready are often close: each on its own side of its line.
            let (x, anchor) = match name {
                "ready" => (x + 4.0, "start"),
                _ => (x - 4.0, "end"),
            };
            text(svg, [x, TOP + 4.0], anchor, INK, name)?;
        }
    }
    if let Some((at_ms, limit)) = evidence.killed_at().zip(evidence.target.limit_bytes) {
        let (x, y) = (scale.x(at_ms), scale.y(limit));
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{}\" stroke=\"#fff\" \
             stroke-width=\"1.5\"/>",
            COLOURS[0]
        )?;
    }
    Ok(())
}

/// Each replica's, with its name above; the victim's last, so that it lies on top.
fn curves(svg: &mut String, evidence: &Evidence, scale: &Scale) -> std::fmt::Result {
    let victim = evidence.target.victim.as_str();
    let mut replicas: Vec<_> = evidence.memory.iter().collect();
    replicas.sort_by_key(|(name, _)| name.as_str() != victim);
    let coloured = replicas.into_iter().zip(COLOURS.iter().cycle());
    let mut x = LEFT;
    for ((name, _), colour) in coloured.clone() {
        writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"46\" width=\"18\" height=\"4\" fill=\"{colour}\"/>"
        )?;
        text(svg, [x + 24.0, 52.0], "start", INK, name)?;
        #[expect(clippy::cast_precision_loss, reason = "the length of a name")]
        let length = name.len() as f64;
        x += 48.0 + 7.0 * length;
    }
    let coloured: Vec<_> = coloured.collect();
    for ((_, points), colour) in coloured.into_iter().rev() {
        curve(svg, points, colour, scale)?;
    }
    Ok(())
}

fn curve(svg: &mut String, points: &[Point], colour: &str, scale: &Scale) -> std::fmt::Result {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Ok(());
    };
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let mut path = String::new();
    for point in points.iter().step_by(every) {
        let (x, y) = (scale.x(point.at_ms), scale.y(point.bytes));
        write!(path, " {x:.1},{y:.1}")?;
    }
    let (from, to) = (scale.x(first.at_ms), scale.x(last.at_ms));
    writeln!(
        svg,
        "<polygon fill=\"{colour}\" fill-opacity=\"0.1\" points=\"{from:.1},{FOOT}{path} \
         {to:.1},{FOOT}\"/>"
    )?;
    writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.2\" \
         stroke-linejoin=\"round\" points=\"{}\"/>",
        path.trim_start()
    )
}

fn line(
    svg: &mut String,
    [x1, y1, x2, y2]: [f64; 4],
    colour: &str,
    dashes: &str,
) -> std::fmt::Result {
    writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
         stroke-dasharray=\"{dashes}\"/>"
    )
}

fn text(
    svg: &mut String,
    [x, y]: [f64; 2],
    anchor: &str,
    colour: &str,
    text: &str,
) -> std::fmt::Result {
    let text = escaped(text);
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// From 0 up, in steps of a power of two such that there are no more than eight.
fn ticks(most: u64) -> impl Iterator<Item = u64> {
    let step = (most / 8).max(1).next_power_of_two();
    (0..=most / step).map(move |number| number * step)
}

/// From 0 up, in steps that a person would choose.
fn ticks_of_time(last_ms: u64) -> impl Iterator<Item = u64> {
    let steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
    let wanted = last_ms / 12 / 1000 + 1;
    let step = steps
        .into_iter()
        .find(|&step| step >= wanted)
        .unwrap_or(7200)
        * 1000;
    (0..=last_ms / step).map(move |number| number * step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::evidence::tests::passed;

    #[test]
    fn ticks_are_few_and_round() {
        let mebibytes = |most: u64| ticks(most << 20).map(|t| t >> 20).collect::<Vec<_>>();
        assert_eq!(mebibytes(140), [0, 32, 64, 96, 128]);
        assert_eq!(mebibytes(64), [0, 8, 16, 24, 32, 40, 48, 56, 64]);
        assert_eq!(ticks(1).collect::<Vec<_>>(), [0, 1]);
        for last_ms in [1, 900, 12_000, 61_000, 3_600_000, 100_000_000] {
            assert!(ticks_of_time(last_ms).count() <= 14, "{last_ms}");
        }
        assert_eq!(ticks_of_time(12_000).nth(1), Some(2_000));
    }

    #[test]
    fn the_curve_lies_inside_the_picture() {
        let evidence = passed();
        let scale = Scale::of(&evidence);
        for point in evidence.memory.values().flatten() {
            let (x, y) = (scale.x(point.at_ms), scale.y(point.bytes));
            assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
            assert!((TOP..=HEIGHT - BOTTOM).contains(&y), "{y}");
        }
    }

    #[test]
    fn the_picture_has_the_limit_the_marks_and_every_replica() {
        let mut evidence = passed();
        evidence.memory.insert("a<b&c".to_owned(), Vec::new());
        let svg = render(&evidence);
        for part in [
            ">replica-0 is OOM-killed and ready again 1.4 s later<",
            "limit 128 MiB",
            ">killed<",
            ">ready<",
            ">replica-0<",
            "a&lt;b&amp;c",
        ] {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn the_title_is_what_happened() {
        let mut evidence = passed();
        evidence
            .timeline
            .retain(|moment| moment.what != What::Ready);
        assert_eq!(title(&evidence), "replica-0 is OOM-killed");
        evidence.timeline.clear();
        evidence.deaths.clear();
        assert_eq!(title(&evidence), "replica-0 is not killed");
    }

    #[test]
    fn without_any_point_there_is_still_a_picture() {
        let mut evidence = passed();
        evidence.memory.clear();
        evidence.timeline.clear();
        evidence.target.limit_bytes = None;
        assert!(render(&evidence).ends_with("</svg>\n"));
    }
}
