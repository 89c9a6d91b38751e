//! One segment: its header, its footer, and its events.

use std::path::{Path, PathBuf};

use critape_calls::{CallId, ConnectionId, Event, Stamp, Summary};
use prost::Message;

use crate::chunk;
use crate::convert;
use crate::elements;
use crate::folder;
use crate::live::{Connection, LiveChunks, LiveSegment, Until};
use crate::mark;
use crate::schema;
use crate::store::{Mode, Store};
use crate::{FORMAT, Result, TapeError};

/// No recorder keeps a larger message.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;
/// Those of CRI take a few hundred kilobytes.
const MAX_DESCRIPTORS_BYTES: u64 = 16 * 1024 * 1024;

/// How often a segment may be replaced while it is opened: packing does so once.
const EXCHANGES: usize = 4;

/// A segment that is open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    source: Source,
    header: schema::SegmentHeader,
    footer: Option<schema::SegmentFooter>,
}

/// Where its bytes come from.
#[derive(Debug)]
enum Source {
    Store(Store),
    /// The one who writes it.
    Live(Live),
}

#[derive(Clone, Debug)]
struct Live {
    tape: PathBuf,
    shown: LiveSegment,
}

/// Chunks: position of the first event, and events.
pub(crate) type Chunks = Box<dyn Iterator<Item = Result<(u64, Vec<schema::Event>)>> + Send>;

impl Segment {
    /// The segment that is being written, as far as it is committed; `None` where none is.
    pub(crate) fn live(tape: &Path) -> Result<Option<Self>> {
        let Some((shown, _)) = Connection::open(tape, 0, 0, false)? else { return Ok(None) };
        let header = schema::SegmentHeader::decode(shown.header.as_slice());
        let damaged = |error: prost::DecodeError| TapeError::Damaged {
            path: tape.to_owned(),
            reason: format!("what its recorder says: {error}"),
        };
        let header = header.map_err(damaged)?;
        if header.format > FORMAT {
            return Err(TapeError::Newer { path: tape.to_owned(), found: header.format, known: FORMAT });
        }
        let path = folder::segment(tape, header.number);
        let live = Live { tape: tape.to_owned(), shown };
        Ok(Some(Self { path, source: Source::Live(live), header, footer: None }))
    }

    /// Whether it is being written.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.source, Source::Live(_))
    }

    /// Opens a segment that is not being written.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        for _ in 0..EXCHANGES {
            let before = folder::identity(&path);
            let opened = Self::open_once(path.clone());
            if before.is_some() && folder::identity(&path) == before {
                return opened;
            }
            // The packed one was put in its place meanwhile.
        }
        Self::open_once(path)
    }

    fn open_once(path: PathBuf) -> Result<Self> {
        mark::check(&path)?;
        let store = Store::open(&path, Mode::Existing)?;
        if mark::is_final(&path) {
            store.share();
        }
        let damaged = |reason: String| TapeError::Damaged { path: path.clone(), reason };
        let header = store.header()?.ok_or_else(|| damaged("it has no header".to_owned()))?;
        let header =
            schema::SegmentHeader::decode(header.as_slice()).map_err(|error| damaged(error.to_string()))?;
        if header.format > FORMAT {
            return Err(TapeError::Newer { path, found: header.format, known: FORMAT });
        }
        let footer = store.footer()?.map(|bytes| schema::SegmentFooter::decode(bytes.as_slice())).transpose();
        let footer = footer.map_err(|error| damaged(error.to_string()))?;
        if footer.is_none() && mark::is_there(&path) {
            return Err(damaged("it was closed in order, and its end is gone".to_owned()));
        }
        Ok(Self { path, source: Source::Store(store), header, footer })
    }

    pub(crate) fn started(&self) -> Stamp {
        Stamp(self.header.started)
    }

    /// When it was closed; when it began, where it was not.
    pub(crate) fn ended(&self) -> Stamp {
        let ended = self.footer.as_ref().map_or(0, |footer| footer.ended);
        Stamp(self.header.started.saturating_add(ended))
    }

    pub(crate) fn header(&self) -> &schema::SegmentHeader {
        &self.header
    }

    /// Present where the segment was closed in order.
    pub(crate) fn footer(&self) -> Option<&schema::SegmentFooter> {
        self.footer.as_ref()
    }

    /// The descriptors of its messages, decompressed.
    pub(crate) fn descriptors(&self) -> Result<Vec<u8>> {
        let stored = match &self.source {
            Source::Store(store) => store.descriptors()?,
            Source::Live(live) => Some(live.shown.descriptors.clone()),
        };
        let stored = stored.ok_or_else(|| self.damaged("it has no descriptors".to_owned()))?;
        chunk::decompress(&stored, MAX_DESCRIPTORS_BYTES)
            .map_err(|reason| self.damaged(format!("its descriptors: {reason}")))
    }

    /// The same as they are stored.
    pub(crate) fn stored_descriptors(&self) -> Result<Option<Vec<u8>>> {
        match &self.source {
            Source::Store(store) => store.descriptors(),
            Source::Live(live) => Ok(Some(live.shown.descriptors.clone())),
        }
    }

    /// Gives it an end.
    pub(crate) fn put_footer(&mut self, footer: &schema::SegmentFooter) -> Result<()> {
        let Source::Store(store) = &mut self.source else {
            return Err(self.damaged("it is open".to_owned()));
        };
        store.put_footer(footer.encode_to_vec())?;
        store.flush()
    }

    /// Header, descriptors and footer of a closed segment as they are stored.
    pub(crate) fn entries(&self) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
        let entry = |entry: Option<Vec<u8>>, what: &str| {
            entry.ok_or_else(|| self.damaged(format!("it has no {what}")))
        };
        let Source::Store(store) = &self.source else { return Err(self.damaged("it is open".to_owned())) };
        Ok((
            entry(store.header()?, "header")?,
            entry(store.descriptors()?, "descriptors")?,
            entry(store.footer()?, "footer")?,
        ))
    }

    /// The error that says that something is wrong with it.
    pub(crate) fn damaged(&self, reason: String) -> TapeError {
        TapeError::Damaged { path: self.path.clone(), reason }
    }

    /// Chunks in order: position of the first event, and events; the position at which a chunk is damaged, with the reason.
    pub(crate) fn chunks(&self) -> Chunks {
        self.chunks_from(0)
    }

    /// The same from the chunk that begins at this position.
    fn chunks_from(&self, from: u64) -> Chunks {
        match &self.source {
            Source::Store(store) => {
                let path = self.path.clone();
                Box::new(store.chunks(from).map(move |chunk| {
                    let (first, bytes) = chunk?;
                    unpack(&path, first, &bytes)
                }))
            }
            Source::Live(live) => {
                Box::new(LiveChunks::new(&live.tape, &self.path, self.header.number, from, Until::CaughtUp))
            }
        }
    }

    /// The chunks of a segment that is being written, until it is closed: waits for them.
    pub(crate) fn follow(&self) -> Chunks {
        match &self.source {
            Source::Store(_) => self.chunks(),
            Source::Live(live) => {
                Box::new(LiveChunks::new(&live.tape, &self.path, self.header.number, 0, Until::Closed))
            }
        }
    }

    /// The events of its chunks.
    pub(crate) fn events_of(&self, chunks: Chunks) -> impl Iterator<Item = Result<Event>> + use<> {
        let mut restore = self.restorer();
        chunks.flat_map(move |chunk| match chunk {
            Ok((_, events)) => events.into_iter().filter_map(|event| restore(event).transpose()).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    /// Makes events of what is stored, which must come in order from the beginning: messages that were taken apart refer to what
    /// came before. Kinds of events that a later program wrote are left out.
    pub(crate) fn restorer(&self) -> impl FnMut(schema::Event) -> Result<Option<Event>> + use<> {
        let started = self.started();
        let path = self.path.clone();
        let mut elements = elements::Reader::default();
        move |mut event| {
            if let Some(schema::event::Kind::Message(message)) = &mut event.kind
                && let Some(schema::message::Body::Parts(parts)) = &message.body
            {
                let whole =
                    elements.put_together(parts, MAX_MESSAGE_BYTES).ok_or_else(|| TapeError::Damaged {
                        path: path.clone(),
                        reason: format!("a message of call {} can't be put together", message.call),
                    })?;
                message.body = Some(schema::message::Body::Kept(whole));
            }
            Ok(convert::from_schema(event, started))
        }
    }

    /// Its counts: from the footer, or made anew where there is none.
    pub(crate) fn summary(&self) -> Result<Summary> {
        if let Some(footer) = &self.footer {
            return Ok(summary_of(&self.header, footer));
        }
        // Not closed in order: from the counts that were noted last, and what came after.
        let progress = match &self.source {
            Source::Store(store) => store.progress()?,
            Source::Live(live) => Some(live.shown.progress.clone()),
        };
        let progress = progress.map(|bytes| schema::SegmentFooter::decode(bytes.as_slice()));
        let progress = progress.transpose().map_err(|error| self.damaged(error.to_string()))?;
        let (from, mut summary) = match progress {
            Some(progress) => (progress.events, summary_of(&self.header, &progress)),
            None => (0, Summary::default()),
        };
        if self.is_open() {
            return Ok(summary);
        }
        for chunk in self.chunks_from(from) {
            let (_, events) = chunk?;
            let outlined = events.into_iter().filter_map(|event| outline(event, self.started()));
            outlined.for_each(|event| summary.add(&event));
        }
        Ok(summary)
    }

    /// How many events were committed, where that was noted and the segment was not closed.
    pub(crate) fn committed(&self) -> Option<u64> {
        if self.is_open() { None } else { mark::committed_events(&self.path) }
    }
}

/// The events of a stored chunk.
pub(crate) fn unpack(path: &Path, first: u64, bytes: &[u8]) -> Result<(u64, Vec<schema::Event>)> {
    let events = chunk::unpack(bytes).map_err(|reason| TapeError::Damaged {
        path: path.to_owned(),
        reason: format!("the chunk at event {first}: {reason}"),
    })?;
    Ok((first, events))
}

/// The footer that says this.
pub(crate) fn footer_of(
    header: &schema::SegmentHeader,
    summary: &Summary,
    ended: Stamp,
) -> schema::SegmentFooter {
    let at = |stamp: Stamp| stamp.0.saturating_sub(header.started);
    let (runtime_name, runtime_version) = summary.runtime.clone().unwrap_or_default();
    schema::SegmentFooter {
        ended: at(ended),
        events: summary.events,
        last_call: summary.last_call.map_or(header.first_call.saturating_sub(1), |call| call.0),
        last_connection: summary.last_connection.map_or(header.first_connection.saturating_sub(1), |it| it.0),
        calls: summary.calls,
        connections: summary.connections,
        traffic: summary.traffic,
        generations: summary.generations.iter().cloned().collect(),
        clients: summary
            .peers
            .iter()
            .map(|((exe, uid), calls)| schema::segment_footer::Client {
                exe: exe.clone(),
                uid: *uid,
                calls: *calls,
            })
            .collect(),
        gaps: summary
            .gaps
            .iter()
            .map(|(stamp, gap)| schema::segment_footer::TimedGap {
                at: at(*stamp),
                gap: Some(convert::gap_to_schema(gap)),
            })
            .collect(),
        runtime_name,
        runtime_version,
        open: Vec::new(),
        mended: false,
    }
}

/// The footer that would be right now, with what is needed to count on from it.
pub(crate) fn progress_of(header: &schema::SegmentHeader, summary: &Summary) -> schema::SegmentFooter {
    let open = summary.open_connections().map(|(connection, exe, uid)| schema::segment_footer::Open {
        connection: connection.0,
        exe: exe.to_owned(),
        uid,
    });
    let ended = summary.span.map_or(Stamp(header.started), |(_, last)| last);
    schema::SegmentFooter { open: open.collect(), ..footer_of(header, summary, ended) }
}

/// The event without the body of its message, so that it need not be put together.
fn outline(mut event: schema::Event, started: Stamp) -> Option<Event> {
    if let Some(schema::event::Kind::Message(message)) = &mut event.kind {
        message.body = Some(schema::message::Body::Shed(0));
    }
    convert::from_schema(event, started)
}

fn summary_of(header: &schema::SegmentHeader, footer: &schema::SegmentFooter) -> Summary {
    let stamp = |at: u64| Stamp(header.started.saturating_add(at));
    let mut summary = Summary::default();
    summary.span = Some((stamp(0), stamp(footer.ended)));
    summary.connections = footer.connections;
    summary.calls = footer.calls;
    summary.events = footer.events;
    summary.traffic = footer.traffic;
    summary.last_call = (footer.last_call >= header.first_call).then_some(CallId(footer.last_call));
    summary.last_connection =
        (footer.last_connection >= header.first_connection).then_some(ConnectionId(footer.last_connection));
    summary.generations.extend(footer.generations.iter().cloned());
    summary.gaps = footer
        .gaps
        .iter()
        .filter_map(|timed| Some((stamp(timed.at), convert::gap_from_schema(timed.gap.as_ref()?))))
        .collect();
    summary.peers = footer.clients.iter().map(|it| ((it.exe.clone(), it.uid), it.calls)).collect();
    summary.runtime = (!footer.runtime_name.is_empty())
        .then(|| (footer.runtime_name.clone(), footer.runtime_version.clone()));
    for open in &footer.open {
        summary.note_connection(ConnectionId(open.connection), open.exe.clone(), open.uid);
    }
    summary
}

/// The descriptors that every segment carries, as they are stored.
pub(crate) fn descriptors() -> std::io::Result<Vec<u8>> {
    chunk::compress(cri::descriptor_set(), chunk::Effort::Thorough)
}
