//! Models as people have them: what transformers and llama.cpp read in their own way is read so, or refused with what is the matter.
//!
//! The kinds are those of public bug reports; each test names them.

use std::path::Path;

use candle_core::Device;
use eliteloop::decoder::files::chat::{ChatTemplate, Message, TODAY};
use eliteloop::decoder::files::gguf::part_name;
use eliteloop::decoder::files::model_file::ModelFile;
use eliteloop::decoder::files::shape::RopeScaling;
use eliteloop::decoder::model::decoder::{Decoder, Mode, Rows};
use serde_json::{Value, json};

use super::built::{Built, array, open_bytes, text, typed};
use super::folders::fixture;
use super::ids;

/// A fixture's files in a folder that a test may change.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fixture(name).read_dir().unwrap() {
        let file = entry.unwrap().path();
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    folder
}

fn change(folder: &Path, file: &str, key: &str, value: Value) {
    let path = folder.join(file);
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    json[key] = value;
    std::fs::write(&path, json.to_string()).unwrap();
}

/// The logits of the golden's input, and transformers'.
fn logits(folder: &Path) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let model = ModelFile::open(folder).unwrap();
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("golden.json")).unwrap()).unwrap();
    let decoder = Decoder::new(model.config(), |weight| model.tensor(weight)).unwrap();
    let hidden = decoder.hidden(&Rows::single(&ids(&golden["input"])), None, Mode::Evaluate).unwrap();
    let ours = decoder.logits(&hidden).unwrap().to_vec2::<f32>().unwrap();
    (ours[ours.len() - 12..].to_vec(), serde_json::from_value(golden["logits"].clone()).unwrap())
}

fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    // A golden may hold the beginning of each row.
    a.iter().zip(b).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[track_caller]
fn says(error: &eliteloop::base::error::Error, word: &str, hint: &str) {
    assert_eq!(error.exit_code(), 2, "{error}");
    let hinted = error.hint_text().unwrap_or_default();
    assert!(error.to_string().contains(word) && hinted.contains(hint), "{error}\nhint: {hinted}");
}

/// Merged folders say that they are tied and hold an output layer of their own; transformers (5.24) keeps it. The golden's model has one.
#[test]
fn an_output_layer_that_differs_from_the_embedding_is_kept_whatever_the_settings_say() {
    let folder = copied("tiny-llama");
    change(folder.path(), "config.json", "tie_word_embeddings", true.into());
    let (ours, theirs) = logits(folder.path());
    assert!(!ModelFile::open(folder.path()).unwrap().config().tied);
    assert!(apart(&ours, &theirs) < 1e-4, "{}", apart(&ours, &theirs));

    // An equal copy is what tying says.
    let folder = copied("tiny-llama3");
    let path = folder.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let embedding = tensors["model.embed_tokens.weight"].clone();
    change(folder.path(), "config.json", "tie_word_embeddings", true.into());
    tensors.insert("lm_head.weight".into(), embedding.clone());
    candle_core::safetensors::save(&tensors, &path).unwrap();
    assert!(ModelFile::open(folder.path()).unwrap().config().tied);
    // One of another type and of other values.
    tensors.insert("lm_head.weight".into(), (embedding * 2.0).unwrap().to_dtype(candle_core::DType::F16).unwrap());
    candle_core::safetensors::save(&tensors, &path).unwrap();
    assert!(!ModelFile::open(folder.path()).unwrap().config().tied);
    // None where none is said to be shared: transformers would draw one at random.
    tensors.remove("lm_head.weight");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    change(folder.path(), "config.json", "tie_word_embeddings", false.into());
    says(&ModelFile::open(folder.path()).unwrap_err(), "lm_head.weight is missing", "tie_word_embeddings");
}

/// llama.cpp: linear where no type is named, by the older key too; `none` turns it off; a factor of 0 or 1 is none.
#[test]
fn a_gguf_file_s_positions_are_scaled_as_by_llama_cpp() {
    let scaling = |keys: &[(&str, Vec<u8>)]| {
        let mut built = Built::tiny();
        for (key, value) in keys {
            built.set(&format!("llama.rope.{key}"), value.clone());
        }
        open_bytes(&built.bytes()).map(|model| model.config().rope_scaling)
    };
    let number = |value: f32| typed(6, &value.to_le_bytes());
    let linear = |factor: f64| Some(RopeScaling::Linear { factor });
    assert_eq!(scaling(&[("scaling.factor", number(8.0))]).unwrap(), linear(8.0));
    assert_eq!(scaling(&[("scale_linear", number(4.0))]).unwrap(), linear(4.0));
    assert_eq!(scaling(&[("scaling.factor", number(2.0)), ("scale_linear", number(4.0))]).unwrap(), linear(2.0));
    assert_eq!(scaling(&[("scaling.type", typed(8, &text("linear"))), ("scaling.factor", number(2.5))]).unwrap(), linear(2.5));
    assert_eq!(scaling(&[("scaling.type", typed(8, &text("none"))), ("scaling.factor", number(8.0))]).unwrap(), None);
    for none in [0.0, 1.0] {
        assert_eq!(scaling(&[("scaling.factor", number(none))]).unwrap(), None);
    }
    assert!(
        scaling(&[("scaling.type", typed(8, &text("yarn"))), ("scaling.factor", number(8.0))]).unwrap_err().to_string().contains("yarn")
    );
    for wrong in [number(-2.0), number(f32::NAN), typed(8, &text("two"))] {
        assert_eq!(scaling(&[("scaling.factor", wrong)]).unwrap_err().exit_code(), 2);
    }
}

/// Scaled linearly by 2, position 2 p is what position p was.
#[test]
fn linear_scaling_puts_positions_closer() {
    let folder = copied("tiny-llama");
    let run = |spread: u32| {
        let model = ModelFile::open(folder.path()).unwrap();
        let decoder = Decoder::new(model.config(), |weight| model.tensor(weight)).unwrap();
        let mut rows = Rows::single(&[5, 60, 7, 200, 31, 8, 90]);
        rows.positions.iter_mut().for_each(|position| *position *= spread);
        decoder.logits(&decoder.hidden(&rows, None, Mode::Evaluate).unwrap()).unwrap().to_vec2::<f32>().unwrap()
    };
    let plain = run(1);
    let settings = json!({"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0});
    change(folder.path(), "config.json", "rope_parameters", settings);
    assert!(apart(&run(2), &plain) < 1e-4);
    assert!(apart(&run(1), &plain) > 1e-3, "scaling does something");
    change(folder.path(), "config.json", "rope_parameters", json!({"rope_type": "linear"}));
    assert!(ModelFile::open(folder.path()).unwrap_err().to_string().contains("by no factor"));
}

#[test]
fn of_several_templates_the_default_is_taken_and_none_is_no_plain_text() {
    let folder = copied("tiny-llama3");
    let path = folder.path().join("chat_template.jinja");
    let usual = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let chat = |template: Value| {
        change(folder.path(), "tokenizer_config.json", "chat_template", template);
        ModelFile::open(folder.path()).unwrap().chat_template().map(|chat| chat.map(|chat| chat.text().to_owned()))
    };
    let entry = |name: &str, text: &str| json!({"name": name, "template": text});
    assert_eq!(chat(json!([entry("tool_use", "{{ tools }}"), entry("default", &usual)])).unwrap(), Some(usual.clone()));
    assert_eq!(chat(json!({"default": usual, "rag": "x"})).unwrap(), Some(usual.clone()));
    assert_eq!(chat(json!(usual)).unwrap(), Some(usual.clone()));
    assert_eq!(chat(Value::Null).unwrap(), None);
    says(&chat(json!([entry("rag", "x"), entry("tool_use", "y")])).unwrap_err(), "rag, tool_use", "chat_template.jinja");
    says(&chat(json!(7)).unwrap_err(), "names no template 'default'", "chat_template.jinja");
}

#[test]
fn templates_have_the_tags_and_functions_of_transformers() {
    let messages = [Message::system("Be brief."), Message::user("a < b & 'c'"), Message::assistant("yes")];
    let render = |text: &str| ChatTemplate::new(text, "<s>", "</s>").and_then(|t| t.render(&messages, false));
    let tracked = "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}!{% endgeneration %}{% else %}{{ m.role }} {% endif %}{% endfor %}";
    // It leaves out what the system says, which is then said in front of the user's words.
    assert_eq!(render(tracked).unwrap(), "user yes!");
    let trimmed = "{% for m in messages %}\n  {%- generation -%}\n  {{ m.content }}\n  {%- endgeneration -%}\n{% endfor %}";
    assert_eq!(render(trimmed).unwrap(), "Be brief.a < b & 'c'yes");
    // What is set inside stays inside, as in a block of its own.
    assert_eq!(render("{% set x = 1 %}{% generation %}{% set x = 2 %}{% endgeneration %}{{ x }}").unwrap(), "1");
    let loops = "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}";
    assert_eq!(render(loops).unwrap(), "user");
    assert_eq!(
        render("{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M %A %-m') }}").unwrap(),
        format!("{TODAY}|2024-07-26 00:00 Friday 7")
    );
    assert!(render("{{ strftime_now('%Q') }}").unwrap_err().to_string().contains("does not take"));
    // Python's json.dumps(.., ensure_ascii=False), not HTML's.
    assert_eq!(render("{{ messages[1] | tojson }}").unwrap(), r#"{"role": "assistant", "content": "yes"}"#);
    assert_eq!(render("{{ \"a < b & 'c'\" | tojson }}").unwrap(), "\"a < b & 'c'\"");
    assert_eq!(render("{{ [1, 'é'] | tojson(indent=2) }}").unwrap(), "[\n  1,\n  \"é\"\n]");
}

#[test]
fn a_template_without_system_turns_gets_their_text_in_the_user_s() {
    let turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    let refusing = format!("{{% if messages[0]['role'] == 'system' %}}{{{{ raise_exception('no system') }}}}{{% endif %}}{turns}");
    let dropping = "{% for m in messages %}{% if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}";
    let messages = [Message::system("Be brief."), Message::user("Hi"), Message::assistant("yes"), Message::user("more")];
    let render = |text: &str| {
        let template = ChatTemplate::new(text, "", "").unwrap();
        template.check().unwrap();
        (template.folds_system(), template.render(&messages, false).unwrap())
    };
    let folded = "<user>Be brief.\n\nHi<assistant>yes<user>more";
    assert_eq!(render(turns), (false, "<system>Be brief.<user>Hi<assistant>yes<user>more".into()));
    assert_eq!(render(&refusing), (true, folded.into()));
    assert_eq!(render(dropping), (true, folded.into()));
    let refused = |text: &str| ChatTemplate::new(text, "", "").unwrap().check().unwrap_err();
    assert!(refused("{{ raise_exception('never') }}").to_string().contains("does not take these messages"));
    assert!(refused("hello").to_string().contains("leaves out"));
}

/// What a run would refuse is refused at once, and said with the model's path.
#[test]
fn a_template_that_no_run_could_use_is_refused_when_the_model_is_checked() {
    let folder = copied("tiny-qwen2");
    let with = |template: &str| {
        std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        ModelFile::open(folder.path()).unwrap().check()
    };
    assert_eq!(with("{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}").unwrap(), Vec::<String>::new());
    let error = with("{% for m in messages %}{{ m.role.shout() }}{% endfor %}").unwrap_err();
    assert!(error.to_string().contains(folder.path().to_str().unwrap()) && error.exit_code() == 2, "{error}");
    says(&with("{% if messages %}{{ raise_exception('only tools') }}{% endif %}").unwrap_err(), "does not take", "template");
    let notes = with(
        "{{ strftime_now('%Y') }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('x') }}{% endif %}{{ m.content }}{% endfor %}",
    );
    let notes = notes.unwrap().join("\n");
    assert!(notes.contains("takes no system turn") && notes.contains(TODAY), "{notes}");
}

#[test]
fn the_end_of_an_answer_is_what_the_template_closes_it_with() {
    let folder = copied("tiny-qwen2");
    let end = || {
        let model = ModelFile::open(folder.path()).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        (tokenizer.token(tokenizer.eos()).unwrap().to_owned(), model.check().unwrap().join("\n"))
    };
    assert_eq!(end(), ("<|im_end|>".into(), String::new()));
    // A base model's end, beside a template that closes turns otherwise.
    change(folder.path(), "tokenizer_config.json", "eos_token", "<|im_start|>".into());
    let (token, notes) = end();
    assert!(token == "<|im_end|>" && notes.contains("not with <|im_start|>"), "{notes}");
    // Without a template the file's own.
    std::fs::remove_file(folder.path().join("chat_template.jinja")).unwrap();
    assert_eq!(end().0, "<|im_start|>");
    // Older folders name it elsewhere; without any name generation's settings do.
    change(folder.path(), "tokenizer_config.json", "eos_token", Value::Null);
    let unnamed = ModelFile::open(folder.path()).unwrap().sha256().unwrap();
    std::fs::write(folder.path().join("special_tokens_map.json"), json!({"eos_token": {"content": "<|im_end|>"}}).to_string()).unwrap();
    assert_eq!(end().0, "<|im_end|>");
    assert_ne!(ModelFile::open(folder.path()).unwrap().sha256().unwrap(), unnamed, "what is read is hashed");
    std::fs::remove_file(folder.path().join("special_tokens_map.json")).unwrap();
    change(folder.path(), "generation_config.json", "eos_token_id", json!([2, 1]));
    assert_eq!(end().0, "<|im_end|>");
}

#[test]
fn speeds_of_positions_that_a_file_stores_are_left_out() {
    let folder = copied("tiny-llama3");
    let path = folder.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    for layer in 0..2 {
        let speeds = candle_core::Tensor::new(&[1.0f32, 0.1], &Device::Cpu).unwrap();
        tensors.insert(format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq"), speeds);
    }
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let (ours, theirs) = logits(folder.path());
    assert!(apart(&ours, &theirs) < 1e-4, "{}", apart(&ours, &theirs));
}

/// Pre-tokenizers under the names by which llama.cpp cuts alike.
#[test]
fn names_of_equal_pre_tokenizers_are_known() {
    let encoded = |name: &str| {
        let mut built = Built::tiny();
        built.set("tokenizer.ggml.pre", typed(8, &text(name)));
        open_bytes(&built.bytes()).unwrap().tokenizer().map(|tokenizer| tokenizer.encode("it's 1234\n  x"))
    };
    for (names, first) in [
        (&["deepseek-r1-qwen", "stablelm2"][..], "qwen2"),
        (&["llama3", "llama-v3", "falcon3", "lfm2"], "llama-bpe"),
        (&["refact", "starcoder", "command-r"], "smollm"),
        (&["phi-2", "olmo"], "gpt-2"),
    ] {
        for name in names {
            assert_eq!(encoded(name).unwrap(), encoded(first).unwrap(), "{name}");
        }
    }
    assert_ne!(encoded("qwen2").unwrap(), encoded("llama-bpe").unwrap(), "digits in threes");
    says(&encoded("tekken").unwrap_err(), "'tekken'", "deepseek-r1-qwen");
}

/// A model in parts as llama-gguf-split writes it: keys in the first, tensors in all.
#[test]
fn a_split_model_is_read_through_its_first_part() {
    let folder = tempfile::tempdir().unwrap();
    let count = 3_u16;
    let total = Built::tiny().tensors.len() as i32;
    let write = |folder: &Path, number: usize| {
        let mut part = Built::tiny();
        let tensors = std::mem::take(&mut part.tensors);
        part.tensors = tensors.into_iter().enumerate().filter(|(i, _)| i % 3 == number).map(|(_, tensor)| tensor).collect();
        if number > 0 {
            part.keys.clear();
        }
        part.set("split.no", typed(2, &(number as u16).to_le_bytes()));
        part.set("split.count", typed(2, &count.to_le_bytes()));
        part.set("split.tensors.count", typed(5, &total.to_le_bytes()));
        let path = folder.join(part_name("big", number + 1, 3));
        std::fs::write(&path, part.bytes()).unwrap();
        path
    };
    let first = write(folder.path(), 0);
    says(&ModelFile::open(&first).unwrap_err(), "part 1 of 3, and 2 of the others is missing", "all parts into one folder");
    let second = write(folder.path(), 1);
    write(folder.path(), 2);
    says(&ModelFile::open(&second).unwrap_err(), "it is part 2 of 3", "big-00001-of-00003.gguf");
    let split = ModelFile::open(&first).unwrap();
    let whole = open_bytes(&Built::tiny().bytes()).unwrap();
    assert_eq!(split.config(), whole.config());
    for (name, _) in whole.shapes() {
        let values = |model: &ModelFile| model.tensor(&name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&split), values(&whole), "{name}");
    }
    assert_eq!((split.files().len(), split.sha256().unwrap().len()), (3, 64));
    std::fs::copy(&second, folder.path().join(part_name("big", 3, 3))).unwrap();
    says(&ModelFile::open(&first).unwrap_err(), "is not part 3 of 3", "as they were published");
    let renamed = folder.path().join("mine.gguf");
    std::fs::rename(&first, &renamed).unwrap();
    says(&ModelFile::open(&renamed).unwrap_err(), "part 1 of 3", "llama-gguf-split --merge");
}

#[test]
fn what_only_stands_for_a_file_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 91000000\n";
    let page = "\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>";
    for (bytes, word, hint) in [
        (pointer, "a pointer of Git LFS, not the file of 91000000 bytes", "git lfs pull"),
        (page, "a web page", "download the file itself"),
        ("../../blobs/0123abcd", "a link that was copied as text", "cp -a"),
        ("Entry not found", "a short text, not a model's file: Entry not found", "fetch it again"),
        ("{\"error\":\"Repository is gated\"}", "Repository is gated", "fetch it again"),
        ("", "is empty", "again"),
    ] {
        says(&open_bytes(bytes.as_bytes()).unwrap_err(), word, hint);
        for file in ["model.safetensors", "config.json", "tokenizer.json"] {
            let folder = copied("tiny-llama3");
            std::fs::write(folder.path().join(file), bytes).unwrap();
            let refused = ModelFile::open(folder.path()).and_then(|model| model.check()).unwrap_err();
            if !(file.ends_with("json") && bytes.starts_with('{')) {
                says(&refused, word, hint);
            }
        }
    }
    // A pointer in the second of two shards.
    let folder = copied("tiny-llama");
    std::fs::write(folder.path().join("model-00002-of-00002.safetensors"), pointer).unwrap();
    says(&ModelFile::open(folder.path()).unwrap_err(), "model-00002-of-00002.safetensors is a pointer", "git lfs pull");
    let mut huge = Built::tiny();
    huge.set("x", array(9, &[vec![0; 12]]));
    assert!(!open_bytes(&huge.bytes()).unwrap_err().to_string().contains("short text"), "a damaged file is no text");
}

/// Pipelines of cuts that have no name, by the `tokenizers` package: scripts/goldens/pre_tokenizers.py.
#[test]
fn other_pipelines_of_cuts_give_the_ids_of_tokenizers() {
    let golden = super::golden("pre_tokenizers.json");
    assert!(golden.as_array().unwrap().len() > 5);
    for pipeline in golden.as_array().unwrap() {
        let folder = copied("tiny-llama3");
        std::fs::write(folder.path().join("tokenizer.json"), pipeline["tokenizer"].to_string()).unwrap();
        let tokenizer = ModelFile::open(folder.path()).unwrap().tokenizer().unwrap();
        for case in pipeline["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.encode(text), ids(&case["ids"]), "{}: {text:?}", pipeline["name"]);
        }
    }
    let folder = copied("tiny-llama3");
    let described = golden[0]["tokenizer"].clone();
    for (change, word) in [
        (json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}), "its pre_tokenizer"),
        (
            json!({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": " "}, "behavior": "Removed", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]}),
            "its pre_tokenizer",
        ),
        (json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}), "its pre_tokenizer"),
    ] {
        let mut described = described.clone();
        described["pre_tokenizer"] = change;
        std::fs::write(folder.path().join("tokenizer.json"), described.to_string()).unwrap();
        let error = ModelFile::open(folder.path()).unwrap().tokenizer().unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let mut stripping = described;
    stripping["added_tokens"][1]["rstrip"] = true.into();
    std::fs::write(folder.path().join("tokenizer.json"), stripping.to_string()).unwrap();
    let error = ModelFile::open(folder.path()).unwrap().tokenizer().unwrap_err();
    assert!(error.to_string().contains("<|im_start|>") && error.to_string().contains("takes the space beside it away"), "{error}");
}
