//! Examples laid out for one forward pass: a prompt once, the completions that share it as branches after it, and which hidden
//! row predicts which token. A branch sees the prompt and itself, its positions go on from the prompt, and its first token is
//! predicted by the prompt's last row: the same numbers as if each example were a sequence of its own.

use std::collections::HashMap;

use super::decoder::Rows;
use crate::base::error::{Error, Result};

/// A prompt and what is to be said after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Names it in the manifest of a cycle.
    pub id: String,
    /// Tokens, at least one.
    pub prompt: Vec<u32>,
    /// With its end token.
    pub completion: Vec<u32>,
}

/// One forward pass.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    pub(crate) rows: Rows,
    /// Hidden rows that predict, the tokens they should, and the examples (by index) those belong to.
    pub(crate) at: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) of: Vec<usize>,
}

/// Refuses examples that are empty or longer than `longest` tokens.
pub(crate) fn check(examples: &[Example], longest: usize) -> Result<()> {
    for example in examples {
        let length = example.prompt.len() + example.completion.len();
        if length > longest {
            let (id, prompt) = (&example.id, example.prompt.len());
            return Err(Error::input(format!("example {id} is {length} tokens long ({prompt} of prompt), at most {longest} fit"))
                .hint("raise the tokens of a pass, or leave the example out"));
        }
        if example.prompt.is_empty() || example.completion.is_empty() {
            return Err(Error::input(format!("example {} has an empty prompt or completion", example.id)));
        }
    }
    Ok(())
}

/// Indices of examples, those with the same prompt together, prompts in the order of their first mention.
pub fn by_prompt(examples: &[Example], chosen: impl IntoIterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut seen: HashMap<&[u32], usize> = HashMap::new();
    for index in chosen {
        let group = *seen.entry(&examples[index].prompt).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(index);
    }
    groups
}

/// Lays out `chosen` examples in passes of at most `budget` tokens. Prompts come in the order of their first mention; a prompt is
/// repeated only where its branches do not fit one pass.
pub fn pack(examples: &[Example], chosen: &[usize], budget: usize) -> Vec<Pack> {
    let (mut packs, mut pack) = (Vec::new(), Pack::default());
    for group in by_prompt(examples, chosen.iter().copied()) {
        let prompt = &examples[group[0]].prompt;
        let mut parent = None;
        for index in group {
            let completion = &examples[index].completion;
            // The last token is only ever predicted, so it is no input.
            let inputs = completion.len() - 1;
            let needed = if parent.is_some() { inputs } else { inputs + prompt.len() };
            if !pack.rows.is_empty() && pack.rows.len() + needed > budget {
                packs.push(std::mem::take(&mut pack));
                parent = None;
            }
            let prompt_at = parent.get_or_insert_with(|| pack.rows.push(prompt, 0, 0..0)).clone();
            let branch = pack.rows.push(&completion[..inputs], prompt.len(), prompt_at.clone());
            pack.at.push(prompt_at.end as u32 - 1);
            pack.at.extend(branch.map(|i| i as u32));
            pack.targets.extend_from_slice(completion);
            pack.of.extend(std::iter::repeat_n(index, completion.len()));
        }
    }
    if !pack.rows.is_empty() {
        packs.push(pack);
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: &[u32], completion: &[u32]) -> Example {
        Example { id: format!("{completion:?}"), prompt: prompt.to_vec(), completion: completion.to_vec() }
    }

    #[test]
    fn a_prompt_is_shared_and_repeated_only_where_the_budget_ends() {
        let examples =
            [example(&[1, 2, 3], &[4, 5]), example(&[9, 9], &[6]), example(&[1, 2, 3], &[7, 8, 0]), example(&[1, 2, 3], &[4, 4, 4])];
        let packs = pack(&examples, &[0, 1, 2, 3], 6);
        assert_eq!(
            packs.iter().map(|p| p.rows.tokens.clone()).collect::<Vec<_>>(),
            [vec![1, 2, 3, 4, 7, 8], vec![1, 2, 3, 4, 4], vec![9, 9]]
        );
        assert_eq!(packs[0].rows.positions, [0, 1, 2, 3, 3, 4]);
        assert_eq!(
            (&packs[0].at[..], &packs[0].targets[..], &packs[0].of[..]),
            (&[2, 3, 2, 4, 5][..], &[4, 5, 7, 8, 0][..], &[0, 0, 2, 2, 2][..])
        );
        assert_eq!((&packs[2].at[..], &packs[2].targets[..]), (&[1][..], &[6][..]));
    }

    #[test]
    fn too_long_is_refused_with_its_length() {
        let error = check(&[example(&[1; 7], &[2; 4])], 10).unwrap_err();
        assert!(error.to_string().contains("11 tokens"), "{error}");
        assert!(check(&[example(&[1; 7], &[2; 3])], 10).is_ok());
    }
}
