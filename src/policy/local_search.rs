//! Local search by first improvement: it stands on one thing, looks at its neighbours one after the other, and goes to the first that is
//! better. Without an LLM among the strongest rules on NAS-Bench-201 (White et al., "Exploring the Loss Landscape in Neural
//! Architecture Search", UAI 2021).

/// Where it stands; nowhere before there is anything measured, and after a restart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LocalSearch<T> {
    at: Option<(T, f64)>,
}

impl<T> Default for LocalSearch<T> {
    fn default() -> Self {
        Self { at: None }
    }
}

impl<T: Clone> LocalSearch<T> {
    pub(crate) fn at(&self) -> Option<&T> {
        self.at.as_ref().map(|(item, _)| item)
    }

    /// Takes what was measured, in the order in which it was proposed. What is no neighbour of where it stands moves nothing.
    pub(crate) fn observe(&mut self, item: &T, quality: f64, is_neighbour: impl Fn(&T, &T) -> bool) {
        let moves = match &self.at {
            None => true,
            Some((at, own)) => quality > *own && is_neighbour(at, item),
        };
        if moves {
            self.at = Some((item.clone(), quality));
        }
    }

    /// Nothing around it is better: it begins anew with what is measured next.
    pub(crate) fn restart(&mut self) {
        self.at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_to_the_first_neighbour_that_is_better() {
        let mut search = LocalSearch::default();
        let next = |a: &i32, b: &i32| (a - b).abs() == 1;
        // The better one at 9 is far away; 6 is a neighbour of 5 and worse than where it stands then.
        for (item, quality) in [(4, 0.5), (9, 0.9), (3, 0.4), (5, 0.7), (3, 0.6), (6, 0.65)] {
            search.observe(&item, quality, next);
        }
        assert_eq!(search.at(), Some(&5));
        search.restart();
        assert_eq!(search.at(), None);
        search.observe(&9, 0.1, next);
        assert_eq!(search.at(), Some(&9));
    }
}
