//! Events as server-sent events (WHATWG HTML, 9.2): `id` is the cursor behind the event, so that a client that reconnects
//! with `Last-Event-ID` goes on with the next one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;

use super::Api;
use super::events::Reading;
use super::problem::Problem;

/// One look at the view. Between two, the grant is checked again.
const SLICE: Duration = Duration::from_millis(500);

struct Streaming {
    api: Api,
    reading: Reading,
    ready: VecDeque<Event>,
    ended: bool,
}

/// The stream goes on until the client leaves, the service stops, or something ends it, which a last event
/// `event: end` says, with the reason as its data.
pub(super) fn stream(api: Api, reading: Reading) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let heartbeat = Duration::from_millis(api.shared.config.pull.heartbeat_ms);
    let streaming = Streaming { api, reading, ready: VecDeque::new(), ended: false };
    let events = futures::stream::unfold(streaming, |mut streaming| async {
        let event = streaming.next().await?;
        Some((Ok(event), streaming))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(heartbeat).text("heartbeat"))
}

impl Streaming {
    async fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() {
            if self.ended || self.api.shared.stop.is_cancelled() {
                return None;
            }
            if let Err(problem) = self.fill().await {
                self.ended = true;
                self.ready.push_back(Event::default().event("end").data(problem.detail));
            }
        }
        self.ready.pop_front()
    }

    async fn fill(&mut self) -> Result<(), Problem> {
        let mut cursor = self.reading.begin.cursor(&self.reading.grant.view);
        let mut records = self.api.next(&mut self.reading, SLICE).await?.records;
        let events = self.api.release(&self.reading.grant, &mut records).await?;
        for (record, event) in records.iter().zip(events) {
            cursor.next.insert(record.partition, record.offset + 1);
            self.ready.push_back(Event::default().id(cursor.encode()).data(String::from_utf8_lossy(&event)));
        }
        Ok(())
    }
}
