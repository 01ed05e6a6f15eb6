//! `models pull`, from a hub on this machine: `cargo test --release --features hub --test it pull`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::json;

use super::folders::fixture;
use super::imports::{Home, path_of, said};

/// Answers one request as the hub does: a repository's list of files, or a file.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut probe = false;
    for line in lines {
        let line = line?.to_lowercase();
        probe |= line == "range: bytes=0-0";
        if line.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
    let (body, name) = if path == "/api/models/tiny/llama3/revision/main" {
        let others = ["consolidated.safetensors", "onnx/model.onnx", "pytorch_model.bin"];
        let siblings: Vec<_> = files.iter().chain(&others).map(|file| json!({"rfilename": file})).collect();
        (json!({"sha": "feed", "siblings": siblings}).to_string().into_bytes(), "list")
    } else if let Some(name) = path.strip_prefix("/tiny/llama3/resolve/main/").filter(|name| files.contains(name)) {
        (std::fs::read(fixture("tiny-llama3").join(name))?, name)
    } else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let sent = if probe { &body[..1] } else { &body[..] };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"{name}-1\"\r\nX-Repo-Commit: feed\r\nContent-Range: bytes 0-{}/{}\r\nConnection: close\r\n\r\n",
        sent.len(),
        sent.len() - 1,
        body.len()
    )?;
    stream.write_all(sent)
}

#[test]
fn a_model_is_pulled_into_the_cache_and_then_found_offline() {
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hub.local_addr().unwrap());
    std::thread::spawn(move || hub.incoming().for_each(|stream| drop(stream.and_then(answer))));
    let home = Home::new();
    let pull = |repo: &str| {
        let mut command = home.command(&["pull", repo]);
        command.env("HF_ENDPOINT", &endpoint).env_remove("HF_TOKEN");
        command
    };
    pull("tiny/llama3").assert().success();
    let found = path_of(&home.json(&["verify", "hf:tiny/llama3"]));
    assert!(found.ends_with("snapshots/feed"), "{found:?}");
    let names = found.read_dir().unwrap().count();
    assert_eq!(names, 5, "one copy of the weights and what belongs to them");
    assert_eq!(std::fs::read(found.join("config.json")).unwrap(), std::fs::read(fixture("tiny-llama3").join("config.json")).unwrap());

    let failed = pull("tiny/nothing").assert().code(1);
    assert!(String::from_utf8_lossy(&failed.get_output().stderr).contains("tiny/nothing could not be downloaded"));
    assert!(said(&pull("tiny/llama3").env("HF_HUB_OFFLINE", "true").assert()).contains("HF_HUB_OFFLINE is set"));
}
