//! Networks and candidates in the store.

use rusqlite::{Row, params};

use super::store::{from_words32, id, words32};
use super::{Candidate, LabelRow, NetworkId, NetworkRow, Screened, Store};
use crate::base::error::{Error, Result};
use crate::gates::Stage;

impl Store {
    /// Stores a traced network; its name must be new.
    pub fn put_network(&self, n: &NetworkRow) -> Result<()> {
        self.put(
            "INSERT INTO network VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                n.id.to_string(),
                n.source,
                serde_json::to_string(&n.graph)?,
                n.graph_hash,
                words64(&n.signature),
                n.parameters,
                n.macs,
                n.activation_bytes
            ],
        )
    }

    /// All traced networks: start networks first, then candidates in the order in which they were screened.
    pub fn networks(&self) -> Result<Vec<NetworkRow>> {
        self.rows("SELECT * FROM network ORDER BY rowid", [], network)
    }

    /// Networks that a new candidate is compared with: the start networks, and all that passed the filter before.
    pub(crate) fn accepted(&self) -> Result<Vec<NetworkRow>> {
        let sql = "SELECT * FROM network WHERE id GLOB 'start/*'
             OR id IN (SELECT cycle || '/' || idx FROM candidate WHERE stage IN (?1, ?2)) ORDER BY rowid";
        self.rows(sql, [Stage::Novel.name(), Stage::Trained.name()], network)
    }

    /// The traced network of this name.
    ///
    /// # Errors
    /// Where there is none.
    pub fn network(&self, wanted: &NetworkId) -> Result<NetworkRow> {
        let found = self.rows("SELECT * FROM network WHERE id = ?1", [wanted.to_string()], network)?.pop();
        found.ok_or_else(|| Error::input(format!("there is no network {wanted} in this run")).hint("write CYCLE/INDEX or start/NAME"))
    }

    /// Stores a candidate, or replaces what was known of it.
    pub fn put_candidate(&self, c: &Candidate) -> Result<()> {
        let screened = c.screened.as_ref();
        self.put(
            "INSERT OR REPLACE INTO candidate
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
            params![
                c.cycle,
                c.index,
                c.parent.to_string(),
                c.prompt_hash,
                c.text(),
                str::from_utf8(&c.completion).err().map(|_| &c.completion),
                words32(&c.tokens),
                c.log_p,
                c.log_q,
                c.ended,
                screened.map(|s| s.stage.name()),
                screened.map(|s| &s.reason),
                screened.map(|s| &s.detail),
                screened.map(|s| s.line),
                screened.map(|s| &s.source),
                screened.and_then(|s| s.nearest.as_ref()).map(ToString::to_string),
                screened.map(|s| s.jaccard),
                screened.map(|s| s.parent_jaccard),
            ],
        )
    }

    /// All candidates by cycle and index.
    pub fn candidates(&self) -> Result<Vec<Candidate>> {
        self.rows("SELECT * FROM candidate ORDER BY cycle, idx", [], candidate)
    }

    pub(crate) fn candidate(&self, wanted: &NetworkId) -> Result<Candidate> {
        let none = || Error::input(format!("there is no candidate {wanted} in this run")).hint("write CYCLE/INDEX");
        let NetworkId::Candidate { cycle, index } = wanted else { return Err(none()) };
        self.rows("SELECT * FROM candidate WHERE cycle = ?1 AND idx = ?2", [cycle, index], candidate)?.pop().ok_or_else(none)
    }

    /// The candidates of one cycle, by index.
    pub fn candidates_of(&self, cycle: u64) -> Result<Vec<Candidate>> {
        self.rows("SELECT * FROM candidate WHERE cycle = ?1 ORDER BY idx", [cycle], candidate)
    }

    /// The candidates of the cycles up to one, by cycle and index.
    pub fn candidates_up_to(&self, cycle: u64) -> Result<Vec<Candidate>> {
        self.rows("SELECT * FROM candidate WHERE cycle <= ?1 ORDER BY cycle, idx", [cycle], candidate)
    }

    /// Those of them that were trained.
    pub fn trained_up_to(&self, cycle: u64) -> Result<Vec<Candidate>> {
        let sql = "SELECT * FROM candidate WHERE cycle <= ?1 AND stage = ?2 ORDER BY cycle, idx";
        self.rows(sql, params![cycle, Stage::Trained.name()], candidate)
    }

    /// Stores the labels of a candidate, or replaces them.
    pub fn put_labels(&self, l: &LabelRow) -> Result<()> {
        let valid: Vec<u8> = l.valid.iter().map(|&valid| u8::from(valid)).collect();
        self.put("INSERT OR REPLACE INTO label VALUES (?1, ?2, ?3, ?4)", params![l.cycle, l.index, l.prompt_tokens, valid])
    }

    /// Labels by cycle and index; none of a store that was made before there were any.
    pub fn labels(&self) -> Result<Vec<LabelRow>> {
        if self.rows("SELECT name FROM sqlite_master WHERE name = 'label'", [], |_| Ok(()))?.is_empty() {
            return Ok(Vec::new());
        }
        self.rows("SELECT * FROM label ORDER BY cycle, idx", [], |r| {
            let valid = r.get::<_, Vec<u8>>(3)?.into_iter().map(|byte| byte == 1).collect();
            Ok(LabelRow { cycle: r.get(0)?, index: r.get(1)?, prompt_tokens: r.get(2)?, valid })
        })
    }
}

fn network(r: &Row<'_>) -> Result<NetworkRow> {
    Ok(NetworkRow {
        id: id(r, 0)?,
        source: r.get(1)?,
        graph: serde_json::from_str(&r.get::<_, String>(2)?)?,
        graph_hash: r.get(3)?,
        signature: from_words64(&r.get::<_, Vec<u8>>(4)?),
        parameters: r.get(5)?,
        macs: r.get(6)?,
        activation_bytes: r.get(7)?,
    })
}

fn candidate(r: &Row<'_>) -> Result<Candidate> {
    Ok(Candidate {
        cycle: r.get(0)?,
        index: r.get(1)?,
        parent: id(r, 2)?,
        prompt_hash: r.get(3)?,
        completion: match r.get::<_, Option<Vec<u8>>>(5)? {
            Some(bytes) => bytes,
            None => r.get::<_, String>(4)?.into_bytes(),
        },
        tokens: from_words32(&r.get::<_, Vec<u8>>(6)?),
        log_p: r.get(7)?,
        log_q: r.get(8)?,
        ended: r.get(9)?,
        screened: screened(r)?,
    })
}

fn screened(r: &Row<'_>) -> Result<Option<Screened>> {
    let Some(stage) = r.get::<_, Option<String>>(10)? else { return Ok(None) };
    Ok(Some(Screened {
        stage: stage.parse()?,
        reason: r.get(11)?,
        detail: r.get(12)?,
        line: r.get(13)?,
        source: r.get(14)?,
        nearest: r.get::<_, Option<String>>(15)?.map(|s| s.parse()).transpose()?,
        jaccard: r.get(16)?,
        parent_jaccard: r.get(17)?,
    }))
}

fn words64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn from_words64(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|b| u64::from_le_bytes(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Training};
    use crate::tracer::graph::Graph;

    fn sample(index: u64) -> Candidate {
        Candidate {
            cycle: 1,
            index,
            parent: NetworkId::Start("plain".into()),
            prompt_hash: "ab".into(),
            completion: b"5\nnn.GELU(),\n".to_vec(),
            tokens: vec![1, 70_000, 2],
            log_p: Some(-3.25),
            log_q: Some(-3.0),
            ended: true,
            screened: Some(Screened {
                stage: Stage::Applied,
                reason: Some("syntax".into()),
                detail: None,
                line: Some(7),
                source: Some("class Net: pass\n".into()),
                nearest: Some(NetworkId::Candidate { cycle: 0, index: 4 }),
                jaccard: Some(0.5),
                parent_jaccard: Some(0.75),
            }),
        }
    }

    #[test]
    fn candidates_survive_reopening_and_replace_by_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let store = Store::create(&path, Kind::Run).unwrap();
        store.put_candidate(&Candidate { screened: None, ..sample(3) }).unwrap();
        store.put_candidate(&sample(3)).unwrap();
        drop(store);
        assert_eq!(Store::read(&path).unwrap().candidates().unwrap(), vec![sample(3)]);
    }

    #[test]
    fn a_completion_that_is_not_utf8_is_kept_to_the_byte_and_shown_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.sqlite");
        let store = Store::create(&path, Kind::Run).unwrap();
        // The second is UTF-8 that says what the first is shown as.
        let written = [b"5\n# \xe2\x82\n".to_vec(), "5\n# \u{fffd}\n".into()];
        for (index, completion) in (0..).zip(&written) {
            store.put_candidate(&Candidate { completion: completion.clone(), ..sample(index) }).unwrap();
        }
        let read: Vec<Vec<u8>> = store.candidates().unwrap().into_iter().map(|c| c.completion).collect();
        assert_eq!(read, written);
        let texts: Vec<(String, bool)> = store
            .rows("SELECT completion, completion_bytes IS NULL FROM candidate ORDER BY idx", [], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap();
        assert_eq!(texts, [("5\n# \u{fffd}\n".into(), false), ("5\n# \u{fffd}\n".into(), true)]);
    }

    #[test]
    fn candidates_are_found_by_cycle_and_stage_and_accepted_networks_by_stage() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let put = |cycle, index, screened: Option<Stage>| {
            let c = Candidate { cycle, index, screened: screened.map(Screened::at), ..sample(index) };
            store.put_candidate(&c).unwrap();
            c.id()
        };
        let stages = Stage::ALL.map(Some).into_iter().chain([None]);
        let first: Vec<NetworkId> = (0..).zip(stages).map(|(index, stage)| put(1, index, stage)).collect();
        let later = [put(2, 10, Some(Stage::Trained)), put(10, 2, Some(Stage::Trained))];
        let ids = |found: Vec<Candidate>| found.iter().map(Candidate::id).collect::<Vec<_>>();
        assert_eq!(ids(store.candidates_up_to(1).unwrap()), first);
        assert_eq!(ids(store.candidates_up_to(2).unwrap()), [&first[..], &later[..1]].concat());
        assert_eq!(ids(store.trained_up_to(2).unwrap()), [first[6].clone(), later[0].clone()]);
        let start = NetworkId::Start("1".into());
        for id in [&[start.clone()][..], &first[..], &later[1..]].concat() {
            let graph = Graph { nodes: Vec::new(), output: 0, tensors: Vec::new(), aliases: Vec::new() };
            let (source, graph_hash, signature) = (String::new(), String::new(), Vec::new());
            let row = NetworkRow { id, source, graph, graph_hash, signature, parameters: 0, macs: 0, activation_bytes: 0 };
            store.put_network(&row).unwrap();
        }
        let accepted: Vec<NetworkId> = store.accepted().unwrap().into_iter().map(|n| n.id).collect();
        assert_eq!(accepted, [start, first[5].clone(), first[6].clone(), later[1].clone()]);
    }

    #[test]
    fn one_candidate_and_the_qualities_of_one_cycle_are_found_by_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("run.sqlite"), Kind::Run).unwrap();
        let training = |cycle, seed_index, accuracy| Training {
            network: NetworkId::Candidate { cycle, index: 3 },
            seed_index,
            seed: 0,
            repeat: seed_index == 2,
            accuracy,
            curve: "[]".into(),
            failure: None,
            seconds: 0.0,
            estimates: None,
        };
        for cycle in [1, 10, 11, 2] {
            store.put_candidate(&Candidate { cycle, ..sample(3) }).unwrap();
            for (seed_index, accuracy) in [(0, 0.25), (1, 0.75), (2, 0.9)] {
                store.put_training(&training(cycle, seed_index, (cycle != 2).then_some(accuracy))).unwrap();
            }
        }
        store.put_training(&Training { network: NetworkId::Start("1".into()), ..training(1, 0, Some(0.1)) }).unwrap();
        let of = |cycle| store.qualities_of(cycle).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(of(1), [(NetworkId::Candidate { cycle: 1, index: 3 }, 0.5)]);
        assert_eq!((of(11).len(), of(2), of(0)), (1, vec![], vec![]));
        assert_eq!(store.qualities().unwrap().len(), 4);
        assert_eq!(store.candidate(&NetworkId::Candidate { cycle: 10, index: 3 }).unwrap().cycle, 10);
        for missing in [NetworkId::Candidate { cycle: 10, index: 4 }, NetworkId::Start("1".into())] {
            assert!(store.candidate(&missing).is_err());
        }
    }
}
