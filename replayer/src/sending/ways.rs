//! The way in which a recorded call is sent here: in which generation of CRI, and a list as a stream or whole.
//!
//! A call goes the way it went when it was recorded, until the runtime turns out not to serve that: then as kubelet goes on, in the
//! generation that is served, and with the RPC that gives the list whole. Either is a finding, and the answers are compared all the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use bytes::Bytes;
use cri::{Generation, Method, alpha};
use critape_calls::{Call, Code, Ending, Live, Outcome, Recorded};
use critape_differ::{Compared, Ids};

use crate::engine::Shared;
use crate::preflight::speaks;
use crate::sending::answer::{self, Answer, Patience};

/// What turned out not to be served here.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Generations, and the one that stands in for each.
    translated: RefCell<BTreeMap<Generation, Generation>>,
    /// Request paths of streams, where the list is asked for instead.
    unstreamed: RefCell<BTreeSet<&'static str>>,
}

impl Ways {
    /// The generation that is spoken in place of one of the tape's, if one is.
    pub(crate) fn spoken_instead(&self) -> Option<Generation> {
        self.translated.borrow().values().next().copied()
    }
}

impl Shared {
    /// The RPC to ask. A call that was refused when it was recorded goes where it went.
    pub(crate) fn way(&self, call: &Call, method: &'static Method) -> &'static Method {
        let sent = call.sent_method().unwrap_or(method);
        if call.outcome.code == Code::UNIMPLEMENTED {
            return sent;
        }
        let unstreamed = self.ways.unstreamed.borrow().contains(sent.path.as_str());
        let asked = sent.list().filter(|_| unstreamed).unwrap_or(sent);
        let translated = self.ways.translated.borrow();
        translated.get(&asked.generation).and_then(|other| asked.in_generation(*other)).unwrap_or(asked)
    }

    /// The way to ask again, where the answer says that this one is not served here, though it was when recorded.
    pub(crate) async fn other_way(
        &self,
        call: &Call,
        way: &'static Method,
        answer: &Answer,
    ) -> Option<&'static Method> {
        if answer.outcome.code != Code::UNIMPLEMENTED || call.outcome.code == Code::UNIMPLEMENTED {
            return None;
        }
        let (recorded, live) = (way.generation, self.target.generation);
        if way.list().is_some() {
            self.ways.unstreamed.borrow_mut().insert(&way.path);
        } else if recorded != live {
            // Another call may have found it out while this one was on its way.
            let known = self.ways.translated.borrow().contains_key(&recorded);
            if !known && !speaks(&self.client, recorded).await {
                self.ways.translated.borrow_mut().insert(recorded, live);
            }
        }
        Some(self.way(call, way)).filter(|other| other.path != way.path)
    }

    /// How long the live call is waited for.
    pub(crate) fn patience_for(&self, call: &Call) -> Patience {
        if call.outcome.ending == Ending::Cancelled {
            Patience::BreaksOff(call.duration())
        } else if call.deadline.is_none() {
            Patience::GivesUp(call.duration().saturating_add(self.config.give_up))
        } else {
            Patience::Endless
        }
    }

    /// Sends a request in the terms of `method` this way. The answer is in these terms, too.
    pub(crate) async fn send(&self, call: &Call, method: &Method, way: &Method, request: &Bytes) -> Answer {
        let is_old = way.generation == Generation::V1Alpha1;
        let sent = if is_old { alpha::lower(method.input(), request) } else { request.clone() };
        let expected = call.responses.iter().map(|message| message.body.len()).sum::<u64>();
        let client = self.client.for_path(&way.path).expecting(usize::try_from(expected).unwrap_or(0));
        let mut asked = pin!(answer::ask(&client, &way.path, sent, call.deadline, self.patience_for(call)));
        let mut answer = if self.is_hurried { answer::at_once(asked.as_mut()).await } else { asked.await };
        if answer.is_broken {
            // Few calls come to this, and all would be larger for it.
            Box::pin(self.look_for_runtime(call, &way.path)).await;
        }
        if is_old {
            answer.request = request.clone();
            answer.message = alpha::lift(method.output(), &answer.message);
        }
        answer
    }

    /// Where a list is not streamed here that was when recorded: that is a difference.
    pub(crate) fn note_unstreamed(&self, call: &Call, way: &Method, compared: &mut Compared) {
        let sent = call.sent_method().filter(|sent| sent.list().is_some() && way.list().is_none());
        if let Some(sent) = sent {
            let ids = self.ids.borrow();
            let live = ended_with(Code::UNIMPLEMENTED);
            let comparer = self.comparer(&ids);
            compared.divergences.push(comparer.capability(&sent.name, Recorded(&call.outcome), Live(&live)));
        }
    }

    /// A generation that was spoken when recorded and is not served here is a finding, once.
    pub(crate) fn report_translations(&self) {
        for recorded in self.ways.translated.borrow().keys() {
            let Some(version) = cri::methods().by_name(*recorded, "Version") else { continue };
            let ids = self.ids.borrow();
            let [before, now] = [Code::OK, Code::UNIMPLEMENTED].map(ended_with);
            let divergence = self.comparer(&ids).capability(&version.name, Recorded(&before), Live(&now));
            self.findings.borrow_mut().add_divergence(&version.path, &Ids::default(), divergence);
        }
    }
}

fn ended_with(code: Code) -> Outcome {
    Outcome { ending: Ending::Status, code, ..answer::cancelled() }
}
