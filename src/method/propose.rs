//! `d ~ p_t(d|a)`: the policy writes the cycle's deltas. All N are stored at once, so a killed cycle samples all again,
//! from the same seeds, or none.

use crate::base::done::Done;
use crate::base::error::{Error, Result};
use crate::base::hash::Hash;
use crate::base::progress::Phase;
use crate::base::seed;
use crate::config::{Policy, RunConfig};
use crate::decoder::sample::generate::{Progress, Request};
use crate::decoder::sample::sampling::Sampling;
use crate::method::parents::{self, Eligible};
use crate::method::run::Run;
use crate::policy::random;
use crate::record::{Candidate, NetworkId, Store};

pub(crate) fn propose(run: &mut Run, cycle: u64) -> Result<()> {
    if !run.store.candidates_of(cycle)?.is_empty() {
        return Ok(());
    }
    let phase = Phase::begin(cycle, "propose", run.config.candidates);
    let parent_of = draw_parents(&run.store, &run.config, cycle)?;
    let candidates =
        if run.config.policy.has_llm() { sample(run, cycle, &parent_of, &phase)? } else { Done::Finished(mutate(run, cycle, &parent_of)?) };
    let Done::Finished(candidates) = candidates else { return Ok(()) };
    let spent = phase.finish();
    run.store.transaction(|s| {
        candidates.iter().try_for_each(|c| s.put_candidate(c))?;
        s.put_phase(&spent)
    })
}

/// The parent of each candidate of a cycle, from what was known when it began.
pub(crate) fn draw_parents(store: &Store, config: &RunConfig, cycle: u64) -> Result<Vec<NetworkId>> {
    let quality = store.qualities()?;
    let eligible = |network: NetworkId| Eligible { quality: quality.get(&network).copied(), network };
    let starts: Vec<_> = store.starts()?.into_iter().map(|(name, _)| eligible(NetworkId::Start(name))).collect();
    let born = || store.trained_up_to(cycle - 1);
    let trained = || Ok::<_, Error>(starts.iter().cloned().chain(born()?.iter().map(|c| eligible(c.id()))).collect::<Vec<_>>());
    let elites = match config.policy {
        Policy::Evolution => {
            return Ok(parents::tournaments(&trained()?, &config.parents, config.seed, cycle, config.candidates));
        }
        Policy::Uniform => return Ok(parents::uniform(&trained()?, config.seed, cycle, config.candidates)),
        Policy::LocalSearch => {
            let children: Vec<_> = born()?.iter().map(|c| (c.parent.clone(), eligible(c.id()))).collect();
            return Ok(vec![parents::local_search(&starts, &children); config.candidates as usize]);
        }
        Policy::BestOfN => Vec::new(),
        Policy::Llm | Policy::Frozen | Policy::TableCe | Policy::MixtureCe | Policy::TiltCe | Policy::Random => {
            store.elites()?.into_iter().filter(|e| e.cycle < cycle).map(|e| eligible(e.network)).collect()
        }
    };
    Ok(parents::share_out(&parents::draw(&starts, &elites, &config.parents, config.seed, cycle), config.candidates))
}

/// Samples from the LLM, one prefill a parent.
fn sample(run: &Run, cycle: u64, parent_of: &[NetworkId], phase: &Phase) -> Result<Done<Vec<Candidate>>> {
    let learner = run.learner.as_ref().ok_or_else(|| Error::machine("this policy needs an LLM"))?;
    let config = &run.config;
    let sampling = Sampling {
        temperature: config.delta.temperature,
        top_p: config.delta.top_p,
        max_tokens: config.delta.max_tokens,
        end: learner.model.tokenizer.eos(),
    };
    let (mut requests, mut masks) = (Vec::new(), Vec::new());
    let mut places = Vec::new();
    for block in parent_of.chunk_by(|a, b| a == b) {
        let parent = &block[0];
        let indices: Vec<u64> = (0..config.candidates).filter(|&i| parent_of[i as usize] == *parent).collect();
        let seeds = indices.iter().map(|&i| seed::derive(config.seed, "sample", &[cycle, i])).collect();
        let source = run.store.network(parent)?.source;
        requests.push(Request { prompt: learner.prompt(config.delta.format, &source)?, seeds });
        masks.extend(learner.mask(config.delta.format, &source, config.delta.mask));
        places.push((parent, indices));
    }
    let on_progress = &mut |progress: Progress| {
        phase.at(progress.samples as u64);
        phase.say(format!("{} tokens", progress.tokens));
    };
    let Done::Finished(samples) = learner.generate(&requests, &masks, &sampling, &run.stop, on_progress)? else { return Ok(Done::Stopped) };
    let mut candidates = Vec::new();
    for (((parent, indices), request), samples) in places.into_iter().zip(&requests).zip(samples) {
        for (index, sample) in indices.into_iter().zip(samples) {
            let completion = learner.model.tokenizer.completion(&sample.tokens);
            candidates.push(Candidate {
                log_p: Some(sample.log_p),
                log_q: Some(sample.log_q),
                ended: sample.ended,
                prompt_hash: prompt_hash(&request.prompt),
                tokens: sample.tokens,
                ..Candidate::new(cycle, index, parent.clone(), completion)
            });
        }
    }
    Ok(Done::Finished(candidates))
}

/// The controls without an LLM.
fn mutate(run: &Run, cycle: u64, parent_of: &[NetworkId]) -> Result<Vec<Candidate>> {
    let mut candidates = Vec::new();
    for (index, parent) in (0..).zip(parent_of) {
        let source = run.store.network(parent)?.source;
        candidates.push(mutation(&run.config, cycle, index, parent.clone(), &source));
    }
    Ok(candidates)
}

/// What a control without an LLM writes of a parent.
pub(crate) fn mutation(config: &RunConfig, cycle: u64, index: u64, parent: NetworkId, source: &str) -> Candidate {
    let mut rng = seed::rng(config.seed, "mutate", &[cycle, index]);
    Candidate::new(cycle, index, parent, random::write(&mut rng, config.delta.format, source))
}

/// SHA-256 over the token ids of a prompt.
pub(crate) fn prompt_hash(prompt: &[u32]) -> String {
    let mut hash = Hash::default();
    hash.tokens(prompt);
    hash.hex()
}
