// SPDX-License-Identifier: Apache-2.0

// What programs do with async-openai, the client of Rust: every answer goes through its types, which take no member
// that is missing or of another kind. Runs its cases, or those named as arguments, and reports each in a line
// {"case":..,"error":null|text}. Finds the factory through TF_URL, TF_KEY and TF_MODEL.
use std::{env, future::Future, pin::Pin, time::Duration};

use async_openai::{config::OpenAIConfig, error::OpenAIError, types::responses::ResponseStreamEvent, Client};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::{json, Value};

type Outcome = Result<(), String>;
type Case = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

fn var(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn client() -> Client<OpenAIConfig> {
    Client::with_config(OpenAIConfig::new().with_api_base(var("TF_URL") + "/openai/v1").with_api_key(var("TF_KEY")))
}

/// What the scripted runtime says in n tokens.
fn words(n: usize) -> String {
    (0..n).map(|i| format!("tok{i} ")).collect()
}

fn must(ok: bool, what: impl std::fmt::Debug) -> Outcome {
    if ok { Ok(()) } else { Err(format!("{what:?}")) }
}

fn no<T>(r: Result<T, OpenAIError>) -> Result<T, String> {
    r.map_err(|e| format!("{e:?}"))
}

/// A request of the crate's own type.
fn typed<T: DeserializeOwned>(v: Value) -> Result<T, String> {
    serde_json::from_value(v).map_err(|e| e.to_string())
}

fn chat(script: &str, more: Value) -> Value {
    let mut v = json!({"model": var("TF_MODEL"), "messages": [{"role": "user", "content": format!("fake?{script}")}]});
    v.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    v
}

fn respond(script: &str, more: Value) -> Value {
    let mut v = json!({"model": var("TF_MODEL"), "input": format!("fake?{script}")});
    v.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    v
}

fn weather() -> Value {
    json!({"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}})
}

async fn chat_create() -> Outcome {
    let answer = no(client().chat().create(typed(chat("tokens=4&prompt=11", json!({})))?).await)?;
    let usage = answer.usage.clone().ok_or("no usage")?;
    must(answer.choices[0].message.content == Some(words(4)) && answer.model == var("TF_MODEL"), &answer)?;
    must(usage.prompt_tokens == 11 && usage.completion_tokens == 4 && usage.total_tokens == 15, &usage)
}

async fn chat_stream() -> Outcome {
    let asked = chat("tokens=6&prompt=3", json!({"stream": true, "stream_options": {"include_usage": true}}));
    let mut stream = no(client().chat().create_stream(typed(asked)?).await)?;
    let (mut said, mut total, mut finish) = (String::new(), 0, None);
    while let Some(chunk) = stream.next().await {
        let chunk = no(chunk)?;
        total = chunk.usage.map_or(total, |u| u.total_tokens);
        for choice in chunk.choices {
            said += choice.delta.content.as_deref().unwrap_or_default();
            finish = choice.finish_reason.or(finish);
        }
    }
    must(said == words(6) && total == 9 && format!("{finish:?}") == "Some(Stop)", (said, total, finish))
}

async fn chat_tools() -> Outcome {
    let tools = json!({"tools": [{"type": "function", "function": weather()}]});
    let first = no(client().chat().create(typed(chat("tools=2", tools.clone()))?).await)?;
    let message = serde_json::to_value(&first.choices[0].message).map_err(|e| e.to_string())?;
    let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
    must(calls.len() == 2 && calls[0]["function"]["arguments"] == "{\"city\":\"Paris\",\"days\":0}", &message)?;
    let mut turns = vec![json!({"role": "user", "content": "x"}), json!({"role": "assistant", "tool_calls": calls})];
    turns.extend(calls.iter().map(|c| json!({"role": "tool", "tool_call_id": c["id"], "content": "5 degrees"})));
    turns.push(json!({"role": "user", "content": "fake?tokens=3"}));
    let mut asked = chat("", tools.clone());
    asked["messages"] = Value::Array(turns);
    let last = no(client().chat().create(typed(asked)?).await)?;
    must(last.choices[0].message.content == Some(words(3)), &last)?;
    let mut asked = chat("tools=2", tools);
    asked["stream"] = json!(true);
    let mut stream = no(client().chat().create_stream(typed(asked)?).await)?;
    let mut args = vec![String::new(); 2];
    while let Some(chunk) = stream.next().await {
        for piece in no(chunk)?.choices.into_iter().flat_map(|c| c.delta.tool_calls.unwrap_or_default()) {
            args[piece.index as usize] += &piece.function.and_then(|f| f.arguments).unwrap_or_default();
        }
    }
    must(args[1] == "{\"city\":\"Paris\",\"days\":1}", &args)
}

async fn completions() -> Outcome {
    let asked = json!({"model": var("TF_MODEL"), "prompt": "fake?tokens=3"});
    let answer = no(client().completions().create(typed(asked.clone())?).await)?;
    must(answer.choices[0].text == words(3) && answer.object == "text_completion", &answer)?;
    let mut stream = no(client().completions().create_stream(typed(asked)?).await)?;
    let mut said = String::new();
    while let Some(piece) = stream.next().await {
        said += &no(piece)?.choices.iter().map(|c| c.text.clone()).collect::<String>();
    }
    must(said == words(3), said)
}

async fn embeddings() -> Outcome {
    let asked = json!({"model": var("TF_EMBED"), "input": ["a", "b"]});
    let answer = no(client().embeddings().create(typed(asked)?).await)?;
    must(answer.data.len() == 2 && answer.data[1].index == 1 && !answer.data[0].embedding.is_empty(), &answer)
}

async fn responses_create() -> Outcome {
    let answer = no(client().responses().create(typed(respond("tokens=4&prompt=11", json!({"instructions": "be brief"})))?).await)?;
    must(answer.output_text() == Some(words(4)) && answer.model == var("TF_MODEL"), &answer)?;
    must(answer.usage.as_ref().is_some_and(|u| u.input_tokens == 11 && u.output_tokens == 4), &answer.usage)
}

async fn responses_stream() -> Outcome {
    let asked = respond("tokens=5&reasoning=reasoning", json!({"stream": true, "reasoning": {"summary": "auto"}}));
    let mut stream = no(client().responses().create_stream(typed(asked)?).await)?;
    let (mut said, mut last) = (String::new(), None);
    while let Some(event) = stream.next().await {
        match no(event)? {
            ResponseStreamEvent::ResponseOutputTextDelta(e) => said += &e.delta,
            ResponseStreamEvent::ResponseCompleted(e) => last = e.response.output_text(),
            _ => {}
        }
    }
    must(said == words(5) && last == Some(said.clone()), (said, last))
}

async fn responses_tools() -> Outcome {
    let mut tool = weather();
    tool["type"] = json!("function");
    let custom = json!({"type": "custom", "name": "shell", "description": "d", "format": {"type": "text"}});
    let answer = no(client().responses().create(typed(respond("tools=2", json!({"tools": [tool, custom]})))?).await)?;
    let output = serde_json::to_value(&answer.output).map_err(|e| e.to_string())?;
    must(output[0]["type"] == "function_call" && output[1]["arguments"] == "{\"city\":\"Paris\",\"days\":1}", &output)?;
    let script = "tools=1&tool=shell&args={\"input\":\"ls\"}";
    let answer = no(client().responses().create(typed(respond(script, json!({"tools": [custom]})))?).await)?;
    let output = serde_json::to_value(&answer.output).map_err(|e| e.to_string())?;
    must(output[0]["type"] == "custom_tool_call" && output[0]["input"] == "ls", &output)
}

async fn models() -> Outcome {
    let list = no(client().models().list().await)?;
    must(list.data.iter().any(|m| m.id == var("TF_MODEL") && m.object == "model"), &list)?;
    let one = no(client().models().retrieve(&var("TF_MODEL")).await)?;
    must(one.id == var("TF_MODEL"), &one)
}

async fn errors() -> Outcome {
    let Err(OpenAIError::ApiError(e)) = client().chat().create(typed(chat("", json!({"temperature": 9.0})))?).await else {
        return Err("no error of the API".into());
    };
    must(e.status_code.as_u16() == 400 && e.api_error.param.as_deref() == Some("temperature"), &e)?;
    let mut gone = chat("", json!({}));
    gone["model"] = json!("no/such-model");
    let Err(OpenAIError::ApiError(e)) = client().chat().create(typed(gone)?).await else {
        return Err("a model that there is not".into());
    };
    must(e.status_code.as_u16() == 404 && e.api_error.code.as_deref() == Some("model_not_found"), &e)?;
    let stranger = Client::with_config(OpenAIConfig::new().with_api_base(var("TF_URL") + "/v1").with_api_key("tf-prod-none"));
    let Err(OpenAIError::ApiError(e)) = stranger.models().list().await else {
        return Err("a key that there is not".into());
    };
    must(e.status_code.as_u16() == 401, &e)
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => { vec![$((stringify!($name), (|| Box::pin($name()) as _) as Case)),*] };
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let all = cases![
        chat_create, chat_stream, chat_tools, completions, embeddings, responses_create, responses_stream, responses_tools, models, errors,
    ];
    for (name, run) in all {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        let outcome = tokio::time::timeout(Duration::from_secs(20), run()).await.unwrap_or(Err("it takes too long".into()));
        println!("{}", json!({"case": name, "error": outcome.err()}));
    }
}
