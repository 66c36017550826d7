//! Questions to the cluster that a loop asks now and then and need not wait for: a broker that is slow, or away, would hold
//! up its events for as long as the question may take.

use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// A question that is asked on a thread of its own. One at a time.
#[derive(Debug)]
pub struct Aside<T> {
    answer: Option<Receiver<T>>,
}

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self { answer: None }
    }
}

impl<T: Send + 'static> Aside<T> {
    /// True from the question until its answer was taken.
    pub fn is_asked(&self) -> bool {
        self.answer.is_some()
    }

    /// Asks, unless an answer is still waited for: false then.
    pub fn ask(&mut self, question: impl FnOnce() -> T + Send + 'static) -> bool {
        if self.is_asked() {
            return false;
        }
        let (told, answer) = channel();
        let asking = move || {
            // Nobody may want to know any more.
            let _ = told.send(question());
        };
        match std::thread::Builder::new().name("aside".to_owned()).spawn(asking) {
            Ok(_) => self.answer = Some(answer),
            Err(error) => tracing::warn!(%error, "no thread to ask the cluster on"),
        }
        true
    }

    /// The answer, once, when it is there.
    pub fn answer(&mut self) -> Option<T> {
        match self.answer.as_ref()?.try_recv() {
            Ok(answer) => {
                self.answer = None;
                Some(answer)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.answer = None;
                None
            }
        }
    }

    /// The answer would be about what is over.
    pub fn forget(&mut self) {
        self.answer = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(aside: &mut Aside<u32>) -> Option<u32> {
        while aside.is_asked() {
            if let Some(answer) = aside.answer() {
                return Some(answer);
            }
            std::thread::yield_now();
        }
        None
    }

    #[test]
    fn an_answer_comes_once_and_nobody_waits_for_it() {
        let mut aside = Aside::default();
        assert_eq!((aside.is_asked(), aside.answer()), (false, None));
        let (go_on, gate) = channel::<u32>();
        aside.ask(move || gate.recv().unwrap_or_default());
        assert_eq!((aside.is_asked(), aside.answer()), (true, None), "it is not there yet");
        assert!(!aside.ask(|| 2));
        go_on.send(1).unwrap();
        assert_eq!(wait(&mut aside), Some(1), "the second question was not asked");
        assert_eq!((aside.is_asked(), aside.answer()), (false, None));
    }

    #[test]
    fn an_answer_about_what_is_over_is_not_given() {
        let mut aside = Aside::default();
        aside.ask(|| 1);
        aside.forget();
        assert_eq!((aside.is_asked(), aside.answer()), (false, None));
        aside.ask(|| 2);
        assert_eq!(wait(&mut aside), Some(2));
    }
}
