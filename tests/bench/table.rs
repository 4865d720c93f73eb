//! One table for all figures.

use crate::cases::{Case, Measure};

/// Width of the first column and of the others, in characters.
const FIRST: usize = 24;
const COLUMN: usize = 26;

pub struct Table {
    columns: usize,
}

impl Table {
    /// Prints the heading.
    pub fn new(names: Vec<&'static str>) -> Self {
        print!("{:FIRST$}", "");
        for name in &names {
            print!("{name:>COLUMN$}");
        }
        println!("\n{:FIRST$}{}", "", "figure (CPU an operation)".to_owned());
        Self { columns: names.len() }
    }

    /// Prints a row as soon as it is known.
    pub fn row(&self, case: &Case, figures: &[Option<Measure>]) {
        print!("{:FIRST$}", case.name);
        for figure in figures.iter().take(self.columns) {
            let text = figure.map_or_else(|| "-".to_owned(), |figure| cell(case, figure));
            print!("{text:>COLUMN$}");
        }
        println!();
    }
}

fn cell(case: &Case, figure: Measure) -> String {
    let value = match figure.value {
        large if large >= 100.0 => format!("{large:.0}"),
        small => format!("{small:.1}"),
    };
    let cpu = match figure.cpu_micros {
        Some(micros) if micros >= 10_000.0 => format!(" ({:.0} ms)", micros / 1000.0),
        Some(micros) => format!(" ({micros:.1} µs)"),
        None => String::new(),
    };
    format!("{value} {}{cpu}", case.unit())
}
