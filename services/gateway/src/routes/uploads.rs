//! `POST /v1/datasets/{dataset}/uploads`: a file, read as the dataset's mapping says, answered while it is read.

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use freshet_mapping::Format;
use futures::StreamExt;
use http::{HeaderMap, header};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use utoipa::IntoParams;

use super::path::DatasetId;
use crate::auth::Caller;
use crate::body::{self, Patience};
use crate::problem::{Kind, Problem, ProblemBody};
use crate::state::{Gateway, now_us};
use crate::upload::{Job, Reading, Upload, UploadAnswerLine};

pub(super) const PATH: &str = "/v1/datasets/{dataset}/uploads";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    /// `jsonl` or `csv`. Without it, the content type or the ending of `name` decides.
    format: Option<String>,
    /// The file's name, for messages.
    name: Option<String>,
    /// `source` of the events. Without it, the department's first.
    source: Option<String>,
    /// `divcode` of deletes, and of every event where the dataset names no division field.
    divcode: Option<String>,
    /// Where the mapping names no sequence: line `n` has the sequence `sequence_base + n`. Without it, the time of the
    /// upload counts, so that a later file is newer. Give the same base to send the same file again without effect.
    sequence_base: Option<u64>,
}

/// Publish a file
///
/// JSON lines or CSV, each line one event by the dataset's mapping; with `Content-Encoding: gzip` if it is compressed. The
/// answer is a stream of JSON lines: one for each refused line, then the summary. Only a summary with `complete: true`
/// says that every line is either published or stands in the reject topic; otherwise send the file again: where the
/// mapping names the sequence, or with the same `sequence_base`, what is there already is recognised as a duplicate.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/uploads",
    tag = "publish",
    security(("token" = [])),
    params(("dataset" = String, Path, description = "The dataset's id in the catalogue"), UploadQuery),
    request_body(content(
        (String = "application/x-ndjson", example = "{\"closure_id\":\"RC-2026-0042\",\"street\":\"Queen Street\",\"lanes\":2,\"status\":\"planned\"}\n"),
        (String = "text/csv", example = "closure_id,street,lanes,status\nRC-2026-0042,Queen Street,2,planned\n"),
    )),
    responses(
        (status = 200, description = "JSON lines: refused lines, then the summary", body = UploadAnswerLine,
            content_type = "application/x-ndjson"),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No valid token", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "Not this department's source or dataset", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, description = "No such dataset", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "File too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Format or encoding not taken", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "Not such a file, or its header does not fit the mapping", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many files of this department at a time; Retry-After says when", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "Too many files at a time; Retry-After says when", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(super) async fn upload(
    State(gateway): State<Gateway>,
    caller: Caller,
    DatasetId(dataset): DatasetId,
    query: Result<Query<UploadQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::new(Kind::Malformed, error.body_text()))?;
    let compiled = gateway.catalogue()?;
    let dataset = gateway.dataset(&compiled, &dataset, &caller.department)?;
    if let Err(reason) = &dataset.mapper {
        let detail = format!("files are not taken for {}: {reason}", dataset.id());
        return Err(Problem::new(Kind::NotFound, detail));
    }
    let format = format_of(&query, &headers)?;
    let gzip = is_gzip(&headers)?;
    let max_bytes = gateway.config.max_upload_bytes;
    body::check_length(&headers, max_bytes)?;
    let place = Gateway::place(&gateway.shares.uploads, &caller.department, 1, "files")
        .map_err(|problem| problem.retry_after(10))?;
    let now_us = now_us();
    let name = query.name.unwrap_or_else(|| "upload".to_owned());
    let job = Job::new(
        &gateway,
        compiled,
        dataset,
        caller.department,
        now_us,
        crate::upload::Choices {
            name,
            source: query.source,
            divcode: query.divcode,
            sequence_base: query.sequence_base,
        },
    )?;
    let parts =
        body::parts(body, max_bytes, Patience::of(&gateway.config)).map(|part| part.map_err(std::io::Error::from));
    let reading = Reading { format, gzip, max_bytes };
    let upload = Upload::begin(job, reading, parts).await?;
    let (answers, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        upload.run(answers).await;
        drop(place);
    });
    let stream = UnboundedReceiverStream::new(lines).map(Ok::<_, std::convert::Infallible>);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

fn format_of(query: &UploadQuery, headers: &HeaderMap) -> Result<Format, Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let format = match query.format.as_deref() {
        Some("jsonl" | "ndjson") => Some(Format::JsonLines),
        Some("csv") => Some(Format::Csv),
        Some(_) => None,
        None => content_type
            .and_then(Format::of_content_type)
            .or_else(|| query.name.as_deref().and_then(Format::of_file_name)),
    };
    let detail =
        "say which kind of file it is: ?format=jsonl or ?format=csv, or Content-Type: application/x-ndjson or text/csv";
    format.ok_or_else(|| Problem::new(Kind::UnsupportedMedia, detail))
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(_) => Err(Problem::new(Kind::UnsupportedMedia, "Content-Encoding may be gzip, or absent")),
    }
}
