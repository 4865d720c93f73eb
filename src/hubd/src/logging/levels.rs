//! How much is logged.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::ACCESS;

/// How much is logged, by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// For what no part names.
    pub all: LevelFilter,
    /// Parts with a level of their own.
    pub parts: Vec<(Part, LevelFilter)>,
}

/// A part of the program whose level can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The reverse proxy.
    Proxy,
    /// Pages, API, servers.
    Hub,
    /// The database.
    Store,
    /// The daemon around them.
    Hubd,
    /// One line for each request.
    Requests,
}

impl Part {
    /// The part that `log_levels` names.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "proxy" => Self::Proxy,
            "hub" => Self::Hub,
            "store" => Self::Store,
            "hubd" => Self::Hubd,
            "requests" => Self::Requests,
            _ => return None,
        })
    }

    fn target(self) -> &'static str {
        match self {
            Self::Proxy => "hubd_proxy",
            Self::Hub => "hubd_hub",
            Self::Store => "hubd_store",
            Self::Hubd => "hubd",
            Self::Requests => ACCESS,
        }
    }
}

impl Levels {
    /// What lets a line pass.
    pub fn filter(&self) -> Targets {
        let parts = self.parts.iter().map(|(part, level)| (part.target(), *level));
        Targets::new().with_default(self.all).with_targets(parts)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn parts_have_levels_of_their_own() {
        let levels = Levels { all: LevelFilter::WARN, parts: vec![(Part::Proxy, LevelFilter::DEBUG)] };
        let filter = levels.filter();
        assert!(filter.would_enable("hubd_proxy::listen", &Level::DEBUG));
        assert!(!filter.would_enable("hubd_hub::login", &Level::INFO));
        assert_eq!(Part::named("nonsense"), None);
    }
}
