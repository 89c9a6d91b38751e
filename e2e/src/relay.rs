//! A relay between clients and a runtime that keeps what they say.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::process::until;

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The client.
    ByClient,
    /// The runtime.
    ByRuntime,
}

/// What was said on one connection, in pieces as they were read.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    /// The pieces, in their order.
    pub pieces: Vec<(Said, Vec<u8>)>,
    /// How many of the two have not ended.
    talking: usize,
}

/// A relay that listens until the process ends.
#[derive(Debug)]
pub struct Relay {
    socket: PathBuf,
    heard: Arc<Mutex<Vec<Conversation>>>,
}

impl Relay {
    /// Listens at `socket` for clients of the runtime at `runtime`.
    ///
    /// # Panics
    /// Where it can't.
    pub fn start(socket: &Path, runtime: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket to listen on");
        let heard: Arc<Mutex<Vec<Conversation>>> = Arc::default();
        let (all, runtime) = (heard.clone(), runtime.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever is not served sees it.
                let Ok(runtime) = UnixStream::connect(&runtime) else { continue };
                let index = {
                    let mut all = all.lock().unwrap();
                    all.push(Conversation { talking: 2, ..Conversation::default() });
                    all.len() - 1
                };
                for (said, from, to) in
                    [(Said::ByClient, &client, &runtime), (Said::ByRuntime, &runtime, &client)]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let all = all.clone();
                    thread::spawn(move || pass(said, from, to, &all, index));
                }
            }
        });
        Self { socket: socket.to_owned(), heard }
    }

    /// What was said since it was last asked, once nobody talks any more.
    ///
    /// # Panics
    /// Where somebody goes on.
    pub fn heard(&self) -> Vec<Conversation> {
        until("all conversations end", || {
            let mut heard = self.heard.lock().unwrap();
            let ended = heard.iter().all(|conversation| conversation.talking == 0);
            // The places of those that ended are kept: threads count by them.
            ended.then(|| heard.iter_mut().map(std::mem::take).collect())
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // No panic: one may be under way.
        let _ = fs::remove_file(&self.socket);
    }
}

fn pass(said: Said, mut from: UnixStream, mut to: UnixStream, all: &Mutex<Vec<Conversation>>, index: usize) {
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        // Kept before it is passed on, so that an answer comes behind its question.
        all.lock().unwrap()[index].pieces.push((said, piece[..length].to_vec()));
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    all.lock().unwrap()[index].talking -= 1;
}
