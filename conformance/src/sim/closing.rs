//! Close handshakes (RFC 6455 §7.1) through the real driver, with every end that goes away at every byte of it, in every way: with a FIN, with a
//! reset, without a word. Whatever happens, nothing is left of the connections after a while, and who still listens is told what
//! it should be told.

use super::knobs::{Knobs, MILLISECOND, SECOND, Sizes};
use super::peers::Peer;
use super::peers::end::{BACKEND_FRAMES, CLIENT_FRAMES, End, Plan, Point, Seen, Then, Way};
use super::random::Random;
use super::world::World;
use std::cell::RefCell;
use std::rc::Rc;

/// More than all deadlines together (seconds): silence, the pong's, the close frame's, and for the rest to be read.
const PATIENCE: u64 = 120;

/// What the two ends close with, and what brolly does.
const CLIENT_CODE: u16 = 4000;
const BACKEND_CODE: u16 = 4001;
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const BAD_GATEWAY: u16 = 1014;

/// Who begins the close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beginner {
    Client,
    Backend,
    /// brolly, since the client breaks the protocol.
    Failure,
    /// brolly, since it is stopped.
    Shutdown,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Who {
    Client,
    Backend,
}

#[derive(Clone, Copy, Debug)]
struct Scenario {
    /// With a backend behind brolly, or an echo of its own.
    is_relayed: bool,
    beginner: Beginner,
    leaver: Who,
    point: Point,
    way: Way,
    /// Whether bytes travel one by one.
    is_slow: bool,
}

/// All of them; how many there were, and what was wrong.
pub fn close_handshakes() -> (usize, Vec<String>) {
    let all = scenarios();
    (all.len(), all.iter().filter_map(|scenario| run(*scenario).err()).collect())
}

fn scenarios() -> Vec<Scenario> {
    use {Beginner as B, Who as W};
    let mut all = Vec::new();
    for (is_relayed, beginner, leaver) in [
        (false, B::Client, W::Client),
        (false, B::Failure, W::Client),
        (false, B::Shutdown, W::Client),
        (true, B::Client, W::Client),
        (true, B::Client, W::Backend),
        (true, B::Backend, W::Client),
        (true, B::Backend, W::Backend),
        (true, B::Failure, W::Client),
        (true, B::Failure, W::Backend),
        (true, B::Shutdown, W::Client),
        (true, B::Shutdown, W::Backend),
    ] {
        // A message and a close frame, of either side.
        let [sent, heard] = match leaver {
            W::Client => [CLIENT_FRAMES, BACKEND_FRAMES],
            W::Backend => [BACKEND_FRAMES, CLIENT_FRAMES],
        };
        let points = |frames: [usize; 3]| 0..=frames[0] + frames[1];
        let points = points(sent).map(Point::Sent).chain(points(heard).map(Point::Heard));
        for point in points {
            for way in [Way::Fin, Way::Reset, Way::Silence] {
                // A backend that resets at once takes its answer to the handshake with it: that is asked for again elsewhere.
                if leaver == W::Backend && way == Way::Reset && matches!(point, Point::Sent(0) | Point::Heard(0)) {
                    continue;
                }
                all.extend([false, true].map(|is_slow| Scenario { is_relayed, beginner, leaver, point, way, is_slow }));
            }
        }
    }
    all
}

fn run(scenario: Scenario) -> Result<(), String> {
    let Scenario { is_relayed, beginner, leaver, point, way, is_slow } = scenario;
    let mut random = Random::new(1);
    let mut knobs = Knobs::quiet(&mut random);
    let size = if is_slow { Sizes::One } else { Sizes::Full };
    (knobs.shards, knobs.reads, knobs.writes, knobs.capacity) = (1, size, size, 65_536);
    knobs.shutdown = (beginner == Beginner::Shutdown).then_some((50 * MILLISECOND, 60 * SECOND));
    let plan = |who: Who| Plan {
        then: match (beginner, who) {
            (Beginner::Client, Who::Client) => Then::Closes(CLIENT_CODE),
            (Beginner::Backend, Who::Backend) => Then::Closes(BACKEND_CODE),
            (Beginner::Failure, Who::Client) => Then::Errs,
            _ => Then::Waits,
        },
        leaves: (leaver == who).then_some((point, way)),
    };
    let (client, backend): (Rc<RefCell<Seen>>, Rc<RefCell<Seen>>) = Default::default();
    let path = if is_relayed { "/relay/x" } else { "/-/echo" };
    let peers: Vec<Box<dyn Peer>> = vec![Box::new(End::client(path, plan(Who::Client), Rc::clone(&client)))];
    let (of_backend, to_backend) = (plan(Who::Backend), Rc::clone(&backend));
    let make =
        Box::new(move |wire| -> Box<dyn Peer> { Box::new(End::backend(wire, of_backend, Rc::clone(&to_backend))) });
    let report = World::planned(knobs, random, peers, make).run_to_rest(PATIENCE);
    let (client, backend) = (*client.borrow(), *backend.borrow());
    let seen = format!("{scenario:?}: {client:?}, {backend:?}");
    if !report.faults.is_empty() {
        return Err(format!("{seen}: {}", report.faults.join("; ")));
    }
    let mut ends = vec![(Who::Client, client)];
    if is_relayed {
        ends.push((Who::Backend, backend));
    }
    for (who, end) in ends {
        if !end.is_open {
            return Err(format!("{seen}: the {who:?} never opened"));
        }
        if who == leaver {
            if !end.has_left {
                return Err(format!("{seen}: the {who:?} has not left"));
            }
            let expected = scenario.told_who_left();
            if way == Way::Fin && !(end.is_over && expected.contains(&end.code)) {
                return Err(format!("{seen}: who left with a FIN was not answered, but for {expected:?}"));
            }
        } else {
            let expected = scenario.told_who_stays();
            if !(end.is_over && !end.is_broken && end.code.is_some_and(|code| expected.contains(&code))) {
                return Err(format!("{seen}: the {who:?} was not told one of {expected:?}"));
            }
        }
    }
    Ok(())
}

/// How far an end has come when it goes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    /// Its message is not whole.
    Before,
    /// Its message is, and nothing else.
    Message,
    /// It is in the middle of its close frame, or of what it says wrong; or it hears the other's.
    Closing,
    /// Its close frame is whole.
    Closed,
}

impl Scenario {
    fn stage(&self) -> Stage {
        let (sent, heard) = match self.leaver {
            Who::Client => (CLIENT_FRAMES, BACKEND_FRAMES),
            Who::Backend => (BACKEND_FRAMES, CLIENT_FRAMES),
        };
        match self.point {
            Point::Sent(bytes) if bytes < sent[0] => Stage::Before,
            Point::Sent(bytes) if bytes == sent[0] => Stage::Message,
            Point::Sent(bytes) if bytes < sent[0] + sent[1] => Stage::Closing,
            Point::Sent(_) => Stage::Closed,
            // Only the client speaks before it hears; who begins does so when it has heard the message.
            Point::Heard(bytes) if bytes <= heard[0] && self.leaver == Who::Client => Stage::Message,
            Point::Heard(bytes) if bytes <= heard[0] => Stage::Before,
            Point::Heard(_) if self.leaver_begins() => Stage::Closed,
            Point::Heard(_) => Stage::Closing,
        }
    }

    fn leaver_begins(&self) -> bool {
        let pair = (self.beginner, self.leaver);
        matches!(pair, (Beginner::Client, Who::Client) | (Beginner::Backend, Who::Backend))
    }

    /// Whether the client that leaves has broken the protocol before.
    fn leaver_erred(&self) -> bool {
        let [message, _, error] = CLIENT_FRAMES;
        match self.point {
            Point::Sent(bytes) => bytes >= message + error,
            Point::Heard(bytes) => bytes > BACKEND_FRAMES[0],
        }
    }

    /// What an end hears if nobody goes before.
    fn code(&self, who: Who) -> u16 {
        match (self.beginner, who) {
            (Beginner::Client, _) => CLIENT_CODE,
            (Beginner::Backend, _) => BACKEND_CODE,
            (Beginner::Failure, Who::Client) => PROTOCOL_ERROR,
            (Beginner::Failure, Who::Backend) | (Beginner::Shutdown, _) => GOING_AWAY,
        }
    }

    /// What an end may be told that has ended its direction and listens still.
    fn told_who_left(self) -> Vec<Option<u16>> {
        let told = Some(self.code(self.leaver));
        let is_told = match (self.beginner, self.leaver) {
            _ if self.leaver_begins() => self.stage() == Stage::Closed,
            (Beginner::Failure, Who::Client) => self.leaver_erred(),
            // The other end may have begun before it is known that this one is gone.
            _ if self.stage() == Stage::Message => return vec![None, told],
            _ => self.stage() >= Stage::Closing,
        };
        vec![if is_told { told } else { None }]
    }

    /// What the other end may be told.
    fn told_who_stays(self) -> Vec<u16> {
        let (stays, gone) = match self.leaver {
            Who::Client => (Who::Backend, GOING_AWAY),
            Who::Backend => (Who::Client, BAD_GATEWAY),
        };
        let told = self.code(stays);
        match (self.stage(), self.way) {
            // A reset takes what has not been read.
            (Stage::Closed, Way::Reset) if self.leaver_begins() => vec![told, gone],
            (Stage::Closed, _) => vec![told],
            (_, _) if self.leaver_begins() => vec![gone],
            (Stage::Closing, _) => vec![told],
            // It is asked only after a silence, and the shutdown comes before.
            (_, Way::Silence) if self.beginner == Beginner::Shutdown => vec![told],
            (_, _) if self.beginner == Beginner::Shutdown => vec![gone],
            (Stage::Message, _) => vec![told, gone],
            (Stage::Before, _) => vec![gone],
        }
    }
}
