//! Connections that went the same way are one story, with the first of them as its example.

use std::collections::{BTreeMap, BTreeSet};

use overflow_core::{explain::Lang, verdict::VerdictId};

use crate::{
    fate::{Fate, Fates},
    step::Step,
};

/// Stories of one listener.
const STORIES: usize = 24;
/// Clients that a story names.
const NAMES: usize = 40;
/// Steps of an example: a connection has a dozen at most, unless somebody plays with it.
const STEPS: usize = 40;

/// What happened to some clients.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// What became of them.
    pub(crate) fate: Fate,
    /// What decided, in order: the words of each verdict.
    pub(crate) chain: Vec<String>,
    /// The verdict that comes last.
    pub(crate) outcome: Option<VerdictId>,
    /// How many.
    pub(crate) count: u64,
    /// The first of them.
    pub(crate) example: Example,
    /// Addresses of the first.
    pub(crate) clients: Vec<String>,
    /// What witnesses disagree about.
    pub(crate) disagreements: BTreeSet<String>,
}

/// One connection in full.
#[derive(Clone, Debug, Default)]
pub(crate) struct Example {
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) steps: Vec<Step>,
    /// Steps that found no room.
    pub(crate) more_steps: usize,
    /// What each end has of it: name and value.
    pub(crate) ends: Vec<(&'static str, String)>,
}

/// A connection with what a story needs of it.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) fate: Fate,
    /// What makes it the same story as another.
    pub(crate) chain: Vec<String>,
    pub(crate) outcome: Option<VerdictId>,
    pub(crate) example: Example,
    pub(crate) disagreement: Option<String>,
}

/// The stories of one listener, the worst first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stories {
    stories: BTreeMap<(Fate, Vec<String>), Story>,
    /// Clients of stories that found no room.
    pub(crate) left_out: Fates,
}

impl Stories {
    /// Adds a connection.
    pub(crate) fn add(&mut self, told: Told) {
        let Told { fate, chain, outcome, mut example, disagreement } = told;
        let client = example.client.clone();
        let story = self.stories.entry((fate, chain)).or_insert_with_key(|(fate, chain)| {
            example.more_steps = example.steps.len().saturating_sub(STEPS);
            example.steps.truncate(STEPS);
            Story {
                fate: *fate,
                chain: chain.clone(),
                outcome,
                count: 0,
                example,
                clients: Vec::new(),
                disagreements: BTreeSet::new(),
            }
        });
        story.count += 1;
        if story.clients.len() < NAMES {
            story.clients.push(client);
            story.disagreements.extend(disagreement);
        }
        if self.stories.len() > STORIES
            && let Some((_, least)) = self.stories.pop_last()
        {
            (0..least.count).for_each(|_| self.left_out.add(least.fate));
        }
    }

    /// Each, the worst first; of those that ended alike, the one that most clients have.
    pub(crate) fn each(&self) -> Vec<&Story> {
        let mut stories: Vec<_> = self.stories.values().collect();
        stories.sort_by_key(|story| (story.fate, std::cmp::Reverse(story.count)));
        stories
    }
}

impl Story {
    /// What it comes down to, in one label.
    pub(crate) fn gist(&self) -> &str {
        match (self.outcome, self.chain.last()) {
            (Some(outcome), _) => outcome.label(Lang::En),
            (None, Some(last)) => last,
            (None, None) => "nothing was seen of its handshake",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fate: Fate, way: usize) -> Told {
        let example = Example { client: format!("c{way}"), ..Example::default() };
        Told { fate, chain: vec![way.to_string()], outcome: None, example, disagreement: None }
    }

    #[test]
    fn those_that_went_the_same_way_are_one_story() {
        let mut stories = Stories::default();
        (0..1000).for_each(|_| stories.add(told(Fate::Phantom, 1)));
        stories.add(told(Fate::Connected, 1));
        let each = stories.each();
        assert_eq!((each.len(), each[0].count, each[0].clients.len()), (2, 1000, NAMES));
        assert_eq!(each[0].fate, Fate::Phantom);
    }

    #[test]
    fn the_worst_stay_and_the_rest_are_counted() {
        let mut stories = Stories::default();
        (0..100).for_each(|way| stories.add(told(Fate::Connected, way)));
        (0..10).for_each(|way| stories.add(told(Fate::Phantom, way)));
        let each = stories.each();
        assert_eq!(each.len(), STORIES);
        assert_eq!(each.iter().filter(|story| story.fate == Fate::Phantom).count(), 10);
        assert_eq!(stories.left_out.words(), "86 connected");
    }
}
