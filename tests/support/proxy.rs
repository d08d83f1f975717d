//! A network that fails: connections to a server go through it, and are cut off in the middle of whatever they carry.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::pause;

/// A proxy to a server on this machine; it works until the test's process ends.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    seed: u64,
}

#[derive(Debug, Default)]
struct Shared {
    open: Mutex<Vec<TcpStream>>,
    cutting: AtomicBool,
    cuts: AtomicU64,
}

impl Proxy {
    /// Passes everything on to the server at `port`, until it is told to cut.
    pub(crate) fn to(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // A client that has gone again, and a server that does not answer, look the same to the other side.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port)))
                {
                    accepting.join(client, server);
                }
            }
        });
        Self {
            port: own,
            shared,
            seed,
        }
    }

    /// Cuts all connections, again and again after pauses of these lengths.
    pub(crate) fn cut_every(&self, pauses: Range<Duration>) {
        self.shared.cutting.store(true, Ordering::Relaxed);
        let (shared, mut random) = (Arc::clone(&self.shared), StdRng::seed_from_u64(self.seed));
        std::thread::spawn(move || {
            while shared.cutting.load(Ordering::Relaxed) {
                pause(random.random_range(pauses.clone()));
                if shared.cutting.load(Ordering::Relaxed) {
                    shared.cut();
                }
            }
        });
    }

    /// Lets all connections live from now on.
    pub(crate) fn stop_cutting(&self) {
        self.shared.cutting.store(false, Ordering::Relaxed);
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Passes on what either side sends.
    fn join(&self, client: TcpStream, server: TcpStream) {
        let (to_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        std::thread::spawn(move || pass_on(client, to_server));
        std::thread::spawn(move || pass_on(server, to_client));
    }

    fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            // One that has ended by itself needs no cutting.
            if stream.shutdown(Shutdown::Both).is_ok() {
                self.cuts.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 8192];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side learns that this one has ended; it may have done so first.
    drop(to.shutdown(Shutdown::Both));
}
